// How the sampling parameters of one answer moved over its tokens: as planned and as it was, or with what it followed.
const COURSE = { width: 340, height: 104, left: 44, right: 296, top: 20, bottom: 84 };
const pairs = (points) => points.map((one, token) => (Array.isArray(one) ? one : [token, one])).filter(([, value]) => value !== null);
const exact = (value) => String(Number(value.toPrecision(4))).replace("-", "−");
const level = (values, from, to) => {
  const least = Math.min(...values), most = Math.max(...values);
  return { least, most, at: (value) => (least === most ? (from + to) / 2 : from + ((value - least) / (most - least)) * (to - from)) };
};
const trace = (points, tokens, scale, kind) => {
  const x = (token) => COURSE.left + (token / Math.max(1, tokens - 1)) * (COURSE.right - COURSE.left);
  return draw("polyline", { class: kind, points: points.map(([token, value]) => `${x(token).toFixed(1)},${scale.at(value).toFixed(1)}`).join(" ") });
};
const courseOf = (curve, signals, tokens) => {
  const actual = pairs(curve.points), planned = Array.isArray(curve.planned) ? pairs(curve.planned) : [];
  const { left, right, top, bottom, width, height } = COURSE;
  const own = level([...actual, ...planned].map(([, value]) => value), bottom, top);
  const text = (x, y, said, anchor) => draw("text", { class: "faint", x, y, "text-anchor": anchor }, said);
  const parts = [draw("path", { class: "rule", d: `M${left} ${top}V${bottom}H${right}` }), text(left - 6, top + 8, exact(own.most), "end"), text(left - 6, bottom, own.least === own.most ? "" : exact(own.least), "end")];
  const said = [curve.planned === true ? "as planned" : curve.planned ? "dashed: planned" : "no plan: a run decides"];
  if (curve.planned === undefined) signals.forEach((signal, place) => {
    const points = pairs(signal.points);
    if (!points.length) return;
    const scale = level(points.map(([, value]) => value), bottom, top);
    parts.push(trace(points, tokens, scale, place ? "signal other" : "signal"));
    said.push(`${place ? "dotted" : "grey"}: ${signal.name} ${exact(scale.least)} to ${exact(scale.most)}`);
  });
  if (planned.length) parts.push(trace(planned, tokens, own, "base"));
  parts.push(trace(actual, tokens, own, "bar"), text(left, bottom + 16, "token 0", "start"), text(right, bottom + 16, String(tokens - 1), "end"), draw("text", { x: left, y: 12 }, curve.name));
  const label = `${curve.name} over ${tokens} tokens; ${said.join("; ")}`;
  return make("figure", { class: "course" }, draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, ...parts), make("figcaption", {}, said.join(" · ")));
};
const courses = (answer) => (answer?.course?.curves ?? []).map((curve) => courseOf(curve, answer.course.signals, answer.course.length));
