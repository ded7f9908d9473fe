// Search and status filters of the index; without this script every card is shown.
const cards = [...document.querySelectorAll(".card")];
const search = document.querySelector("input[type=search]");
const buttons = [...document.querySelectorAll(".filters button")];
let status = "all";

function update() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const card of cards) {
    const fits = ["all", card.dataset.status, card.dataset.verdict].includes(status);
    card.hidden = !(fits && words.every((word) => card.dataset.text.includes(word)));
  }
  for (const work of document.querySelectorAll(".work")) {
    work.hidden = !work.querySelector(".card:not([hidden])");
  }
  document.querySelector(".nothing").hidden = cards.some((card) => !card.hidden);
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    status = button.dataset.status;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    update();
  });
}
search.addEventListener("input", update);
