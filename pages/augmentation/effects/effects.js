// Affinity against added loss: a line for each transform, a dot for each strength. Images come with the data.

const [LEFT, RIGHT, TOP, BOTTOM] = [44, 78, 12, 40];
const NEAR_PX = 40;
const LABELS_APART_PX = 13;
const X_TICKS = [0, 0.1, 0.5, 1, 2, 3, 5, 8];
const Y_TICKS = [0, -1, -5, -10, -20, -40, -60, -80];

// By signed square root: most dots are near 0.
const root = (value) => Math.sign(value) * Math.sqrt(Math.abs(value));

function build(place) {
  const state = { place, at: null };
  state.svg = shape("svg", { role: "img" });
  state.said = element("div", "effects-said");
  state.said.setAttribute("role", "status");
  state.figures = element("div", "effects-figures");
  state.image = element("img", "effects-image");
  state.strip = element("div", "effects-strip");
  state.legend = element("div", "effects-legend");
  state.legend.setAttribute("role", "group");
  state.legend.setAttribute("aria-label", "Transforms");
  const [body, left, side] = [element("div", "effects-body"), element("div", "effects-left"), element("div", "effects-side")];
  left.append(element("div", "effects-axis", "Affinity, points (higher: less confused)"), state.svg);
  side.append(state.said, state.image, state.figures, state.strip);
  body.append(left, side);
  place.replaceChildren(body, state.legend);
  state.svg.addEventListener("pointermove", (event) => point(state, event));
  state.svg.addEventListener("pointerdown", (event) => {
    point(state, event);
    if (state.at) choose(state, state.at.series.name);
  });
  new ResizeObserver(() => { if (state.data && state.width !== place.clientWidth) paint(state); }).observe(place);
  return state;
}

function point(state, event) {
  const box = state.svg.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let [best, least] = [null, NEAR_PX];
  for (const dot of state.dots) {
    const far = Math.hypot(dot.x - x, dot.y - y);
    if (far < least) [best, least] = [dot, far];
  }
  if (best && (best.series !== state.at?.series || best.index !== state.at?.index)) show(state, best.series, best.index);
}

function choose(state, name) {
  if (name === state.chosen) return;
  state.chosen = name;
  const series = state.data.series.find((each) => each.name === name);
  show(state, series, state.at?.series === series ? state.at.index : series.points.length - 1);
  state.tell("chosen", name);
}

function show(state, series, index) {
  state.at = { series, index };
  paint(state);
}

function draw(state) {
  const { svg, data } = state;
  const [width, { height }] = [state.width, svg.getBoundingClientRect()];
  const all = data.series.flatMap((series) => series.points);
  const [lowX, highX] = [Math.min(0, ...all.map(({ x }) => root(x))), Math.max(0.5, ...all.map(({ x }) => root(x)))];
  const [lowY, highY] = [Math.min(-1, ...all.map(({ y }) => root(y))), Math.max(0.5, ...all.map(({ y }) => root(y)))];
  const toX = (value) => LEFT + ((root(value) - lowX) / (highX - lowX)) * (width - LEFT - RIGHT);
  const toY = (value) => TOP + ((highY - root(value)) / (highY - lowY)) * (height - TOP - BOTTOM);
  const parts = [];
  for (const value of Y_TICKS.filter((tick) => root(tick) >= lowY)) {
    parts.push(shape("line", { class: "effects-grid", x1: LEFT, x2: width - RIGHT, y1: toY(value), y2: toY(value) }));
    parts.push(shape("text", { x: LEFT - 6, y: toY(value) + 4, "text-anchor": "end" }, number(value)));
  }
  for (const value of X_TICKS.filter((tick) => root(tick) <= highX)) {
    parts.push(shape("text", { x: toX(value), y: height - BOTTOM + 16, "text-anchor": "middle" }, number(value)));
  }
  parts.push(shape("text", { x: LEFT, y: height - 4 }, "added loss, nats (right: the images are newer to it)"));
  state.dots = [];
  const labels = [];
  const ordered = [...data.series].sort((a, b) => (a.name === state.chosen) - (b.name === state.chosen));
  for (const series of ordered) {
    const colour = data.colours[series.group];
    const chosen = series.name === state.chosen ? " chosen" : "";
    const dots = series.points.map(({ x, y }, index) => ({ x: toX(x), y: toY(y), series, index }));
    parts.push(shape("path", { class: `effects-line${chosen}`, stroke: colour, d: dots.map(({ x, y }, index) => `${index ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("") }));
    for (const { x, y, index } of dots) parts.push(shape("circle", { class: `effects-dot${chosen}`, cx: x, cy: y, r: 2.5 + index * 0.7, fill: colour }));
    state.dots.push(...dots);
    const last = dots.at(-1);
    labels.push({ x: last.x + 7, y: last.y + 4, text: series.title, colour, first: series.name === state.chosen });
  }
  const taken = [];
  for (const label of labels.sort((a, b) => b.first - a.first || b.y - a.y)) {
    const hidden = taken.some((other) => Math.abs(other.y - label.y) < LABELS_APART_PX && Math.abs(other.x - label.x) < 70);
    if (hidden) continue;
    taken.push(label);
    parts.push(shape("text", { x: label.x, y: label.y, ...(label.first ? { "font-weight": 600 } : {}) }, label.text));
  }
  const marked = state.dots.find(({ series, index }) => series === state.at.series && index === state.at.index);
  if (marked) parts.push(shape("circle", { class: "effects-ring", cx: marked.x, cy: marked.y, r: 8 }));
  svg.replaceChildren(...parts);
}

function paint(state) {
  const { data, at } = state;
  const shown = at.series.points[at.index];
  state.width = state.svg.clientWidth || state.place.clientWidth;
  state.said.textContent = shown.words;
  state.figures.textContent = `${shown.figures}. Worst class: ${shown.worst}.`;
  state.image.src = `data:image/png;base64,${shown.image}`;
  state.image.alt = `A test image after ${shown.words}`;
  state.svg.setAttribute("aria-label", `Affinity against added loss of ${data.series.length} transforms. ${shown.words}: ${shown.figures}.`);
  if (state.stripOf !== at.series) { // not at every look: a pressed button keeps its focus
    state.stripOf = at.series;
    state.strip.replaceChildren(...at.series.points.map((each, index) => {
      const made = button("", `${each.words}: ${each.figures}`, () => show(state, at.series, index));
      const image = element("img");
      image.src = `data:image/png;base64,${each.image}`;
      image.alt = "";
      made.append(image);
      return made;
    }));
  }
  [...state.strip.children].forEach((made, index) => made.setAttribute("aria-pressed", index === at.index));
  if (state.legendOf !== data) {
    state.legendOf = data;
    state.legend.replaceChildren(...data.series.map((series) => {
      const made = button(series.title, series.title, () => choose(state, series.name));
      const mark = element("span", "effects-mark");
      mark.style.background = data.colours[series.group];
      made.prepend(mark);
      made.dataset.name = series.name;
      return made;
    }));
  }
  for (const each of state.legend.children) each.setAttribute("aria-pressed", each.dataset.name === state.chosen);
  if (state.width) draw(state);
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const place = parentElement.querySelector(".effects");
  place.effects ??= build(place);
  const state = place.effects;
  const series = data.series.find((each) => each.name === data.chosen) ?? data.series[0];
  const before = state.at;
  Object.assign(state, { data, chosen: series.name, tell: setTriggerValue });
  const index = before?.series.name === series.name ? Math.min(before.index, series.points.length - 1) : series.points.length - 1;
  state.at = { series, index };
  paint(state);
}
