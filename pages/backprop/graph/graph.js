// A graph with the numbers of its forward and backward pass. All of them come from the server: this picks and draws.

// From left to right where there is room, else from top to bottom.
const WIDE = { width: 92, height: 56, across: 116, down: 66, digits: 4 };
const TALL = { width: 56, height: 56, across: 60, down: 78, digits: 3 };
const LEAST_SCALE = 0.8;
const EVERY_MS = 80;

const factor = (value) => (value < 0 ? `(${number(value)})` : number(value));

function build(root) {
  const state = { root };
  state.scroll = element("div", "graph-scroll");
  state.scroll.tabIndex = 0;
  state.scroll.setAttribute("role", "region");
  state.scroll.addEventListener("scroll", () => hint(state));
  const bar = element("div", "graph-bar");
  state.range = range("Step of the two passes");
  state.range.addEventListener("input", () => goTo(state, Number(state.range.value), false));
  state.range.addEventListener("change", () => sendView(state));
  state.play = button("▶", "Play both passes", () => play(state));
  bar.append(
    state.play,
    button("‹", "One step back", () => goTo(state, state.step - 1, true)),
    state.range,
    button("›", "One step on", () => goTo(state, state.step + 1, true)),
  );
  state.said = element("div", "graph-said");
  state.said.setAttribute("role", "status");
  const panel = element("div", "graph-panel");
  const left = element("div");
  state.head = element("div", "graph-head");
  state.turn = element("div", "graph-turn");
  state.slide = range("Value");
  state.slide.step = "any";
  state.typed = element("input");
  state.typed.type = "number";
  state.typed.step = "any";
  state.typed.setAttribute("aria-label", "Value, typed");
  state.turn.append(state.slide, state.typed);
  state.slide.addEventListener("pointerdown", () => { state.held = true; });
  state.slide.addEventListener("input", () => sendValue(state, Number(state.slide.value), false));
  state.slide.addEventListener("change", () => {
    state.held = false;
    sendValue(state, Number(state.slide.value), true);
  });
  state.typed.addEventListener("change", () => {
    if (state.typed.value !== "" && Number.isFinite(Number(state.typed.value))) sendValue(state, Number(state.typed.value), true);
  });
  state.sums = element("div");
  state.checks = element("div");
  left.append(state.head, state.turn, state.sums, state.checks);
  state.chain = element("div");
  panel.append(left, state.chain);
  root.replaceChildren(state.scroll, bar, state.said, panel);
  new ResizeObserver(() => fit(state) && paint(state)).observe(root);
  return state;
}

// Operations in the order of the forward pass; the backward pass takes them the other way.
const operations = (data) => data.nodes.flatMap((node, place) => (node.operands.length ? [place] : []));

function moment(state) {
  const order = operations(state.data);
  if (state.step <= order.length) return { forward: state.step, backward: 0, active: order[state.step - 1], order };
  const backward = state.step - order.length;
  return { forward: order.length, backward, active: order[order.length - backward], order };
}

// What a node's gradient has come to: its place in the running sum of what was sent so far.
function gradientSoFar(state, place, now) {
  if (!now.backward) return null;
  if (place === state.data.nodes.length - 1) return 1;
  const sentBack = new Set(now.order.slice(now.order.length - now.backward));
  return state.data.nodes[place].messages.filter((each) => sentBack.has(each.consumer)).at(-1)?.sum ?? null;
}

function stop(state) {
  clearInterval(state.playing);
  state.playing = null;
  say(state.play, "▶", "Play both passes");
}

function play(state) {
  if (state.playing) {
    stop(state);
    sendView(state);
    return;
  }
  if (state.step >= Number(state.range.max)) set(state, 0);
  say(state.play, "❚❚", "Pause");
  state.playing = setInterval(() => {
    set(state, state.step + 1);
    if (state.step >= Number(state.range.max)) {
      stop(state);
      sendView(state);
    }
  }, 600);
}

function set(state, step) {
  state.step = Math.max(0, Math.min(Number(state.range.max), step));
  paint(state);
}

function goTo(state, step, send) {
  stop(state);
  set(state, step);
  if (send) sendView(state);
}

function choose(state, place, focus) {
  if (state.data.nodes[place].op === "constant") return;
  state.chosen = place;
  paint(state);
  if (focus) state.groups[place].focus();
  sendView(state);
}

function sendView(state) {
  const step = state.step >= Number(state.range.max) ? null : state.step;
  state.set("view", { node: state.data.nodes[state.chosen].name, step, revision: state.data.revision });
}

function sendValue(state, value, done) {
  state.typed.value = Number(value.toPrecision(6));
  clearTimeout(state.later);
  const send = () => {
    state.sentAt = performance.now();
    state.set("value", { name: state.data.nodes[state.chosen].name, value: Number(value.toPrecision(6)), done, revision: state.data.revision });
  };
  const wait = EVERY_MS - (performance.now() - (state.sentAt ?? 0));
  if (done || wait <= 0) send();
  else state.later = setTimeout(send, wait);
}

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// Of a node, across and down, counted in nodes.
const spot = (state, node) => (state.tall ? [node.row, node.column] : [node.column, node.row]);

function nearest(state, from, [right, down]) {
  const { nodes } = state.data;
  let best = from;
  let least = Infinity;
  const here = spot(state, nodes[from]);
  nodes.forEach((node, place) => {
    if (node.op === "constant" || place === from) return;
    const [x, y] = spot(state, node).map((value, axis) => value - here[axis]);
    const [ahead, aside] = right ? [x * right, Math.abs(y)] : [y * down, Math.abs(x)];
    if (ahead > 0 && ahead + 3 * aside < least) [best, least] = [place, ahead + 3 * aside];
  });
  return best;
}

function drawNodes(state) {
  const { data, tall } = state;
  const size = tall ? TALL : WIDE;
  const svg = shape("svg", { role: "group", "aria-label": data.label, class: tall ? "graph-tall" : "" });
  state.svg = svg;
  state.edges = [];
  const corner = (node) => {
    const [across, down] = spot(state, node);
    return [across * size.across + (size.across - size.width) / 2, down * size.down + (size.down - size.height) / 2];
  };
  data.nodes.forEach((node, place) => {
    const [x, y] = corner(node);
    node.operands.forEach((operand, slot) => {
      const [left, top] = corner(data.nodes[operand]);
      const spread = (slot + 0.5) / node.operands.length - 0.5;
      let d;
      if (tall) {
        const [x0, y0, x1] = [left + size.width / 2, top + size.height, x + size.width / 2 + spread * (size.width - 16)];
        const middle = Math.max(8, (y - y0) / 2);
        d = `M${x0},${y0} C${x0},${y0 + middle} ${x1},${y - middle} ${x1},${y}`;
      } else {
        const [x0, y0, y1] = [left + size.width, top + size.height / 2, y + size.height / 2 + spread * (size.height - 16)];
        const middle = Math.max(12, (x - x0) / 2);
        d = `M${x0},${y0} C${x0 + middle},${y0} ${x - middle},${y1} ${x},${y1}`;
      }
      const edge = shape("path", { d });
      state.edges.push({ edge, operand, place });
      svg.append(edge);
    });
  });
  state.groups = data.nodes.map((node, place) => {
    const group = shape("g", { transform: `translate(${corner(node)})` });
    const middle = size.width / 2;
    group.append(
      shape("rect", { width: size.width, height: size.height, rx: 6 }),
      shape("text", { x: middle, y: 15, class: "graph-name" }),
      shape("text", { x: middle, y: 32, class: "graph-value" }),
      shape("text", { x: middle, y: 49, class: "graph-gradient" }),
    );
    if (node.op !== "constant") {
      group.setAttribute("role", "button");
      group.addEventListener("click", () => choose(state, place, false));
      group.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") choose(state, place, true);
        else if (DIRECTIONS[event.key]) choose(state, nearest(state, place, DIRECTIONS[event.key]), true);
        else return;
        event.preventDefault();
      });
    }
    svg.append(group);
    return group;
  });
  state.scroll.setAttribute("aria-label", data.label);
  state.scroll.replaceChildren(svg);
}

// Fit the drawing into the width, which may turn it: says whether its nodes are new.
function fit(state) {
  const { data, root } = state;
  if (!data || !root.clientWidth) return false;
  const tall = root.clientWidth < LEAST_SCALE * data.columns * WIDE.across;
  const anew = tall !== state.tall || !state.svg;
  if (anew) {
    state.tall = tall;
    drawNodes(state);
  }
  const [across, down] = tall ? [data.rows * TALL.across, data.columns * TALL.down] : [data.columns * WIDE.across, data.rows * WIDE.down];
  const scale = Math.max(LEAST_SCALE, Math.min(1.35, root.clientWidth / across));
  state.svg.setAttribute("viewBox", `0 0 ${across} ${down}`);
  state.svg.setAttribute("width", Math.floor(across * scale));
  state.svg.setAttribute("height", Math.floor(down * scale));
  hint(state);
  return anew;
}

function hint({ scroll }) {
  scroll.classList.toggle("more", scroll.scrollWidth - scroll.clientWidth - scroll.scrollLeft > 4);
}

function paintNodes(state, now) {
  const { data } = state;
  const { digits } = state.tall ? TALL : WIDE;
  const chosen = data.nodes[state.chosen];
  const way = new Set(chosen.ways.flat());
  const steps = new Set(chosen.ways.flatMap((places) => places.slice(1).map((place, index) => `${places[index]} ${place}`)));
  const done = new Set(now.order.slice(0, now.forward));
  data.nodes.forEach((node, place) => {
    const group = state.groups[place];
    const known = !node.operands.length || done.has(place);
    const gradient = node.op === "constant" ? null : gradientSoFar(state, place, now);
    const kind = node.op === "constant" ? " leaf constant" : node.operands.length ? "" : " leaf";
    const marks = `${way.has(place) ? " way" : ""}${place === state.chosen ? " chosen" : ""}`;
    group.setAttribute("class", `graph-node${kind}${marks}${state.step < Number(state.range.max) && place === now.active ? " active" : ""}`);
    const [, name, value, slope] = group.children;
    const label = node.symbol ? `${node.name}:  ${node.symbol}` : node.name;
    name.textContent = state.tall && label.length > 10 ? node.name.slice(0, 8) : label;
    value.textContent = known ? number(node.value, digits) : "";
    slope.textContent = gradient === null ? "" : `∂ ${number(gradient, digits)}`;
    if (node.op === "constant") return;
    group.setAttribute("tabindex", place === state.chosen ? 0 : -1);
    group.setAttribute("aria-pressed", place === state.chosen);
    group.setAttribute("aria-label", `${node.text}, value ${number(node.value)}, gradient ${number(node.gradient)}`);
  });
  for (const { edge, operand, place } of state.edges) {
    const active = state.step < Number(state.range.max) && place === now.active;
    edge.setAttribute("class", `graph-edge${steps.has(`${operand} ${place}`) ? " way" : ""}${active ? " active" : ""}`);
  }
}

function sentence(state, now) {
  const { nodes } = state.data;
  const last = nodes.at(-1).name;
  if (state.step === 0) return "The values are given. Step on for the forward pass.";
  const node = nodes[now.active];
  if (!now.backward) return `Forward ${now.forward} of ${now.order.length}: ${node.name} = ${number(node.value)}, from ${node.operands.map((place) => nodes[place].name).join(", ")}.`;
  if (state.step === Number(state.range.max)) return "Both passes are done. Blue: the way from the chosen node to the result.";
  const above = now.active === nodes.length - 1 ? 1 : node.gradient;
  const sends = node.operands
    .map((place, slot) => [nodes[place], node.locals[slot]])
    .filter(([operand]) => operand.op !== "constant")
    .map(([operand, local]) => {
      const message = operand.messages.find((each) => each.consumer === now.active && each.local === local);
      return `${operand.name} gets ${factor(above)} · ${factor(local)} = ${number(message.product)}`;
    });
  return `Backward ${now.backward} of ${now.order.length}: ∂${last}/∂${node.name} = ${number(above)}; ${sends.join(", ")}.`;
}

function row(cells, tag, className) {
  const made = element("tr", className);
  made.append(...cells.map((text, index) => {
    const cell = element(tag === "th" || index === 0 ? "th" : "td", "", text);
    cell.scope = tag === "th" ? "col" : "row";
    return cell;
  }));
  return made;
}

function paintPanel(state) {
  const { data } = state;
  const node = data.nodes[state.chosen];
  const last = data.nodes.at(-1).name;
  state.head.textContent = node.operands.length ? `${node.text}, ${number(node.value)}` : `${node.name} = ${number(node.value, 6)}`;
  state.turn.hidden = node.op !== "input";
  if (node.op === "input" && !state.held) {
    if (state.slideOf !== `${data.revision} ${node.name}`) {
      const reach = Math.max(2, Math.ceil(Math.abs(node.value)));
      state.slide.min = node.value - reach;
      state.slide.max = node.value + reach;
      state.slideOf = `${data.revision} ${node.name}`;
    }
    if (node.value < Number(state.slide.min)) state.slide.min = node.value;
    if (node.value > Number(state.slide.max)) state.slide.max = node.value;
    state.slide.value = node.value;
    state.typed.value = Number(node.value.toPrecision(6));
  }
  const table = element("table");
  table.append(row(["Through", "From above", "Local", "Product"], "th"));
  if (!node.messages.length) table.append(row(["the result", "1", "", "1"], "td"));
  for (const each of node.messages) table.append(row([data.nodes[each.consumer].name, number(each.above), number(each.local), number(each.product)], "td"));
  if (node.messages.length > 1) table.append(row(["Sum", "", "", number(node.gradient)], "td", "total"));
  state.sums.replaceChildren(table);
  const checks = element("table");
  checks.append(row(["Computed by", "Gradient", "Agrees to"], "th"), row(["Backpropagation", number(node.gradient, 12), ""], "td"));
  checks.append(row(["PyTorch", node.autograd === null ? "loading" : number(node.autograd, 12), node.autogradAgrees], "td"));
  const allowed = node.differenceAgrees && "as far as its step allows";
  checks.append(row(["Central difference", number(node.difference, 12), [node.differenceAgrees, allowed].filter(Boolean).join(", ")], "td"));
  state.checks.replaceChildren(checks);
  const lines = node.paths.map((path, index) => {
    const line = element("div", "graph-chain");
    const fraction = (over, under) => {
      const made = element("span", "graph-fraction");
      made.append(element("span", "", `∂${over}`), element("span", "", `∂${under}`));
      return made;
    };
    line.append(index ? element("span", "", "+") : fraction(last, node.name));
    if (!index) line.append(element("span", "", "="));
    path.steps.forEach(([over, under], place) => {
      if (place) line.append(element("span", "", "·"));
      const part = element("span", "graph-factor");
      part.append(fraction(over, under), element("b", "", number(path.locals[place])));
      line.append(part);
    });
    line.append(element("span", "", `${path.steps.length ? "= " : ""}${number(path.product)}`));
    return line;
  });
  const more = node.morePaths ? [element("div", "", `and ${node.morePaths} more paths.`)] : [];
  const head = element("div", "graph-head", node.paths.length + node.morePaths > 1 ? `Chain rule: a sum over ${node.paths.length + node.morePaths} paths` : "Chain rule: one path");
  state.chain.replaceChildren(head, ...lines, ...more);
}

function paint(state) {
  const now = moment(state);
  state.range.value = state.step;
  const words = sentence(state, now);
  if (state.said.textContent !== words) state.said.textContent = words;
  state.range.setAttribute("aria-valuetext", words);
  paintNodes(state, now);
  paintPanel(state);
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".graph");
  root.graph ??= build(root);
  const state = root.graph;
  state.set = setStateValue;
  state.data = data;
  const background = getComputedStyle(root).getPropertyValue("--st-background-color").trim();
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = background || "#fff";
  pen.fillRect(0, 0, 1, 1);
  root.style.setProperty("--graph-back", pen.getImageData(0, 0, 1, 1).data[0] > 128 ? "#0067a3" : "#6cbcf0");
  state.range.max = 2 * operations(data).length;
  const structure = `${data.revision} ${data.nodes.map((node) => node.name + node.operands).join()}`;
  if (state.structure !== structure) {
    state.structure = structure;
    stop(state);
    state.svg = null;
    state.chosen = data.chosen;
    state.step = data.step ?? Number(state.range.max);
  }
  fit(state);
  if (state.svg) paint(state);
}
