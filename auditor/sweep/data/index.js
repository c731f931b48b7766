"use strict";
(() => {
  const body = document.querySelector("tbody");
  const rows = Array.from(body.rows);
  const form = document.querySelector("form");
  const shown = document.querySelector("output");
  const words = rows.map((row) => row.textContent.toLowerCase());

  function filter() {
    const verdict = form.verdict.value, rule = form.rule.value, status = form.status.value;
    const wanted = form.text.value.trim().toLowerCase();
    let count = 0;
    rows.forEach((row, place) => {
      const statuses = status ? [status] : ["fail", "review"];
      const hit = (!verdict || row.dataset.verdict === verdict) &&
        (!rule || statuses.some((name) => (row.dataset[name] || "").split(" ").includes(rule))) &&
        (rule || !status || Boolean(row.dataset[status])) &&
        (!wanted || words[place].includes(wanted));
      row.hidden = !hit;
      count += hit ? 1 : 0;
    });
    shown.textContent = count + " of " + rows.length + " shown";
  }

  function key(row, column) {
    const cell = row.cells[column];
    return cell.dataset.key === undefined ? cell.textContent : cell.dataset.key;
  }

  function sort(header) {
    const column = header.cellIndex, numeric = header.dataset.kind === "number";
    const down = header.getAttribute("aria-sort") === "ascending";
    document.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const sign = down ? -1 : 1;
    rows.map((row, place) => [key(row, column), place, row]).sort((a, b) => {
      if ((a[0] === "") !== (b[0] === "")) return a[0] === "" ? 1 : -1;
      const order = numeric ? a[0] - b[0] : (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0);
      return sign * order || a[1] - b[1];
    }).forEach((item) => body.appendChild(item[2]));
  }

  document.querySelectorAll("th").forEach((header) => {
    header.querySelector("button").addEventListener("click", () => sort(header));
  });
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
})();
