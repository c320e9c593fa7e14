// Numbers and times as people read them.

const NOTHING = "—";

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/// Returns a number with about three significant digits.
export function short(value) {
  if (!isNumber(value)) return NOTHING;
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return value.toExponential(1);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

/// Returns a number with about six significant digits, where it is the answer itself.
export function figure(value) {
  if (!isNumber(value)) return "not a number";
  const size = Math.abs(value);
  if (size >= 1e9 || (size > 0 && size < 1e-4)) return value.toExponential(5);
  return Number(value.toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 6 });
}

/// Returns a share of 1 as a percentage.
export function percent(value, digits = 1) {
  return isNumber(value) ? `${(value * 100).toFixed(digits)} %` : NOTHING;
}

/// Returns a time that is given in seconds.
export function seconds(value) {
  if (!isNumber(value)) return NOTHING;
  if (value === 0) return "0";
  if (value < 1e-3) return `${short(value * 1e6)} µs`;
  if (value < 1) return `${short(value * 1e3)} ms`;
  if (value < 120) return `${short(value)} s`;
  return value < 7200 ? `${Math.round(value / 60)} min` : `${Math.round(value / 3600)} h`;
}

/// Returns a count.
export function count(value) {
  return isNumber(value) ? value.toLocaleString("en-US") : NOTHING;
}

/// Returns an instant of RFC 3339 in the reader's own time.
export function moment(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? String(text) : at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

/// Returns a text that is cut after so many characters.
export function cut(text, most) {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}
