// A photo and the square of it that the model sees. Lengths are in shorter sides of the photo.

const EVERY_MS = 200;
const UNHEARD_MS = 2000;
const SETTLED_MS = 600;
const STEP = 0.02;
const LONGEST_REM = 25;
const KEYS = matchMedia("(hover: none)").matches ? "" : " Keys: arrows move it, + and − size it.";
const HINT = `Drag the square or its corners.${KEYS}`;
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SIZES = { "+": 1, "=": 1, "-": -1, "−": -1, _: -1 };

const within = (value, low, high) => Math.max(low, Math.min(high, value));

function build(root) {
  const photo = element("div", "square-photo");
  const image = element("img");
  const box = element("div", "square-box");
  box.tabIndex = 0;
  box.setAttribute("role", "application");
  box.setAttribute("aria-roledescription", "square");
  box.setAttribute("aria-label", "What the model sees. Arrow keys move the square, plus and minus size it.");
  for (const [x, y] of [[0, 0], [1, 0], [0, 1], [1, 1]]) {
    const corner = element("span");
    Object.assign(corner.dataset, { x, y });
    box.append(corner);
  }
  photo.append(image, box);
  const status = element("div", "square-status");
  status.setAttribute("role", "status");
  status.textContent = HINT;
  root.replaceChildren(photo, status);
  return { photo, image, box, status, drag: null };
}

// width, height: of the photo.
function frame({ data }) {
  const shorter = Math.min(data.width, data.height);
  return { width: data.width / shorter, height: data.height / shorter };
}

function read(state, text) {
  const { width, height } = frame(state);
  if (!text) return put(state, (width - 1) / 2, (height - 1) / 2, 1);
  const [left, top, side] = text.split(",").map(Number);
  put(state, left * width, top * height, side);
}

// Inside the photo, whatever was asked for.
function put(state, left, top, side) {
  const { width, height } = frame(state);
  const held = within(side, state.data.least, 1);
  state.square = { left: within(left, 0, width - held), top: within(top, 0, height - held), side: held };
  const share = (length, whole) => `${(100 * length) / whole}%`;
  Object.assign(state.box.style, {
    left: share(state.square.left, width),
    top: share(state.square.top, height),
    width: share(held, width),
  });
}

function words(state) {
  const { width, height } = frame(state);
  const { left, top, side } = state.square;
  return [left / width, top / height, side].map((value) => Number(value.toFixed(3)));
}

// done: the drag is over. Only then is the square a step in the browser's history.
function send(state, done = false) {
  clearTimeout(state.timer);
  state.timer = undefined;
  if (done) forget(state);
  const text = words(state).join(",");
  if (text === state.sent && done === state.done) return;
  Object.assign(state, { sent: text, done });
  state.sentAt = performance.now();
  state.next = state.sentAt + UNHEARD_MS;
  state.set("square", { revision: state.revision, square: text, done });
}

function forget(state) {
  clearTimeout(state.timer);
  clearTimeout(state.settling);
  state.timer = state.settling = undefined;
}

function sendSoon(state) {
  clearTimeout(state.timer);
  const wait = (state.next ?? 0) - performance.now();
  if (wait <= 0) send(state);
  else state.timer = setTimeout(() => send(state), wait);
}

// The page answers after it drew this square. Sent any sooner, the next one would cut each answer short on a busy machine.
function heard(state) {
  const now = performance.now();
  state.next = Math.max(state.sentAt + EVERY_MS, now + (now - state.sentAt));
  state.sentAt = undefined;
  if (state.timer) sendSoon(state);
}

function listen(state) {
  const { photo, box, status } = state;
  const at = (event) => {
    const { area } = state.drag; // as it was at first: an answer above the photo may move it meanwhile
    const { width } = frame(state);
    return [(width * (event.clientX - area.left)) / area.width, (width * (event.clientY - area.top)) / area.width];
  };
  photo.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || state.drag) return;
    event.preventDefault();
    photo.setPointerCapture(event.pointerId);
    box.focus({ preventScroll: true, focusVisible: false });
    status.textContent = HINT;
    state.drag = { pointer: event.pointerId, area: photo.getBoundingClientRect() };
    const [x, y] = at(event);
    const { left, top, side } = state.square;
    const corner = event.target.dataset;
    Object.assign(state.drag, { x: x - left, y: y - top });
    if (corner.x !== undefined) {
      const [right, down] = [Number(corner.x), Number(corner.y)];
      // The opposite corner stays; what is between the pointer and this one stays, too.
      const held = { right, down, x: right ? left : left + side, y: down ? top : top + side };
      Object.assign(state.drag, { held, x: x - (left + right * side), y: y - (top + down * side) });
    } else if (event.target !== box) {
      Object.assign(state.drag, { x: side / 2, y: side / 2 });
      move(event);
    }
  });
  const move = (event) => {
    const { held, x, y } = state.drag;
    const place = at(event);
    const [left, top] = [place[0] - x, place[1] - y];
    if (!held) put(state, left, top, state.square.side);
    else {
      const { width, height } = frame(state);
      const room = Math.min(held.right ? width - held.x : held.x, held.down ? height - held.y : held.y);
      const wanted = Math.max((left - held.x) * (held.right ? 1 : -1), (top - held.y) * (held.down ? 1 : -1));
      const side = within(wanted, state.data.least, room);
      put(state, held.right ? held.x : held.x - side, held.down ? held.y : held.y - side, side);
    }
    sendSoon(state);
  };
  photo.addEventListener("pointermove", (event) => {
    if (event.pointerId === state.drag?.pointer) move(event);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    photo.addEventListener(name, (event) => {
      if (event.pointerId !== state.drag?.pointer) return;
      state.drag = null;
      send(state, true);
    });
  }
  box.addEventListener("blur", () => {
    status.textContent = HINT;
    if (state.settling) send(state, true);
  });
  box.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || state.drag) return;
    const [right, down] = MOVES[event.key] ?? [0, 0];
    const size = SIZES[event.key] ?? (event.shiftKey ? right - down : 0);
    if (!right && !down && !size) return;
    event.preventDefault();
    const { left, top, side } = state.square;
    if (size) {
      const larger = within(side + size * STEP, state.data.least, 1);
      put(state, left - (larger - side) / 2, top - (larger - side) / 2, larger); // around its middle
    } else put(state, left + right * STEP, top + down * STEP, side);
    const [x, y, share] = words(state).map((value) => `${Math.round(100 * value)}%`);
    status.textContent = `${x} from the left, ${y} from the top, ${share} of the shorter side.`;
    sendSoon(state);
    clearTimeout(state.settling);
    state.settling = setTimeout(() => send(state, true), SETTLED_MS);
  });
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".square");
  if (!root.square) {
    root.square = build(root);
    listen(root.square);
  }
  const state = root.square;
  const before = state.data;
  state.data = data;
  state.set = setStateValue;
  if (before?.photo !== data.photo) {
    state.image.src = data.photo;
    Object.assign(state.photo.style, {
      aspectRatio: `${data.width} / ${data.height}`,
      maxWidth: `${LONGEST_REM * Math.min(1, data.width / data.height)}rem`,
    });
  }
  state.image.alt = data.alt;
  if (state.revision !== data.revision) {
    state.revision = data.revision;
    state.drag = null;
    forget(state);
    read(state, data.square);
    Object.assign(state, { sent: words(state).join(","), done: true });
    state.next = state.sentAt = undefined;
  } else if (state.sentAt && data.square === state.sent) heard(state);
}
