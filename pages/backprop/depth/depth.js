// Curves of deep networks, by depth and gain. All numbers come from the server: this picks and draws.

const [LEFT, RIGHT, TOP, BOTTOM] = [58, 12, 10, 40];
const LABELS_APART_PX = 45;

function slider(title, words) {
  const [label, said, input] = [element("label"), element("span"), range(title)];
  label.append(said, input);
  return { label, said, input, words };
}

function build(root) {
  const state = { root, layer: null };
  state.answer = element("div", "depth-answer");
  state.answer.setAttribute("role", "status");
  state.legend = element("div", "depth-legend");
  state.svg = shape("svg", { role: "img" });
  state.said = element("div", "depth-said");
  state.depths = slider("Layers", (depth) => `${depth} layers`);
  state.gains = slider("Gain", (gain) => `Gain g = ${gain.toFixed(2)}`);
  const sliders = element("div", "depth-sliders");
  for (const { label, input } of [state.depths, state.gains]) {
    sliders.append(label);
    input.addEventListener("input", () => {
      state.depth = state.data.depths[state.depths.input.value];
      state.gain = state.data.gains[state.gains.input.value];
      paint(state);
    });
    input.addEventListener("change", () => state.set("view", { depth: state.depth, gain: state.gain }));
  }
  const point = (event) => {
    const box = state.svg.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    const last = state.frame.lines[0].values.length - 1;
    state.layer = Math.max(0, Math.min(last, Math.round(share * last)));
    paint(state);
  };
  for (const name of ["pointermove", "pointerdown"]) state.svg.addEventListener(name, point);
  state.svg.addEventListener("pointerleave", () => { state.layer = null; paint(state); });
  root.replaceChildren(state.answer, sliders, state.legend, element("div", "depth-axis", "Gradient, as a share of the output's"), state.svg, state.said);
  new ResizeObserver(() => { if (state.data && state.width !== root.clientWidth) paint(state); }).observe(root);
  return state;
}

// That of both sliders; until the server has answered to one of them, the last one.
function pick({ data, depth, gain, frame }) {
  const [row, column] = [data.depths.indexOf(depth), data.gains.indexOf(gain)];
  const found = gain === data.gain ? data.byDepth[row] : depth === data.depth ? data.byGain[column] : null;
  return found ? { ...found, lines: [found.line, ...data.marks[row]] } : frame;
}

function drawChart({ svg, frame, layer }, width) {
  const { height } = svg.getBoundingClientRect();
  const [low, high] = frame.range;
  const last = frame.lines[0].values.length - 1;
  const toX = (place) => LEFT + (place / last) * (width - LEFT - RIGHT);
  const toY = (value) => TOP + ((high - Math.log10(value)) / (high - low)) * (height - TOP - BOTTOM);
  const every = [1, 2, 5, 10, 20].find((step) => toX(step) - LEFT >= LABELS_APART_PX) ?? 20;
  const grid = frame.ticks.flatMap(([value, text]) => [
    shape("line", { class: "depth-grid", x1: LEFT, x2: width - RIGHT, y1: toY(value), y2: toY(value) }),
    shape("text", { x: LEFT - 8, y: toY(value) + 4, "text-anchor": "end" }, text),
  ]);
  for (let place = 0; place <= last; place += every) {
    grid.push(shape("text", { x: toX(place), y: height - BOTTOM + 16, "text-anchor": "middle" }, `${place}`));
  }
  grid.push(shape("text", { x: (LEFT + width) / 2, y: height - 4, "text-anchor": "middle" }, "layer (0: the input)"));
  const lines = frame.lines.map(({ colour, values }, order) => {
    const points = values.map((value, place) => (value === null ? null : `${toX(place).toFixed(1)},${toY(value).toFixed(1)}`));
    const d = points.map((point, place) => (point ? `${points[place - 1] ? "L" : "M"}${point}` : "")).join("");
    return shape("path", { class: `depth-line${order ? "" : " chosen"}`, stroke: colour, d });
  });
  const rule = layer === null ? [] : [shape("line", { class: "depth-rule", x1: toX(layer), x2: toX(layer), y1: TOP, y2: height - BOTTOM })];
  svg.replaceChildren(...grid, ...rule, ...lines);
}

function paint(state) {
  const { root, depth, gain } = state;
  const frame = pick(state);
  state.frame = frame;
  state.layer = state.layer === null ? null : Math.min(state.layer, frame.lines[0].values.length - 1);
  state.width = root.clientWidth;
  if (state.answer.textContent !== frame.words) state.answer.textContent = frame.words;
  state.svg.setAttribute("aria-label", `The gradient at each layer, as a share of that at the output. ${frame.words}`);
  state.said.textContent = state.layer === null
    ? frame.caption
    : `Layer ${state.layer}. ${frame.lines.map(({ name, values }) => `${name}: ${number(values[state.layer], 3)}`).join(" · ")}`;
  state.legend.replaceChildren(...frame.lines.map(({ name, colour }) => {
    const [item, line] = [element("span"), element("i")];
    line.style.color = colour;
    item.append(line, name);
    return item;
  }));
  for (const [{ said, input, words }, value, all] of [[state.depths, depth, state.data.depths], [state.gains, gain, state.data.gains]]) {
    input.max = all.length - 1;
    input.value = all.indexOf(value);
    said.textContent = words(value);
    input.setAttribute("aria-valuetext", `${words(value)}. ${frame.words}`);
  }
  if (state.width) drawChart(state, state.width);
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".depth");
  root.depth ??= build(root);
  const state = root.depth;
  Object.assign(state, { data, set: setStateValue });
  if (state.revision !== data.revision) Object.assign(state, { revision: data.revision, depth: data.depth, gain: data.gain });
  paint(state);
}
