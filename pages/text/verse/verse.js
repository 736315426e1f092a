// A written text whose characters can be pointed at. Everything is put in as text, never as markup.

const STRONG_BITS = 8;
const LONG_PROMPT = 600;
const NAMES = new Map([["\n", "↵ new line"], [" ", "␣ space"], ["\t", "⇥ tab"]]);

const named = (character) => NAMES.get(character) ?? character;
const percent = (p) => (p >= 0.9995 ? "100%" : p >= 0.1 ? `${(100 * p).toFixed(0)}%` : p >= 0.001 ? `${(100 * p).toFixed(1)}%` : "<0.1%");

function build(root) {
  const panel = element("div", "verse-panel");
  const text = element("div", "verse-text");
  text.tabIndex = 0;
  text.setAttribute("role", "group");
  const prompt = element("span", "verse-prompt");
  const body = element("span", "verse-body");
  const caret = element("span", "verse-caret");
  text.append(prompt, body, caret);
  const foot = element("div", "verse-foot");
  root.replaceChildren(panel, text, foot);
  return { panel, text, prompt, body, caret, foot, spans: [], pinned: null, shown: null };
}

function paint(state) {
  const { data, spans, body } = state;
  const characters = [...data.text];
  while (spans.length > characters.length) spans.pop().remove();
  const fresh = document.createDocumentFragment();
  for (let index = 0; index < characters.length; index += 1) {
    let span = spans[index];
    if (!span) {
      span = element("span");
      span.dataset.index = index;
      spans.push(span);
      fresh.append(span);
    }
    if (span.textContent !== characters[index]) span.textContent = characters[index];
    const bits = data.colour ? Math.min(data.bits[index] ?? 0, STRONG_BITS) / STRONG_BITS : 0;
    const share = `${Math.round(75 * bits)}%`;
    if (span.dataset.share !== share) {
      span.dataset.share = share;
      span.style.setProperty("--share", share);
    }
  }
  body.append(fresh);
  const copied = new Map();
  for (const [start, length] of data.passages ?? []) {
    for (let index = start; index < start + length; index += 1) copied.set(index, index === start + length - 1 ? length : 0);
  }
  spans.forEach((span, index) => {
    span.classList.toggle("copied", copied.has(index));
    if (copied.get(index)) span.dataset.length = copied.get(index);
    else delete span.dataset.length;
  });
}

function select(state, index, pin) {
  const { data, spans } = state;
  if (state.shown !== null) spans[state.shown]?.classList.remove("shown", "pinned");
  state.shown = index;
  if (pin) state.pinned = index;
  if (index === null || !spans[index]) {
    state.shown = state.pinned = null;
    hint(state);
    return;
  }
  spans[index].classList.add("shown");
  if (state.pinned === index) spans[index].classList.add("pinned");
  describe(state, index);
}

function hint(state) {
  const { data, panel } = state;
  const words = data.busy ? "Writing" : !data.text ? "" : data.branch
    ? "Point at a character to see how sure the model was. Click or tap it, and pick another one to go on from there."
    : "Point at a character: how sure was the model?";
  panel.replaceChildren(element("div", "verse-hint", words));
}

function describe(state, index) {
  const { data, panel } = state;
  const character = [...data.text][index];
  const line = element("div", "verse-line");
  line.append(element("strong", "", named(character)), ` ${percent(data.p[index])} likely · surprise ${data.bits[index].toFixed(1)} bits`);
  line.append(` · choice open to ${data.entropy[index].toFixed(1)} bits`);
  const row = element("div", "verse-options");
  for (const [option, probability] of data.options?.[index] ?? []) {
    const own = option === character;
    const button = element("button", own ? "own" : "", "");
    button.type = "button";
    button.append(element("span", "verse-name", named(option)), element("span", "verse-share", percent(probability)));
    button.style.setProperty("--share", `${Math.round(100 * probability)}%`);
    button.disabled = own || !data.branch || data.busy;
    button.title = own ? "This one was written" : "Go on from here with this one";
    button.addEventListener("click", () => state.send("branch", { index, character: option }));
    row.append(button);
  }
  panel.replaceChildren(line, row);
}

function foot(state) {
  const { data, foot: place } = state;
  if (!data.text) {
    place.replaceChildren();
    return;
  }
  const parts = [];
  if (data.colour) {
    const scale = element("span", "verse-scale");
    scale.append(element("span", "", "0"), element("span", "verse-ramp"), element("span", "", `${STRONG_BITS}+ bits of surprise`));
    parts.push(scale);
  }
  if (data.passages?.length) parts.push(element("span", "verse-key copied", "copied word for word, with its length"));
  if (!data.busy) {
    const copy = element("button", "verse-copy", "Copy text");
    copy.type = "button";
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(data.prompt + data.text);
        copy.textContent = "Copied";
      } catch {
        copy.textContent = "This browser does not allow it: use Download";
      }
    });
    parts.push(copy);
  }
  place.replaceChildren(...parts);
}

function listen(state) {
  const at = (event) => {
    const span = event.target.closest?.("span[data-index]");
    return span ? Number(span.dataset.index) : null;
  };
  state.text.addEventListener("pointerover", (event) => {
    const index = at(event);
    if (state.pinned === null && index !== null && event.pointerType === "mouse") select(state, index, false);
  });
  state.text.addEventListener("click", (event) => {
    const index = at(event);
    select(state, index === state.pinned ? null : index, index !== state.pinned);
  });
  state.text.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && state.spans.length) {
      const next = (state.shown ?? (step > 0 ? -1 : state.spans.length)) + step;
      select(state, Math.max(0, Math.min(state.spans.length - 1, next)), true);
    } else if (event.key === "Escape") {
      select(state, null, false);
    } else if (event.key === "Enter" && state.shown !== null) {
      state.panel.querySelector("button:enabled")?.focus();
    } else {
      return;
    }
    event.preventDefault();
  });
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".verse");
  if (!root.verse) {
    root.verse = build(root);
    listen(root.verse);
  }
  const state = root.verse;
  const same = state.data && data.text.startsWith(state.data.text) && data.prompt === state.data.prompt;
  state.data = data;
  state.send = setTriggerValue;
  root.classList.toggle("busy", data.busy);
  state.text.setAttribute("aria-label", `Written text, ${data.label}. Left and right arrow keys go from character to character.`);
  // Of a long prompt its end is enough: what comes of it must not lie pages below.
  state.prompt.textContent = data.prompt.length > LONG_PROMPT ? `… ${data.prompt.slice(-LONG_PROMPT)}` : data.prompt;
  paint(state);
  foot(state);
  if (!same) state.pinned = null;
  // On a phone the text is below its button: whoever pressed it is taken there.
  const below = root.getBoundingClientRect().top > 0.6 * window.innerHeight;
  if (!same && data.busy && data.branch && below) root.scrollIntoView({ behavior: "smooth", block: "start" });
  select(state, same ? state.shown : null, false);
}
