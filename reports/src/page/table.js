// Rows that a table shows at once: a browser lays out thousands of rows slowly, and nobody reads them.
const ROWS = 100;

// A sorted and filtered view of rows that are known by their number. `columns` have `key`, `text(row)`, `value(row)` (for
// numbers) and `tip(row)`; the first column is text. `number` tells the tables of a page apart in its state.
const tableView = ({ table, number, size, named, columns, fits, open }) => {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const note = element("span", { role: "status" });
  const step = (by, text) => element("button", { type: "button", onclick: () => { page += by; show(); } }, text);
  const [before, after] = [step(-1, "‹ Previous"), step(1, "Next ›")];
  const pager = element("nav", { class: "pager", "aria-label": `Pages of ${table.getAttribute("aria-label")}` }, before, note, after);
  table.closest(".scroll").after(pager);
  let page = 0;
  let rows = [];

  const order = () => {
    const [key, direction] = (state.get("sort" + number) ?? "").split(":");
    const column = columns.find(one => one.key === key);
    heads.forEach((head, i) => {
      if (head.dataset.kind) head.setAttribute("aria-sort", column === columns[i] && direction ? direction : "none");
    });
    if (!column || !direction) return rows;
    const sign = direction === "ascending" ? 1 : -1;
    const keys = new Map(rows.map(row => [row, column.value ? column.value(row) ?? NaN : column.text(row)]));
    return [...rows].sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (!column.value) return sign * a.localeCompare(b, "en", { numeric: true });
      // What was not measured stays at the end.
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return sign * (a - b);
    });
  };

  const show = () => {
    const last = Math.max(0, Math.ceil(rows.length / ROWS) - 1);
    page = Math.min(Math.max(page, 0), last);
    const sorted = order();
    const start = page * ROWS;
    const seen = new Set(shownColumns(columns.filter(column => column.key)).concat(columns.filter(column => column.fixed)));
    heads.forEach((head, i) => head.hidden = !seen.has(columns[i]));
    const made = sorted.slice(start, start + ROWS).map(row => {
      const line = element("tr", {});
      line.number = row;
      columns.forEach((column, i) => {
        if (!seen.has(column)) return;
        const cell = i === 0 ? named(row) : element("td", { class: column.class }, column.text(row));
        cell.tip = column.tip && (() => column.tip(row));
        line.append(cell);
      });
      return line;
    });
    body.replaceChildren(...made);
    pager.hidden = rows.length <= ROWS;
    [before.disabled, after.disabled] = [page === 0, page === last];
    note.textContent = `Rows ${(start + 1).toLocaleString("en")} to ${(start + made.length).toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    const none = table.parentElement.querySelector(".none");
    none?.remove();
    if (!made.length) table.after(element("p", { class: "none hint" }, "No row fits the filter."));
  };

  heads.forEach((head, i) => head.querySelector("button")?.addEventListener("click", () => {
    const now = head.getAttribute("aria-sort");
    const next = now === "none" ? head.dataset.first ?? "ascending" : now === "ascending" ? "descending" : "ascending";
    keep({ ["sort" + number]: `${columns[i].key}:${next}` });
    page = 0;
    show();
  }));
  body.addEventListener("click", event => {
    const line = event.target.closest("tr");
    // Whoever marks text wants to copy it.
    if (line?.number !== undefined && String(getSelection()) === "") open(line.number);
  });
  return () => {
    rows = [];
    for (let row = 0; row < size; row++) if (fits(row)) rows.push(row);
    page = 0;
    show();
  };
};

const interval = (column, row) => {
  const parts = [];
  const seeds = column.interval[row];
  const sampled = column.sampled[row];
  if (seeds) parts.push(`95% interval over seeds ${seeds[0]} to ${seeds[1]} (n = ${seeds[2]})`);
  if (sampled) parts.push(`over ${sampled[2].toLocaleString("en")} ${column.of} ${sampled[0]} to ${sampled[1]}`);
  return parts.join("; ");
};

const origin = (data, point) => {
  const ids = point.trials.map(trial => trial[0]).join(", ");
  const machines = [...new Set(point.trials.map(trial => data.machines[trial[3]]))].join("; ");
  return `run ${data.runs[point.run].name}, ${count(point.trials.length, "trial")} (${ids}), ${machines}`;
};

// The button in the first cell of a row, which opens its trial.
const opener = (text, before, action) => element("th", { scope: "row" }, ...before,
  element("button", { type: "button", class: "open", "aria-haspopup": "dialog", onclick: event => { event.stopPropagation(); action(); } }, text));

const leaderboard = (data, index, open) => {
  const dataset = data.datasets[index];
  const section = document.getElementById("d" + index);
  const table = section.querySelector("table.sortable");
  if (!table) return () => section.hidden = !has(filter.dataset, dataset.name);
  const named = row => {
    const point = dataset.points[row];
    const mark = element("span", { class: "front" }, point.front ? "●" : "");
    return opener(point.label, [mark, " "], () => open(row));
  };
  const name = { key: "method", fixed: true, text: row => dataset.points[row].label, tip: row => origin(data, dataset.points[row]) };
  const columns = dataset.columns.map(column => ({
    ...column,
    text: row => column.text[row],
    value: row => column.value[row],
    tip: row => column.value[row] === null ? "" : `${column.title} ${column.value[row]}${interval(column, row) && ": " + interval(column, row)}`,
  }));
  const show = tableView({
    table, number: index, size: dataset.points.length, named, open,
    columns: [name, ...columns.map(column => ({ ...column, fixed: false }))],
    fits: row => fits(dataset.points[row]),
  });
  return () => {
    section.hidden = !has(filter.dataset, dataset.name);
    if (!section.hidden) show();
  };
};

const failures = (data, open) => {
  const table = document.querySelector("#failures table");
  if (!table) return () => { };
  const failed = data.failed;
  const text = (key, of, value) => ({ fixed: true, key, text: row => String(of(failed[row])), value });
  const columns = [
    text("failed-method", one => one.label), text("failed-dataset", one => one.dataset), text("failed-device", one => one.device),
    text("failed-seed", one => one.trial[1], row => failed[row].trial[1]), text("failed-status", one => one.status),
    { ...text("failed-reason", one => one.reason), class: "reason" },
  ];
  return tableView({
    table, number: "failed", size: failed.length, open, columns,
    named: row => opener(failed[row].label, [], () => open(row)),
    fits: row => has(filter.dataset, failed[row].dataset) && fits(failed[row]),
  });
};
