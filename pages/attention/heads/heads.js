// A text with what a head looks at from one character, and all heads as maps. Weights come with the data: pointing asks nobody.

const TOP = 3;
// How a map is drawn. On black, weak attention needs more ink to be seen at all.
const LIGHT = { ink: [0, 90, 150], least: 0.06, power: 0.5 };
const DARK = { ink: [125, 205, 255], least: 0.16, power: 0.36 };

// What a tile's head gives to the characters up to `at`, 0 to 1.
function row(state, tile, at) {
  const start = tile * state.size + (at * (at + 1)) / 2;
  return Array.from(state.weights.subarray(start, start + at + 1), (value) => value / 255);
}

function build(root) {
  const [answer, detail, next, body] = ["answer", "detail", "next", "body"].map((name) => element("div", `heads-${name}`));
  answer.setAttribute("role", "status");
  const [read, panel, text] = [element("div", "heads-read"), element("div", "heads-panel"), element("div", "heads-text")];
  panel.setAttribute("aria-live", "polite");
  text.tabIndex = 0;
  text.setAttribute("role", "application");
  const [maps, tiles] = [element("div", "heads-maps"), element("div", "heads-tiles")];
  tiles.setAttribute("role", "group");
  tiles.setAttribute("aria-label", "Heads: a row for each layer. Arrow keys go from one to the next.");
  read.append(panel, text);
  maps.append(tiles);
  body.append(read, maps);
  root.replaceChildren(answer, detail, next, body);
  const state = { root, answer, detail, next, panel, text, tiles, timers: {}, buttons: [] };
  const under = (event) => {
    const span = event.target.closest?.("span[data-index]");
    return span ? Number(span.dataset.index) : null;
  };
  text.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse" && under(event) !== null) show(state, under(event));
  });
  text.addEventListener("pointerleave", () => show(state, state.at));
  text.addEventListener("click", (event) => {
    if (under(event) !== null) choose(state, under(event));
  });
  onArrows(text, (down, right) => choose(state, state.at + (down || right)));
  onArrows(tiles, (down, right) => {
    const next = neighbour(state, down, right);
    pick(state, next);
    state.buttons[next].focus();
  });
  return state;
}

function choose(state, at) {
  if (at < 0 || at >= state.spans.length) return;
  state.at = at;
  show(state, at);
  tellLater(state, "at", at);
}

function pick(state, head) {
  if (head === state.head) return;
  state.head = head;
  paint(state);
  tellLater(state, "head", state.data.tiles[head].name);
}

// The tile beside the chosen one, or above or below it: layers may have different numbers of heads.
function neighbour(state, down, right) {
  const { tiles } = state.data;
  const last = tiles.length - 1;
  if (right || state.head === last) return within(state.head + (right || down), last);
  const [layer, head] = place(tiles[state.head]);
  const beside = tiles.findLastIndex((tile) => tile.name !== "all" && place(tile)[0] === layer + down && place(tile)[1] <= head);
  return beside < 0 ? (down > 0 ? last : state.head) : beside;
}

const place = (tile) => tile.name.split(".").map(Number);
const within = (value, most) => Math.max(0, Math.min(most, value));

// A map as its lower triangle: row t is what character t looks at.
function drawMap(canvas, state, tile) {
  const side = state.spans.length;
  canvas.width = canvas.height = side;
  const image = new ImageData(side, side);
  const { ink, least, power } = state.data.dark ? DARK : LIGHT;
  for (let at = 0, from = tile * state.size; at < side; from += at + 1, at += 1) {
    for (let other = 0; other <= at; other += 1) {
      const share = least + (1 - least) * (state.weights[from + other] / 255) ** power;
      image.data.set([...ink, Math.round(255 * share)], 4 * (at * side + other));
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function lay(state) {
  const { data, text, tiles } = state;
  state.spans = spell(data.text);
  text.replaceChildren(...state.spans);
  tiles.style.setProperty("--across", data.across);
  state.buttons = data.tiles.map((tile, index) => {
    const made = button("", tile.label, () => pick(state, index));
    if (tile.name === "all") made.className = "all";
    else [made.style.gridRow, made.style.gridColumn] = place(tile).map((number) => number + 1);
    const canvas = element("canvas");
    drawMap(canvas, state, index);
    made.append(canvas, element("b", "", tile.name === "all" ? "all layers" : tile.name), element("small", "", tile.role));
    return made;
  });
  tiles.replaceChildren(...state.buttons);
}

function paint(state) {
  const { data, head, shown, spans } = state;
  const values = row(state, head, shown);
  shade(spans, values);
  spans.forEach((span, index) => {
    span.classList.toggle("later", index > shown);
    span.classList.toggle("shown", index === shown);
  });
  press(state.buttons, head);
  state.answer.textContent = data.tiles[head].sentence;
  state.detail.textContent = data.tiles[head].detail;
  state.next.textContent = data.next;
  const order = [...values.keys()].sort((one, other) => values[other] - values[one]).slice(0, TOP);
  const back = (index) => (index === shown ? "itself" : `${shown - index} back`);
  const found = order.filter((index) => values[index] > 0).map((index) => `${named(state.characters[index])} ${percent(values[index])} (${back(index)})`);
  const verb = head === state.buttons.length - 1 ? "draws on" : "looks at";
  const words = `${named(state.characters[shown])}, character ${shown + 1} of ${spans.length}, ${verb} ${found.join(", ")}.`;
  state.panel.textContent = words;
  state.text.setAttribute("aria-label", `The text. Arrow keys go from character to character. ${words}`);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".heads");
  root.heads ??= build(root);
  const state = root.heads;
  const before = state.data;
  Object.assign(state, { data, tell: setTriggerValue });
  root.classList.toggle("dark", data.dark);
  const fresh = before?.weights !== data.weights || before?.text !== data.text || before?.dark !== data.dark;
  if (fresh) {
    state.characters = [...data.text];
    state.size = (state.characters.length * (state.characters.length + 1)) / 2;
    state.weights = bytes(data.weights);
    lay(state);
  }
  // What the server is about to be told is newer than what it says.
  if (fresh || state.timers.head === undefined) state.head = data.tiles.findIndex((tile) => tile.name === data.head);
  if (fresh || state.timers.at === undefined) state.at = state.shown = data.at;
  paint(state);
}
