// Makes elements, and the parts that all views share. Text is only ever text: nothing in the console reads HTML from a
// string.

const SVG = "http://www.w3.org/2000/svg";

/// Returns an element. `on` holds listeners; true sets an attribute without a value, false and undefined leave it out.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/// Returns an element of a drawing.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(name, value);
  }
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  element.append(...present(children));
  return element;
}

/// Puts other children into an element.
export function put(element, ...children) {
  element.replaceChildren(...present(children));
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

let lastId = 0;

/// Returns an identifier that no other element has.
export function freshId() {
  lastId += 1;
  return `c${lastId}`;
}

/// Returns a labelled control.
export function field(label, control, hint) {
  control.id ||= freshId();
  const note = hint ? h("small", { id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
}

/// Returns a choice of `[value, text]` pairs.
export function choice(options, value, change) {
  const items = options.map(([name, text]) => h("option", { value: name, selected: String(name) === String(value) }, text));
  return h("select", { on: { change: (event) => change(event.target.value) } }, items);
}

/// Returns a button.
export function button(text, press, kind = "") {
  return h("button", { type: "button", class: kind, on: { click: press } }, text);
}

/// Returns a card with a heading.
export function card(title, ...children) {
  const heading = h("h2", { id: freshId() }, title);
  return h("section", { class: "card", "aria-labelledby": heading.id }, heading, ...children);
}

/// Returns a table in a box that scrolls by itself. The first cell of a row names it.
export function table(caption, columns, rows) {
  const cell = (content, index) => (index === 0 ? h("th", { scope: "row" }, content) : h("td", {}, content));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))),
    ),
  );
}

/// Returns a coloured mark with a word: the colour is never alone.
export function chip(text, tone) {
  return h("span", { class: `chip ${tone}` }, text);
}

/// Returns names with their values.
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return h("dl", { class: "facts" }, known.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/// Says something to those who listen and shows it for a while.
export function announce(text) {
  const place = document.getElementById("toast");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(announce.timer);
  announce.timer = setTimeout(() => place.classList.remove("shown"), 4000);
}
