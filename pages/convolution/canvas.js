// What the components of this room share. Numbers come with the data: they index and draw.

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const BLUE = [0, 114, 178];
const ORANGE = [213, 94, 0];

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);
const within = (value, low, high) => Math.max(low, Math.min(high, value));

function isDark(root) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = getComputedStyle(root).getPropertyValue("--st-background-color") || "#fff";
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
  return r + g + b < 384;
}

// Blue above zero, orange below, the page's background at zero. share: 0 to 1 of the full colour.
function shade(value, share, dark) {
  const from = dark ? [24, 27, 34] : [255, 255, 255];
  const to = value < 0 ? ORANGE : BLUE;
  return from.map((part, index) => Math.round(part + share * (to[index] - part)));
}

// A frame of 3 pixels of the screen that is seen on any colour.
function frame(pen, left, top, width, height) {
  const pixel = pen.canvas.width / (pen.canvas.clientWidth || pen.canvas.width);
  for (const [line, style] of [[6, "rgba(0, 0, 0, 0.7)"], [3, "#ffd23f"]]) {
    pen.lineWidth = line * pixel;
    pen.strokeStyle = style;
    pen.strokeRect(left, top, width, height);
  }
}

// Row and column under the pointer, of a canvas that shows so many.
function place(event, canvas, rows, columns) {
  const box = canvas.getBoundingClientRect();
  return [Math.floor((rows * (event.clientY - box.top)) / box.height), Math.floor((columns * (event.clientX - box.left)) / box.width)];
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

// A square image (side, side, 3) as a canvas; from: which pixel stands at a place, itself by default.
function picture(pixels, side, from = (y, x) => y * side + x) {
  const image = new ImageData(side, side);
  for (let y = 0; y < side; y += 1) {
    for (let x = 0; x < side; x += 1) {
      const [to, at] = [4 * (y * side + x), 3 * from(y, x)];
      for (let part = 0; part < 3; part += 1) image.data[to + part] = pixels[at + part];
      image.data[to + 3] = 255;
    }
  }
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

