// The state of the page is in its address, so that it can be shared: the words that filter leaderboards, and the column
// that each leaderboard is sorted by.
const state = new URLSearchParams(location.search);
const keep = (key, value) => {
  if (value) state.set(key, value); else state.delete(key);
  const query = state.toString();
  // A page that was opened from a file may not be allowed to change its address.
  try { history.replaceState(null, "", (query ? "?" + query : location.pathname) + location.hash); } catch { }
};

// Sorts a leaderboard by the column whose heading is clicked: first the better values, then the reverse.
for (const [number, table] of [...document.querySelectorAll("table.sortable")].entries()) {
  const heads = [...table.tHead.rows[0].cells];
  const sort = (column, next) => {
    const head = heads[column];
    const isNumber = head.dataset.kind === "number";
    heads.forEach(other => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", next);
    const sign = next === "ascending" ? 1 : -1;
    const key = row => {
      const cell = row.cells[column];
      return isNumber ? (cell.dataset.value === undefined ? NaN : Number(cell.dataset.value)) : cell.textContent.trim();
    };
    const body = table.tBodies[0];
    [...body.rows].map(row => [key(row), row]).sort(([a], [b]) => {
      if (!isNumber) return sign * a.localeCompare(b, "en", { numeric: true });
      // What was not measured stays at the end.
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return sign * (a - b);
    }).forEach(([, row]) => body.append(row));
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const now = head.getAttribute("aria-sort");
    const next = now === "none" ? (head.dataset.first ?? "ascending") : now === "ascending" ? "descending" : "ascending";
    sort(column, next);
    keep("sort" + number, `${column} ${next}`);
  }));
  const [column, order] = (state.get("sort" + number) ?? "").split(" ");
  if (heads[column] && ["ascending", "descending"].includes(order)) sort(Number(column), order);

  // Shows only the methods whose name contains every word; `-word` leaves out those that contain it.
  const filter = table.closest("section").querySelector(".filter");
  const [input, output] = [filter.querySelector("input"), filter.querySelector("output")];
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const name = row.cells[0].textContent.toLowerCase();
      const fits = word => word.length > 1 && word[0] === "-" ? !name.includes(word.slice(1)) : name.includes(word);
      row.hidden = !words.every(fits);
      shown += !row.hidden;
    }
    output.value = words.length ? `${shown} of ${table.tBodies[0].rows.length} methods` : "";
  };
  filter.hidden = false;
  input.value = state.get("show" + number) ?? "";
  input.addEventListener("input", () => { show(); keep("show" + number, input.value.trim()); });
  show();
}
