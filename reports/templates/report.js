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
    legend: { labelColor: "var(--ink)", titleColor: "var(--quiet)", labelFontSize: 12, symbolFillColor: "var(--quiet)", ...(narrow && { columns: 2 }) },
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

function filterByFamily(select) {
  const rows = [...document.getElementById(select.dataset.family).tBodies[0].rows];
  for (const family of new Set(rows.map((row) => row.dataset.family))) select.append(new Option(family));
  select.addEventListener("change", () => {
    rows.forEach((row) => { row.hidden = select.value !== "" && row.dataset.family !== select.value; });
  });
}

function picture(image, labels, webp) {
  const figure = document.createElement("figure");
  const img = figure.appendChild(document.createElement("img"));
  img.src = `data:image/webp;base64,${webp}`;
  img.alt = labels;
  const caption = figure.appendChild(document.createElement("figcaption"));
  caption.append(labels, document.createElement("br"), Object.assign(document.createElement("code"), { textContent: image }));
  return figure;
}

// The list of cells follows the model of the chart, and a click on the chart chooses from the list.
function followConfusion(view) {
  const place = document.getElementById("confused");
  if (!place) return;
  const select = place.querySelector("select");
  const cells = () => GALLERY.cells[view.signal("model")] ?? [];
  const list = () => {
    select.replaceChildren(...cells().map(([truth, predicted, n], i) => new Option(`${truth} → ${predicted}: ${n}`, i)));
    show();
  };
  const show = () => {
    const [, , n, images] = cells()[select.value] ?? ["", "", 0, []];
    const some = images.length < n ? `${images.length} of ${n} images; the predictions of the cells list the file names of all.` : "";
    place.querySelector(".note").textContent = some;
    place.querySelector(".pictures").replaceChildren(...images.map((i) => picture(...GALLERY.images[i])));
  };
  select.addEventListener("change", show);
  view.addSignalListener("model", list);
  view.addEventListener("click", (event, item) => {
    const { true: truth, predicted } = item?.datum ?? {};
    const found = cells().findIndex((cell) => cell[0] === truth && cell[1] === predicted);
    if (found < 0) return;
    select.value = found;
    show();
  });
  list();
}

function fillPictures() {
  const known = new Map(GALLERY.images.map(([image, labels, webp]) => [image, [labels, webp]]));
  document.querySelectorAll("img[data-picture]").forEach((img) => {
    const [labels, webp] = known.get(img.dataset.picture) ?? [];
    if (webp) Object.assign(img, { src: `data:image/webp;base64,${webp}`, alt: labels, hidden: false });
  });
}

document.querySelectorAll("table.sortable thead th").forEach((heading) => {
  heading.firstElementChild.addEventListener("click", () => sortBy(heading.closest("table"), heading));
});
document.querySelectorAll("select[data-filter]").forEach(filterByModel);
document.querySelectorAll("select[data-family]").forEach(filterByFamily);
fillPictures();
Promise.all(CHARTS.map(draw)).then((views) => {
  const confusion = CHARTS.findIndex((chart) => chart.name === "confusion");
  if (confusion >= 0) followConfusion(views[confusion]);
  document.body.dataset.drawn = CHARTS.length;
});
