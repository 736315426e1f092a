// What every component makes its parts with. Everything is put in as text, never as markup.

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(text, title, press) {
  const made = element("button");
  made.type = "button";
  say(made, text, title);
  made.addEventListener("click", press);
  return made;
}

function say(control, text, title) {
  control.textContent = text;
  control.title = title;
  control.setAttribute("aria-label", title);
}

function range(title) {
  const made = element("input");
  made.type = "range";
  made.min = 0;
  made.setAttribute("aria-label", title);
  return made;
}

function shape(tag, values, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(values)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// With so many significant digits; whole numbers in full.
function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const far = size >= 1e6 || (size && size < 1e-4);
  const text = far ? value.toExponential(Math.min(2, digits - 1)) : `${Number.isInteger(value) ? value : Number(value.toPrecision(digits))}`;
  return text.replaceAll("-", "−").replace("e+", "e");
}

