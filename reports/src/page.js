// Sorts a leaderboard by the column whose heading is clicked: first the better values, then the reverse.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const number = head.dataset.kind === "number";
    const now = head.getAttribute("aria-sort");
    const next = now === "none" ? (head.dataset.first ?? "ascending") : now === "ascending" ? "descending" : "ascending";
    heads.forEach(other => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", next);
    const sign = next === "ascending" ? 1 : -1;
    const key = row => {
      const cell = row.cells[column];
      return number ? (cell.dataset.value === undefined ? NaN : Number(cell.dataset.value)) : cell.textContent.trim();
    };
    const body = table.tBodies[0];
    [...body.rows].map(row => [key(row), row]).sort(([a], [b]) => {
      if (!number) return sign * a.localeCompare(b, "en", { numeric: true });
      // What was not measured stays at the end.
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return sign * (a - b);
    }).forEach(([, row]) => body.append(row));
  }));
}
