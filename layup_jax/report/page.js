"use strict";
// Sorting the table, and drawing the figures in the ink of the page.

const valueOf = (row, column) => {
  const cell = row.cells[column];
  return cell.classList.contains("number") ? parseFloat(cell.dataset.value) : cell.textContent;
};

// Cells without a number come last, whatever the direction.
const compare = (a, b, sign) => {
  if (typeof a === "string") return sign * a.localeCompare(b, undefined, { numeric: true });
  if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);
  return sign * (a - b);
};

const sortBy = (header) => {
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const each of header.parentNode.cells) each.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = header.closest("table").tBodies[0];
  const column = header.cellIndex;
  const sign = descending ? -1 : 1;
  const rows = [...body.rows];
  rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column), sign));
  body.append(...rows);
};

for (const header of document.querySelectorAll("th")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}

const look = () => {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
  const axis = (name) => ({
    [`${name}.color`]: ink, [`${name}.linecolor`]: ink,
    [`${name}.gridcolor`]: line, [`${name}.tickcolor`]: ink,
  });
  const clear = "rgba(0,0,0,0)";
  const bar = { "modebar.bgcolor": clear, "modebar.color": line, "modebar.activecolor": ink };
  return {
    "font.color": ink, paper_bgcolor: clear, plot_bgcolor: clear,
    ...bar, ...axis("xaxis"), ...axis("yaxis"),
  };
};

const places = [...document.querySelectorAll(".figure")];
const figures = JSON.parse(document.getElementById("figures").textContent);
const restyle = () => Promise.all(
  places.map((place) => Plotly.relayout(place, { ...look(), autosize: true })));
const drawn = Promise.all(places.map((place, number) =>
  Plotly.newPlot(place, figures[number].data, figures[number].layout,
    { responsive: true, displaylogo: false }))).then(restyle);

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
addEventListener("beforeprint", () => {
  document.documentElement.dataset.printing = "";
  restyle();
});
addEventListener("afterprint", () => {
  delete document.documentElement.dataset.printing;
  restyle();
});
