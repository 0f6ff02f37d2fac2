// Elements and numbers. Text only ever reaches the page as text: what a model wrote is never read as markup.
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};
const draw = (name, attributes = {}, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const number = (value, signed = false) => {
  if (value === null || value === undefined) return "–";
  let text = Math.abs(value) < 1000 ? String(Number(value.toPrecision(3))) : Math.round(value).toLocaleString("en");
  if (signed && value > 0) text = "+" + text;
  return text.replace("-", "−");
};
const withInterval = (value, interval, signed = false) =>
  number(value, signed) + (interval ? ` [${number(interval[0], signed)}, ${number(interval[1], signed)}]` : "");
const titled = (point) => {
  const said = Object.entries(point.values).map(([key, value]) => `${short(key)}=${value}`).join(", ");
  return said || point.name || "this run";
};
const short = (key) => (data.keys.filter((other) => tail(other) === tail(key)).length > 1 ? key : tail(key));
const tail = (key) => key.slice(key.lastIndexOf(".") + 1);
const selection = (name, choices, chosen, changed) => {
  const select = make("select", { "aria-label": name }, ...choices.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
  select.addEventListener("change", () => changed(select.value));
  return make("label", {}, name, select);
};

// Ticks at 1, 2 or 5 times a power of ten, covering low to high.
const ticks = (low, high, wanted = 5) => {
  const span = high - low;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => span / one <= wanted);
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: Math.max(2, last - first + 1) }, (_, place) => Number(((first + place) * step).toPrecision(12)));
};
const scale = (values, from, to) => {
  let least = Math.min(...values), most = Math.max(...values);
  if (least === most) [least, most] = [least - (Math.abs(least) / 10 || 1), most + (Math.abs(most) / 10 || 1)];
  const marks = ticks(least, most);
  const low = marks[0], high = marks[marks.length - 1];
  const at = (value) => from + ((value - low) / (high - low)) * (to - from);
  return { at, marks };
};
// Numbers first and in their order, then words in the order in which they came.
const ordered = (values) => {
  const different = [...new Set(values)];
  const numeric = different.every((value) => value.trim() !== "" && Number.isFinite(Number(value)));
  return { values: numeric ? different.sort((a, b) => Number(a) - Number(b)) : different, numeric };
};
const clipped = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);
