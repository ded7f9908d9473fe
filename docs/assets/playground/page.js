// The playground's page: what is dragged or typed goes to losses.js, what comes out to the tables and drawings.
"use strict";
(() => {
  const number = (x) => (Math.abs(x) < 5e-5 ? "0" : x.toFixed(Math.abs(x) < 0.1 ? 4 : 3)).replace("-", "−");
  const make = (name, attributes = {}, text = "") => {
    const one = document.createElementNS(
      ["g", "rect", "line", "path", "text"].includes(name) ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml",
      name,
    );
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    if (text) one.textContent = text;
    return one;
  };
  const row = (name, ...cells) => {
    const made = make("tr");
    made.append(make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", {}, cell)));
    return made;
  };

  // --- two boxes ----------------------------------------------------------------------------------------------

  const boxes = document.getElementById("boxes");
  const image = boxes.querySelector("svg");
  const pulling = document.getElementById("pulling");
  const [WIDTH, HEIGHT, LEAST] = [320, 240, 4];
  const PLACES = {
    near: { pred: [92, 66, 206, 160], target: [84, 72, 214, 168] },
    apart: { pred: [20, 24, 110, 104], target: [190, 120, 300, 220] },
    nested: { pred: [120, 90, 190, 150], target: [70, 50, 250, 190] },
    shape: { pred: [120, 30, 180, 210], target: [70, 80, 230, 160] },
  };
  const NAMES = { pred: "Predicted box", target: "Target" };
  let state = structuredClone(PLACES.near);

  /** A box moved or stretched by some pixels, inside the image. */
  const shifted = ([x1, y1, x2, y2], dx, dy, stretch) => {
    const within = (x, low, high) => Math.min(high, Math.max(low, x));
    if (stretch) {
      return [x1, y1, within(x2 + dx, x1 + LEAST, WIDTH), within(y2 + dy, y1 + LEAST, HEIGHT)];
    }
    const [right, down] = [within(dx, -x1, WIDTH - x2), within(dy, -y1, HEIGHT - y2)];
    return [x1 + right, y1 + down, x2 + right, y2 + down];
  };
  const drawn = {};
  for (const which of ["target", "pred"]) {
    const group = make("g", { class: which, tabindex: 0, role: "button", "aria-roledescription": "box" });
    const parts = { rect: make("rect"), name: make("text", {}, NAMES[which]), handle: make("rect", { class: "handle", width: 16, height: 16 }) };
    group.append(...Object.values(parts));
    image.append(group);
    drawn[which] = { group, ...parts };
    const drag = (stretch) => (event) => {
      event.preventDefault();
      event.stopPropagation();
      group.focus();
      const unit = WIDTH / image.getBoundingClientRect().width; // px of the image per px of the screen
      const [start, from] = [state[which], [event.clientX, event.clientY]];
      const move = (now) => {
        const by = [now.clientX - from[0], now.clientY - from[1]].map((d) => Math.round(d * unit));
        state[which] = shifted(start, ...by, stretch);
        showBoxes();
      };
      const end = () => {
        window.removeEventListener("pointermove", move);
        for (const done of ["pointerup", "pointercancel"]) window.removeEventListener(done, end);
      };
      window.addEventListener("pointermove", move);
      for (const done of ["pointerup", "pointercancel"]) window.addEventListener(done, end);
    };
    group.addEventListener("pointerdown", drag(false));
    parts.handle.addEventListener("pointerdown", drag(true));
    const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    group.addEventListener("keydown", (event) => {
      const direction = ARROWS[event.key];
      if (!direction) return;
      event.preventDefault();
      const by = direction.map((d) => d * (event.ctrlKey ? 1 : 5));
      state[which] = shifted(state[which], ...by, event.shiftKey);
      showBoxes();
    });
  }
  const arrows = make("g", { class: "arrows", "aria-hidden": "true" });
  image.append(arrows);

  const showBoxes = () => {
    for (const [which, { group, rect, name, handle }] of Object.entries(drawn)) {
      const [x1, y1, x2, y2] = state[which];
      const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
      for (const [key, value] of Object.entries(place)) rect.setAttribute(key, value);
      name.setAttribute("x", x1 + 4);
      name.setAttribute("y", which === "pred" ? y1 + 13 : y2 - 5);
      handle.setAttribute("x", x2 - 8);
      handle.setAttribute("y", y2 - 8);
      const text = `${NAMES[which]}: x ${x1} to ${x2}, y ${y1} to ${y2} px. Arrow keys move, with Shift change the size.`;
      group.setAttribute("aria-label", text);
    }
    const { pred, target } = state;
    const found = Object.entries(rebalance.boxLosses).map(([name, loss]) => [name, loss(pred, target)]);
    const rows = found.map(([name, { value, gradient }]) => row(name, number(value), ...gradient.map(number)));
    for (const [name, measure] of [["IoU", rebalance.iou], ["GGIoU", rebalance.ggiou]]) {
      const { value, gradient } = measure(pred, target);
      rows.unshift(row(`${name} (higher is better)`, number(value), ...gradient.map(number)));
    }
    boxes.querySelector("tbody").replaceChildren(...rows);
    const [iou, ggiou] = [rebalance.iou, rebalance.ggiou].map((measure) => measure(pred, target).value);
    document.getElementById("overlap").textContent = `IoU ${number(iou)}, GGIoU ${number(ggiou)}`;
    showPull(Object.fromEntries(found)[pulling.value].gradient);
  };
  /** An arrow on each side, against its gradient; the longest of them 30 px. */
  const showPull = (gradient) => {
    const [x1, y1, x2, y2] = state.pred;
    const largest = Math.max(...gradient.map(Math.abs));
    const length = (k) => (largest > 1e-9 ? (-30 * gradient[k]) / largest : 0);
    const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
    const ends = [
      [x1, y, length(0), 0],
      [x, y1, 0, length(1)],
      [x2, y, length(2), 0],
      [x, y2, 0, length(3)],
    ];
    arrows.replaceChildren(
      ...ends
        .filter(([, , dx, dy]) => Math.hypot(dx, dy) > 1)
        .map(([fromX, fromY, dx, dy]) => {
          const [ux, uy] = [Math.sign(dx) * 5, Math.sign(dy) * 5];
          const head = `l${-ux - uy} ${-uy - ux}m${ux + uy} ${uy + ux}l${-ux + uy} ${-uy + ux}`;
          return make("path", { d: `M${fromX} ${fromY}l${dx} ${dy}${head}` });
        }),
    );
  };
  pulling.append(...Object.keys(rebalance.boxLosses).map((name) => make("option", { value: name }, name)));
  pulling.value = "eiou";
  pulling.addEventListener("change", showBoxes);
  for (const button of boxes.querySelectorAll("[data-place]")) {
    button.addEventListener("click", () => {
      state = structuredClone(PLACES[button.dataset.place]);
      showBoxes();
    });
  }
  showBoxes();

  // --- a small ranking ----------------------------------------------------------------------------------------

  const ranking = document.getElementById("ranking");
  const TARGETS = [0.9, 0.7, 0.55, 0, 0, 0];
  const ORDERS = {
    mixed: [-0.5, 0.8, 2, 1.2, 0.2, -1.5],
    ranked: [1.5, 2.5, 3.5, -1, -2, -3],
    sorted: [3.5, 2.5, 1.5, -1, -2, -3],
    worst: [-1, -2, -3, 3.5, 2.5, 1.5],
  };
  const LOSSES = [["ap", "AP loss"], ["alrp", "aLRP loss"], ["rank_sort", "Rank & Sort loss"]];
  const candidates = TARGETS.map((target, i) => {
    const name = target ? `positive, IoU ${target}` : `negative ${i - 2}`;
    const made = row(name, "", "", "", "");
    made.className = target ? "positive" : "negative";
    const slider = make("input", { type: "range", min: -4, max: 4, step: 0.1, "aria-label": `Score of ${name}` });
    const shown = make("output");
    made.cells[1].append(slider, shown);
    slider.addEventListener("input", () => showRanking());
    return { made, slider, shown };
  });
  ranking.querySelector("tbody").append(...candidates.map(({ made }) => made));
  const pushed = (slope) => `${Math.abs(slope) < 5e-5 ? "" : slope < 0 ? "▲ " : "▼ "}${number(slope)}`;
  const showRanking = () => {
    const logits = candidates.map(({ slider }) => Number(slider.value));
    const found = LOSSES.map(([key, name]) => [name, rebalance.rankingLosses[key](logits, TARGETS)]);
    candidates.forEach(({ made, shown }, i) => {
      shown.textContent = logits[i].toFixed(1).replace("-", "−");
      found.forEach(([, { gradient }], k) => (made.cells[2 + k].textContent = pushed(gradient[i])));
    });
    const average = number(rebalance.averagePrecision(logits, TARGETS));
    const rows = [row("AP (higher is better)", average, "")];
    for (const [name, { value, gradient, ...parts }] of found) {
      const said = Object.entries(parts).map(([part, of]) => `${part} ${number(of)}`);
      rows.push(row(`${name} (lower is better)`, number(value), said.join(", ")));
    }
    document.querySelector("#measures tbody").replaceChildren(...rows);
  };
  const order = (name) => {
    candidates.forEach(({ slider }, i) => (slider.value = ORDERS[name][i]));
    showRanking();
  };
  for (const button of ranking.querySelectorAll("[data-order]")) {
    button.addEventListener("click", () => order(button.dataset.order));
  }
  order("mixed");
})();
