// An image whose squares can be covered. Everything is put in as text, never as markup.

const EVERY_MS = 250;
const WIDEST = 640;
const HINT = "Click or drag on the image, or use the arrow keys and Space.";
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

function unpack(text, count) {
  const packed = bytes(text);
  return Uint8Array.from({ length: count }, (_, index) => (packed[index >> 3] >> (7 - (index & 7))) & 1);
}

function pack(mask) {
  const packed = new Uint8Array(Math.ceil(mask.length / 8));
  mask.forEach((bit, index) => { packed[index >> 3] |= bit << (7 - (index & 7)); });
  return btoa(String.fromCharCode(...packed));
}

function build(root) {
  const tools = element("div", "cover-tools");
  const canvas = element("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  const status = element("div", "cover-status", HINT);
  status.setAttribute("role", "status");
  root.replaceChildren(tools, canvas, status);
  const small = document.createElement("canvas");
  // cursor: the square's middle in pixels of the image, may lie between two; keys: whether the keyboard moves it.
  return { tools, canvas, status, small, uncovers: false, brush: 0, cursor: null, keys: false, pointer: null, stroke: 0 };
}

function group(state, label, names, current, choose) {
  const made = element("div", "cover-group");
  made.setAttribute("role", "group");
  made.setAttribute("aria-label", label);
  const buttons = names.map(([name, title], index) => {
    const button = element("button", "", name);
    button.type = "button";
    button.title = title;
    button.setAttribute("aria-label", title);
    button.setAttribute("aria-pressed", index === current);
    button.addEventListener("click", () => {
      choose(index);
      buttons.forEach((other) => other.setAttribute("aria-pressed", other === button));
      paint(state);
    });
    return button;
  });
  made.append(...buttons);
  return made;
}

function tools(state) {
  const { brushes } = state.data;
  state.brush = Math.min(1, brushes.length - 1);
  const mode = group(state, "What drawing does", [["Cover", "Drawing covers"], ["Uncover", "Drawing uncovers"]], 0, (index) => {
    state.uncovers = index === 1;
  });
  const sizes = brushes.map((side) => [`${side}`, `Brush of ${side} by ${side} ${side === 1 ? "pixel" : "pixels"}`]);
  const brush = group(state, "Size of the brush", sizes, state.brush, (index) => { state.brush = index; });
  brush.prepend(element("span", "", "Brush"));
  state.tools.replaceChildren(mode, brush);
}

// The first column and row of the brush's square around a place, and how many of each.
function square(state, [x, y]) {
  const { side, brushes } = state.data;
  const size = brushes[state.brush];
  const first = (middle) => Math.max(0, Math.min(side - size, Math.round(middle - size / 2)));
  return [first(x), first(y), size];
}

function stamp(state, place) {
  if (place.some((value) => value < 0 || value > state.data.side)) return; // dragged out of the image
  const [left, top, size] = square(state, place);
  const value = state.uncovers ? 0 : 1;
  for (let row = top; row < top + size; row += 1) {
    for (let column = left; column < left + size; column += 1) {
      const index = row * state.data.side + column;
      if (state.mask[index] !== value) {
        state.mask[index] = value;
        state.unsent = true;
      }
    }
  }
}

function line(state, from, to) {
  const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])));
  for (let step = 1; step <= steps; step += 1) {
    const share = step / steps;
    stamp(state, [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]);
  }
}

function send(state) {
  clearTimeout(state.timer);
  state.timer = undefined;
  if (!state.unsent) return;
  state.unsent = false;
  state.sentAt = performance.now();
  state.set("drawn", { revision: state.revision, stroke: state.stroke, mask: pack(state.mask) });
}

function sendSoon(state) {
  const wait = (state.sentAt ?? -EVERY_MS) + EVERY_MS - performance.now();
  if (wait <= 0) send(state);
  else state.timer ??= setTimeout(() => send(state), wait);
}

function paint(state) {
  const { canvas, small, mask, pixels, base } = state;
  const { side } = state.data;
  const pen = small.getContext("2d");
  const mixed = pen.createImageData(side, side);
  for (let index = 0; index < side * side; index += 1) {
    const from = mask[index] ? base : pixels;
    for (let channel = 0; channel < 3; channel += 1) mixed.data[4 * index + channel] = from[3 * index + channel];
    mixed.data[4 * index + 3] = 255;
  }
  pen.putImageData(mixed, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  outline(state, context);
  if (state.cursor) {
    const cell = canvas.width / side;
    const [left, top, size] = square(state, state.cursor);
    for (const [width, colour] of [[6, "rgba(0, 0, 0, 0.6)"], [3, state.keys ? "#ffd23f" : "#ffffff"]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.strokeRect(left * cell, top * cell, size * cell, size * cell);
    }
  }
}

// Around what is covered: dark with a light line in it, to be seen on any colours.
function outline({ canvas, mask, data: { side } }, context) {
  const cell = canvas.width / side;
  context.beginPath();
  for (let row = 0; row < side; row += 1) {
    for (let column = 0; column < side; column += 1) {
      const covered = mask[row * side + column];
      if (column + 1 < side && covered !== mask[row * side + column + 1]) {
        context.moveTo((column + 1) * cell, row * cell);
        context.lineTo((column + 1) * cell, (row + 1) * cell);
      }
      if (row + 1 < side && covered !== mask[(row + 1) * side + column]) {
        context.moveTo(column * cell, (row + 1) * cell);
        context.lineTo((column + 1) * cell, (row + 1) * cell);
      }
    }
  }
  for (const [width, colour] of [[4, "rgba(0, 0, 0, 0.45)"], [1.5, "rgba(255, 255, 255, 0.8)"]]) {
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.stroke();
  }
}

function listen(state) {
  const { canvas } = state;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const { side } = state.data;
    return [(side * (event.clientX - box.left)) / box.width, (side * (event.clientY - box.top)) / box.height];
  };
  const end = (event) => {
    if (event.pointerId !== state.pointer) return;
    state.pointer = null;
    if (event.pointerType !== "mouse") state.cursor = null;
    send(state);
    paint(state);
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || state.pointer !== null) return;
    canvas.setPointerCapture(event.pointerId);
    state.pointer = event.pointerId;
    state.stroke += 1;
    state.keys = false;
    state.cursor = at(event);
    state.status.textContent = HINT;
    stamp(state, state.cursor);
    sendSoon(state);
    paint(state);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (state.pointer === null && event.pointerType !== "mouse") return;
    if (state.pointer !== null && event.pointerId !== state.pointer) return;
    const place = at(event);
    if (state.pointer !== null) {
      line(state, state.cursor, place);
      sendSoon(state);
    } else if (state.keys) return;
    state.cursor = place;
    paint(state);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(name, end);
  canvas.addEventListener("pointerleave", () => {
    if (state.pointer !== null || state.keys) return;
    state.cursor = null;
    paint(state);
  });
  canvas.addEventListener("blur", () => {
    if (!state.keys) return;
    state.keys = false;
    state.cursor = null;
    state.status.textContent = HINT;
    paint(state);
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || state.pointer !== null) return;
    const step = STEPS[event.key];
    const acts = event.key === " " || event.key === "Enter";
    if (!step && !acts) return;
    event.preventDefault();
    const { side } = state.data;
    const size = state.data.brushes[state.brush];
    if (!state.keys || !state.cursor) {
      state.cursor = [Math.floor(side / 2) + size / 2, Math.floor(side / 2) + size / 2];
    } else if (step) {
      // From square to square: held to the image, or the keys would have to come back from outside it.
      const [left, top] = square(state, state.cursor);
      const held = (first) => Math.max(0, Math.min(side - size, first)) + size / 2;
      state.cursor = [held(left + step[0]), held(top + step[1])];
    }
    state.keys = true;
    if (acts) {
      state.stroke += 1;
      stamp(state, state.cursor);
      send(state);
    }
    paint(state);
    tell(state);
  });
}

function tell(state) {
  const [left, top, size] = square(state, state.cursor);
  let covered = 0;
  for (let row = top; row < top + size; row += 1) {
    for (let column = left; column < left + size; column += 1) covered += state.mask[row * state.data.side + column];
  }
  const how = covered === size * size ? "covered" : covered ? "covered in part" : "not covered";
  const changes = state.uncovers ? covered : covered < size * size;
  const does = changes ? `${state.uncovers ? "uncovers" : "covers"} it` : "changes nothing";
  const words = `Column ${left + 1}, row ${top + 1}: ${how}. Space ${does}.`;
  if (state.status.textContent !== words) state.status.textContent = words; // else screen readers would read it again
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".cover");
  if (!root.cover) {
    root.cover = build(root);
    listen(root.cover);
  }
  const state = root.cover;
  const before = state.data;
  state.data = data;
  state.set = setStateValue;
  if (before?.side !== data.side) {
    state.small.width = state.small.height = data.side;
    state.canvas.width = state.canvas.height = data.side * Math.max(1, Math.floor(WIDEST / data.side));
    state.cursor = null;
    tools(state);
  }
  if (before?.pixels !== data.pixels) state.pixels = bytes(data.pixels);
  if (before?.base !== data.base) state.base = bytes(data.base);
  if (state.revision !== data.revision) {
    state.revision = data.revision;
    state.mask = unpack(data.mask, data.side * data.side);
    state.unsent = false;
  }
  state.stroke = Math.max(state.stroke, data.stroke);
  state.canvas.textContent = data.label;
  state.canvas.setAttribute("aria-label", `${data.label} Arrow keys move a square, Space covers or uncovers what is under it.`);
  paint(state);
  if (state.keys && state.cursor) tell(state); // the mask may be another one now
}
