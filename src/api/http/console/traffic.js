// Rates, latencies, batches and queues, computed from what `/metrics` says at two instants.

import { text } from "./api.js";
import { Lines } from "./chart.js";
import { h, put } from "./dom.js";
import { count, seconds, short } from "./format.js";
import { buckets, parse, quantile, select, sum } from "./prometheus.js";

const STEP = 2000;
const KEPT = 150;
// Quantiles are of the last ten seconds.
const WINDOW = 5;

const REQUESTS = "weir_inference_requests_total";
const STAGES = "weir_inference_stage_duration_seconds";
const BATCHES = "weir_inference_batch_size";
const NAMES = [REQUESTS, `${STAGES}_bucket`, `${BATCHES}_sum`, `${BATCHES}_count`, "weir_queue_depth"];

/// Looks at the metrics every two seconds while it is shown.
export class Traffic {
  constructor({ told }) {
    this.told = told;
    this.looks = [];
    this.scope = {};
    this.tiles = h("dl", { class: "tiles" });
    this.charts = [
      new Lines({ title: "Requests a second", format: short, lines: [{ name: "answered", tone: "blue" }, { name: "refused or failed", tone: "orange" }] }),
      new Lines({ title: "Time in the model", format: seconds, lines: [{ name: "p50", tone: "blue" }, { name: "p99", tone: "orange" }] }),
      new Lines({ title: "Time in the queue", format: seconds, lines: [{ name: "p50", tone: "blue" }, { name: "p99", tone: "orange" }] }),
      new Lines({ title: "Samples in a run, requests that wait", format: short, lines: [{ name: "samples", tone: "blue" }, { name: "waiting", tone: "purple" }] }),
    ];
    this.element = h("div", {}, this.tiles, h("div", { class: "charts" }, this.charts.map(({ element }) => element)));
  }

  start() {
    this.look();
    this.timer = setInterval(() => document.hidden || this.look(), STEP);
  }

  close() {
    clearInterval(this.timer);
    this.charts.forEach((chart) => chart.close());
  }

  /// Shows one model, or all where none is named.
  of(model) {
    this.scope = model ? { model } : {};
    this.draw();
  }

  async look() {
    if (this.isLooking) return;
    this.isLooking = true;
    try {
      const series = parse(await text("/metrics"));
      const kept = new Map(NAMES.map((name) => [name, series.get(name) ?? []]));
      this.looks = [...this.looks, { at: performance.now() / 1e3, series: kept }].slice(-KEPT - 1);
      this.told(series, null);
      this.draw();
    } catch (error) {
      this.told(null, error);
    } finally {
      this.isLooking = false;
    }
  }

  draw() {
    const { looks, scope } = this;
    const points = looks.slice(1).map((look, index) => point(looks[Math.max(0, index + 1 - WINDOW)], looks[index], look, scope));
    const at = looks.slice(1).map((look) => look.at);
    const lines = (...names) => names.map((name) => points.map((each) => each[name]));
    const shown = [lines("rate", "errors"), lines("p50", "p99"), lines("queue50", "queue99"), lines("batch", "depth")];
    this.charts.forEach((chart, index) => chart.set(at, shown[index]));
    this.sayNow(points.at(-1));
  }

  sayNow(now) {
    const tile = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
    const inWords = [
      ["requests a second", now && short(now.rate)],
      ["median in the model", now && seconds(now.p50)],
      ["p99 in the model", now && seconds(now.p99)],
      ["failures a second", now && short(now.errors)],
      ["waiting", now && count(now.depth)],
      ["samples in a run", now && short(now.batch)],
    ];
    put(this.tiles, inWords.map(([name, value]) => tile(name, value ?? "—")));
  }
}

const FINE = new Set(["success", "probe", "explanation", "guard", "cancelled"]);

/// Returns the figures of one step, and the quantiles of the window that ends with it.
function point(begin, before, after, scope) {
  const span = after.at - before.at;
  const more = (name, fits = () => true) => {
    const total = ({ series }) => select(series, name, scope).reduce((all, { labels, value }) => (fits(labels) ? all + value : all), 0);
    return Math.max(0, total(after) - total(before));
  };
  const share = (stage, part) => {
    const counts = ({ series }) => buckets(series, STAGES, { ...scope, stage });
    return quantile(counts(begin), counts(after), part);
  };
  const runs = more(`${BATCHES}_count`);
  return {
    rate: more(REQUESTS, ({ outcome }) => outcome === "success") / span,
    errors: more(REQUESTS, ({ outcome }) => !FINE.has(outcome)) / span,
    p50: share("infer", 0.5),
    p99: share("infer", 0.99),
    queue50: share("queue", 0.5),
    queue99: share("queue", 0.99),
    batch: runs ? more(`${BATCHES}_sum`) / runs : undefined,
    depth: sum(after.series, "weir_queue_depth", scope),
  };
}
