// The maps of a layer: point at a unit to see what it sees, click a map to choose it. Numbers come with the data.

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const LARGE = 320;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const within = (value, low, high) => Math.max(low, Math.min(high, value));
const write = (value) => `${Number(value.toPrecision(4))}`.replace("-", "−");

function isDark(root) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = getComputedStyle(root).getPropertyValue("--st-background-color") || "#fff";
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
  return r + g + b < 384;
}

// One map as pixels: blue above zero, orange below, the page's background at zero; on the scale of the whole layer.
function paintMap(state, channel) {
  if (state.drawn.has(channel)) return state.drawn.get(channel);
  const [, height, width] = state.data.shape;
  const from = state.dark ? [24, 27, 34] : [255, 255, 255];
  const image = new ImageData(width, height);
  const start = channel * height * width;
  for (let index = 0; index < height * width; index += 1) {
    const value = state.maps[start + index];
    const share = state.limit ? Math.sqrt(Math.min(1, Math.abs(value) / state.limit)) : 0;
    const to = value < 0 ? [213, 94, 0] : [0, 114, 178];
    for (let part = 0; part < 3; part += 1) image.data[4 * index + part] = from[part] + share * (to[part] - from[part]);
    image.data[4 * index + 3] = 255;
  }
  const small = document.createElement("canvas");
  [small.width, small.height] = [width, height];
  small.getContext("2d").putImageData(image, 0, 0);
  state.drawn.set(channel, small);
  return small;
}

function frame(pen, left, top, width, height, line = 5) {
  for (const [thick, style] of [[line + 4, "rgba(0, 0, 0, 0.7)"], [line, "#ffd23f"]]) {
    pen.lineWidth = thick;
    pen.strokeStyle = style;
    pen.strokeRect(left, top, width, height);
  }
}

function figure(title, canvas) {
  const made = element("figure");
  const caption = element("figcaption", "", title);
  made.append(caption, canvas);
  return [made, caption];
}

function place(event, canvas, rows, columns) {
  const box = canvas.getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  return [within(Math.floor(rows * y), 0, rows - 1), within(Math.floor(columns * x), 0, columns - 1)];
}

function build(root) {
  const [answer, words, body] = [element("div", "maps-answer"), element("div", "maps-words"), element("div", "maps-body")];
  answer.setAttribute("role", "status");
  const [image, map, all] = [element("canvas"), element("canvas"), element("canvas", "maps-all")];
  image.setAttribute("role", "img");
  const [one, two, three] = [figure("what the unit sees", image), figure("", map), figure("", all)];
  body.append(one[0], two[0], three[0]);
  root.replaceChildren(answer, words, body);
  const state = { root, answer, words, image, map, all, mapTitle: two[1], allTitle: three[1], row: 0, column: 0 };
  for (const canvas of [map, all]) {
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
  }
  const point = (event) => {
    const [, height, width] = state.data.shape;
    [state.row, state.column] = place(event, map, height, width);
    paint(state);
  };
  map.addEventListener("pointermove", point);
  map.addEventListener("pointerdown", point);
  map.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [, height, width] = state.data.shape;
    state.row = within(state.row + step[0], 0, height - 1);
    state.column = within(state.column + step[1], 0, width - 1);
    paint(state);
  });
  all.addEventListener("click", (event) => {
    const [row, column] = place(event, all, state.lines, state.across);
    choose(state, row * state.across + column);
  });
  all.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    choose(state, state.channel + step[0] * state.across + step[1]);
  });
  return state;
}

function choose(state, channel) {
  if (channel < 0 || channel >= state.data.shape[0] || channel === state.channel) return;
  state.channel = channel;
  paint(state);
  clearTimeout(state.timer);
  state.timer = setTimeout(() => state.trigger("channel", channel), 250);
}

function paintAll(state) {
  const [channels, height, width] = state.data.shape;
  state.across = Math.ceil(Math.sqrt(channels));
  state.lines = Math.ceil(channels / state.across);
  const cell = Math.max(8, Math.floor(640 / state.across));
  state.cell = cell;
  const whole = document.createElement("canvas");
  [whole.width, whole.height] = [state.across * cell, state.lines * cell];
  const pen = whole.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.fillStyle = state.dark ? "#3a3f4a" : "#c9ced6";
  pen.fillRect(0, 0, whole.width, whole.height);
  for (let channel = 0; channel < channels; channel += 1) {
    const [left, top] = [(channel % state.across) * cell, Math.floor(channel / state.across) * cell];
    pen.drawImage(paintMap(state, channel), left + 1, top + 1, cell - 2, (cell - 2) * (height / width));
  }
  state.whole = whole;
}

function paint(state) {
  const { data, row, column, channel, image, map, all } = state;
  const [channels, height, width] = data.shape;
  const [unit, pixel] = [LARGE / Math.max(height, width), LARGE / data.side];
  [map.width, map.height] = [width * unit, height * unit];
  let pen = map.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(paintMap(state, channel), 0, 0, map.width, map.height);
  frame(pen, column * unit, row * unit, unit, unit, 3);
  image.width = image.height = LARGE;
  pen = image.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(state.photo, 0, 0, LARGE, LARGE);
  const [top, bottom] = data.rows[row];
  const [left, right] = data.columns[column];
  pen.fillStyle = "rgba(0, 0, 0, 0.5)"; // what it does not see
  pen.fillRect(0, 0, LARGE, top * pixel);
  pen.fillRect(0, (bottom + 1) * pixel, LARGE, LARGE);
  pen.fillRect(0, top * pixel, left * pixel, (bottom + 1 - top) * pixel);
  pen.fillRect((right + 1) * pixel, top * pixel, LARGE, (bottom + 1 - top) * pixel);
  frame(pen, left * pixel, top * pixel, (right + 1 - left) * pixel, (bottom + 1 - top) * pixel, 3);
  [all.width, all.height] = [state.whole.width, state.whole.height];
  pen = all.getContext("2d");
  pen.drawImage(state.whole, 0, 0);
  frame(pen, (channel % state.across) * state.cell, Math.floor(channel / state.across) * state.cell, state.cell, state.cell, 3);
  const value = state.maps[(channel * height + row) * width + column];
  const sees = `rows ${top} to ${bottom}, columns ${left} to ${right}`;
  state.answer.textContent = `It sees ${bottom - top + 1}×${right - left + 1} of ${data.side}×${data.side} pixels`;
  state.words.textContent = `${data.layer}, channel ${channel}, unit [${row}, ${column}] = ${write(value)}, from ${sees}`;
  state.mapTitle.textContent = `channel ${channel}, ${height}×${width}: point here`;
  state.allTitle.textContent = `all ${channels} channels: click one`;
  map.setAttribute("aria-label", `Map of channel ${channel}. Arrow keys move the unit. ${state.words.textContent}`);
  all.setAttribute("aria-label", `All ${channels} maps of ${data.layer}. Arrow keys choose one. Channel ${channel} is chosen.`);
  image.setAttribute("aria-label", `The image; the unit sees ${sees}.`);
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".maps");
  root.maps ??= build(root);
  const state = root.maps;
  const before = state.data;
  const dark = isDark(root);
  const fresh = before?.maps !== data.maps || before?.layer !== data.layer || dark !== state.dark;
  Object.assign(state, { data, dark, trigger: setTriggerValue });
  if (before?.pixels !== data.pixels) {
    const image = new ImageData(data.side, data.side);
    const pixels = bytes(data.pixels);
    for (let index = 0; index < data.side ** 2; index += 1) {
      for (let part = 0; part < 3; part += 1) image.data[4 * index + part] = pixels[3 * index + part];
      image.data[4 * index + 3] = 255;
    }
    state.photo = document.createElement("canvas");
    state.photo.width = state.photo.height = data.side;
    state.photo.getContext("2d").putImageData(image, 0, 0);
  }
  if (fresh) {
    state.maps = new Float32Array(bytes(data.maps).buffer);
    state.drawn = new Map();
    state.limit = state.maps.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    paintAll(state);
    state.channel = data.channel;
  }
  if (before?.channel !== data.channel) state.channel = data.channel;
  const [, height, width] = data.shape;
  if (before?.layer !== data.layer) [state.row, state.column] = [Math.floor(height / 2), Math.floor(width / 2)];
  state.row = within(state.row, 0, height - 1);
  state.column = within(state.column, 0, width - 1);
  paint(state);
}
