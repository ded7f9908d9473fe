// Views, search and filters of the index, kept in its address; without this script all is shown.
const FILTERS = ["work", "kind", "verdict", "detector", "status"];
const nav = document.querySelector(".controls");
const search = nav.querySelector("input[type=search]");
const selects = FILTERS.map((name) => nav.querySelector(`select[name=${name}]`));
const jump = nav.querySelector(".jump");
const views = [...nav.querySelectorAll("[data-view]")];
const targets = [...document.querySelectorAll(".card, .score")];
const groups = [...document.querySelectorAll(".work, .score-work")];
const wide = matchMedia("(min-width: 40rem)").matches;

function read() {
  const state = new URLSearchParams(location.search);
  search.value = state.get("q") ?? "";
  for (const select of selects) select.value = state.get(select.name) ?? "";
  const linked = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  show(linked?.closest(".view")?.id ?? (state.get("view") === "pages" ? "pages" : "scoreboard"));
  nav.querySelector(".filters").open = wide || selects.some((select) => select.value);
  update();
  linked?.scrollIntoView();
}

function show(view) {
  for (const button of views) {
    button.setAttribute("aria-pressed", String(button.dataset.view === view));
    document.getElementById(button.dataset.view).hidden = button.dataset.view !== view;
  }
}

function shown() {
  return views.find((button) => button.getAttribute("aria-pressed") === "true").dataset.view;
}

// Hides the claims of a line that do not fit; says whether any is left.
function narrow(target, claim, words) {
  let left = false;
  for (const row of target.querySelectorAll("tr[data-claim]")) {
    const said = row.textContent.toLowerCase();
    row.hidden = (claim && row.dataset.claim !== claim) || !words.every((word) => said.includes(word));
    left ||= !row.hidden;
  }
  return left;
}

function fits(target, chosen, words) {
  const { verdict, ...others } = chosen;
  for (const [name, value] of Object.entries(others)) {
    if (value && !target.dataset[name].split("|").includes(value)) return false;
  }
  const claim = verdict.startsWith("claim-") ? verdict.slice(6) : "";
  if (verdict && !claim && target.dataset.verdict !== verdict) return false;
  if (claim && !target.dataset.claims.split("|").includes(claim)) return false;
  const left = words.filter((word) => !target.dataset.text.includes(word));
  if (target.matches(".score")) return narrow(target, claim, left);
  return left.length === 0;
}

function update() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = Object.fromEntries(selects.map((select) => [select.name, select.value]));
  const active = words.length > 0 || Object.values(chosen).some(Boolean);
  for (const target of targets) target.hidden = !fits(target, chosen, words);
  for (const group of groups) {
    group.hidden = !group.querySelector(".card:not([hidden]), .score:not([hidden])");
    if (group.matches("details")) group.open = active || wide;
  }
  const view = document.getElementById(shown());
  const left = view.querySelectorAll(".card:not([hidden]), .score:not([hidden])").length;
  document.querySelector(".nothing").hidden = left > 0;
  const claims = view.querySelectorAll(".score:not([hidden]) tr[data-claim]:not([hidden])").length;
  nav.querySelector(".found").textContent = active
    ? `tables and figures: ${left}${claims ? `, claims: ${claims}` : ""}`
    : "";
  const state = new URLSearchParams(Object.entries({ q: search.value, ...chosen }).filter(([, value]) => value));
  if (view.id === "pages") state.set("view", "pages");
  const query = state.toString();
  history.replaceState(null, "", `${location.pathname}${query ? `?${query}` : ""}${location.hash}`);
}

for (const button of views) {
  button.addEventListener("click", () => {
    show(button.dataset.view);
    update();
  });
}
for (const input of [search, ...selects]) input.addEventListener("input", update);
nav.querySelector(".clear").addEventListener("click", () => {
  for (const input of [search, ...selects]) input.value = "";
  update();
});
jump.addEventListener("change", () => {
  const prefix = shown() === "pages" ? "" : "score-";
  const section = document.getElementById(prefix + jump.value) ?? document.getElementById(jump.value);
  if (section?.matches("details")) section.open = true;
  section?.scrollIntoView();
  jump.value = "";
});
addEventListener("popstate", read);
addEventListener("hashchange", read);
read();
