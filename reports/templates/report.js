"use strict";

// Colours are the page's own variables, so that dark mode and print recolour a drawn chart without drawing it again.
function chartConfig() {
  const narrow = window.innerWidth < 640;
  const axis = {
    labelColor: "var(--ink)", titleColor: "var(--quiet)", gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)",
    labelLimit: narrow ? 105 : 210, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, labelOverlap: true,
  };
  return {
    background: "transparent", font: getComputedStyle(document.body).fontFamily, view: { stroke: "transparent" }, axis, axisBand: { grid: false, labelOverlap: false },
    text: { fill: "var(--ink)" },
    legend: { labelColor: "var(--ink)", titleColor: "var(--quiet)", labelFontSize: 12, symbolFillColor: "var(--quiet)" },
  };
}

async function draw(chart) {
  const place = document.querySelector(`[data-chart="${chart.name}"]`);
  const options = { mode: "vega-lite", renderer: "svg", actions: false, ast: true, config: chartConfig() };
  const { view } = await vegaEmbed(place, chart.spec, options);
  const choosers = place.querySelector(".vega-bindings");
  if (choosers) place.parentElement.before(choosers);
  return view;
}

function cellValue(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent;
  const number = Number.parseFloat(text);
  return { empty: text === "" || text.startsWith("undefined"), number: /^[-+]?[\d.]/.test(text) ? number : NaN, text };
}

// Undefined values stay last, whichever the direction.
function compare(a, b, direction) {
  if (a.empty || b.empty) return Number(a.empty) - Number(b.empty);
  const both = !Number.isNaN(a.number) && !Number.isNaN(b.number);
  return direction * (both ? a.number - b.number : a.text.localeCompare(b.text));
}

function sortBy(table, heading) {
  const ascending = heading.getAttribute("aria-sort") === "descending";
  const column = heading.cellIndex;
  table.querySelectorAll("thead th").forEach((each) => each.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [cellValue(row, column), row]);
  rows.sort(([a], [b]) => compare(a, b, ascending ? 1 : -1)).forEach(([, row]) => body.append(row));
}

function filterByModel(select) {
  const rows = [...document.getElementById(select.dataset.filter).tBodies[0].rows];
  for (const model of new Set(rows.map((row) => row.dataset.model))) select.append(new Option(model));
  select.value = select.dataset.first;
  const show = () => rows.forEach((row) => { row.hidden = row.dataset.model !== select.value; });
  select.addEventListener("change", show);
  show();
}

document.querySelectorAll("table.sortable thead th").forEach((heading) => {
  heading.firstElementChild.addEventListener("click", () => sortBy(heading.closest("table"), heading));
});
document.querySelectorAll("select[data-filter]").forEach(filterByModel);
Promise.all(CHARTS.map(draw)).then(() => { document.body.dataset.drawn = CHARTS.length; });
