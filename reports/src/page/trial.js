// The dialog about one configuration and its trials: parameters, the experiment that repeats a trial, its log, all values
// with their intervals, training curves, and what went wrong.
const dialog = document.getElementById("trial");

const row = (...cells) => element("tr", {}, ...cells.map((cell, i) => element(i ? "td" : "th", i ? {} : { scope: "row" }, cell)));
const grid = (label, head, rows, kind = "words") => element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
  element("table", { class: kind, "aria-label": label },
    element("thead", {}, element("tr", {}, ...head.map(title => element("th", { scope: "col" }, title)))),
    element("tbody", {}, ...rows)));

// A curve with its band, as a small drawing with the ends of its axes.
const NS = "http://www.w3.org/2000/svg";
const curve = ([name, x, y, low, high]) => {
  const shape = (tag, attributes, text) => {
    const made = document.createElementNS(NS, tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const [least, most] = [Math.min(...y, ...low), Math.max(...y, ...high)];
  const [left, right, top, bottom] = [64, 312, 10, 110];
  const across = at => left + (right - left) * (at - x[0]) / (x.at(-1) - x[0] || 1);
  const down = value => bottom - (bottom - top) * (value - least) / (most - least || 1);
  const line = values => values.map((value, i) => `${across(x[i]).toFixed(1)},${down(value).toFixed(1)}`);
  const title = name.replaceAll("_", " ");
  const svg = shape("svg", {
    viewBox: "0 0 320 132", role: "img",
    "aria-label": `${title}: ${y[0]} at ${x[0]}, ${y.at(-1)} at ${x.at(-1)}; least ${Math.min(...y)}, most ${Math.max(...y)}`,
  });
  if (low.length) svg.append(shape("polygon", { class: "band", points: [...line(high), ...line(low).reverse()].join(" ") }));
  svg.append(
    shape("path", { class: "axes", d: `M${left} ${top}V${bottom}H${right}` }),
    shape("polyline", { class: "line", points: line(y).join(" ") }),
    shape("text", { x: left - 4, y: top + 4, "text-anchor": "end" }, most),
    shape("text", { x: left - 4, y: bottom, "text-anchor": "end" }, least),
    shape("text", { x: left, y: bottom + 16 }, x[0]),
    shape("text", { x: right, y: bottom + 16, "text-anchor": "end" }, x.at(-1)));
  return element("figure", { class: "curve" }, svg, element("figcaption", {}, title));
};

// Whether the page's name of a dataset is that of a run. Reports of several runs may add the name of the run.
const isOf = (shown, name) => shown === name || shown.startsWith(`${name} (`);

// The experiment that repeats a trial: what all trials of its run share, and what this one adds.
const repeat = (run, dataset, method, device, threads, seed) => {
  if (!run.repeat) return null;
  const of = run.repeat.datasets.find(([name]) => name === dataset) ?? run.repeat.datasets.find(([name]) => isOf(dataset, name));
  if (!of) return null;
  return `${run.repeat.head}seeds: [${seed}]\ndevice: [${device}]\nthreads: [${threads}]\n${of[1]}${method}${run.repeat.tail}`;
};

const copyButton = source => element("button", {
  type: "button",
  onclick: async event => {
    const said = event.target;
    try {
      await navigator.clipboard.writeText(source.textContent);
      said.textContent = "Copied";
    } catch {
      // Without access to the clipboard the text is marked, to be copied by hand.
      getSelection().selectAllChildren(source);
      said.textContent = "Marked; copy it with Ctrl+C";
    }
    setTimeout(() => said.textContent = "Copy", 2500);
  },
}, "Copy");

const yaml = text => {
  if (text === null) return [element("p", {}, "The run does not say which experiment repeats this trial.")];
  const source = element("pre", { tabindex: "0", role: "region", "aria-label": "Experiment that repeats this trial" }, text);
  return [
    source,
    element("p", {}, copyButton(source), " Save it as ", element("code", {}, "trial.yaml"), " beside the file of the experiment, and run ",
      element("code", {}, "cargo xtask experiments trial.yaml"), ". With the same source revision it is the same trial, with the same id and the same codes."),
  ];
};

const trialTable = (data, trials) => grid("Trials", ["trial", "seed", "status", "seconds", "machine and revision"],
  trials.map(([trial, status, reason]) =>
    row(element("code", {}, trial[0]), String(trial[1]), status + (reason ? `: ${reason}` : ""), String(trial[2]), data.machines[trial[3]])));

// The logs of trials: how long each phase took, remarks, and the end of what their processes wrote on standard error.
// `trials` has each trial with its log, if it is known.
const logs = (all, trials) => {
  const known = trials.filter(([, log]) => log);
  if (!known.length) return [];
  const of = trial => trials.length > 1 ? `, seed ${trial[1]}` : "";
  const names = [...new Set(known.flatMap(([, log]) => all.phases[log.phases]))];
  const took = (log, name) => log.seconds.filter((_, i) => all.phases[log.phases][i] === name);
  const rows = names.map(name => row(name, ...known.map(([, log]) => took(log, name).join(" + ") || "–")));
  if (rows.length) rows.push(row("whole process", ...known.map(([trial]) => String(trial[2]))));
  return [
    rows.length ? grid("Seconds of each phase", ["phase", ...known.map(([trial]) => `seconds${of(trial)}`)], rows, "log") : null,
    ...known.flatMap(([trial, log]) => (log.remarks ?? []).map(remark => element("p", {}, remark + (of(trial) && ` (seed ${trial[1]})`)))),
    ...known.filter(([, log]) => log.error).flatMap(([trial, log]) => {
      const label = `Standard error${of(trial)}`;
      return [element("p", { class: "hint" }, label), element("pre", { tabindex: "0", role: "region", "aria-label": label }, log.error)];
    }),
  ].filter(Boolean);
};

// What a page had no room for.
const leftOut = all => all?.left_out
  ? element("p", { class: "hint" }, `Left out, so that this page stays small: ${all.left_out}. The run has all of it: values in results.parquet, parameters and logs in trials.parquet. cargo xtask query reads both.`)
  : all ? null : element("p", { class: "hint" }, "This browser is too old to unpack the other details of this page.");

const part = (title, ...content) => content.length ? [element("h3", {}, title), ...content] : [];

const show = (title, id, ...content) => {
  const heading = element("h2", { id: "trial-title", tabindex: "-1" }, title);
  const close = element("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "×");
  dialog.replaceChildren(element("header", {}, heading, close), element("div", { class: "content" }, ...content.filter(Boolean)));
  keep({ trial: id });
  if (!dialog.open) dialog.showModal();
  heading.focus();
  dialog.scrollTop = 0;
};
// The event comes later: by then another trial may be open.
dialog.addEventListener("close", () => { if (!dialog.open) keep({ trial: "" }); });
// A click beside the dialog closes it.
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });

// The identity of a trial in the state of the page; several runs may have the same trial.
const address = (data, run, trial) => (data.runs.length > 1 ? run + "." : "") + trial[0];

const facts = (data, point, dataset) => element("dl", {},
  ...[
    ["method", point.method], ...(point.family ? [["family", point.family]] : []), ["dataset", dataset], ["rate", `${count(point.bits, "bit")}, ${count(Math.ceil(point.bits / 8), "byte")} per vector`],
    ["device", `${point.device}, ${count(point.threads, "thread")}`], ["run", data.runs[point.run].name],
  ].flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]));

const openPoint = async (data, details, at, number, chosen = 0) => {
  const dataset = data.datasets[at];
  const point = dataset.points[number];
  const all = await details();
  const more = all?.datasets[at]?.points[number];
  const known = all?.datasets[at]?.quantities ?? [];
  const written = seed => repeat(data.runs[point.run], dataset.name, more.yaml, point.device, point.threads, seed);
  const place = element("div", {});
  const seeds = element("select", { "aria-label": "Seed", onchange: () => showYaml() },
    ...point.trials.map((trial, i) => element("option", { value: i, selected: i === chosen }, `seed ${trial[1]}`)));
  const showYaml = () => {
    const trial = point.trials[seeds.value];
    place.replaceChildren(...yaml(written(trial[1])));
    keep({ trial: address(data, point.run, trial) });
  };
  const twins = data.failed.filter(one => one.run === point.run && one.yaml === more?.yaml && one.device === point.device
    && one.threads === point.threads && isOf(dataset.name, one.dataset));
  const parameters = more ? more.yaml.split("\n")[1]?.replace(/^ *- /, "") : "";
  const values = more?.values.map(([index, value, low, high, n]) => {
    const { metric, unit, meaning, of } = known[index];
    const cells = row(element("span", { title: meaning }, metric), of, `${value} ${unit}`, n > 1 ? `${low} to ${high}` : "–", String(n));
    return cells;
  }) ?? [];
  show(point.label, address(data, point.run, point.trials[chosen]),
    facts(data, point, dataset.name),
    ...part("Parameters", ...(parameters ? [element("pre", { tabindex: "0", role: "region", "aria-label": "Parameters" }, parameters)] : [])),
    ...part("Trials", trialTable(data, [...point.trials.map(trial => [trial, "ok", ""]), ...twins.map(one => [one.trial, one.status, one.reason])])),
    ...(more ? part("Repeat a trial", point.trials.length > 1 ? element("p", {}, "Experiment for ", seeds) : null, place) : []).filter(Boolean),
    ...part("Log", ...logs(all, point.trials.map((trial, i) => [trial, more?.logs[i]]))),
    ...part("Training", ...(more?.curves.length ? [element("div", { class: "curves" }, ...more.curves.map(curve))] : [])),
    ...part("All values", ...(values.length ? [grid("All values", ["metric", "of", "value", "95% interval over seeds", "n"], values)]
      : [columnValues(dataset, number)])),
    leftOut(all),
    ...part("Notes on the vectors", ...dataset.remarks.map(remark => element("p", {}, remark))));
  if (more) showYaml();
};

// The values of the leaderboard, where the page has no others.
const columnValues = (dataset, number) => grid("Values", ["metric", "value", "interval"],
  dataset.columns.filter(column => column.value[number] !== null)
    .map(column => row(element("span", { title: column.meaning }, column.title), String(column.value[number]), interval(column, number) || "–")));

const openFailed = async (data, details, number) => {
  const one = data.failed[number];
  const all = await details();
  show(`${one.label}: ${one.status}`, address(data, one.run, one.trial),
    facts(data, one, one.dataset),
    ...part("What it said", ...(one.reason ? [element("pre", { tabindex: "0", role: "region", "aria-label": "What it said" }, one.reason)] : [])),
    ...part("Trial", trialTable(data, [[one.trial, one.status, ""]])),
    ...part("Log", ...logs(all, [[one.trial, all?.failed[number]]])),
    ...part("Repeat it", ...yaml(repeat(data.runs[one.run], one.dataset, one.yaml, one.device, one.threads, one.trial[1]))),
    leftOut(all));
};

// Opens the trial that the state of the page names.
const openAddressed = (data, details) => {
  const wanted = state.get("trial");
  if (!wanted) return dialog.open && dialog.close();
  for (const [at, dataset] of data.datasets.entries()) {
    for (const [number, point] of dataset.points.entries()) {
      const chosen = point.trials.findIndex(trial => address(data, point.run, trial) === wanted);
      if (chosen >= 0) return openPoint(data, details, at, number, chosen);
    }
  }
  const failed = data.failed.findIndex(one => address(data, one.run, one.trial) === wanted);
  if (failed >= 0) openFailed(data, details, failed);
};
