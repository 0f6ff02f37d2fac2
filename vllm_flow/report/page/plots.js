// Plots of one metric over the points: all of them with intervals, a curve over one key, a heat map over two.
const WIDTH = 760;

const describe = (metric, place) => {
  const cell = metric.cells[place];
  const lines = [titled(data.points[place]), `${metric.name}: ${withInterval(cell.mean, cell.interval)}`];
  if (cell.difference !== null) {
    lines.push(`from the baseline: ${withInterval(cell.difference, cell.difference_interval, true)}`);
  }
  if (cell.verdict) lines.push(cell.verdict);
  if (!data.points[place].finished) lines.push(`${data.points[place].status}: not all of its answers`);
  return lines.join("\n");
};
const mark = (metric, place, x, y) => {
  const hollow = !data.points[place].finished;
  const kind = place === data.baseline && data.kind === "sweep" ? "mark of-base" : "mark";
  return draw("circle", { cx: x, cy: y, r: hollow ? 3 : 4.5, class: kind, opacity: hollow ? 0.45 : 1 },
    draw("title", {}, describe(metric, place)));
};
const known = (metric, places) => places.filter((place) => metric.cells[place].mean !== null);
const limits = (metric, places) => places.flatMap((place) => {
  const cell = metric.cells[place];
  return [cell.mean, ...(cell.interval ?? [])];
});
const picture = (height, label, ...parts) =>
  draw("svg", { viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height, role: "img", "aria-label": label }, ...parts);

const dots = (metric) => {
  const places = known(metric, data.points.map((_, place) => place));
  const row = 22, top = 8, left = 250, height = top + places.length * row + 44;
  const { at, marks } = scale(limits(metric, places), left, WIDTH - 30);
  const bottom = top + places.length * row;
  const parts = marks.flatMap((value) => [
    draw("line", { class: "rule", x1: at(value), x2: at(value), y1: top, y2: bottom }),
    draw("text", { class: "faint", x: at(value), y: bottom + 16, "text-anchor": "middle" }, number(value)),
  ]);
  places.forEach((place, index) => {
    const y = top + (index + 0.5) * row, cell = metric.cells[place];
    parts.push(draw("text", { x: left - 12, y: y + 4, "text-anchor": "end" }, clipped(titled(data.points[place]), 38)));
    if (cell.interval) parts.push(draw("line", { class: "bar", x1: at(cell.interval[0]), x2: at(cell.interval[1]), y1: y, y2: y }));
    parts.push(mark(metric, place, at(cell.mean), y));
  });
  parts.push(draw("text", { class: "faint", x: (left + WIDTH - 30) / 2, y: bottom + 36, "text-anchor": "middle" }, metric.name));
  return picture(height, `${metric.name} of each point, with intervals`, ...parts);
};

const axes = (horizontal, vertical, frame, names) => [
  ...vertical.marks.flatMap((value) => [
    draw("line", { class: "rule", x1: frame.left, x2: frame.right, y1: vertical.at(value), y2: vertical.at(value) }),
    draw("text", { class: "faint", x: frame.left - 8, y: vertical.at(value) + 4, "text-anchor": "end" }, number(value)),
  ]),
  ...horizontal.map(([x, text]) => draw("text", { class: "faint", x, y: frame.bottom + 18, "text-anchor": "middle" }, text)),
  draw("text", { class: "faint", x: (frame.left + frame.right) / 2, y: frame.bottom + 40, "text-anchor": "middle" }, names[0]),
  draw("text", { class: "faint", x: frame.left - 8, y: 14, "text-anchor": "start", dx: -44 }, names[1]),
];

const curve = (metric, key, places) => {
  const shown = known(metric, places);
  const { values, numeric } = ordered(shown.map((place) => data.points[place].values[key] ?? ""));
  const frame = { left: 64, right: WIDTH - 24, bottom: 272 };
  const vertical = scale(limits(metric, shown), frame.bottom, 30);
  const room = (frame.right - frame.left) / values.length;
  const across = numeric && values.length > 1 ? scale(values.map(Number), frame.left + 20, frame.right - 20) : null;
  const x = (value) => (across ? across.at(Number(value)) : frame.left + (values.indexOf(value) + 0.5) * room);
  const labels = across ? across.marks.map((value) => [across.at(value), number(value)])
    : values.map((value) => [x(value), clipped(value, Math.max(4, Math.floor(room / 7)))]);
  const parts = axes(labels, vertical, frame, [key, metric.name]);
  const spots = shown.map((place) => ({ place, x: x(data.points[place].values[key] ?? ""), y: vertical.at(metric.cells[place].mean) }));
  spots.sort((a, b) => a.x - b.x);
  const base = spots.find((one) => one.place === data.baseline);
  if (base) parts.push(draw("line", { class: "base", x1: frame.left, x2: frame.right, y1: base.y, y2: base.y }));
  if (numeric) parts.push(draw("path", { class: "bar", opacity: 0.5, d: spots.map((one, index) => `${index ? "L" : "M"}${one.x} ${one.y}`).join("") }));
  for (const { place, x: at, y } of spots) {
    const { interval } = metric.cells[place];
    if (interval) parts.push(draw("line", { class: "bar", x1: at, x2: at, y1: vertical.at(interval[0]), y2: vertical.at(interval[1]) }));
    parts.push(mark(metric, place, at, y));
  }
  return picture(320, `${metric.name} over ${key}, with intervals`, ...parts);
};

const heat = (metric, [keyX, keyY], places) => {
  const at = (place, key) => data.points[place].values[key] ?? "";
  const columns = ordered(places.map((place) => at(place, keyX))).values;
  const rows = ordered(places.map((place) => at(place, keyY))).values;
  const left = 130, top = 12, width = Math.min(120, (WIDTH - left - 10) / columns.length), height = 34;
  const shown = known(metric, places).map((place) => metric.cells[place].mean);
  const low = Math.min(...shown), high = Math.max(...shown);
  const parts = [];
  for (const [row, y] of rows.entries()) {
    parts.push(draw("text", { class: "faint", x: left - 10, y: top + row * height + 22, "text-anchor": "end" }, clipped(y, 16)));
    for (const [column, x] of columns.entries()) {
      const place = places.find((one) => at(one, keyX) === x && at(one, keyY) === y);
      parts.push(...tile(metric, place, { x: left + column * width, y: top + row * height, width: width - 3, height: height - 3 }, low, high));
    }
  }
  const bottom = top + rows.length * height;
  columns.forEach((x, column) => parts.push(draw("text", { class: "faint", x: left + (column + 0.5) * width, y: bottom + 16, "text-anchor": "middle" }, clipped(x, Math.max(4, Math.floor(width / 7))))));
  parts.push(draw("text", { class: "faint", x: left + (columns.length * width) / 2, y: bottom + 38, "text-anchor": "middle" }, keyX));
  parts.push(draw("text", { class: "faint", x: 4, y: bottom + 38 }, `↑ ${keyY}`));
  return picture(bottom + 48, `${metric.name} over ${keyX} and ${keyY}`, ...parts);
};
const tile = (metric, place, box, low, high) => {
  const cell = place === undefined ? null : metric.cells[place];
  const rect = draw("rect", { ...box, rx: 3, class: "empty" });
  if (!cell || cell.mean === null) return [rect];
  const share = high > low ? (cell.mean - low) / (high - low) : 0.5;
  rect.style.fill = `color-mix(in oklab, var(--high) ${Math.round(share * 100)}%, var(--low))`;
  const sign = cell.verdict?.startsWith("better") ? " ▲" : cell.verdict === "worse" ? " ▼" : "";
  const unfinished = data.points[place].finished ? "" : "*";
  const text = draw("text", { x: box.x + box.width / 2, y: box.y + box.height / 2 + 4, "text-anchor": "middle", class: "tile" }, number(cell.mean) + unfinished + sign);
  text.style.fill = share > 0.45 ? "var(--on-high)" : "var(--on-low)";
  const group = draw("g", {}, draw("title", {}, describe(metric, place)), rect, text);
  if (place === data.baseline) group.append(draw("rect", { ...box, rx: 3, class: "framed" }));
  return [group];
};
