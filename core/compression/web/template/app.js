// Classifies an image as Bottleneck Lab does: the same square, the same resampling, the same warning. No image leaves the browser.
import * as ort from "./ort.js";

const MAX_PIXELS = 50e6, LARGE_PIXELS = 2e6, KEPT_SIDE = 512, LONGEST_PADDED = 1024, GAP = 3, SHOWN = 5;
const element = (id) => document.getElementById(id);

/** Pixels of an image file, {width, height, data: RGB}: upright, in sRGB, on white where it is transparent. */
async function readImage(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" });
  } catch {
    throw new Error("This browser cannot read that file: choose a PNG or a JPEG image.");
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) throw new Error(`The image has ${width}×${height} pixels: scale it down first.`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const data = new Uint8ClampedArray(width * height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  const image = { width, height, data };
  return width * height > LARGE_PIXELS ? reduce(image, Math.max(1, Math.floor(Math.min(width, height) / KEPT_SIDE))) : image;
}

/** Means of blocks of factor × factor pixels; what is left at the right and below makes smaller blocks. */
function reduce(image, factor, factorY = factor) {
  if (factor === 1 && factorY === 1) return image;
  const width = Math.ceil(image.width / factor), height = Math.ceil(image.height / factorY);
  const data = new Uint8ClampedArray(width * height * 3);
  for (let y = 0; y < height; y++) {
    const bottom = Math.min(image.height, (y + 1) * factorY);
    for (let x = 0; x < width; x++) {
      const right = Math.min(image.width, (x + 1) * factor);
      const sum = [0, 0, 0];
      for (let row = y * factorY; row < bottom; row++) {
        for (let column = x * factor; column < right; column++) {
          for (let c = 0; c < 3; c++) sum[c] += image.data[(row * image.width + column) * 3 + c];
        }
      }
      const count = (bottom - y * factorY) * (right - x * factor);
      for (let c = 0; c < 3; c++) data[(y * width + x) * 3 + c] = Math.floor(sum[c] / count + 0.5);
    }
  }
  return { width, height, data };
}

function crop(image, left, top, width, height) {
  const data = new Uint8ClampedArray(width * height * 3);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * image.width + left) * 3;
    data.set(image.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { width, height, data };
}

/** Bicubic with antialiasing (a = -0.5) after a reduction by whole factors, as Pillow's resize with reducing_gap. */
function resize(image, width, height) {
  const factorX = Math.max(1, Math.floor(image.width / width / GAP)), factorY = Math.max(1, Math.floor(image.height / height / GAP));
  const small = reduce(image, factorX, factorY);
  const wide = resample(small, weights(small.width, image.width / factorX, width), width, small.height, false);
  return resample(wide, weights(small.height, image.height / factorY, height), width, height, true);
}

/** For each place of the result: where its window starts, and the weights in it. length: of the input, may be a fraction. */
function weights(most, length, size) {
  const scale = length / size, filter = Math.max(1, scale), support = 2 * filter, found = [];
  for (let place = 0; place < size; place++) {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - support + 0.5)), last = Math.min(most, Math.floor(centre + support + 0.5));
    const values = [];
    for (let at = first; at < last; at++) values.push(bicubic((at - centre + 0.5) / filter));
    const sum = values.reduce((a, b) => a + b, 0);
    found.push({ first, values: values.map((value) => value / sum) });
  }
  return found;
}

function bicubic(x) {
  const a = -0.5, d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
}

function resample(image, windows, width, height, vertical) {
  const data = new Uint8ClampedArray(width * height * 3);
  const step = vertical ? image.width * 3 : 3;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, values } = windows[vertical ? y : x];
      const start = vertical ? first * step + x * 3 : y * image.width * 3 + first * 3;
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let index = 0; index < values.length; index++) sum += values[index] * image.data[start + index * step + c];
        data[(y * width + x) * 3 + c] = Math.floor(sum + 0.5);
      }
    }
  }
  return { width, height, data };
}

/** What the network sees: the square in the middle, or all of the image on grey. */
function modelInput(image, side, fit) {
  if (fit === "whole" && image.width !== image.height) image = onGrey(image);
  if (image.width === side && image.height === side) return image;
  const shorter = Math.min(image.width, image.height);
  const left = Math.floor((image.width - shorter) / 2), top = Math.floor((image.height - shorter) / 2);
  return resize(crop(image, left, top, shorter, shorter), side, side);
}

function onGrey(image) {
  const longer = Math.max(image.width, image.height);
  if (longer > LONGEST_PADDED) {
    const share = LONGEST_PADDED / longer;
    image = resize(image, Math.max(1, Math.round(image.width * share)), Math.max(1, Math.round(image.height * share)));
  }
  const side = Math.max(image.width, image.height);
  const data = new Uint8ClampedArray(side * side * 3).fill(128);
  const left = Math.floor((side - image.width) / 2), top = Math.floor((side - image.height) / 2);
  for (let y = 0; y < image.height; y++) {
    data.set(image.data.subarray(y * image.width * 3, (y + 1) * image.width * 3), ((top + y) * side + left) * 3);
  }
  return { width: side, height: side, data };
}

/** Normalised channels, and the views that test-time augmentation asks about with their shares; the image itself comes first. */
function views(seen, about) {
  const side = about.image_size, channels = new Float32Array(3 * side * side);
  for (let place = 0; place < side * side; place++) {
    for (let c = 0; c < 3; c++) channels[c * side * side + place] = (seen.data[place * 3 + c] / 255 - about.mean[c]) / about.std[c];
  }
  const moved = (by, mirrored) => {
    const reflect = (at) => (at < 0 ? -at : at >= side ? 2 * side - 2 - at : at);
    const found = new Float32Array(channels.length);
    for (let c = 0, to = 0; c < 3; c++) {
      for (let y = 0; y < side; y++) {
        for (let x = 0; x < side; x++, to++) {
          const column = reflect((mirrored ? side - 1 - x : x) + by);
          found[to] = channels[(c * side + reflect(y + by)) * side + column];
        }
      }
    }
    return found;
  };
  const places = about.tta === "flip+shift" ? [[0, 0.5], [-1, 0.25], [1, 0.25]] : [[0, 1]];
  if (about.tta === "none") return [{ values: channels, share: 1 }];
  return places.flatMap(([by, share]) => [false, true].map((mirrored) => ({ values: moved(by, mirrored), share: share / 2 })));
}

const logSumExp = (values) => {
  const most = Math.max(...values);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
};

/** Probabilities of the classes, and whether the image is probably none of them. */
async function answer(session, about, seen) {
  const side = about.image_size, asked = views(seen, about), logits = new Array(about.labels.length).fill(0);
  let distance = 0;
  for (const [index, { values, share }] of asked.entries()) {
    const found = await session.run({ images: new ort.Tensor("float32", values, [1, 3, side, side]) });
    found.logits.data.forEach((value, place) => { logits[place] += share * value; });
    if (index === 0 && found.distances) distance = found.distances.data[0];
  }
  const by = about.distance;
  let score = -logSumExp(logits);
  if (by) score = (score - by.energy_mean) / by.energy_sd + (distance - by.distance_mean) / by.distance_sd;
  const scaled = logits.map((value) => value / about.temperature), whole = logSumExp(scaled);
  return { probabilities: scaled.map((value) => Math.exp(value - whole)), warned: about.threshold !== null && score > about.threshold };
}

function show(about, seen, { probabilities, warned }) {
  const canvas = element("preview"), rgba = new ImageData(seen.width, seen.height);
  canvas.width = seen.width;
  canvas.height = seen.height;
  for (let place = 0; place < seen.width * seen.height; place++) {
    rgba.data.set([...seen.data.subarray(place * 3, place * 3 + 3), 255], place * 4);
  }
  canvas.getContext("2d").putImageData(rgba, 0, 0);
  element("warning").hidden = !warned;
  element("warning").textContent = `This is probably none of the ${about.labels.length} classes.`;
  const order = probabilities.map((_, place) => place).sort((a, b) => probabilities[b] - probabilities[a]);
  element("answers").replaceChildren(...order.slice(0, SHOWN).map((place) => {
    const row = document.createElement("li"), name = document.createElement("span"), value = document.createElement("span");
    const bar = document.createElement("meter");
    name.textContent = about.labels[place];
    value.textContent = `${(100 * probabilities[place]).toFixed(1)}%`;
    bar.value = probabilities[place];
    bar.setAttribute("aria-label", about.labels[place]);
    row.append(name, value, bar);
    return row;
  }));
  element("result").hidden = false;
  element("result").dataset.answer = JSON.stringify({ probabilities, warned });
}

async function load() {
  ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
  const fetched = async (name) => {
    const response = await fetch(name);
    if (!response.ok) throw new Error(`${name} is missing beside this page.`);
    return response;
  };
  const [about, runtime, network] = await Promise.all([
    fetched("model.json").then((response) => response.json()),
    fetched("ort.wasm").then((response) => response.arrayBuffer()),
    fetched("model.onnx").then((response) => response.arrayBuffer()),
  ]);
  ort.env.wasm.wasmBinary = runtime;
  return { about, session: await ort.InferenceSession.create(network, { executionProviders: ["wasm"] }) };
}

async function start() {
  const status = element("status"), drop = element("drop");
  try {
    const { about, session } = await load();
    document.title = about.title;
    element("title").textContent = about.title;
    status.textContent = "";
    drop.hidden = false;
    let last = Promise.resolve();
    const classify = async (file) => {
      status.textContent = "Reading the image…";
      element("result").hidden = true;
      try {
        const seen = modelInput(await readImage(file), about.image_size, about.fit);
        show(about, seen, await answer(session, about, seen));
        status.textContent = "";
      } catch (error) {
        status.textContent = error.message;
      }
    };
    const next = (files) => {
      if (files.length) last = last.then(() => classify(files[0]));
    };
    element("file").addEventListener("change", (event) => next(event.target.files));
    drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      next(event.dataTransfer.files);
    });
  } catch (error) {
    status.textContent = `The network could not be loaded: ${error.message}`;
  }
}

start();
