// What the components of this room share. Numbers come with the data: they index and draw.

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const LIGHT = { zero: [255, 255, 255], above: [0, 114, 178], below: [213, 94, 0] };
const DARK = { zero: [24, 30, 38], above: [86, 180, 233], below: [240, 140, 60] };
const CHOOSE = matchMedia("(hover: none)").matches ? "tap" : "point, click to keep";

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const within = (value, low, high) => Math.max(low, Math.min(high, value));

function isDark(root) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = getComputedStyle(root).getPropertyValue("--st-background-color") || "#fff";
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
  return r + g + b < 384;
}

// Blue above zero, orange below, nearly the page's background at zero. share: 0 to 1 of the full colour.
function shade(value, share, dark) {
  const { zero, above, below } = dark ? DARK : LIGHT;
  const to = value < 0 ? below : above;
  return zero.map((part, index) => Math.round(part + share * (to[index] - part)));
}

// A frame of 3 pixels of the screen that is seen on any colour.
function frame(pen, left, top, width, height) {
  const pixel = pen.canvas.width / (pen.canvas.clientWidth || pen.canvas.width);
  for (const [line, style] of [[6, "rgba(0, 0, 0, 0.7)"], [3, "#ffd23f"]]) {
    pen.lineWidth = line * pixel;
    pen.strokeStyle = style;
    pen.strokeRect(left, top, width, height);
  }
}

// Row and column under the pointer, of a canvas that shows so many.
function place(event, canvas, rows, columns) {
  const box = canvas.getBoundingClientRect();
  return [Math.floor((rows * (event.clientY - box.top)) / box.height), Math.floor((columns * (event.clientX - box.left)) / box.width)];
}

// Arrow keys on an element: told the step, down and right.
function onArrows(target, move) {
  target.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(...step);
  });
}

// Places of a canvas of rows × columns: one is shown while the pointer is on it, and chosen by a click, a tap or the arrow keys.
// state: `chosen` and `shown` are places; `draw` paints, `name` is what the server is told. from: the place under a cell.
function choosable(state, canvas, size, from = (row, column) => [row, column]) {
  const under = (event) => from(...place(event, canvas, ...size()));
  for (const name of ["pointermove", "pointerdown"]) canvas.addEventListener(name, (event) => show(state, ...under(event)));
  canvas.addEventListener("pointerleave", () => show(state, ...state.chosen));
  canvas.addEventListener("click", (event) => choose(state, ...under(event)));
  onArrows(canvas, (down, right) => choose(state, state.chosen[0] + down, state.chosen[1] + right));
}

function show(state, row, column) {
  const next = [within(row, 0, state.places[0] - 1), within(column, 0, state.places[1] - 1)];
  if (next.join() === state.shown.join()) return;
  state.shown = next;
  state.draw(state);
}

function choose(state, row, column) {
  show(state, row, column);
  state.chosen = state.shown;
  tellLater(state, "at", state.chosen);
}

// Once somebody stops: arrow keys go over many.
function tellLater(state, name, value) {
  clearTimeout(state.timer);
  state.timer = setTimeout(() => {
    state.timer = 0;
    state.tell(name, value);
  }, 250);
}

// The place that the server knows, but for one that it is about to be told.
function takePlace(state, at, places) {
  if (!state.timer || !state.chosen || state.places?.join() !== places.join()) state.chosen = state.shown = at;
  state.places = places;
}

// A square image (side, side, 3) as a canvas; from: which pixel stands at a place, itself by default.
function picture(pixels, side, from = (y, x) => y * side + x) {
  const image = new ImageData(side, side);
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      const [to, at] = [4 * (y * side + x), 3 * from(y, x)];
      for (let part = 0; part < 3; part += 1) image.data[to + part] = pixels[at + part];
      image.data[to + 3] = 255;
    }
  }
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

