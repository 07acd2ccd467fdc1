"use strict";

// Charts: the page holds each as a static drawing; where scripts run, the interactive one takes its place.
const holder = document.getElementById("charts");
if (holder && window.vegaEmbed) {
  for (const [name, spec] of Object.entries(JSON.parse(holder.textContent))) {
    const target = document.getElementById("chart-" + name);
    const still = target.innerHTML;
    const options = { actions: false, renderer: "svg", ast: true, tooltip: { theme: "custom" } };
    vegaEmbed(target, spec, options).catch((problem) => {
      target.innerHTML = still;
      console.error(name, problem);
    });
  }
}

// Sorting: a click on a heading's button sorts its table; empty values stay last either way.
function key(row, index) {
  const field = row.cells[index];
  return field.dataset.order === undefined ? null : field.dataset.order;
}

function compare(one, other, sign, numeric) {
  if (one === null || other === null) return (one === null) - (other === null);
  return sign * (numeric ? one - other : one.localeCompare(other));
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const table = heading.closest("table");
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const numeric = heading.classList.contains("number");
    const index = Number(button.dataset.column);
    const body = table.tBodies[0];
    const rows = [...body.rows];
    rows.sort((a, b) => compare(key(a, index), key(b, index), sign, numeric));
    body.append(...rows);
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  });
}

// Paper cannot be clicked: everything is open while printing.
let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const part of opened) part.open = true;
});
window.addEventListener("afterprint", () => {
  for (const part of opened) part.open = false;
});
