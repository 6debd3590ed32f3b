// Starts the page: tables, figures, filter and dialog work on the same data. Without this script the page shows the first
// rows of every table and all figures that are not packed.
const start = async () => {
  const data = await embedded("report-tables");
  if (!data) {
    const text = "This browser is too old to unpack all methods: tables show their first rows. The folder tables has all of them.";
    document.querySelector("main").prepend(element("p", { class: "hint" }, text));
    return;
  }
  let known;
  const details = () => known ??= embedded("report-details");
  const open = (at, number) => openPoint(data, details, at, number);
  const tables = data.datasets.map((dataset, at) => leaderboard(data, at, number => open(at, number)));
  tables.push(failures(data, number => openFailed(data, details, number)));
  const dim = figureTools(data, open);
  const changed = () => { refresh(); tables.forEach(show => show()); dim(); };
  const refresh = filterBar(data, changed);
  changed();
  openAddressed(data, details);
  narrow.addEventListener("change", changed);
  addEventListener("hashchange", () => {
    // A link to a section of the page leaves the state as it is.
    if (!location.hash.includes("=")) return keep({ at: location.hash.slice(1) });
    state = read();
    changed();
    openAddressed(data, details);
  });
  if (state.get("at")) document.getElementById(state.get("at"))?.scrollIntoView();
  // Exact values of cells.
  document.addEventListener("pointerover", event => {
    const cell = event.target.closest?.("td, th[scope=row]");
    if (cell?.tip) showTip(cell.tip(), cell.getBoundingClientRect());
    else if (!event.target.closest?.(".zoom")) hideTip();
  });
  addEventListener("scroll", hideTip, { passive: true });
  document.documentElement.dataset.ready = "";
};
start();
