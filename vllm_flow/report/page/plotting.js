// The section of plots: which metric, which plot, and over which keys.
const PARETO = [
  ["tokens generated per answer", (point) => perAnswer(point, point.cost.completion_tokens)],
  ["tokens read and generated per answer", (point) => perAnswer(point, point.cost.completion_tokens + point.cost.prompt_tokens)],
  ["seconds per answer", (point, place) => data.metrics.find((one) => one.name === "seconds")?.cells[place].mean ?? null],
];
const perAnswer = (point, tokens) => {
  const asked = point.answered - point.stored; // the store's cost nothing
  return asked > 0 && !point.cost.unknown && tokens ? tokens / asked : null;
};

const pareto = (metric, [name, costOf]) => {
  const shown = known(metric, data.points.map((_, place) => place))
    .map((place) => ({ place, cost: costOf(data.points[place], place), mean: metric.cells[place].mean }))
    .filter((one) => one.cost !== null && data.points[one.place].finished);
  if (new Set(shown.map((one) => one.cost)).size < 2) return null;
  const frame = { left: 64, right: WIDTH - 24, bottom: 292 };
  const across = scale(shown.map((one) => one.cost), frame.left + 20, frame.right - 20);
  const vertical = scale(limits(metric, shown.map((one) => one.place)), frame.bottom, 30);
  const better = (a, b) => (metric.higher_is_better ? a > b : a < b);
  const front = [];
  for (const one of [...shown].sort((a, b) => a.cost - b.cost || (better(a.mean, b.mean) ? -1 : 1))) {
    if (!front.length || better(one.mean, front[front.length - 1].mean)) front.push(one);
  }
  const parts = axes(across.marks.map((value) => [across.at(value), number(value)]), vertical, frame, [name, metric.name]);
  const spot = (one) => `${across.at(one.cost)} ${vertical.at(one.mean)}`;
  parts.push(draw("path", { class: "base", d: front.map((one, index) => (index ? "L" : "M") + spot(one)).join("") }));
  for (const one of shown) {
    const x = across.at(one.cost), { interval } = metric.cells[one.place];
    if (interval) parts.push(draw("line", { class: "bar", opacity: 0.35, x1: x, x2: x, y1: vertical.at(interval[0]), y2: vertical.at(interval[1]) }));
    parts.push(mark(metric, one.place, x, vertical.at(one.mean)));
    if (front.includes(one)) {
      const end = x > (frame.left + frame.right) / 2;
      parts.push(draw("text", { x: x + (end ? -9 : 9), y: vertical.at(one.mean) - 7, class: "label", "text-anchor": end ? "end" : "start" }, clipped(titled(data.points[one.place]), 40)));
    }
  }
  return picture(340, `${metric.name} against ${name}`, ...parts);
};

const kinds = () => {
  const found = [["dots", "all points"]];
  if (data.keys.length >= 1) found.unshift(["curve", "curve"]);
  if (data.keys.length >= 2) found.unshift(["heat", "heat map"]);
  return found;
};
// Keys that were changed together, as sweep.zip does, fill no grid.
const crossed = ([keyX, keyY]) => {
  const pairs = new Set(data.points.map((point) => `${point.values[keyX]}\n${point.values[keyY]}`));
  const count = (key) => new Set(data.points.map((point) => point.values[key])).size;
  return pairs.size > Math.max(count(keyX), count(keyY)) && pairs.size * 2 >= count(keyX) * count(keyY);
};
const firstKind = () => {
  if (data.keys.length >= 2) return crossed(data.keys) ? "heat" : "dots";
  return data.keys.length === 1 ? "curve" : "dots";
};

const plotting = (section) => {
  const metrics = data.metrics.filter((one) => one.cells.some((cell) => cell.mean !== null));
  if (!metrics.length || data.kind === "run") return;
  section.hidden = false;
  const state = { metric: metrics[0].name, kind: firstKind(), keys: data.keys.slice(0, 2), fixed: {}, cost: 0 };
  for (const key of data.keys) state.fixed[key] = data.points[data.baseline].values[key] ?? "";
  const controls = make("div", { class: "controls" }), place = make("div");
  section.append(controls, place);
  const set = (name) => (value) => { state[name] = value; show(); };
  const setKey = (axis) => (value) => {
    if (state.keys[1 - axis] === value) state.keys[1 - axis] = state.keys[axis];
    state.keys[axis] = value;
    show();
  };
  const keyChoices = data.keys.map((key) => [key, key]);
  const show = () => {
    const metric = metrics.find((one) => one.name === state.metric);
    const used = state.kind === "heat" ? 2 : state.kind === "curve" ? 1 : 0;
    const rest = used ? data.keys.filter((key) => !state.keys.slice(0, used).includes(key)) : [];
    const focus = [...controls.querySelectorAll("select")].indexOf(document.activeElement);
    controls.replaceChildren(
      selection("metric", metrics.map((one) => [one.name, one.name]), state.metric, set("metric")),
      selection("plot", kinds(), state.kind, set("kind")),
      ...(used && data.keys.length > 1 ? [selection("across", keyChoices, state.keys[0], setKey(0))] : []),
      ...(used === 2 && data.keys.length > 2 ? [selection("down", keyChoices, state.keys[1], setKey(1))] : []),
      ...rest.map((key) => selection(short(key), ordered(data.points.map((point) => point.values[key] ?? "")).values.map((value) => [value, value]),
        state.fixed[key], (value) => { state.fixed[key] = value; show(); })),
    );
    controls.querySelectorAll("select")[focus]?.focus();
    const places = data.points.map((_, index) => index)
      .filter((index) => rest.every((key) => (data.points[index].values[key] ?? "") === state.fixed[key]));
    place.replaceChildren(...figures(metric, places, state, show));
  };
  show();
};
const figures = (metric, places, state, show) => {
  const drawn = !known(metric, places).length ? null
    : state.kind === "heat" ? heat(metric, state.keys, places)
    : state.kind === "curve" ? curve(metric, state.keys[0], places) : dots(metric);
  const axis = metric.judged ? ` ${metric.higher_is_better ? "Higher" : "Lower"} is better.`
    : metric.higher_is_better === null ? " It says nothing of quality." : " It depends on what else was in the batch.";
  const found = [make("figure", {}, drawn ?? "No point here has a value.", make("figcaption", {}, caption(metric, state) + axis))];
  if (metric.configured && metric.judged) {
    const plot = pareto(metric, PARETO[state.cost]);
    const choices = selection("against", PARETO.map(([name], index) => [String(index), name]), String(state.cost), (value) => { state.cost = Number(value); show(); });
    if (known(metric, places).length > 1) {
      found.push(make("div", { class: "controls" }, make("span", {}, `${metric.name} and what it costs`), choices),
        make("figure", {}, plot ?? "All points cost the same, or do not tell.", plot && make("figcaption", {},
          "The broken line joins the points that no other beats at their cost. It is drawn through means, so see the intervals.")));
    }
  }
  return found;
};
const caption = (metric, state) => {
  const base = { heat: "The frame marks the baseline; ▲ and ▼ are better and worse by the comparison.", curve: "The broken line is at the baseline.",
    dots: "The baseline has another colour." }[state.kind];
  const bars = metric.cells.some((cell) => cell.interval) && state.kind !== "heat" ? " Bars are intervals of each point alone; differences from the baseline are paired, and sharper." : "";
  return `${metric.name} (${metric.use}). ${base}${bars}`;
};
