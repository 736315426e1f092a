// Paths of descents on a map, their charts and the formula of a step. All numbers come from the server: this picks and draws.

const EVERY_MS = 90;
const STEPS_PER_S = 24;
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const BANDS = 16;

const finite = (value) => (value === null ? "∞" : number(value));
const vector = (pair) => (pair ? `(${finite(pair[0])}, ${finite(pair[1])})` : "(0, 0)");

function colours(root) {
  const style = getComputedStyle(root);
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (name, other) => {
    probe.fillStyle = style.getPropertyValue(name).trim() || other;
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const [back, text] = [rgb("--st-background-color", "#fff"), rgb("--st-text-color", "#000")];
  return { back, text, ink: back[1] < text[1] ? back : text };
}

const css = (rgb, alpha = 1) => `rgba(${rgb.join(",")},${alpha})`;

function build(root) {
  const state = { root, step: 0, index: 0, chosen: 0, pointer: null };
  state.map = element("canvas", "paths-map");
  state.map.tabIndex = 0;
  state.map.setAttribute("role", "application");
  state.side = element("div", "paths-side");
  state.bar = element("div", "paths-bar");
  state.range = range("Step");
  state.mark = element("div", "paths-mark");
  const track = element("div", "paths-track");
  track.append(state.range, state.mark);
  state.play = button("▶", "Play", () => play(state));
  state.back = button("‹", "One step back", () => goTo(state, place(state) - 1, true));
  state.next = button("›", "One step on", () => goTo(state, place(state) + 1, true));
  state.bar.append(state.play, state.back, track, state.next);
  state.said = element("div", "paths-said");
  state.said.setAttribute("aria-live", "polite");
  state.legend = element("div", "paths-legend");
  state.legend.setAttribute("role", "group");
  state.legend.setAttribute("aria-label", "Whose formula is shown");
  state.charts = element("div", "paths-charts");
  state.formula = element("div", "paths-formula");
  state.side.append(state.said, state.legend, state.charts, state.formula);
  const left = element("div", "paths-left");
  left.append(state.map, state.bar);
  root.replaceChildren(left, state.side);
  state.range.addEventListener("input", () => goTo(state, Number(state.range.value), false));
  state.range.addEventListener("change", () => sendView(state));
  listen(state);
  new ResizeObserver(() => paint(state)).observe(root);
  return state;
}

const place = (state) => (state.data.mode === "rates" ? state.index : state.step);

function goTo(state, value, send) {
  stop(state);
  set(state, value);
  if (send) sendView(state);
}

function set(state, value) {
  const held = Math.max(0, Math.min(Number(state.range.max), value));
  if (state.data.mode === "rates") state.index = held;
  else state.step = held;
  paint(state);
}

function play(state) {
  if (state.playing) {
    stop(state);
    sendView(state);
    return;
  }
  const last = Number(state.range.max);
  if (place(state) >= last) set(state, 0);
  const speed = state.data.mode === "rates" ? STEPS_PER_S / 6 : STEPS_PER_S;
  const from = place(state);
  const begun = performance.now();
  const frame = (now) => {
    set(state, Math.min(last, from + Math.floor(((now - begun) / 1000) * speed)));
    if (place(state) >= last) {
      stop(state);
      sendView(state);
    } else state.playing = requestAnimationFrame(frame);
  };
  state.playing = requestAnimationFrame(frame);
  say(state.play, "❚❚", "Pause");
}

function stop(state) {
  cancelAnimationFrame(state.playing);
  state.playing = undefined;
  say(state.play, "▶", "Play");
}

function sendView(state) {
  const view = { revision: state.revision, place: place(state), chosen: state.data.series[state.chosen]?.name ?? "" };
  state.set("view", view);
}

function sendStart(state, done) {
  clearTimeout(state.timer);
  state.timer = undefined;
  state.sentAt = performance.now();
  state.set("start", { revision: state.revision, x: state.start[0], y: state.start[1], done });
}

function sendSoon(state) {
  const wait = (state.sentAt ?? -EVERY_MS) + EVERY_MS - performance.now();
  if (wait <= 0) sendStart(state, false);
  else state.timer ??= setTimeout(() => sendStart(state, false), wait);
}

function listen(state) {
  const { map } = state;
  const at = (event) => {
    const box = map.getBoundingClientRect();
    const [x0, x1, y0, y1] = state.data.map.window;
    const share = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const [right, down] = share.map((part) => Math.max(0, Math.min(1, part)));
    return [x0 + right * (x1 - x0), y1 - down * (y1 - y0)];
  };
  map.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || state.pointer !== null) return;
    map.setPointerCapture(event.pointerId);
    state.pointer = event.pointerId;
    stop(state);
    state.start = at(event);
    sendSoon(state);
    paint(state);
  });
  map.addEventListener("pointermove", (event) => {
    if (event.pointerId !== state.pointer) return;
    state.start = at(event);
    sendSoon(state);
    paint(state);
  });
  const end = (event) => {
    if (event.pointerId !== state.pointer) return;
    state.pointer = null;
    sendStart(state, true);
  };
  for (const name of ["pointerup", "pointercancel"]) map.addEventListener(name, end);
  map.addEventListener("keydown", (event) => {
    const step = KEYS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const [x0, x1, y0, y1] = state.data.map.window;
    const moved = [state.start[0] + (step[0] * (x1 - x0)) / 50, state.start[1] + (step[1] * (y1 - y0)) / 50];
    state.start = [Math.max(x0, Math.min(x1, moved[0])), Math.max(y0, Math.min(y1, moved[1]))];
    sendStart(state, true);
    paint(state);
  });
}

function backdrop(state, size, { back, text, ink }) {
  const key = `${size} ${back} ${state.data.map.window} ${state.data.map.levels.length}`;
  if (state.drawnKey === key && state.drawnLevels === state.data.map.levels) return state.backdrop;
  const { side } = state.data.map;
  const bytes = Uint8Array.from(atob(state.data.map.levels), (character) => character.charCodeAt(0));
  const levels = new Uint16Array(bytes.buffer);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(size, size);
  const deep = [0, 114, 178];
  const line = ink === back ? 0.38 : 0.25;
  const bands = new Float32Array(size * size);
  for (let row = 0; row < size; row += 1) {
    const y = ((size - 1 - row) / (size - 1)) * (side - 1);
    const low = Math.min(side - 2, Math.floor(y));
    for (let column = 0; column < size; column += 1) {
      const x = (column / (size - 1)) * (side - 1);
      const left = Math.min(side - 2, Math.floor(x));
      const corners = [0, 1, side, side + 1].map((offset) => levels[low * side + left + offset]);
      const [u, v] = [x - left, y - low];
      bands[row * size + column] = corners.includes(65535)
        ? -1
        : (((1 - v) * ((1 - u) * corners[0] + u * corners[1]) + v * ((1 - u) * corners[2] + u * corners[3])) / 65534) * BANDS;
    }
  }
  for (let place = 0; place < bands.length; place += 1) {
    const band = Math.floor(Math.min(bands[place], BANDS - 0.01));
    const right = place % size === size - 1 ? band : Math.floor(Math.min(bands[place + 1], BANDS - 0.01));
    const below = place + size < bands.length ? Math.floor(Math.min(bands[place + size], BANDS - 0.01)) : band;
    const edge = band !== right || band !== below;
    const share = band < 0 ? 0 : 0.5 * (1 - band / BANDS);
    for (let channel = 0; channel < 3; channel += 1) {
      const plain = back[channel] + share * (deep[channel] - back[channel]);
      image.data[4 * place + channel] = edge ? (1 - line) * plain + line * text[channel] : plain;
    }
    image.data[4 * place + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
  Object.assign(state, { backdrop: canvas, drawnKey: key, drawnLevels: state.data.map.levels });
  return canvas;
}

const shown = (state) => (state.data.mode === "rates" ? [state.data.series[state.index]] : state.data.series);

function paintMap(state, paint) {
  const { map, data } = state;
  const box = map.getBoundingClientRect();
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const size = Math.round(box.width * ratio);
  if (!size) return;
  if (map.width !== size) map.width = map.height = size;
  const pen = map.getContext("2d");
  pen.drawImage(backdrop(state, size, paint), 0, 0);
  const [x0, x1, y0, y1] = data.map.window;
  const far = 20 * size;
  const hold = (value) => Math.max(-far, Math.min(far, value));
  const to = ([x, y]) => [hold(((x - x0) / (x1 - x0)) * size), hold(((y1 - y) / (y1 - y0)) * size)];
  const ring = ([x, y], radius, fill, line, width = 1.5) => {
    pen.beginPath();
    pen.arc(x, y, radius * ratio, 0, 2 * Math.PI);
    pen.fillStyle = fill;
    pen.fill();
    pen.strokeStyle = line;
    pen.lineWidth = width * ratio;
    pen.stroke();
  };
  for (const least of data.map.minima) {
    const [x, y] = to(least);
    pen.strokeStyle = css(paint.text);
    pen.lineWidth = 2 * ratio;
    pen.beginPath();
    for (const [dx, dy] of [[1, 1], [1, -1]]) {
      pen.moveTo(x - 5 * ratio * dx, y - 5 * ratio * dy);
      pen.lineTo(x + 5 * ratio * dx, y + 5 * ratio * dy);
    }
    pen.stroke();
  }
  const stale = state.pointer !== null && Math.hypot(...state.start.map((part, axis) => part - data.start[axis])) > 1e-9;
  pen.globalAlpha = stale ? 0.5 : 1;
  pen.lineJoin = "round";
  for (const series of shown(state)) {
    const last = data.mode === "rates" ? series.points.length - 1 : Math.min(state.step, series.points.length - 1);
    const line = series.points.slice(0, last + 1).filter((pair) => pair[0] !== null && pair[1] !== null).map(to);
    for (const [width, colour] of [[4.4, css(paint.ink, 0.6)], [2.4, series.colour]]) {
      pen.beginPath();
      line.forEach(([x, y], step) => (step ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.strokeStyle = colour;
      pen.lineWidth = width * ratio;
      pen.stroke();
    }
    if (line.length <= 60) for (const point of line) ring(point, 2, series.colour, css(paint.ink, 0.7), 0.8);
    if (line.length) ring(line.at(-1), series === data.series[state.chosen] ? 7 : 5, series.colour, css(paint.ink));
  }
  pen.globalAlpha = 1;
  ring(to(state.start), 6, css(paint.back), css(paint.text), 2.5);
}

function paintChart(state, canvas, chart, paint) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const box = canvas.getBoundingClientRect();
  const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
  if (!width || !height) return;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  pen.lineJoin = "round";
  pen.font = `${11 * ratio}px sans-serif`;
  const [left, right, top, bottom] = [52 * ratio, width - 8 * ratio, 8 * ratio, height - 18 * ratio];
  const last = Math.max(1, state.data.steps);
  const toX = (step) => left + (step / last) * (right - left);
  const toY = (value) => bottom - ((Math.max(chart.low, Math.min(chart.high, value)) - chart.low) / (chart.high - chart.low)) * (bottom - top);
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const [value, label] of chart.ticks) {
    pen.strokeStyle = css(paint.text, 0.12);
    pen.lineWidth = ratio;
    pen.beginPath();
    pen.moveTo(left, toY(value));
    pen.lineTo(right, toY(value));
    pen.stroke();
    pen.fillStyle = css(paint.text, 0.8);
    pen.fillText(label, left - 6 * ratio, toY(value));
  }
  pen.textBaseline = "top";
  pen.textAlign = "left";
  pen.fillText("step 0", left, bottom + 4 * ratio);
  pen.textAlign = "right";
  pen.fillText(`${state.data.steps}`, right, bottom + 4 * ratio);
  const draw = (line, colour, weight) => {
    pen.beginPath();
    let open = false;
    line.y.forEach((value, order) => {
      const step = line.x ? line.x[order] : order;
      if (value === null) open = false;
      else if (open) pen.lineTo(toX(step), toY(value));
      else {
        pen.moveTo(toX(step), toY(value));
        open = true;
      }
    });
    pen.strokeStyle = colour;
    pen.lineWidth = weight * ratio;
    pen.stroke();
  };
  const single = state.data.mode === "rates";
  if (single) for (const line of chart.lines) draw(line, css(paint.text, 0.1), 1);
  chart.lines.forEach((line, place) => {
    if (single && place !== state.index) return;
    draw(line, css(paint.ink, 0.5), 3.4);
    draw(line, state.data.series[place].colour, 2.2);
  });
  const rule = chart.rules?.[state.index];
  if (rule !== undefined && rule !== null) {
    pen.setLineDash([6 * ratio, 4 * ratio]);
    pen.strokeStyle = css(paint.text, 0.9);
    pen.lineWidth = 1.5 * ratio;
    pen.beginPath();
    pen.moveTo(left, toY(rule));
    pen.lineTo(right, toY(rule));
    pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = css(paint.text);
    pen.textBaseline = toY(rule) - top > 16 * ratio ? "bottom" : "top";
    pen.fillText(chart.rule, right, toY(rule) + (pen.textBaseline === "top" ? 3 : -3) * ratio);
  }
  if (!single) {
    pen.strokeStyle = css(paint.text, 0.6);
    pen.lineWidth = ratio;
    pen.beginPath();
    pen.moveTo(toX(state.step), top);
    pen.lineTo(toX(state.step), bottom);
    pen.stroke();
  }
}

function fill(template, series, step, data) {
  const term = (name, at) => {
    if (name === "old") return series.points[at];
    if (name === "new") return series.points[at + 1];
    if (name === "g") return series.gradients[at];
    return series.terms[name]?.[at];
  };
  return template.replace(/\{(\w+)(-?)\}/g, (_, name, before) => {
    if (name === "t") return `${step + 1}`;
    if (name === "lr") return number(series.rates[step]);
    if (name in data.numbers) return number(data.numbers[name]);
    return vector(before ? (step ? term(name, step - 1) : null) : term(name, step));
  });
}

function paintFormula(state) {
  const { data, formula } = state;
  const series = data.series[state.chosen];
  if (!series?.lines) {
    formula.replaceChildren();
    return;
  }
  const step = Math.min(Math.max(0, state.step - 1), series.rates.length - 1);
  const lines = [["g = ∇f(θ)", "{g}"], ...series.lines].map(([words, numbers]) => {
    const line = element("div", "paths-line");
    line.append(element("div", "paths-words", words), element("div", "paths-numbers", fill(numbers, series, step, data)));
    return line;
  });
  const head = element("div", "paths-head", `${series.title}, step ${step + 1}: θ = ${vector(series.points[step])}`);
  formula.replaceChildren(head, ...lines);
}

function paintLegend(state) {
  const { data, legend } = state;
  if (data.mode === "rates") {
    legend.replaceChildren();
    return;
  }
  if (legend.childElementCount !== data.series.length || legend.drawn !== data) {
    const focus = [...legend.children].indexOf(legend.getRootNode().activeElement);
    legend.replaceChildren(
      ...data.series.map((series, order) => {
        const made = button("", `Formula of ${series.title}`, () => {
          state.chosen = order;
          paint(state);
          sendView(state);
        });
        const dot = element("span", "paths-dot");
        dot.style.background = series.colour;
        made.append(dot, element("span", "", series.title), element("span", "paths-value"));
        return made;
      }),
    );
    legend.drawn = data;
    legend.children[focus]?.focus();
  }
  data.series.forEach((series, order) => {
    const made = legend.children[order];
    made.setAttribute("aria-pressed", order === state.chosen);
    const over = series.diverged && state.step >= series.points.length - 1;
    made.lastChild.textContent = over ? "diverged" : finite(series.values[Math.min(state.step, series.values.length - 1)]);
    made.setAttribute("aria-label", `${series.title}: f = ${made.lastChild.textContent}. Show its formula.`);
  });
}

function paint(state) {
  const { data } = state;
  if (!data) return;
  const paint_ = colours(state.root);
  state.range.value = place(state);
  const words = data.mode === "rates" ? data.series[state.index].words : `Step ${state.step} of ${data.steps}`;
  if (state.said.textContent !== words) state.said.textContent = words;
  state.range.setAttribute("aria-valuetext", words);
  if (data.map) paintMap(state, paint_);
  paintLegend(state);
  paintFormula(state);
  data.charts.forEach((chart, order) => paintChart(state, state.charts.children[order].lastChild, chart, paint_));
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector(".paths");
  root.paths ??= build(root);
  const state = root.paths;
  state.set = setStateValue;
  state.data = data;
  root.classList.toggle("paths-alone", !data.map);
  state.map.hidden = !data.map;
  const rates = data.mode === "rates";
  state.range.max = rates ? data.series.length - 1 : data.steps;
  state.range.setAttribute("aria-label", rates ? "Learning rate" : "Step");
  state.back.hidden = state.next.hidden = false;
  say(state.back, "‹", rates ? "Lower rate" : "One step back");
  say(state.next, "›", rates ? "Higher rate" : "One step on");
  state.mark.hidden = !rates || data.markAt === null;
  if (rates && data.markAt !== null) {
    state.mark.style.left = `calc(0.5rem + ${data.markAt} * (100% - 1rem))`;
    state.mark.textContent = data.mark;
  }
  if (state.revision !== data.revision) {
    state.revision = data.revision;
    state.pointer = null;
    stop(state);
    if (rates) state.index = data.place;
    else state.step = data.place;
    state.chosen = Math.max(0, data.series.findIndex((series) => series.name === data.chosen));
    state.start = data.start;
  }
  state.chosen = Math.min(state.chosen, Math.max(0, data.series.length - 1));
  state.index = Math.min(state.index, data.series.length - 1);
  if (rates) state.chosen = 0;
  if (state.pointer === null) state.start = data.start;
  if (state.charts.childElementCount !== data.charts.length) {
    state.charts.replaceChildren(
      ...data.charts.map(() => {
        const made = element("div", "paths-chart");
        made.append(element("div", "paths-title"), element("canvas"));
        made.lastChild.setAttribute("role", "img");
        return made;
      }),
    );
  }
  data.charts.forEach((chart, order) => {
    const made = state.charts.children[order];
    made.firstChild.textContent = chart.title;
    made.lastChild.setAttribute("aria-label", `${chart.title} against the step. ${data.label}`);
  });
  state.map.textContent = data.label;
  state.map.setAttribute("aria-label", `${data.label} Click or drag to choose the start, or use the arrow keys.`);
  paint(state);
}
