// The maps of a layer: point at a unit to see what it sees, click a map to choose it. Numbers come with the data.

const LARGE = 320;

// One map as pixels, on the scale of the whole layer.
function paintMap(state, channel) {
  if (state.drawn.has(channel)) return state.drawn.get(channel);
  const [, height, width] = state.data.shape;
  const image = new ImageData(width, height);
  const start = channel * height * width;
  for (let index = 0; index < height * width; index += 1) {
    const value = state.maps[start + index];
    const share = state.limit ? Math.sqrt(Math.min(1, Math.abs(value) / state.limit)) : 0;
    image.data.set([...shade(value, share, state.dark), 255], 4 * index);
  }
  const small = document.createElement("canvas");
  [small.width, small.height] = [width, height];
  small.getContext("2d").putImageData(image, 0, 0);
  state.drawn.set(channel, small);
  return small;
}

function figure(canvas, title) {
  const [made, caption] = [element("figure"), element("figcaption", "", title)];
  made.append(caption, canvas);
  return made;
}

function build(root) {
  const [answer, words, body] = [element("div", "maps-answer"), element("div", "maps-words"), element("div", "maps-body")];
  answer.setAttribute("role", "status");
  const [image, map, all] = [element("canvas"), element("canvas"), element("canvas", "maps-all")];
  image.setAttribute("role", "img");
  const titled = [figure(image, "what the unit sees"), figure(map), figure(all)];
  body.append(...titled);
  root.replaceChildren(answer, words, body);
  const [, mapTitle, allTitle] = titled.map((made) => made.firstChild);
  const state = { root, answer, words, image, map, all, mapTitle, allTitle, draw: paint };
  for (const canvas of [map, all]) {
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
  }
  choosable(state, map, () => state.places);
  all.addEventListener("click", (event) => {
    const [row, column] = place(event, all, state.lines, state.across);
    chooseChannel(state, row * state.across + column);
  });
  onArrows(all, (down, right) => chooseChannel(state, state.channel + down * state.across + right));
  return state;
}

function chooseChannel(state, channel) {
  if (channel < 0 || channel >= state.data.shape[0] || channel === state.channel) return;
  state.channel = channel;
  paint(state);
  tellLater(state, "channel", channel);
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
  const { data, channel, image, map, all } = state;
  const [row, column] = state.shown;
  const [channels, height, width] = data.shape;
  const [unit, pixel] = [LARGE / Math.max(height, width), LARGE / data.side];
  [map.width, map.height] = [width * unit, height * unit];
  let pen = map.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(paintMap(state, channel), 0, 0, map.width, map.height);
  frame(pen, column * unit, row * unit, unit, unit);
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
  frame(pen, left * pixel, top * pixel, (right + 1 - left) * pixel, (bottom + 1 - top) * pixel);
  [all.width, all.height] = [state.whole.width, state.whole.height];
  pen = all.getContext("2d");
  pen.drawImage(state.whole, 0, 0);
  frame(pen, (channel % state.across) * state.cell, Math.floor(channel / state.across) * state.cell, state.cell, state.cell);
  const value = state.maps[(channel * height + row) * width + column];
  const sees = `rows ${top} to ${bottom}, columns ${left} to ${right}`;
  state.answer.textContent = `It sees ${bottom - top + 1}×${right - left + 1} of ${data.side}×${data.side} pixels`;
  state.words.textContent = `${data.layer}, channel ${channel}, unit [${row}, ${column}] = ${number(value)}, from ${sees}`;
  state.mapTitle.textContent = `channel ${channel}: ${CHOOSE}`;
  state.allTitle.textContent = `all ${channels} channels: choose one`;
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
  Object.assign(state, { data, dark, tell: setTriggerValue });
  if (before?.pixels !== data.pixels) state.photo = picture(bytes(data.pixels), data.side);
  if (fresh) {
    state.maps = floats(data.maps);
    state.drawn = new Map();
    state.limit = state.maps.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    paintAll(state);
  }
  if (fresh || before?.channel !== data.channel) state.channel = data.channel;
  takePlace(state, data.at, data.shape.slice(1));
  paint(state);
}
