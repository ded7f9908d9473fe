// One switch unfolds all code at once; every block can also be unfolded alone, without this script.
document.getElementById("show-code").addEventListener("change", (event) => {
  document.body.classList.toggle("with-code", event.target.checked);
  for (const block of document.querySelectorAll("details.code")) block.open = event.target.checked;
});

// A figure that is shrunk to the screen is enlarged by a tap, and then scrolls sideways.
for (const button of document.querySelectorAll("figure .enlarge")) {
  const toggle = () => {
    const large = button.parentElement.classList.toggle("large");
    button.textContent = large ? "Fit to screen" : "Enlarge";
    button.setAttribute("aria-pressed", String(large));
  };
  button.addEventListener("click", toggle);
  button.parentElement.querySelector("img").addEventListener("click", toggle);
}

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
  });
}

// Which pages there are the index knows (PAGES of pages.js): a page alone shows no neighbours.
const base = (name) => name.replace(/_(curves|trained)$/, "");
for (const nav of document.querySelectorAll(".neighbours")) {
  if (typeof PAGES === "undefined") break;
  const here = PAGES.find((page) => page.name === nav.dataset.name);
  if (!here) break;
  const index = document.querySelector("header.place a").getAttribute("href");
  const root = index.slice(0, index.lastIndexOf("/") + 1);
  const work = PAGES.filter((page) => page.work === here.work);
  const place = work.indexOf(here);
  const add = (page, words, rel) => {
    if (!page) return;
    const link = document.createElement("a");
    link.href = root + page.href;
    link.textContent = words(page);
    if (rel) link.rel = rel;
    nav.append(link);
  };
  const other = (page) => base(page.name) !== base(here.name);
  add(work.slice(0, place).findLast(other), (page) => `← ${page.title.split(":")[0]}`, "prev");
  for (const page of work) {
    if (page !== here && !other(page)) add(page, () => page.title.split(":")[0]);
  }
  add(work.slice(place).find(other), (page) => `${page.title.split(":")[0]} →`, "next");
  nav.hidden = !nav.children.length;
}
