// The bar above the tables: which methods are shown, and which columns.
const filter = {};

// Reads the filter from the state of the page.
const readFilter = () => {
  const words = (state.get("words") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const bound = key => state.get(key) === null || state.get(key) === "" ? NaN : Number(state.get(key));
  filter.words = words;
  filter.set = name => new Set(state.getAll(name));
  [filter.dataset, filter.family, filter.method, filter.device] = ["dataset", "family", "method", "device"].map(filter.set);
  [filter.from, filter.to] = [bound("from"), bound("to")];
  filter.active = words.length > 0 || filter.family.size > 0 || filter.method.size > 0 || filter.device.size > 0
    || !Number.isNaN(filter.from) || !Number.isNaN(filter.to);
};

// The family of a method; what does not say its family is shown as one of its own.
const familyOf = point => point.family ?? "other";

const has = (set, value) => set.size === 0 || set.has(value);

// Whether a method is shown. Every word must be in its name; `-word` leaves out those that contain it.
const fits = point => {
  const name = point.label.toLowerCase();
  return filter.words.every(word => word.length > 1 && word[0] === "-" ? !name.includes(word.slice(1)) : name.includes(word))
    && has(filter.family, familyOf(point)) && has(filter.method, point.method) && has(filter.device, point.device)
    && !(point.bits < filter.from) && !(point.bits > filter.to);
};

// A menu of choices. None of them means all.
const menu = (title, key, choices, changed) => {
  const summary = element("summary", {});
  const boxes = choices.map(([value, text, meaning]) =>
    element("input", { type: "checkbox", value, onchange: () => changed(boxes.filter(box => box.checked).map(box => box.value)) }));
  const lines = choices.map(([, text, meaning], i) => element("label", { title: meaning }, boxes[i], " " + text));
  const folded = element("details", { class: "menu" }, summary,
    element("fieldset", {}, element("legend", { class: "unseen" }, title), ...lines));
  folded.addEventListener("keydown", event => {
    if (event.key === "Escape" && folded.open) { folded.open = false; summary.focus(); event.stopPropagation(); }
  });
  folded.show = (chosen, text) => {
    boxes.forEach(box => box.checked = chosen.has(box.value));
    summary.textContent = `${title}: ${text}`;
  };
  return folded;
};

const distinct = values => [...new Set(values)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));

// The columns that a reader sees: the chosen ones, or without a choice all, and the most important ones on a phone.
const narrow = matchMedia("(max-width: 40rem)");
const shownColumns = columns => {
  const chosen = (state.get("columns") ?? "").split(",").filter(Boolean);
  const wanted = chosen.length ? column => chosen.includes(column.key) : column => column.essential || !narrow.matches;
  return columns.filter(wanted);
};

const filterBar = (data, changed) => {
  const points = data.datasets.flatMap(dataset => dataset.points);
  const columns = new Map(data.datasets.flatMap(dataset => dataset.columns).map(column => [column.key, column]));
  const set = key => chosen => { keep({ [key]: chosen }); changed(); };
  const words = element("input", {
    type: "search", placeholder: "words, -without", "aria-label": "Show only methods whose name has these words",
    oninput: () => { keep({ words: words.value.trim() }); changed(); },
  });
  const bound = (key, text) => {
    const input = element("input", {
      type: "number", min: "0", "aria-label": text,
      oninput: () => { keep({ [key]: input.value }); changed(); },
    });
    return input;
  };
  const [from, to] = [bound("from", "Least bits per vector"), bound("to", "Most bits per vector")];
  const menus = [
    ["Dataset", "dataset", data.datasets.map(dataset => dataset.name)],
    ["Family", "family", distinct(points.map(familyOf))],
    ["Method", "method", distinct(points.map(point => point.method))],
    ["Device", "device", distinct(points.map(point => point.device))],
  ].filter(([, , values]) => new Set(values).size > 1).map(([title, key, values]) => {
    const choices = [...new Set(values)].map(value => [value, value]);
    return { key, show: menu(title, key, choices, set(key)) };
  });
  const titles = [...columns.values()].map((column, i, all) => {
    // A column for re-ranked searches follows that of the same metric.
    const before = all.slice(0, i).reverse().find(other => !other.title.startsWith("…"));
    return [column.key, column.title.startsWith("…") && before ? `${before.title} ${column.title.slice(2)}` : column.title, column.meaning];
  });
  const chooser = menu("Columns", "columns", titles, chosen => {
    const all = [...columns.keys()];
    keep({ columns: chosen.length === all.length ? "" : chosen.join(",") });
    changed();
  });
  const theme = element("select", { "aria-label": "Colours of the page", onchange: () => { keep({ theme: theme.value }); changed(); } },
    ...[["", "Colours: as the system"], ["light", "Colours: light"], ["dark", "Colours: dark"]].map(([value, text]) => element("option", { value }, text)));
  const output = element("output", {});
  const reset = element("button", {
    type: "button",
    onclick: () => { for (const key of [...state.keys()]) if (key !== "theme") keep({ [key]: "" }); changed(); },
  }, "Reset");
  const bar = document.getElementById("filters");
  bar.replaceChildren(words, ...menus.map(one => one.show),
    element("span", { class: "rate" }, "Bits per vector ", from, " to ", to), chooser, reset, theme, output);
  bar.hidden = false;
  bar.addEventListener("submit", event => event.preventDefault());
  document.addEventListener("click", event => {
    for (const open of bar.querySelectorAll("details[open]")) if (!open.contains(event.target)) open.open = false;
  });
  return () => {
    readFilter();
    // What is being typed is not touched.
    const show = (input, value) => { if (document.activeElement !== input) input.value = value; };
    show(words, state.get("words") ?? "");
    show(from, state.get("from") ?? "");
    show(to, state.get("to") ?? "");
    for (const { key, show } of menus) {
      const chosen = filter.set(key);
      show.show(chosen, chosen.size === 0 ? "all" : [...chosen].join(", "));
    }
    const shown = new Set(shownColumns([...columns.values()]).map(column => column.key));
    chooser.show(shown, `${shown.size} of ${columns.size}`);
    theme.value = state.get("theme") ?? "";
    if (theme.value) document.documentElement.dataset.theme = theme.value;
    else delete document.documentElement.dataset.theme;
    const of = data.datasets.filter(dataset => has(filter.dataset, dataset.name));
    const all = of.flatMap(dataset => dataset.points);
    output.value = filter.active ? `${all.filter(fits).length.toLocaleString("en")} of ${count(all.length, "method")}` : count(all.length, "method");
  };
};
