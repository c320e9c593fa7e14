// Inputs that are no pictures: rows of tables, sequences, texts and tensors. Each has an element, and `read` gives the
// JSON body of a request, or null while nothing is said.

import { choice, field, h } from "./dom.js";
import { short } from "./format.js";

/// Returns the input that fits a model's transforms and signature.
export function inputFor(version, { drift }) {
  const { columns = [], sequence } = version.transform ?? {};
  if (columns.length) return new Row(columns, drift);
  if (sequence) return sequence.kind === "tokens" ? new Text(sequence) : new Sequence(sequence);
  return new Tensors(version);
}

const jsonBody = (value) => ({ json: value, body: JSON.stringify(value), type: "application/json" });

const DATES = {
  year_first: ["date", "2024-01-31, with a time or without"],
  day_first: ["date", "31.1.2024"],
  month_first: ["date", "1/31/2024"],
  time: ["time of day", "18:30"],
};

/// One row of a table.
class Row {
  constructor(columns, drift) {
    this.cells = columns.map((column) => new Cell(column, usual(column, drift)));
    this.element = h("div", { class: "columns" }, this.cells.map(({ element }) => element));
  }

  read() {
    return jsonBody({ instances: [Object.fromEntries(this.cells.map((cell) => [cell.name, cell.value()]))] });
  }
}

/// Returns the middle and the ends of what a column held in the reference, as far as the bins tell.
function usual({ name }, drift) {
  const stream = drift?.streams.find(({ stream }) => stream === `column:${name}`);
  const { edges, reference } = stream ?? {};
  if (!edges?.length) return null;
  const half = reference.reduce((sum, count) => sum + count, 0) / 2;
  let seen = 0;
  const middle = reference.findIndex((count) => (seen += count) >= half);
  return { low: edges[0], high: edges.at(-1), middle: edges[Math.min(Math.max(middle, 0), edges.length - 1)] };
}

class Cell {
  constructor(column, range) {
    this.name = column.name;
    this.isNumber = column.kind === "number" || column.kind === "shifted";
    this.control = this.controlOf(column, range);
    this.element = field(column.name, this.control, hintOf(column, range));
  }

  controlOf({ kind, values }, range) {
    if (kind === "category") {
      const options = values.map((value, index) => [index, value]);
      this.values = values;
      return choice([["", "missing"], ...options], values.length ? 0 : "", () => {});
    }
    const value = this.isNumber && range ? short(range.middle).replaceAll(",", "") : "";
    return h("input", { type: "text", inputmode: this.isNumber ? "decimal" : "text", value, placeholder: "missing", autocomplete: "off" });
  }

  value() {
    const text = this.control.value.trim();
    if (text === "") return null;
    if (this.values) return this.values[Number(text)];
    return this.isNumber && Number.isFinite(Number(text)) ? Number(text) : text;
  }
}

function hintOf({ kind, order, values }, range) {
  if (kind === "category") return `one of ${values.length}`;
  if (kind === "moment") return `${DATES[order]?.[0] ?? "date"}, as ${DATES[order]?.[1] ?? "2024-01-31"}`;
  return range ? `number, usually ${short(range.low)} to ${short(range.high)}` : "number";
}

function area(value, rows, placeholder) {
  return h("textarea", { rows, placeholder, spellcheck: "false", autocomplete: "off" }, value);
}

/// A text, or a list of tokens.
class Text {
  constructor({ split, steps }) {
    this.splits = Boolean(split);
    this.control = area("", 5, this.splits ? "Write or paste a text" : "tokens, separated by spaces");
    const hint = this.splits ? `Split into ${split}; the last ${steps} count.` : `Tokens as texts; the last ${steps} count.`;
    this.element = field("Text", this.control, hint);
  }

  read() {
    const text = this.control.value.trim();
    if (!text) return null;
    return jsonBody({ instances: [this.splits ? text : text.split(/\s+/)] });
  }
}

/// A sequence of numbers.
class Sequence {
  constructor({ channels, steps }) {
    this.channels = channels;
    const hint = `Up to ${steps} steps, one a line, each of ${channels} ${channels === 1 ? "number" : "numbers"}; write null for a missing one.`;
    this.control = area("", 8, Array(3).fill(Array(channels).fill("0").join(", ")).join("\n"));
    this.element = field("Sequence", this.control, hint);
  }

  read() {
    const lines = this.control.value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!lines.length) return null;
    const step = (line) => line.split(/[\s,;]+/).filter(Boolean).map(numberOrText);
    const steps = lines.map(step);
    return jsonBody({ instances: [this.channels === 1 ? steps.flat() : steps] });
  }
}

function numberOrText(text) {
  if (text === "null") return null;
  return Number.isFinite(Number(text)) ? Number(text) : text;
}

const MOST_SHOWN = 20000;

/// Tensors, as JSON.
class Tensors {
  constructor({ signature }) {
    const example = exampleOf(signature);
    this.control = area(example ?? "", 12, example ? "" : '{"instances": [[…]]}');
    this.control.classList.add("code");
    const shape = ({ name, dtype, shape }) => `${name}: ${dtype} [${shape.join(", ")}]`;
    this.element = field("Request as JSON", this.control, signature.inputs.map(shape).join("; "));
  }

  read() {
    const text = this.control.value.trim();
    if (!text) return null;
    try {
      return jsonBody(JSON.parse(text));
    } catch {
      // The server says what is wrong with it, and where.
      return { text, body: text, type: "application/json" };
    }
  }
}

/// Returns a request that is legal, with zeros; null where it would be too long.
function exampleOf({ inputs }) {
  const sizes = ({ shape }) => shape.map((dim) => (typeof dim === "number" ? dim : 1));
  const total = inputs.reduce((sum, input) => sum + sizes(input).reduce((all, size) => all * size, 1), 0);
  if (total > MOST_SHOWN) return null;
  const value = (input) => nested(sizes(input), zeroOf(input.dtype));
  const isOne = inputs.length === 1 && typeof inputs[0].shape[0] === "string";
  if (isOne) return JSON.stringify({ instances: value(inputs[0]) });
  return JSON.stringify({ inputs: Object.fromEntries(inputs.map((input) => [input.name, value(input)])) }, null, 1);
}

function zeroOf(dtype) {
  if (dtype === "string") return "text";
  return dtype === "bool" ? false : 0;
}

function nested([size, ...rest], zero) {
  return size === undefined ? zero : Array.from({ length: size }, () => nested(rest, zero));
}
