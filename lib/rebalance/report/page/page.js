// One switch unfolds all code at once; every block can also be unfolded alone, without this script.
document.getElementById("show-code").addEventListener("change", (event) => {
  document.body.classList.toggle("with-code", event.target.checked);
  for (const block of document.querySelectorAll("details.code")) block.open = event.target.checked;
});
