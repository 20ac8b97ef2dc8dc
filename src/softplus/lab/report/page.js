// The slider of beta, tables sorted by a click on a heading, and folded parts opened for paper.
"use strict";

const slider = document.getElementById("beta");
const picture = JSON.parse(slider.dataset.axes);

function points(f, up) {
  const [left, right] = picture.x;
  const [low, high] = picture[up];
  const places = [];
  for (let i = 0; i <= 400; i++) {
    const x = left + ((right - left) * i) / 400;
    const y = f(x);
    if (y >= low && y <= high) {
      places.push(`${(i / 4).toFixed(2)},${((100 * (high - y)) / (high - low)).toFixed(2)}`);
    }
  }
  return places.join(" ");
}

function slide() {
  const beta = Number((10 ** Number(slider.value)).toPrecision(3));
  const softplus = (x) =>
    Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(beta * x))) / beta;
  const slope = (x) => 1 / (1 + Math.exp(-beta * x));
  document.getElementById("value-of-beta").textContent = `${beta}`;
  slider.setAttribute("aria-valuetext", `beta = ${beta}`);
  document.getElementById("softplus").setAttribute("points", points(softplus, "y"));
  document.getElementById("softplus-slope").setAttribute("points", points(slope, "slope"));
}
slider.addEventListener("input", slide);

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const body = heading.closest("table").tBodies[0];
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    const key = (row) => row.cells[heading.cellIndex].dataset.value ?? "";
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === ""); // what is missing comes last
      return (ascending ? 1 : -1) * (isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y);
    };
    body.append(...[...body.rows].sort(order));
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  });
}

addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
