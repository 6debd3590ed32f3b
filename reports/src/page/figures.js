// Figures: what a point says when it is pointed at, which trial it opens, and zoom. A figure gets its abilities when it
// is first used, because a page can have hundreds of them.
const tip = document.getElementById("tip");

const showTip = (text, box) => {
  if (!text) return hideTip();
  tip.textContent = text;
  tip.classList.add("shown");
  const width = Math.min(tip.offsetWidth, innerWidth - 16);
  const left = Math.min(Math.max(8, box.left + box.width / 2 - width / 2), innerWidth - width - 8);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
};
const hideTip = () => tip.classList.remove("shown");

// The method that a mark is about. A mark names its trials, or its curve or method and exact values.
const finder = data => {
  const byTrial = new Map();
  const byName = new Map();
  data.datasets.forEach((dataset, at) => dataset.points.forEach((point, number) => {
    for (const trial of point.trials) byTrial.set(trial[0], [at, number]);
    for (const name of new Set([point.label, point.series])) {
      const key = `${at} ${name}`;
      byName.set(key, [...byName.get(key) ?? [], number]);
    }
  }));
  return (at, text) => {
    const named = text.match(/[0-9a-f]{8,}/g)?.find(word => byTrial.has(word));
    if (named) return byTrial.get(named);
    if (at < 0) return null;
    for (let end = text.indexOf(": "); end > 0; end = text.indexOf(": ", end + 1)) {
      const found = byName.get(`${at} ${text.slice(0, end)}`);
      if (!found) continue;
      // Of the points of a curve, the one with most of the numbers that the mark says.
      const numbers = new Set((text.slice(end).match(/-?\d+(?:\.\d+)?(?:e-?\d+)?/g) ?? []).map(Number));
      const score = number => {
        const point = data.datasets[at].points[number];
        const close = value => [...numbers].some(one => Math.abs(one - value) <= 2e-4 * Math.abs(value));
        return (numbers.has(point.bits) ? 1 : 0)
          + data.datasets[at].columns.filter(column => column.value[number] && close(column.value[number])).length;
      };
      const scores = found.map(score);
      const best = Math.max(...scores);
      if (best > 0 || found.length === 1) return [at, found[scores.indexOf(best)]];
    }
    return null;
  };
};

const motion = { animate: !matchMedia("(prefers-reduced-motion: reduce)").matches };

// Distance in pixels that a pointer may move during a click.
const CLICK = 5;

const figureTools = (data, open) => {
  const find = finder(data);
  const prepared = new WeakMap();

  const prepare = figure => {
    if (prepared.has(figure)) return prepared.get(figure);
    const view = figure.querySelector(".zoom");
    const svg = view?.querySelector("svg");
    if (!svg) return null;
    const section = figure.closest("section[id^=d]");
    const at = section && /^d\d+$/.test(section.id) ? Number(section.id.slice(1)) : -1;
    const marks = [...svg.querySelectorAll("rect[pointer-events=all]")].map(shape => {
      const title = shape.querySelector("title");
      const text = title?.textContent ?? "";
      // The page says it itself, at once.
      title?.remove();
      const about = find(at, text);
      shape.classList.add("mark");
      shape.classList.toggle("opens", about !== null);
      return { shape, text, about };
    });
    const byShape = new Map(marks.map(mark => [mark.shape, mark]));
    const zoom = Panzoom(svg, {
      maxScale: 24, minScale: 1, contain: "outside", panOnlyWhenZoomed: true, cursor: "", step: 0.5,
      touchAction: "pan-x pan-y",
      handleStartEvent: event => { if (zoom.getScale() > 1) event.preventDefault(); },
    });
    const scaled = () => {
      const zoomed = zoom.getScale() > 1.001;
      figure.classList.toggle("zoomed", zoomed);
      svg.style.touchAction = zoomed ? "none" : "pan-x pan-y";
    };
    svg.addEventListener("panzoomchange", scaled);
    let now = -1;
    const say = number => {
      now = number;
      marks.forEach((mark, i) => mark.shape.classList.toggle("now", i === number));
      const mark = marks[number];
      if (mark) showTip(mark.text + (mark.about ? " – Enter opens it." : ""), mark.shape.getBoundingClientRect());
      else hideTip();
    };
    const pointed = event => byShape.get(event.target);
    view.addEventListener("pointerover", event => { const mark = pointed(event); if (mark) showTip(mark.text, mark.shape.getBoundingClientRect()); });
    view.addEventListener("pointerout", event => { if (pointed(event)) hideTip(); });
    let start = [0, 0];
    view.addEventListener("pointerdown", event => start = [event.clientX, event.clientY], true);
    view.addEventListener("click", event => {
      const mark = pointed(event);
      if (!mark || Math.hypot(event.clientX - start[0], event.clientY - start[1]) > CLICK) return;
      if (mark.about) { hideTip(); open(...mark.about); } else showTip(mark.text, mark.shape.getBoundingClientRect());
    });
    // A wheel scrolls the page, unless it is meant for the figure.
    view.addEventListener("wheel", event => {
      if (event.ctrlKey || event.metaKey || figure.classList.contains("zoomed")) { hideTip(); zoom.zoomWithWheel(event); }
    }, { passive: false });
    // Towards the value that the arrow keys have reached, if there is one.
    const scale = by => {
      const box = marks[now]?.shape.getBoundingClientRect();
      if (box) zoom.zoomToPoint(zoom.getScale() * by, { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 });
      else if (by > 1) zoom.zoomIn(motion);
      else zoom.zoomOut(motion);
      hideTip();
    };
    const keys = {
      "+": () => scale(1.6), "=": () => scale(1.6), "-": () => scale(1 / 1.6), "0": () => zoom.reset(motion),
      ArrowRight: () => say((now + 1) % marks.length), ArrowLeft: () => say(now <= 0 ? marks.length - 1 : now - 1),
      Home: () => say(0), End: () => say(marks.length - 1), Escape: () => say(-1),
      Enter: () => marks[now]?.about && (hideTip(), open(...marks[now].about)),
    };
    const pans = { ArrowRight: [-40, 0], ArrowLeft: [40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    view.addEventListener("keydown", event => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const pan = event.shiftKey && pans[event.key];
      const action = pan ? () => zoom.pan(pan[0] / zoom.getScale(), pan[1] / zoom.getScale(), { relative: true })
        : keys[event.key] && (marks.length || !/Arrow|Home|End/.test(event.key)) ? keys[event.key] : null;
      if (!action) return;
      event.preventDefault();
      action();
    });
    view.addEventListener("blur", () => say(-1));
    const made = { marks, zoom };
    prepared.set(figure, made);
    return made;
  };

  const dim = figure => {
    // Points of methods that the filter hides are pale. Unused figures have nothing to reset.
    if (!filter.active && !prepared.has(figure)) return;
    for (const { shape, about } of prepare(figure)?.marks ?? []) {
      shape.classList.toggle("pale", about !== null && !fits(data.datasets[about[0]].points[about[1]]));
    }
  };

  const unpack = async figure => {
    const holder = figure.querySelector("script.packed");
    if (!holder || typeof DecompressionStream === "undefined") return;
    const text = holder.textContent;
    holder.remove();
    const view = figure.querySelector(".zoom");
    view.innerHTML = await inflated(text);
    dim(figure);
  };

  const all = [...document.querySelectorAll("figure.drawn")];
  const watcher = new IntersectionObserver(entries => {
    for (const entry of entries.filter(entry => entry.isIntersecting)) {
      watcher.unobserve(entry.target);
      unpack(entry.target);
    }
  }, { rootMargin: "600px" });
  for (const figure of all) {
    const view = figure.querySelector(".zoom");
    if (!view) continue;
    view.tabIndex = 0;
    view.setAttribute("role", "application");
    view.setAttribute("aria-roledescription", "figure");
    const ready = () => prepare(figure);
    view.addEventListener("pointerenter", ready);
    view.addEventListener("focus", ready);
    const button = (text, label, act) => element("button", { type: "button", "aria-label": label, title: label, onclick: () => { const tools = prepare(figure); if (tools) act(tools.zoom); } }, text);
    figure.querySelector(".tools").replaceChildren(
      button("+", "+ zoom in", zoom => zoom.zoomIn(motion)), button("−", "− zoom out", zoom => zoom.zoomOut(motion)), button("⟲", "⟲ reset zoom", zoom => zoom.reset(motion)));
    if (figure.querySelector("script.packed")) watcher.observe(figure);
  }
  return () => all.forEach(dim);
};
