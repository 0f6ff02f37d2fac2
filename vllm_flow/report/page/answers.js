// One input across points: answers side by side, what differs from the baseline's marked, tokens with their probability.
const MOST_CARDS = 24, MOST_PAIRS = 4e6;
const words = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];

// What to do to turn `before` into `after`: runs of same, gone and added, by the longest common subsequence of words.
const difference = (before, after) => {
  const a = words(before), b = words(after);
  let start = 0, end = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const middleA = a.slice(start, a.length - end), middleB = b.slice(start, b.length - end);
  return [["same", b.slice(0, start).join("")], ...middle(middleA, middleB), ["same", b.slice(b.length - end).join("")]].filter(([, text]) => text);
};
const middle = (a, b) => {
  if (a.length * b.length > MOST_PAIRS) return [["gone", a.join("")], ["added", b.join("")]];
  const width = b.length + 1, longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = a[i] === b[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const runs = [];
  const add = (kind, word) => (runs.at(-1)?.[0] === kind ? (runs.at(-1)[1] += word) : runs.push([kind, word]));
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { add("same", b[j]); i += 1; j += 1; }
    else if (j === b.length || (i < a.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) { add("gone", a[i]); i += 1; }
    else { add("added", b[j]); j += 1; }
  }
  return runs;
};

// Tokens as [end, title, doubt]; those that add no text are told with the next that does.
const tokenEnds = (tokens) => {
  const found = [];
  let end = 0, shares = [];
  for (const [piece, share] of tokens) {
    end += piece.length;
    shares.push(share);
    if (piece) { found.push([end, shares.map((one) => `${(one * 100).toPrecision(3)} %`).join(", "), 1 - Math.min(...shares)]); shares = []; }
  }
  return found;
};
const written = (answer, base, marked) => {
  const runs = marked && base !== null ? difference(base, answer.text) : [["same", answer.text]];
  const tokens = answer.tokens ? tokenEnds(answer.tokens) : [];
  const parts = [];
  let at = 0, token = 0;
  for (const [kind, text] of runs) {
    if (kind === "gone") { parts.push(make("del", {}, text)); continue; }
    const into = kind === "added" ? make("ins") : document.createDocumentFragment(), stop = at + text.length;
    while (at < stop) {
      while (token < tokens.length && tokens[token][0] <= at) token += 1;
      const until = token < tokens.length ? Math.min(stop, tokens[token][0]) : stop;
      const piece = text.slice(text.length - (stop - at), text.length - (stop - until));
      if (token < tokens.length) {
        const span = make("span", { class: "token", title: `probability ${tokens[token][1]}` }, piece);
        span.style.setProperty("--doubt", tokens[token][2]);
        into.append(span);
      } else into.append(piece);
      at = until;
    }
    parts.push(into);
  }
  return parts;
};

const cutMark = (text) => (text.cut ? make("i", {}, " … cut off here") : null);
const card = (point, place, answer, base, marked) => {
  const isBase = place === data.baseline && data.kind === "sweep";
  const facts = [];
  if (answer) {
    if (answer.tokens_out !== null) facts.push(`${answer.tokens_out} token${answer.tokens_out === 1 ? "" : "s"}`);
    if (answer.finish === "length") facts.push("cut off at max_tokens");
    for (const [name, value] of Object.entries(answer.marks)) facts.push(`${name}: ${typeof value === "boolean" ? (value ? "yes" : "no") : number(value)}`);
  }
  if (answer?.text && data.kind === "sweep" && !isBase && answer.text === base) facts.push("the baseline's text");
  const text = !answer ? make("p", { class: "failed" }, point.finished ? "No answer." : `No answer yet: ${point.status}.`)
    : answer.failure !== undefined ? make("p", { class: "text failed" }, answer.failure)
    : answer.text === null ? make("p", { class: "text" }, "(the output is no text)")
    : make("p", { class: "text", tabindex: answer.text.length > 600 ? 0 : null }, ...written(answer, isBase ? null : base, marked), cutMark(answer));
  return make("article", { class: isBase ? "card of-base" : "card" }, make("h3", {}, titled(point) + (isBase ? " (baseline)" : "")),
    make("p", { class: "facts" }, facts.join(" · ")), text, ...courses(answer));
};

const answering = (section) => {
  const { prompts, answers, left_out: leftOut } = data.answers;
  if (!prompts.length) return;
  section.hidden = false;
  const samples = [...new Set(answers.flat(2).map((one) => one.sample))].sort((a, b) => a - b);
  const probable = answers.flat(2).some((one) => one.tokens);
  const state = { prompt: 0, sample: samples[0], marked: data.kind === "sweep", shaded: false, all: false };
  const named = (prompt) => clipped(`${prompt.conversation}${prompt.turn === null ? "" : `, turn ${prompt.turn}`}: ${prompt.asked.at(-1)?.text ?? ""}`, 70);
  const controls = make("div", { class: "controls" }), place = make("div");
  section.append(controls, place);
  if (leftOut) section.append(make("p", { class: "note" }, leftOut));
  const select = selection("prompt", prompts.map((prompt, index) => [String(index), named(prompt)]), "0", (value) => go(Number(value)));
  const step = (by, text) => {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => go(state.prompt + by));
    return button;
  };
  const back = step(-1, "Previous"), next = step(1, "Next");
  const go = (to) => {
    state.prompt = Math.max(0, Math.min(prompts.length - 1, to));
    select.querySelector("select").value = String(state.prompt);
    show();
  };
  const box = (name, text) => {
    const input = make("input", { type: "checkbox", checked: state[name] });
    input.addEventListener("change", () => { state[name] = input.checked; show(); });
    return make("label", {}, input, text);
  };
  if (prompts.length > 1) controls.append(select, back, next);
  if (samples.length > 1) controls.append(selection("sample", samples.map((one) => [String(one), String(one)]), String(state.sample), (value) => { state.sample = Number(value); show(); }));
  if (data.kind === "sweep") controls.append(box("marked", "mark differences from the baseline"));
  if (probable) controls.append(box("shaded", "shade what was improbable (hover for the probability)"));
  const show = () => {
    back.disabled = state.prompt === 0;
    next.disabled = state.prompt === prompts.length - 1;
    const prompt = prompts[state.prompt];
    const of = (index) => answers[state.prompt][index].find((one) => one.sample === state.sample);
    const order = data.points.map((_, index) => index).sort((a, b) => (b === data.baseline) - (a === data.baseline) || a - b);
    const shown = state.all ? order : order.slice(0, MOST_CARDS);
    const base = of(data.baseline)?.text ?? null;
    const cards = make("div", { class: state.shaded ? "cards shaded" : "cards" }, ...shown.map((index) => card(data.points[index], index, of(index), base, state.marked)));
    place.replaceChildren(asked(prompt), cards);
    if (shown.length < order.length) {
      const more = make("button", { type: "button" }, `Show all ${order.length} points`);
      more.addEventListener("click", () => { state.all = true; show(); });
      place.append(make("p", { class: "controls" }, more));
    }
  };
  show();
};
const asked = (prompt) => {
  const lines = prompt.asked.map((one) => make("p", {}, make("b", {}, one.role), one.text, cutMark(one)));
  const { reference } = prompt;
  if (reference !== null) lines.push(make("p", {}, make("b", {}, "reference"), typeof reference === "string" ? reference : JSON.stringify(reference)));
  return make("div", { class: "asked" }, ...lines);
};
