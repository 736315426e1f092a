// What the components of this room share.

const STRONGEST = 70; // percent of the colour: the text stays readable on it
const NAMES = new Map([["\n", "new line"], [" ", "space"], ["\t", "tab"]]);
const SIGNS = new Map([["\n", "↵"], [" ", "·"], ["\t", "→"]]);
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

const named = (character) => NAMES.get(character) ?? `“${character}”`;
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const percent = (share) => (share >= 0.995 || share < 0.0005 ? `${Math.round(100 * share)}%` : `${(100 * share).toFixed(share < 0.095 ? 1 : 0)}%`);

// A text as one span a character.
function spell(text) {
  return [...text].map((character, index) => {
    const span = element("span", character === " " ? "space" : "", character);
    span.dataset.index = index;
    if (SIGNS.has(character)) span.dataset.sign = SIGNS.get(character);
    return span;
  });
}

// values: of the first spans; the largest has the full colour, and a weak one still some.
function shade(spans, values) {
  const most = Math.max(1e-9, ...values);
  spans.forEach((span, index) => span.style.setProperty("--share", `${Math.round(STRONGEST * ((values[index] ?? 0) / most) ** 0.6)}%`));
}

// What is under the pointer, until it leaves.
function show(state, at) {
  if (at === state.shown) return;
  state.shown = at;
  paint(state);
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

// Once somebody stops: arrow keys go over many.
function tellLater(state, name, value) {
  clearTimeout(state.timers[name]);
  state.timers[name] = setTimeout(() => {
    delete state.timers[name];
    state.tell(name, value);
  }, 250);
}

// The tile that the keyboard is at is the one stop of the Tab key.
function press(tiles, chosen) {
  tiles.forEach((tile, index) => {
    tile.setAttribute("aria-pressed", index === chosen);
    tile.tabIndex = index === chosen ? 0 : -1;
  });
}
