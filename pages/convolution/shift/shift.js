// An image to drag by whole pixels, and what each variant of the network says at every shift: numbers come with the data.

const MAP_PX = 17 * 16;

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
  onArrows(image, (down, right) => move(state, state.at[0] + down, state.at[1] + right));
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
      const { reach } = state.data;
      const [row, column] = place(event, map, 2 * reach + 1, 2 * reach + 1);
      move(state, row - reach, column - reach);
    };
    map.addEventListener("pointermove", point);
    map.addEventListener("pointerdown", point);
    board.append(title, said, map);
    state.boards.append(board);
    return { said, map, row, values: floats(row.probabilities) };
  });
}

function paint(state) {
  const { data, at, image, dark } = state;
  const { side, reach, classes } = data;
  image.width = image.height = side;
  const from = (y, x) => mirrored(y - at[0], side) * side + mirrored(x - at[1], side);
  image.getContext("2d").drawImage(picture(state.pixels, side, from), 0, 0);
  const count = 2 * reach + 1;
  const now = (at[0] + reach) * count + at[1] + reach;
  const home = reach * count + reach;
  const told = [];
  for (const { said, map, row, values } of state.lines) {
    const answer = classes[row.answers[now]];
    said.textContent = `${row.label} ${percent(values[now])}${answer === row.label ? "" : ` · says ${answer}`}`;
    told.push(`${row.title}: ${said.textContent}`);
    const pen = map.getContext("2d");
    const cell = MAP_PX / count;
    for (let index = 0; index < count * count; index += 1) {
      const [y, x] = [Math.floor(index / count) * cell, (index % count) * cell];
      pen.fillStyle = `rgb(${shade(1, values[index], dark).join()})`;
      pen.fillRect(x, y, cell + 1, cell + 1);
      if (row.answers[index] !== row.answers[home]) {
        pen.fillStyle = "#d55e00";
        pen.fillRect(x + cell / 3, y + cell / 3, cell / 3, cell / 3);
      }
    }
    frame(pen, (at[1] + reach) * cell, (at[0] + reach) * cell, cell, cell);
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
  const before = state.data;
  Object.assign(state, { data, dark: isDark(root), pixels: bytes(data.pixels) });
  if (before?.pixels !== data.pixels || before?.reach !== data.reach) state.at = [0, 0];
  layout(state);
  paint(state);
}
