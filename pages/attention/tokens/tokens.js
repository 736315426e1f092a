// An image whose tokens can be pointed at, and what each head, and all layers, attend to from there. Weights come with the data.

const LARGE = 320;

// What a map gives to every token, 0 to 1 of its strongest, and how much that is. at: null for a map that is the same everywhere.
function values(state, map, at) {
  const { side, most } = state.data;
  const count = side * side;
  const row = map < state.moving ? map * count + at : state.moving * count + map - state.moving;
  return { shares: state.weights.subarray(row * count, (row + 1) * count), most: most[row] };
}

// The image, darker where there is less attention; without shares as it is. On a black page less dark, or it would vanish.
function draw(canvas, state, shares, framed) {
  const { side, dark } = state.data;
  const veil = dark ? 0.7 : 0.85;
  canvas.width = canvas.height = LARGE;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(state.photo, 0, 0, LARGE, LARGE);
  const cell = LARGE / side;
  const box = (token) => [(token % side) * cell, Math.floor(token / side) * cell, cell, cell];
  for (let token = 0; token < side * side; token += 1) {
    pen.fillStyle = shares ? `rgba(0, 0, 0, ${veil * (1 - Math.sqrt(shares[token] / 255))})` : "transparent";
    pen.fillRect(...box(token));
    if (!shares) {
      pen.strokeStyle = "rgba(255, 255, 255, 0.35)";
      pen.lineWidth = 1;
      pen.strokeRect(...box(token));
    }
  }
  if (framed === undefined) return;
  for (const [line, style] of [[9, "rgba(0, 0, 0, 0.7)"], [5, "#ffd23f"]]) {
    pen.lineWidth = line;
    pen.strokeStyle = style;
    pen.strokeRect(...box(framed));
  }
}

function figure(canvas, title, className) {
  const made = element("figure", className);
  made.append(element("figcaption", "", title), canvas);
  return made;
}

function build(root) {
  const [answer, panel, body] = [element("div", "tokens-answer"), element("div", "tokens-panel"), element("div", "tokens-body")];
  panel.setAttribute("role", "status");
  const image = element("canvas");
  image.tabIndex = 0;
  image.setAttribute("role", "application");
  const [maps, fixed] = [element("div", "tokens-maps"), element("div", "tokens-maps")];
  const state = { root, answer, panel, image, maps, fixed, timers: {} };
  body.append(figure(image, matchMedia("(hover: none)").matches ? "tap a token" : "point at a token, click to keep", "tokens-image"), maps, fixed);
  root.replaceChildren(answer, panel, body);
  const under = (event) => {
    const area = image.getBoundingClientRect();
    const { side } = state.data;
    const place = (offset, length) => Math.max(0, Math.min(side - 1, Math.floor((side * offset) / length)));
    return place(event.clientY - area.top, area.height) * side + place(event.clientX - area.left, area.width);
  };
  image.addEventListener("pointermove", (event) => show(state, under(event)));
  image.addEventListener("pointerleave", () => show(state, state.at));
  image.addEventListener("click", (event) => choose(state, under(event)));
  onArrows(image, (down, right) => {
    const { side } = state.data;
    const [row, column] = [Math.floor(state.at / side) + down, (state.at % side) + right];
    if (row >= 0 && column >= 0 && row < side && column < side) choose(state, row * side + column);
  });
  return state;
}

function choose(state, at) {
  state.at = at;
  show(state, at);
  tellLater(state, "at", at);
}

function lay(state) {
  const { heads } = state.data;
  const titles = [...heads.map((name) => `head ${name}`), "all layers", "reaches the answer", "read by the classifier"];
  state.moving = heads.length + 1;
  state.canvases = titles.map((title) => {
    const canvas = element("canvas");
    canvas.setAttribute("role", "img");
    return canvas;
  });
  const figures = state.canvases.map((canvas, map) => figure(canvas, titles[map]));
  state.maps.replaceChildren(...figures.slice(0, state.moving));
  state.fixed.replaceChildren(...figures.slice(state.moving));
  state.titles = titles;
}

const where = (state, token) => `row ${Math.floor(token / state.data.side) + 1}, column ${(token % state.data.side) + 1}`;

function paint(state) {
  const { shown, canvases, titles } = state;
  draw(state.image, state, null, shown);
  const found = canvases.map((canvas, map) => {
    const { shares, most } = values(state, map, shown);
    draw(canvas, state, shares, map < state.moving ? shown : undefined);
    const words = `${where(state, shares.indexOf(255))} (${percent(most)})`;
    canvas.setAttribute("aria-label", `${titles[map]}: strongest at ${words}`);
    return words;
  });
  const words = `The token in ${where(state, shown)} looks most at ${found.slice(0, state.moving).map((text, map) => `${text} in ${titles[map]}`).slice(-1)[0]}.`;
  state.panel.textContent = words;
  state.answer.textContent = state.data.answer;
  state.image.setAttribute("aria-label", `The image. Arrow keys go from token to token. ${words}`);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".tokens");
  root.tokens ??= build(root);
  const state = root.tokens;
  const before = state.data;
  Object.assign(state, { data, tell: setTriggerValue });
  const fresh = before?.weights !== data.weights || before?.pixels !== data.pixels || before?.dark !== data.dark;
  if (fresh) {
    state.weights = bytes(data.weights);
    const image = new ImageData(data.pixelSide, data.pixelSide);
    bytes(data.pixels).forEach((value, index) => { image.data[4 * Math.floor(index / 3) + (index % 3)] = value; });
    for (let index = 3; index < image.data.length; index += 4) image.data[index] = 255;
    state.photo = element("canvas");
    state.photo.width = state.photo.height = data.pixelSide;
    state.photo.getContext("2d").putImageData(image, 0, 0);
    lay(state);
  }
  if (fresh || state.timers.at === undefined) state.at = state.shown = data.at;
  paint(state);
}
