// Charts: lines over time, and shares in a square. They take their colours from the page.

import { freshId, h, svg } from "./dom.js";
import { count } from "./format.js";

const HEIGHT = 150;
const LEFT = 52;
const BELOW = 22;
const ABOVE = 8;
const TICKS = 2;

/// Lines over time. `set` shows other values: a list of instants in seconds, and for each line a list of as many values.
export class Lines {
  constructor({ title, format, lines }) {
    this.format = format;
    this.lines = lines;
    this.at = [];
    this.values = lines.map(() => []);
    this.width = 0;
    this.drawing = svg("svg", { class: "lines", role: "img", height: HEIGHT });
    this.shown = lines.map(() => h("b", {}, "—"));
    const entry = ({ name, tone }, index) => h("li", {}, h("span", { class: `key ${tone}`, "aria-hidden": "true" }), `${name} `, this.shown[index]);
    const heading = h("h3", { id: freshId() }, title);
    this.title = title;
    this.element = h("figure", { class: "chart" }, h("figcaption", {}, heading, h("ul", { class: "legend" }, lines.map(entry))), this.drawing);
    this.observer = new ResizeObserver(([{ contentRect }]) => this.resize(contentRect.width));
    this.observer.observe(this.drawing);
    this.drawing.addEventListener("pointermove", (event) => this.point(event));
    this.drawing.addEventListener("pointerleave", () => this.point(null));
  }

  close() {
    this.observer.disconnect();
  }

  resize(width) {
    if (Math.abs(width - this.width) < 1) return;
    this.width = width;
    this.draw();
  }

  set(at, values) {
    this.at = at;
    this.values = values;
    this.draw();
  }

  point(event) {
    this.pointed = event ? event.offsetX : null;
    this.draw();
  }

  draw() {
    if (!this.width) return;
    const { at, values, width, drawing } = this;
    const most = tidy(Math.max(...values.flat().filter(Number.isFinite), 0));
    const [from, to] = [at[0] ?? 0, at.at(-1) ?? 1];
    const x = (time) => LEFT + ((time - from) / Math.max(to - from, 1)) * (width - LEFT - 8);
    const y = (value) => HEIGHT - BELOW - (value / most) * (HEIGHT - BELOW - ABOVE);
    const chosen = this.chosen(x);
    drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    drawing.replaceChildren(
      ...this.grid(most, y),
      ...this.time(x, from, to),
      ...this.lines.map(({ tone }, index) => svg("path", { class: `line ${tone}`, d: path(at, values[index], x, y) })),
      ...(chosen === null ? [] : [svg("line", { class: "cursor", x1: x(at[chosen]), x2: x(at[chosen]), y1: ABOVE, y2: HEIGHT - BELOW })]),
    );
    this.tell(chosen ?? at.length - 1);
  }

  /// Returns the place of the instant that is pointed at, if one is.
  chosen(x) {
    if (this.pointed === null || this.pointed === undefined || !this.at.length) return null;
    const distance = (index) => Math.abs(x(this.at[index]) - this.pointed);
    return this.at.reduce((best, _, index) => (distance(index) < distance(best) ? index : best), 0);
  }

  grid(most, y) {
    return Array.from({ length: TICKS + 1 }, (_, index) => (most * index) / TICKS).flatMap((value) => [
      svg("line", { class: "rule", x1: LEFT, x2: this.width, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, this.format(value)),
    ]);
  }

  time(x, from, to) {
    const ago = (seconds) => (seconds < 1 ? "now" : seconds < 90 ? `${Math.round(seconds)} s ago` : `${Math.round(seconds / 60)} min ago`);
    const label = (time, anchor) => svg("text", { x: x(time), y: HEIGHT - 4, "text-anchor": anchor }, ago(to - time));
    return to - from < 2 ? [] : [label(from, "start"), label(to, "end")];
  }

  tell(index) {
    const texts = this.values.map((values) => this.format(values[index]));
    texts.forEach((text, line) => (this.shown[line].textContent = text));
    this.drawing.setAttribute("aria-label", `${this.title}: ${this.lines.map(({ name }, line) => `${name} ${texts[line]}`).join(", ")}`);
  }
}

/// Returns a round number that is not below the value.
function tidy(value) {
  if (!(value > 0)) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * unit).find((step) => step >= value);
}

/// Returns the path of a line, with gaps where nothing is known.
function path(at, values, x, y) {
  let drawn = "";
  let isOpen = false;
  values.forEach((value, index) => {
    const isKnown = Number.isFinite(value);
    if (isKnown) drawn += `${isOpen ? "L" : "M"}${x(at[index]).toFixed(1)} ${y(value).toFixed(1)}`;
    isOpen = isKnown;
  });
  return drawn;
}

/// Returns a table of truth against answer, each cell shaded by its share of the row.
export function confusion(matrix, labels) {
  const totals = matrix.map((row) => row.reduce((sum, value) => sum + value, 0));
  const cell = (value, truth, index) => {
    const element = h("td", { class: truth === index ? "right" : "wrong" }, value ? count(value) : "");
    element.style.setProperty("--share", totals[truth] ? value / totals[truth] : 0);
    return element;
  };
  const name = (index) => labels[index] ?? index;
  const row = (values, truth) => h("tr", {}, h("th", { scope: "row" }, name(truth)), values.map((value, index) => cell(value, truth, index)));
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion" },
    h(
      "table",
      { class: "confusion" },
      h("caption", {}, "Rows are the truth, columns the answer"),
      h("thead", {}, h("tr", {}, h("td"), matrix.map((_, index) => h("th", { scope: "col" }, name(index))))),
      h("tbody", {}, matrix.map(row)),
    ),
  );
}

/// Returns an interval from 0 to 1 on a line, with its value as a mark.
export function whisker({ value, low, high }, from = 0) {
  const place = (share) => Math.max(0, Math.min(1, (share - from) / (1 - from)));
  const band = h("span", { class: "band" });
  band.style.setProperty("--from", place(low));
  band.style.setProperty("--to", place(high));
  const mark = h("span", { class: "mark" });
  mark.style.setProperty("--from", place(value));
  return h("span", { class: "whisker", "aria-hidden": "true" }, band, mark);
}
