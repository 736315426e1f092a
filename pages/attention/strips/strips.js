// One text several times, each time with other values behind its characters.

const TOP = 3;

function strip(text, { title, values }) {
  const characters = [...text];
  const spans = spell(text);
  shade(spans, values);
  spans.forEach((span, index) => { span.title = `${named(characters[index])} ${percent(values[index])}`; });
  const order = [...values.keys()].sort((one, other) => values[other] - values[one]).slice(0, TOP);
  const words = order.map((index) => `${named(characters[index])} ${percent(values[index])} (${values.length - 1 - index} back)`).join(", ");
  const [made, body] = [element("figure"), element("div", "strips-text")];
  body.setAttribute("role", "img");
  body.setAttribute("aria-label", `${title}: most on ${words}`);
  body.append(...spans);
  made.append(element("figcaption", "", title), body, element("div", "strips-words", `Most on ${words}`));
  return made;
}

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".strips");
  root.classList.toggle("dark", data.dark);
  root.replaceChildren(...data.rows.map((row) => strip(data.text, row)));
}
