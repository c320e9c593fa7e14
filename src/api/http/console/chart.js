// Charts: lines over time, and shares in a square. They take their colours from the page.

import { freshId, h, svg } from "./dom.js";
import { count } from "./format.js";

const HEIGHT = 150;
const LEFT = 52;
const BELOW = 22;
const ABOVE = 8;
const TICKS = 2;

/// Lines over time, or over what `place` names. `set` shows other values: a list of instants in seconds, or of places, and
/// for each line a list of as many values. The height begins at zero, or `fitted` at the lowest value.
export class Lines {
  constructor({ title, format, lines, place = null, fitted = false }) {
    this.format = format;
    this.place = place;
    this.fitted = fitted;
    this.lines = lines;
    this.at = [];
    this.values = lines.map(() => []);
    this.width = 0;
    this.drawing = svg("svg", { class: "lines", role: "img", height: HEIGHT });
    this.shown = lines.map(() => h("b", {}, "—"));
    const entry = ({ name, tone }, index) => h("li", {}, h("span", { class: `key ${tone}`, "aria-hidden": "true" }), `${name} `, this.shown[index]);
    const heading = h("h3", { id: freshId() }, title);
    this.title = title;
    this.where = h("small");
    this.element = h("figure", { class: "chart" }, h("figcaption", {}, h("div", {}, heading, this.where), h("ul", { class: "legend" }, lines.map(entry))), this.drawing);
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
    const [least, most] = this.range();
    const [from, to] = [at[0] ?? 0, at.at(-1) ?? 1];
    const x = (time) => LEFT + ((time - from) / Math.max(to - from, 1)) * (width - LEFT - 8);
    const y = (value) => HEIGHT - BELOW - ((value - least) / (most - least)) * (HEIGHT - BELOW - ABOVE);
    const chosen = this.chosen(x);
    drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    drawing.replaceChildren(
      ...this.grid(least, most, y),
      ...this.time(x, from, to),
      ...this.lines.map(({ tone }, index) => svg("path", { class: `line ${tone}`, d: path(at, values[index], x, y) })),
      ...(chosen === null ? [] : [svg("line", { class: "cursor", x1: x(at[chosen]), x2: x(at[chosen]), y1: ABOVE, y2: HEIGHT - BELOW })]),
    );
    this.tell(chosen);
  }

  /// Returns the lowest and the highest value of the scale.
  range() {
    const known = this.values.flat().filter(Number.isFinite);
    if (!this.fitted || !known.length) return [0, tidy(known.reduce((most, value) => Math.max(most, value), 0))];
    const [low, high] = known.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    const room = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
    return [low - room < 0 && low >= 0 ? 0 : low - room, high + room];
  }

  /// Returns the place of the instant that is pointed at, if one is.
  chosen(x) {
    if (this.pointed === null || this.pointed === undefined || !this.at.length) return null;
    const distance = (index) => Math.abs(x(this.at[index]) - this.pointed);
    return this.at.reduce((best, _, index) => (distance(index) < distance(best) ? index : best), 0);
  }

  grid(least, most, y) {
    return Array.from({ length: TICKS + 1 }, (_, index) => least + ((most - least) * index) / TICKS).flatMap((value) => [
      svg("line", { class: "rule", x1: LEFT, x2: this.width, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, this.format(value)),
    ]);
  }

  time(x, from, to) {
    const ago = (seconds) => (seconds < 1 ? "now" : seconds < 90 ? `${Math.round(seconds)} s ago` : `${Math.round(seconds / 60)} min ago`);
    const label = (time, anchor) => svg("text", { x: x(time), y: HEIGHT - 4, "text-anchor": anchor }, this.place ? this.place(time) : ago(to - time));
    if (to - from < (this.place ? 1 : 2)) return [];
    return [label(from, "start"), label(to, "end")];
  }

  tell(chosen) {
    // A line that ends before the others is told by its last value.
    const last = (values) => (this.place ? values.findLast(Number.isFinite) : values[this.at.length - 1]);
    const texts = this.values.map((values) => this.format(chosen === null ? last(values) : values[chosen]));
    texts.forEach((text, line) => (this.shown[line].textContent = text));
    const where = this.place && this.at.length ? `, ${this.place(this.at[chosen ?? this.at.length - 1])}` : "";
    this.where.textContent = chosen === null ? "" : where.slice(2);
    this.drawing.setAttribute("aria-label", `${this.title}${where}: ${this.lines.map(({ name }, line) => `${name} ${texts[line]}`).join(", ")}`);
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
    // A way of no length is a dot, which is all that is seen of a single value.
    if (isKnown) drawn += `${isOpen ? "L" : "M"}${x(at[index]).toFixed(1)} ${y(value).toFixed(1)}${isOpen ? "" : "h0"}`;
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
