// One output of a convolution or a pooling, with its window and its terms. What comes with the data is indexed, the one window multiplied.

const CELL = 40;
const MOST_SIDE_PX = 2560;
const [LEAST_FONT_PX, MOST_FONT_PX] = [8, 15];

const write = (value) => (value === -Infinity ? "−∞" : number(value));
const signed = (value) => (value < 0 ? `(${write(value)})` : write(value));

// An image without negative values in greys.
function colour(value, limit, greys, dark) {
  const share = limit ? Math.min(1, Math.abs(value) / limit) : 0;
  return `rgb(${(greys ? Array(3).fill(Math.round(20 + 225 * share)) : shade(value, share, dark)).join()})`;
}

// Whichever of dark and white stands out more, by WCAG's luminance.
function ink(fill) {
  const [r, g, b] = fill.match(/\d+/g).map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000" : "#fff";
}

const largest = (values) => values.reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0);

// The values stay while the pointer moves: they are drawn once for each version of the data and each width.
function drawGrid(canvas, version, values, rows, columns, look) {
  const [height, width] = [rows + 2 * (look.pad ?? 0), columns + 2 * (look.pad ?? 0)];
  const cell = within(Math.floor(MOST_SIDE_PX / Math.max(height, width)), 1, CELL);
  const key = `${version} ${look.dark} ${canvas.clientWidth}`;
  if (canvas.key !== key) {
    [canvas.width, canvas.height, canvas.cell] = [width * cell, height * cell, cell];
    canvas.style.aspectRatio = `${width} / ${height}`;
    canvas.key = `${version} ${look.dark} ${canvas.clientWidth}`;
    canvas.values = document.createElement("canvas");
    [canvas.values.width, canvas.values.height] = [canvas.width, canvas.height];
    drawValues(canvas.values, values, rows, columns, { ...look, cell, shown: canvas.clientWidth / width });
  }
  const pen = canvas.getContext("2d");
  pen.drawImage(canvas.values, 0, 0);
  return pen;
}

// The size of the numbers in pixels of the screen, for cells that are so large there; 0 where nobody could read them.
function fontSize(texts, shown) {
  if (shown < LEAST_FONT_PX) return 0;
  const size = Math.min(MOST_FONT_PX, 0.6 * shown, (0.92 * shown) / (0.7 * Math.max(...texts.map((text) => text.length))));
  return size < LEAST_FONT_PX ? 0 : size;
}

function drawValues(canvas, values, rows, columns, { pad = 0, limit, greys, dark, cell, shown }) {
  const pen = canvas.getContext("2d");
  pen.fillStyle = dark ? "#3a3f4a" : "#d9dce2"; // padding
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const texts = Array.from(values, write);
  const size = (fontSize(texts, shown) * cell) / shown;
  pen.font = `${size}px sans-serif`;
  values.forEach((value, index) => {
    const [y, x] = [(Math.floor(index / columns) + pad) * cell, ((index % columns) + pad) * cell];
    const fill = colour(value, limit, greys, dark);
    pen.fillStyle = fill;
    pen.fillRect(x, y, cell, cell);
    if (!size) return;
    pen.fillStyle = ink(fill);
    pen.fillText(texts[index], x + cell / 2, y + cell / 2);
  });
}

function table(state, values, size, offset, limit, label, edit) {
  const grid = element("div", "window-grid");
  grid.style.gridTemplateColumns = `repeat(${size}, minmax(0, 1fr))`;
  grid.setAttribute("role", "group");
  grid.setAttribute("aria-label", label);
  for (let index = 0; index < size * size; index += 1) {
    const value = values[offset + index];
    const fill = colour(value, limit, false, state.dark);
    const cell = element(edit ? "input" : "span", "", edit ? undefined : write(Number.isFinite(value) ? Number(value.toFixed(3)) : value));
    if (edit) {
      cell.value = Number(value.toPrecision(6));
      cell.inputMode = "decimal";
      cell.setAttribute("aria-label", `Weight in row ${Math.floor(index / size)}, column ${index % size}`);
      cell.addEventListener("change", () => edit(index, cell.value));
    }
    cell.style.background = fill;
    cell.style.color = ink(fill);
    grid.append(cell);
  }
  return grid;
}

function part(title, child) {
  const made = element("figure");
  made.append(element("figcaption", "", title), child);
  return made;
}

function build(root) {
  const [answer, formula, body] = [element("div", "window-answer"), element("div", "window-formula"), element("div")];
  answer.setAttribute("role", "status");
  root.replaceChildren(answer, formula, body);
  const state = { root, answer, formula, body, draw: paint };
  new ResizeObserver(() => { if (state.data && state.width !== root.clientWidth) paint(state); }).observe(root);
  return state;
}

function layout(state) {
  const { data, body } = state;
  const several = data.channels.length > 1;
  body.className = several ? "window-body several" : "window-body one";
  const rows = element("div", "window-rows");
  state.rows = data.channels.map((name, index) => {
    const input = element("canvas");
    input.setAttribute("role", "img");
    input.setAttribute("aria-label", `${name}: ${data.height} by ${data.width} values`);
    const half = (data.dilation * (data.k - 1)) / 2;
    const size = () => [data.height + 2 * data.padding, data.width + 2 * data.padding];
    choosable(state, input, size, (...cell) => cell.map((place) => Math.round((place - half) / data.stride)));
    const [weights, products] = [element("div"), element("div")];
    const [line, grids] = [element("div", "window-row"), element("div", "window-grids")];
    if (data.operation !== "max") grids.append(part(data.operation === "average" ? "1 / K²" : "kernel w", weights));
    grids.append(part(data.operation === "max" ? "window" : "products w · x", products));
    line.append(part(several ? `input, ${name}` : "input x", input), grids);
    rows.append(line);
    return { input, weights, products, index };
  });
  const output = element("canvas");
  output.tabIndex = 0;
  output.setAttribute("role", "application");
  choosable(state, output, () => [data.outHeight, data.outWidth]);
  const made = part(`output y: ${CHOOSE}`, output);
  made.className = "window-made";
  body.replaceChildren(rows, made);
  state.output = output;
}

// The input that a place of the window lies on.
function under(state, channel, index) {
  const { k, stride, padding, dilation, height, width, operation } = state.data;
  const [y, x] = [Math.floor(index / k), index % k].map((step, axis) => state.shown[axis] * stride + step * dilation - padding);
  if (y < 0 || x < 0 || y >= height || x >= width) return operation === "max" ? -Infinity : 0;
  return state.inputs[(channel * height + y) * width + x];
}

function terms(state, channel) {
  const size = state.data.k ** 2;
  return Array.from({ length: size }, (_, index) => state.kernel[channel * size + index] * under(state, channel, index));
}

function paint(state) {
  const { data, dark } = state;
  const [row, column] = state.shown;
  const { k, stride, padding, dilation, operation } = data;
  state.width = state.root.clientWidth;
  const size = data.height * data.width;
  const reach = dilation * (k - 1) + 1;
  for (const { input, weights, products, index } of state.rows) {
    const values = state.inputs.subarray(index * size, (index + 1) * size);
    const greys = !values.some((value) => value < 0);
    const pen = drawGrid(input, state.version, values, data.height, data.width, { pad: padding, limit: state.limits.input, greys, dark });
    frame(pen, ...[column * stride, row * stride, reach, reach].map((cells) => cells * input.cell));
    if (operation !== "max") {
      const edit = data.editable && index === 0 ? (place, text) => type(state, place, text) : undefined;
      const key = `${data.kernel} ${dark}`;
      if (weights.key !== key) weights.replaceChildren(table(state, state.kernel, k, index * k * k, state.limits.kernel, "Kernel", edit));
      weights.key = key;
    }
    const own = terms(state, index);
    products.replaceChildren(table(state, own, k, 0, operation === "max" ? state.limits.input : state.limits.terms, "Terms of this output"));
    if (operation === "max") products.firstChild.children[own.indexOf(Math.max(...own))].className = "window-winner";
  }
  const values = state.outputs.subarray(0, data.outHeight * data.outWidth);
  const pen = drawGrid(state.output, state.version, values, data.outHeight, data.outWidth, { limit: state.limits.output, greys: false, dark });
  frame(pen, ...[column, row, 1, 1].map((cells) => cells * state.output.cell));
  const value = values[row * data.outWidth + column];
  state.answer.textContent = `y[${row}, ${column}] = ${write(value)}`;
  state.formula.textContent = sum(state);
  state.output.setAttribute("aria-label", `Output, ${data.outHeight} by ${data.outWidth} values. Arrow keys move. Row ${row}, column ${column}: ${write(value)}.`);
}

function sum(state) {
  const { data, kernel } = state;
  const { k, operation } = data;
  const [row, column] = state.shown;
  const lists = state.rows.map(({ index }) => terms(state, index));
  if (operation === "max") return `= max(${lists[0].map(write).join(", ")})`;
  const bias = operation === "convolution" && data.bias ? ` + ${signed(data.bias)}` : "";
  if (operation === "average") return `= ${lists[0].map((value) => signed(value)).join(" + ")}`;
  if (lists.length === 1 && k <= 3) {
    const factors = lists[0].map((_, index) => `${signed(kernel[index])}·${signed(under(state, 0, index))}`);
    return `= ${factors.join(" + ")}${bias}`;
  }
  const sums = state.rows.map(({ index }) => signed(state.sums[(index * data.outHeight + row) * data.outWidth + column]));
  const names = data.channels.map((name, index) => `${sums[index]} (${name})`);
  if (data.others) names.push(`${signed(state.rest[row * data.outWidth + column])} (${data.others} other channels)`);
  return `= ${names.join(" + ")}${bias}`;
}

function type(state, place, text) {
  const value = Number(text.replace("−", "-").replace(",", "."));
  if (text.trim() === "" || !Number.isFinite(value)) {
    state.rows[0].weights.key = ""; // the old number again
    paint(state);
    return;
  }
  const { k } = state.data;
  const values = [...state.kernel.subarray(0, k * k)].map((old, index) => (index === place ? value : Number(old.toPrecision(6))));
  const lines = Array.from({ length: k }, (_, index) => values.slice(index * k, (index + 1) * k).join(" "));
  state.tell("kernel", lines.join("; "));
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".window");
  root.window ??= build(root);
  const state = root.window;
  const before = state.data;
  Object.assign(state, { data, tell: setTriggerValue, dark: isDark(root), version: (state.version ?? 0) + 1 });
  for (const [name, key] of [["inputs", "inputs"], ["kernel", "kernel"], ["outputs", "output"], ["sums", "sums"], ["rest", "rest"]]) {
    if (before?.[key] !== data[key]) state[name] = floats(data[key]);
  }
  state.limits = { input: largest(state.inputs), kernel: largest(state.kernel), terms: data.termLimit, output: largest(state.outputs) };
  const shape = JSON.stringify([data.channels, data.k, data.height, data.width, data.padding, data.operation, data.stride, data.dilation, data.outHeight, data.outWidth]);
  if (state.shape !== shape) {
    state.shape = shape;
    layout(state);
  }
  takePlace(state, data.at, [data.outHeight, data.outWidth]);
  paint(state);
}
