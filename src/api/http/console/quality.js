// How good the versions of a model are: figures by source with their intervals, confusion, and drift by stream.

import { get } from "./api.js";
import { failure, settle } from "./answer.js";
import { confusion, whisker } from "./chart.js";
import { chip, choice, facts, field, h, put, table } from "./dom.js";
import { count, percent, short } from "./format.js";
import { select } from "./prometheus.js";

const LIVE = { name: "feedback", text: "labels" };
const SOURCES = [
  { name: "test", text: "test data" },
  { name: "probe", text: "probe, replayed" },
  LIVE,
  { name: "estimated", text: "estimated" },
];

/// The figures of one model. `metrics` gives those that need no request of their own.
export class Quality {
  constructor() {
    this.figures = h("div");
    this.confusion = h("div");
    this.promises = h("div");
    this.drift = h("div");
    this.series = null;
    this.told = null;
  }

  /// Shows another model.
  of(model) {
    this.model = model;
    this.path = model && `/models/${encodeURIComponent(model.name)}`;
    this.shown = null;
    this.refreshLabels();
    this.refreshDrift();
    this.metrics(this.series);
  }

  /// Asks again for what labels say.
  refreshLabels() {
    if (this.model) {
      const asked = get(`${this.path}/quality`);
      settle(this.confusion, asked.then((live) => this.confusions(live)));
      settle(this.promises, asked.then(({ versions }) => promises(versions)));
    }
  }

  /// Asks again for what is drifting.
  refreshDrift() {
    if (this.model) settle(this.drift, this.drifts());
  }

  /// Takes what `/metrics` says, and shows accuracy and loss by version and source.
  metrics(series) {
    this.series = series;
    if (!series || !this.model) return;
    const rows = this.model.versions.toReversed().flatMap(({ version }) => SOURCES.map((source) => this.row(series, version, source)).filter(Boolean));
    const told = JSON.stringify(rows.map(({ key }) => key));
    if (told === this.shown) return;
    this.shown = told;
    const columns = ["Version", "Measured by", "Accuracy", "95 % interval", "Loss", "Answers"];
    put(this.figures, rows.length ? table("Quality by version", columns, rows.map(({ cells }) => cells)) : h("p", { class: "soft" }, "No figures yet: this model has no labelled data, and no labels came."));
  }

  row(series, version, { name: source, text }) {
    const scope = { model: this.model.name, version: String(version) };
    const figure = (name, more = { source }) => select(series, name, { ...scope, ...more })[0]?.value;
    const [accuracy, loss] = [figure("weir_model_accuracy"), figure("weir_model_loss")];
    if (accuracy === undefined && loss === undefined) return null;
    const isEstimate = source === "estimated";
    const low = isEstimate ? figure("weir_model_estimated_accuracy_low", {}) : figure("weir_model_accuracy_low");
    const high = isEstimate ? figure("weir_model_estimated_accuracy_high", {}) : figure("weir_model_accuracy_high");
    const isVoid = isEstimate && figure("weir_model_estimate_valid", {}) === 0;
    const interval = low === undefined ? "" : h("span", { class: "nowrap" }, whisker({ value: accuracy, low, high }, 0.5), ` ${percent(low)} – ${percent(high)}`);
    const samples = source === LIVE.name ? figure("weir_model_samples") : undefined;
    const coverage = source === LIVE.name ? figure("weir_feedback_coverage", {}) : undefined;
    const answers = samples === undefined ? "" : `${count(samples)}${coverage === undefined ? "" : ` (${percent(coverage)} of all)`}`;
    const measured = isVoid ? h("span", {}, text, " ", chip("void: inputs changed", "warning")) : text;
    const cells = [version, measured, accuracy === undefined ? "" : percent(accuracy, 2), interval, loss === undefined ? "" : short(loss), answers];
    return { cells, key: [version, source, accuracy, loss, low, high, samples, coverage, isVoid] };
  }

  /// Returns the confusion by labels where labels came, and that of the test data.
  confusions({ versions: live }) {
    const known = this.model.versions.toReversed();
    const labels = ({ labels, declared }) => labels ?? declared?.labels ?? [];
    const entry = (version) => known.find((each) => each.version === version) ?? {};
    const byLabels = live.filter(({ confusion }) => confusion).map(({ version, confusion, samples }) => ({ name: `version ${version}, by ${count(samples)} labels`, matrix: confusion, labels: labels(entry(version)) }));
    const byTest = known.filter(({ metrics }) => metrics?.test?.confusion).map((version) => ({ name: `version ${version.version}, test data`, matrix: version.metrics.test.confusion, labels: labels(version) }));
    const offered = [...byLabels, ...byTest];
    const told = JSON.stringify(offered);
    // A list that somebody has opened stays as it is while nothing changes.
    if (told === this.told) return [...this.confusion.childNodes];
    this.told = told;
    if (!offered.length) return h("p", { class: "soft" }, "Nothing to show: this model names no classes, or no answer is judged yet.");
    const place = h("div");
    const show = (index) => put(place, confusion(offered[index].matrix, offered[index].labels));
    const first = offered[Number(this.confused)] ? Number(this.confused) : 0;
    show(first);
    const pick = (index) => {
      this.confused = index;
      show(index);
    };
    return [field("Of", choice(offered.map(({ name }, index) => [index, name]), first, pick)), place];
  }

  async drifts() {
    const served = this.model.versions.filter(({ signature }) => signature).toReversed();
    if (!served.length) return h("p", { class: "soft" }, "No version serves.");
    const one = async ({ version }) => {
      try {
        return streams(version, await get(`${this.path}/drift?version=${version}`));
      } catch (error) {
        if (error.status === undefined) throw error;
        return error.status === 409 ? h("p", { class: "soft" }, `Version ${version}: ${error.reason}`) : failure(error);
      }
    };
    return Promise.all(served.map(one));
  }
}

/// Returns what was promised of answers beside what labels say.
function promises(versions) {
  const interval = (value, low, high) => (value === undefined ? "no labels yet" : h("span", { class: "nowrap" }, whisker({ value, low, high }, 0.5), ` ${percent(value, 2)} (${percent(low)} – ${percent(high)})`));
  const sets = versions.flatMap(({ version, sets = [] }) => sets.map((set) => [version, percent(set.level), interval(set.coverage, set.low, set.high), short(set.mean_size), `${count(set.judged)} of ${count(set.answers)}`]));
  const answers = versions.flatMap(({ version, abstentions = [] }) => abstentions.map((one) => [version, percent(one.error_rate), percent(one.abstention_rate), interval(one.accuracy, one.low, one.high), `${count(one.judged)} of ${count(one.answers)}`]));
  if (!sets.length && !answers.length) return h("p", { class: "soft" }, "Nothing to show: no version with a reference has answered yet.");
  return [
    sets.length ? table("Sets of classes", ["Version", "Stated coverage", "Sets with the right class", "Mean size", "Labelled"], sets) : "",
    answers.length ? table("Answers to be withheld", ["Version", "Stated errors", "Withheld", "Accuracy of the others", "Labelled"], answers) : "",
  ];
}

/// Returns the size of a change, of which thousandths mean nothing.
const size = (value) => String(Number(value.toFixed(2)));

const TONES = { quiet: "good", info: "soft", warning: "warning", critical: "bad" };

function streams(version, drift) {
  const bar = ({ evidence }) => {
    const fill = h("span", { class: `fill ${evidence >= 1 ? "bad" : ""}` });
    fill.style.setProperty("--share", Math.max(0, Math.min(1, evidence)));
    return h("span", { class: "track", "aria-hidden": "true" }, fill);
  };
  const effect = ({ effect }) => h("span", { class: "nowrap" }, effect ? `${size(effect.psi)} (${size(effect.low)} to ${size(effect.high)})` : "—");
  const row = (stream) => [stream.stream, chip(stream.state, TONES[stream.state] ?? "soft"), h("span", { class: "evidence" }, bar(stream), short(stream.evidence)), effect(stream)];
  const learning = drift.learning_windows ? `for ${drift.learning_windows} more windows of ${count(drift.window)}` : "";
  const heading = h("h3", {}, `Version ${version} `, chip(drift.state, TONES[drift.state] ?? "soft"));
  if (!drift.samples) return h("div", { class: "drift" }, heading, h("p", { class: "soft" }, "Nobody has asked it yet."));
  return h(
    "div",
    { class: "drift" },
    heading,
    facts([
      ["Samples watched", count(drift.samples)],
      ["Unusual inputs", drift.anomaly_share === undefined ? "" : percent(drift.anomaly_share)],
      ["Compared with", `${count(drift.reference_samples)} samples (${drift.source})`],
      ["Learning dependence", learning],
    ]),
    h("p", { class: "soft" }, "Evidence of 1 and more may alarm; the effect is the size of the change."),
    table(`Streams of version ${version}`, ["Stream", "State", "Evidence", "Effect"], drift.streams.map(row)),
  );
}
