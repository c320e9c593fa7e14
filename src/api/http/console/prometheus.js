// Reads the text format of Prometheus, and tells quantiles of histograms.

const SERIES = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/// Returns the series of a text: for each name a list of `{labels, value}`.
export function parse(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : SERIES.exec(line);
    if (!match) continue;
    const [, name, labels = "", value] = match;
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ labels: labelled(labels), value: number(value) });
  }
  return found;
}

function labelled(text) {
  const unescaped = (value) => value.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
  return Object.fromEntries([...text.matchAll(LABEL)].map(([, name, value]) => [name, unescaped(value)]));
}

function number(text) {
  if (text === "+Inf") return Infinity;
  return text === "-Inf" ? -Infinity : Number(text);
}

const fits = (labels, wanted) => Object.entries(wanted).every(([name, value]) => labels[name] === value);

/// Returns the series of a name whose labels are as wanted.
export function select(series, name, wanted = {}) {
  return (series.get(name) ?? []).filter(({ labels }) => fits(labels, wanted));
}

/// Returns the sum over the series of a name, and undefined where there are none.
export function sum(series, name, wanted) {
  const found = select(series, name, wanted);
  return found.length ? found.reduce((total, { value }) => total + value, 0) : undefined;
}

/// Returns the counts of a histogram by upper bound, summed over all series that fit.
export function buckets(series, name, wanted) {
  const counts = new Map();
  for (const { labels, value } of select(series, `${name}_bucket`, wanted)) {
    const bound = number(labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  return counts;
}

/// Returns a quantile of what was counted between two looks at a histogram, and undefined where nothing was.
export function quantile(before, after, share) {
  const bounds = [...after.keys()].sort((a, b) => a - b);
  const more = bounds.map((bound) => after.get(bound) - (before.get(bound) ?? 0));
  const wanted = (more.at(-1) ?? 0) * share;
  if (!(wanted > 0)) return undefined;
  const at = more.findIndex((count) => count >= wanted);
  const [low, high] = [bounds[at - 1] ?? 0, bounds[at]];
  if (high === Infinity) return low;
  const below = more[at - 1] ?? 0;
  return low + ((high - low) * (wanted - below)) / (more[at] - below);
}
