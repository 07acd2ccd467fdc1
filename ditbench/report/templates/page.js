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
function key(row, index, numeric) {
  const field = row.cells[index];
  if (field.dataset.order !== undefined) return field.dataset.order;
  return numeric ? null : field.textContent;
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
    rows.sort((a, b) => compare(key(a, index, numeric), key(b, index, numeric), sign, numeric));
    body.append(...rows);
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  });
}

// Filtering: what is written into the field hides every row and every change that does not contain it.
const filtered = [...document.querySelectorAll("article.change, figure.line, .heat tbody tr, table:has(th button) tbody tr")];
const contents = filtered.map((one) => one.textContent.toLowerCase());

function filter(words, told) {
  let shown = 0;
  filtered.forEach((one, at) => {
    one.hidden = !words.every((word) => contents[at].includes(word));
    shown += !one.hidden;
  });
  told.textContent = words.length ? shown + " of " + filtered.length + " rows, changes and lines" : "";
}

const sections = document.querySelector("nav");
if (sections && filtered.length) {
  const form = document.createElement("div");
  form.className = "filter";
  form.innerHTML = '<label for="filter">Show only what contains</label><input id="filter" type="search" autocomplete="off"><span role="status"></span>';
  sections.after(form);
  const [, field, told] = form.children;
  field.addEventListener("input", () => filter(field.value.toLowerCase().split(/\s+/).filter(Boolean), told));
}

// Pictures: the one that is pointed at, or walked to with the arrow keys, stands large beside softmax's.
const peek = document.getElementById("peek");

function show(field) {
  const image = field && field.querySelector("img");
  peek.hidden = !image;
  if (!image) return;
  const rows = [field.closest("tbody").rows[0], field.parentNode];
  peek.querySelectorAll("figure").forEach((figure, at) => {
    figure.querySelector("img").src = rows[at].cells[field.cellIndex].querySelector("img").src;
    figure.querySelector("figcaption").textContent = rows[at].cells[0].firstChild.textContent;
  });
  peek.querySelector("p").textContent = image.alt;
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function walk(event, body) {
  const step = STEPS[event.key], field = event.target.closest("td");
  if (event.key === "Escape") peek.hidden = true;
  if (!step || !field) return;
  const row = body.rows[field.parentNode.sectionRowIndex + step[0]];
  const next = row && row.cells[field.cellIndex + step[1]];
  if (!next || next.tagName !== "TD") return;
  field.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
  event.preventDefault();
}

for (const body of document.querySelectorAll(".samples tbody")) {
  for (const image of body.querySelectorAll("img")) image.removeAttribute("title");
  for (const field of body.querySelectorAll("td")) field.tabIndex = -1;
  body.rows[0].cells[1].tabIndex = 0;
  body.addEventListener("mouseover", (event) => show(event.target.closest("td")));
  body.addEventListener("mouseleave", () => show(null));
  body.addEventListener("focusin", (event) => show(event.target.closest("td")));
  body.addEventListener("focusout", () => show(null));
  body.addEventListener("keydown", (event) => walk(event, body));
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
