// An image to drag by whole pixels, and what each variant of the network says at every shift: numbers come with the data.

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const MAP_PX = 17 * 16;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const within = (value, low, high) => Math.max(low, Math.min(high, value));

function percent(value) {
  if (value >= 0.995) return `${Math.min(99.9, 100 * value).toFixed(1)}%`;
  return value < 0.005 ? "< 1%" : `${Math.round(100 * value)}%`;
}

function mirrored(place, side) {
  if (place < 0) return -place;
  return place >= side ? 2 * side - 2 - place : place;
}

function words([down, right]) {
  const parts = [];
  if (right) parts.push(`${Math.abs(right)} ${right > 0 ? "right" : "left"}`);
  if (down) parts.push(`${Math.abs(down)} ${down > 0 ? "down" : "up"}`);
  return parts.length ? `Moved ${parts.join(", ")}` : "In place: drag the image";
}

function build(root) {
  const [answer, body] = [element("div", "shift-answer"), element("div", "shift-body")];
  answer.setAttribute("role", "status");
  const image = element("canvas", "shift-image");
  image.tabIndex = 0;
  image.setAttribute("role", "application");
  const boards = element("div", "shift-boards");
  body.append(image, boards);
  root.replaceChildren(answer, body);
  const state = { root, answer, image, boards, at: [0, 0], drag: null };
  image.addEventListener("pointerdown", (event) => {
    image.setPointerCapture(event.pointerId);
    state.drag = { x: event.clientX, y: event.clientY, from: state.at };
  });
  image.addEventListener("pointermove", (event) => {
    if (!state.drag) return;
    const pixel = image.getBoundingClientRect().width / state.data.side;
    const { x, y, from } = state.drag;
    move(state, from[0] + Math.round((event.clientY - y) / pixel), from[1] + Math.round((event.clientX - x) / pixel));
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) image.addEventListener(name, () => { state.drag = null; });
  image.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(state, state.at[0] + step[0], state.at[1] + step[1]);
  });
  return state;
}

function move(state, down, right) {
  const { reach } = state.data;
  const next = [within(down, -reach, reach), within(right, -reach, reach)];
  if (next[0] === state.at[0] && next[1] === state.at[1]) return;
  state.at = next;
  paint(state);
}

function layout(state) {
  state.boards.replaceChildren();
  state.lines = state.data.rows.map((row) => {
    const board = element("figure");
    const [title, said, map] = [element("figcaption", "", row.title), element("div", "shift-said"), element("canvas")];
    map.setAttribute("role", "img");
    map.width = map.height = MAP_PX;
    const point = (event) => {
      if (event.type === "pointermove" && event.pointerType !== "mouse") return;
      const box = map.getBoundingClientRect();
      const count = 2 * state.data.reach + 1;
      const place = (share) => Math.floor(count * share) - state.data.reach;
      move(state, place((event.clientY - box.top) / box.height), place((event.clientX - box.left) / box.width));
    };
    map.addEventListener("pointermove", point);
    map.addEventListener("pointerdown", point);
    board.append(title, said, map);
    state.boards.append(board);
    return { said, map, row, values: new Float32Array(bytes(row.probabilities).buffer) };
  });
}

function paint(state) {
  const { data, at, image, dark } = state;
  const { side, reach, classes } = data;
  const shown = new ImageData(side, side);
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      const from = 3 * (mirrored(y - at[0], side) * side + mirrored(x - at[1], side));
      for (let part = 0; part < 3; part += 1) shown.data[4 * (y * side + x) + part] = state.pixels[from + part];
      shown.data[4 * (y * side + x) + 3] = 255;
    }
  }
  image.width = image.height = side;
  image.getContext("2d").putImageData(shown, 0, 0);
  const count = 2 * reach + 1;
  const place = (at[0] + reach) * count + at[1] + reach;
  const home = reach * count + reach;
  const told = [];
  for (const { said, map, row, values } of state.lines) {
    const answer = classes[row.answers[place]];
    said.textContent = `${row.label} ${percent(values[place])}${answer === row.label ? "" : ` · says ${answer}`}`;
    told.push(`${row.title}: ${said.textContent}`);
    const pen = map.getContext("2d");
    const cell = MAP_PX / count;
    for (let index = 0; index < count * count; index += 1) {
      const [y, x] = [Math.floor(index / count) * cell, (index % count) * cell];
      const from = dark ? [24, 27, 34] : [255, 255, 255];
      pen.fillStyle = `rgb(${from.map((part, channel) => Math.round(part + values[index] * ([0, 114, 178][channel] - part))).join()})`;
      pen.fillRect(x, y, cell + 1, cell + 1);
      if (row.answers[index] !== row.answers[home]) {
        pen.fillStyle = "#d55e00";
        pen.fillRect(x + cell / 3, y + cell / 3, cell / 3, cell / 3);
      }
    }
    for (const [line, style] of [[7, "rgba(0, 0, 0, 0.7)"], [3, "#ffd23f"]]) {
      pen.lineWidth = line;
      pen.strokeStyle = style;
      pen.strokeRect((at[1] + reach) * cell, (at[0] + reach) * cell, cell, cell);
    }
    map.setAttribute("aria-label", `${row.title}: one answer at ${percent(row.same)} of all shifts; now ${said.textContent}`);
  }
  state.answer.textContent = words(at);
  image.setAttribute("aria-label", `The image. Arrow keys move it by a pixel. ${words(at)}. ${told.join(". ")}`);
}

export default function (component) {
  const { data, parentElement } = component;
  const root = parentElement.querySelector(".shift");
  root.shift ??= build(root);
  const state = root.shift;
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = getComputedStyle(root).getPropertyValue("--st-background-color") || "#fff";
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
  const before = state.data;
  Object.assign(state, { data, dark: r + g + b < 384, pixels: bytes(data.pixels) });
  if (before?.pixels !== data.pixels || before?.reach !== data.reach) state.at = [0, 0];
  layout(state);
  paint(state);
}
