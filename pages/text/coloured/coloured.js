// A text whose characters carry values. Everything is put in as text, never as markup.

const STRONGEST = 70; // percent of the colour: the text stays readable on it
const NAMES = new Map([["\n", "new line"], [" ", "space"], ["\t", "tab"]]);
const SIGNS = new Map([["\n", "↵"], [" ", "·"], ["\t", "→"]]);

const named = (character) => NAMES.get(character) ?? `“${character}”`;
const bits = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)} bits`;

function build(root) {
  const panel = element("div", "coloured-panel");
  panel.setAttribute("aria-live", "polite");
  const text = element("div", "coloured-text");
  text.tabIndex = 0;
  text.setAttribute("role", "group");
  const foot = element("div", "coloured-foot");
  root.replaceChildren(panel, text, foot);
  return { panel, text, foot, spans: [], shown: null, pinned: false };
}

function paint(state) {
  const { data, text, foot } = state;
  const limit = Math.max(1e-9, ...data.values.map(Math.abs));
  state.characters = [...data.text];
  state.spans = state.characters.map((character, index) => {
    const value = data.values[index];
    const span = element("span", index < data.unseen ? "unseen" : value < 0 ? "against" : "for", character);
    span.dataset.index = index;
    if (SIGNS.has(character)) span.dataset.sign = SIGNS.get(character);
    if (character === " ") span.classList.add("space");
    span.style.setProperty("--share", `${Math.round((STRONGEST * Math.abs(value)) / limit)}%`);
    return span;
  });
  const next = named(data.following);
  const following = element("span", "following", SIGNS.get(data.following) ?? data.following);
  following.title = `The next character that is explained: ${next}`;
  text.replaceChildren(...state.spans, following);
  text.setAttribute("aria-label", `The prompt, ${state.spans.length} characters, coloured by what each does to the chance of ${next}. Left and right arrow keys go from character to character.`);
  foot.replaceChildren(
    element("span", "", `${bits(-limit)}: makes ${next} less likely`),
    element("span", "coloured-ramp"),
    element("span", "", `${bits(limit)}: makes ${next} more likely`),
  );
}

function select(state, index, pin) {
  const { data, panel, spans, characters } = state;
  spans[state.shown]?.classList.remove("shown", "pinned");
  state.shown = index;
  state.pinned = pin && index !== null;
  if (index === null) {
    panel.replaceChildren("Point at a character, or tap it, to read its value.");
    return;
  }
  spans[index].classList.add("shown");
  spans[index].classList.toggle("pinned", state.pinned);
  const empty = characters[index] === data.baseline && data.values[index] === 0;
  const words = index < data.unseen ? "out of the model's sight" : empty ? "stands for nothing, so it has no value" : bits(data.values[index]);
  panel.replaceChildren(element("strong", "", named(characters[index])), `, character ${index + 1} of ${characters.length}: ${words}`);
}

function listen(state) {
  const at = (event) => {
    const span = event.target.closest?.("span[data-index]");
    return span ? Number(span.dataset.index) : null;
  };
  state.text.addEventListener("pointerover", (event) => {
    if (!state.pinned && at(event) !== null && event.pointerType === "mouse") select(state, at(event), false);
  });
  state.text.addEventListener("click", (event) => {
    const index = at(event);
    select(state, state.pinned && index === state.shown ? null : index, true);
  });
  state.text.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") select(state, null, false);
    else if (step) {
      const next = (state.shown ?? (step > 0 ? -1 : state.spans.length)) + step;
      select(state, Math.max(0, Math.min(state.spans.length - 1, next)), true);
    } else return;
    event.preventDefault();
  });
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".coloured");
  if (!root.coloured) {
    root.coloured = build(root);
    listen(root.coloured);
  }
  const state = root.coloured;
  const given = JSON.stringify(data);
  if (state.given === given) return;
  Object.assign(state, { data, given });
  root.classList.toggle("dark", data.dark);
  paint(state);
  select(state, null, false);
}
