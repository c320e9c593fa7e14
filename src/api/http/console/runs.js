// The trainings of this machine: how they went, and how they go while they train.

import { get, hasKey, text } from "./api.js";
import { failedCard, failure } from "./answer.js";
import { Lines } from "./chart.js";
import { announce, button, card, chip, h, put, table } from "./dom.js";
import { count, cut, moment, percent, seconds, short } from "./format.js";

// The pause between two looks, while something trains and while nothing does.
const LIVE = 2000;
const QUIET = 15000;
// The runs that are laid over one another: more lines cannot be told apart.
const MOST = 6;
// Goes before a saved report: opened from the disk it runs nothing and asks nobody, as where the server shows it.
const SANDBOX = `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">`;
const TONES = ["blue", "orange", "purple", "green dashed", "red dashed", "ink dashed"];
const STATES = { running: "blue", finished: "good", stopped: "warning" };
const KINDS = { train: "training", tune: "search", auto: "auto", lr_find: "range test" };

const share = (value) => percent(value, 2);

const CURVES = [
  { title: "Loss on validation data", read: (epoch) => epoch.validation_loss, format: short, fitted: true },
  { title: "Accuracy on validation data", read: (epoch) => epoch.validation_accuracy, format: share, fitted: true },
  { title: "Loss on training data", read: (epoch) => epoch.loss, format: short, fitted: true },
  { title: "Accuracy on training data", read: (epoch) => epoch.accuracy, format: share, fitted: true },
  { title: "Learning rate", read: (epoch) => epoch.learning_rate, format: short },
  { title: "Samples a second", read: (epoch) => epoch.samples_per_second, format: short },
];

const ofEpochs = (epoch) => `epoch ${count(epoch)}`;
const ofTrials = (trial) => `trial ${count(trial)}`;

/// The view of training runs.
export class Runs {
  constructor() {
    this.element = h("div", { class: "view" });
    this.charts = [];
    this.details = new Map();
    this.seen = () => (document.hidden ? clearTimeout(this.timer) : this.refresh());
  }

  async show(...names) {
    try {
      this.list = await get("/runs");
    } catch (error) {
      put(this.element, h("h1", {}, "Runs"), failedCard("Runs", error));
      return;
    }
    const { folder, runs, problem } = this.list;
    if (folder === null || !runs.length) {
      put(this.element, this.head(), this.empty(folder, problem));
      return;
    }
    const known = (name) => runs.some((run) => run.name === name);
    const wanted = names.filter((name) => name !== "");
    this.chosen = wanted.filter(known).slice(0, MOST);
    const missing = wanted.filter((name) => !known(name));
    if (!this.chosen.length) this.chosen = this.first();
    this.places = { trouble: h("div", {}, missing.map((name) => h("p", { role: "alert" }, chip("not here", "warning"), ` There is no run ${cut(name, 100)}.`))), table: h("div"), curves: h("div"), settings: h("div"), trials: h("div", { class: "stacked" }) };
    const { trouble, table: place, curves, settings, trials } = this.places;
    put(this.element, this.head(), trouble, card("All runs", place), card("Curves", curves), trials, card("Settings", settings));
    this.fillTable();
    document.addEventListener("visibilitychange", this.seen);
    await this.loadChosen();
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
    this.charts.forEach((chart) => chart.close());
  }

  head() {
    this.live ??= h("span", { role: "status" });
    return h("header", { class: "view-head" }, h("div", {}, h("h1", {}, "Runs"), h("p", { class: "soft" }, "Trainings and searches, the latest first. ", this.live)));
  }

  empty(folder, problem) {
    if (problem) return card("No runs", h("p", { role: "alert" }, chip("unreadable", "bad"), " ", h("code", {}, folder), `: ${cut(problem, 300)}`));
    const said = folder === null ? ["This server shows no runs. Start it with ", h("code", {}, "weir serve --runs runs"), ", the folder that ", h("code", {}, "weir train"), " keeps them in."] : ["There are no runs in ", h("code", {}, folder), " yet. ", h("code", {}, "weir train"), " begins one."];
    return card("No runs", h("p", {}, said));
  }

  /// Returns what is shown when nobody has chosen: what trains now, or else the latest.
  first() {
    const { runs } = this.list;
    const now = runs.filter(({ state }) => state === "running");
    return (now.length ? now : runs.slice(0, 1)).map(({ name }) => name).slice(0, MOST);
  }

  /// Looks again, and then once more after a pause; never while nobody can see it.
  async refresh() {
    if (this.isLooking || this.isClosed) return;
    this.isLooking = true;
    try {
      const before = JSON.stringify(this.list);
      const trained = new Set(this.running());
      this.list = await get("/runs");
      const { folder, problem } = this.list;
      put(this.places.trouble, problem ? h("p", { role: "alert" }, chip("unreadable", "bad"), " ", h("code", {}, folder), `: ${cut(problem, 300)}`) : null);
      if (JSON.stringify(this.list) !== before) this.fillTable();
      // What has just ended has its last epoch to show.
      await this.load(this.chosen.filter((name) => trained.has(name) || this.running().includes(name)));
    } catch (error) {
      this.failed(error);
    } finally {
      this.isLooking = false;
      this.schedule();
    }
  }

  failed(error) {
    if (error.status === undefined) throw error;
    put(this.places.trouble, failure(error));
  }

  running() {
    return this.list.runs.filter(({ state }) => state === "running").map(({ name }) => name);
  }

  schedule() {
    clearTimeout(this.timer);
    const isLive = this.running().length > 0;
    put(this.live, isLive ? chip("live", "good") : null);
    if (!this.isClosed && !document.hidden) this.timer = setTimeout(() => this.refresh(), isLive ? LIVE : QUIET);
  }

  async loadChosen() {
    try {
      await this.load(this.chosen.filter((name) => !this.details.has(name)));
    } catch (error) {
      this.failed(error);
    }
    this.build();
    this.schedule();
  }

  /// Loads runs with their curves, and shows them where they are shown already.
  async load(names) {
    const loaded = await Promise.all(names.map((name) => get(`/runs/${name.split("/").map(encodeURIComponent).join("/")}`)));
    loaded.forEach((run) => this.details.set(run.name, run));
    if (loaded.length && this.drawn) this.fill();
  }

  fillTable() {
    const { runs, left_out: older, incomplete } = this.list;
    const columns = ["Run", "Kind", "State", "Begun", "Progress", "Best loss", "Best accuracy", "Published as", "Report"];
    const focused = document.activeElement?.id;
    put(this.places.table, table("Runs", columns, runs.map((run) => this.row(run))), older ? h("p", { class: "soft" }, `${count(older)} older ones are not listed.`) : null, incomplete ? h("p", { role: "status" }, chip("incomplete", "warning"), " The folder has more than 100,000 entries, and the others were not looked at: newer runs may be missing here. Move old ones elsewhere.") : null);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  row({ name, kind, state, started, best, thinned, published, has_report: hasReport, ...progress }) {
    const pick = h("input", { type: "checkbox", id: `pick-${name}`, checked: this.chosen.includes(name), on: { change: (event) => this.choose(name, event.target) } });
    const validated = best?.validated === false ? h("small", {}, "training data") : null;
    const some = best && thinned ? h("small", { title: "The file is too long to be read whole." }, "of those read") : null;
    const version = published && h("a", { href: `#/models/${encodeURIComponent(published.model)}` }, `${cut(published.model, 40)} ${published.version}`);
    return [h("div", { class: "pick" }, pick, h("label", { for: pick.id }, cut(name, 80))), KINDS[kind] ?? kind, chip(state, STATES[state] ?? "soft"), started ? moment(started) : "", done(progress), [best ? short(best.loss) : "", validated, some], best?.accuracy === undefined ? "" : share(best.accuracy), version ?? "", hasReport ? this.report(name) : ""];
  }

  /// Returns the way to a report. A link shows no key, so with one the page is saved instead.
  report(name) {
    const path = `/runs/${name.split("/").map(encodeURIComponent).join("/")}/report`;
    const label = `Report of ${name}`;
    if (!hasKey()) return h("a", { href: path, target: "_blank", rel: "noopener", "aria-label": label }, "Report");
    const save = async () => {
      try {
        const address = URL.createObjectURL(new Blob([SANDBOX, await text(path)], { type: "text/html" }));
        h("a", { href: address, download: `${name.replace("/", "-")}.html` }).click();
        URL.revokeObjectURL(address);
      } catch (error) {
        this.failed(error);
      }
    };
    const saving = button("Save report", save);
    saving.setAttribute("aria-label", `Save report of ${name}`);
    return saving;
  }

  choose(name, box) {
    if (box.checked && this.chosen.length === MOST) {
      box.checked = false;
      announce(`At most ${MOST} runs are laid over one another.`);
      return;
    }
    this.chosen = box.checked ? [...this.chosen, name] : this.chosen.filter((each) => each !== name);
    history.replaceState(null, "", `#/${["runs", ...this.chosen].map(encodeURIComponent).join("/")}`);
    this.loadChosen();
  }

  /// Makes the charts anew, which have a line for each run.
  build() {
    if (this.isClosed) return;
    const runs = this.shown();
    this.charts.forEach((chart) => chart.close());
    const lines = runs.map(({ name, curves }, index) => curves.length && { name: cut(name, 40), tone: TONES[index] }).filter(Boolean);
    const isKnown = ({ read }) => runs.some(({ curves }) => curves.some((epoch) => Number.isFinite(read(epoch))));
    this.curves = CURVES.filter(isKnown).map((curve) => ({ ...curve, chart: new Lines({ title: curve.title, format: curve.format, fitted: curve.fitted, place: ofEpochs, lines }) }));
    this.searches = runs.filter(({ trials }) => trials?.length).map((run) => new Search(run));
    this.charts = [...this.curves, ...this.searches].map(({ chart }) => chart);
    this.drawn = shape(runs);
    const nothing = h("p", { class: "soft" }, runs.length ? "No epoch is over yet." : "Choose runs in the table to see their curves.");
    this.thinned = h("div");
    put(this.places.curves, this.curves.length ? [h("div", { class: "charts" }, this.curves.map(({ chart }) => chart.element)), this.thinned] : nothing);
    put(this.places.trials, this.searches.map(({ element }) => element));
    put(this.places.settings, settings(runs));
    this.fill();
  }

  /// Shows what is known by now.
  fill() {
    const runs = this.shown();
    // The first epoch or trial of a run makes charts that were not there.
    if (shape(runs) !== this.drawn) return this.build();
    const at = [...new Set(runs.flatMap(({ curves }) => curves.map(({ epoch }) => epoch)))].sort((a, b) => a - b);
    for (const { chart, read } of this.curves) {
      chart.set(at, runs.filter(({ curves }) => curves.length).map(({ curves }) => between(curves, at, read)));
    }
    const thin = runs.filter(({ every }) => every > 1);
    put(this.thinned, thin.map(({ name, every, thinned }) => h("p", { class: "soft" }, `Of ${cut(name, 80)}, ${thinned ? "about " : ""}one epoch in ${count(every)} is shown, with the first and the last.`)));
    this.searches.forEach((search) => search.fill(this.details.get(search.name)));
  }

  shown() {
    return this.chosen.map((name) => this.details.get(name)).filter(Boolean);
  }
}

/// Returns the figures of a curve at these epochs: between two that it has, those of the straight line.
function between(curves, at, read) {
  let next = 0;
  return at.map((epoch) => {
    while (next < curves.length && curves[next].epoch < epoch) next += 1;
    const [before, after] = [curves[next - 1], curves[next]];
    if (after?.epoch === epoch) return read(after);
    const ends = [before, after].map((each) => each && read(each));
    if (!ends.every(Number.isFinite)) return undefined;
    return ends[0] + ((ends[1] - ends[0]) * (epoch - before.epoch)) / (after.epoch - before.epoch);
  });
}

/// Returns what decides which charts there are.
function shape(runs) {
  return JSON.stringify(runs.map(({ name, curves, trials }) => [name, CURVES.map(({ read }) => curves.some((epoch) => Number.isFinite(read(epoch)))), Boolean(trials?.length)]));
}

function done({ epochs, planned_epochs: epochsInAll, trials, planned_trials: trialsInAll }) {
  const of = (number, all, unit) => `${count(number)}${all && all >= number ? ` of ${count(all)}` : ""} ${unit}`;
  if (trials !== undefined) return of(trials, trialsInAll, "trials");
  return epochs ? of(epochs, epochsInAll, "epochs") : "";
}

/// The trials of a search, or the leaderboard of several.
class Search {
  constructor(run) {
    const { name, kind, search, objective } = run;
    this.name = name;
    this.isBoard = kind === "auto";
    this.chart = new Lines({ title: objective === "accuracy" ? "Error on validation data" : "Loss on validation data", format: short, fitted: true, place: ofTrials, lines: [{ name: "trial", tone: "blue" }, { name: "best so far", tone: "orange" }] });
    this.place = h("div");
    const searched = search?.length ? h("p", { class: "soft" }, "Searched: ", h("code", {}, cut(search.join("  "), 400))) : null;
    this.element = card(this.isBoard ? `Auto ${name}` : `Search ${name}`, searched, this.isBoard ? null : this.chart.element, this.place);
  }

  fill({ trials, trials_left_out: others, name }) {
    let best = Infinity;
    const figures = trials.map(({ outcome, objective }) => [objective, outcome === "finished" && objective !== null ? (best = Math.min(best, objective)) : best]);
    const finite = (value) => (Number.isFinite(value) ? value : undefined);
    this.chart.set(trials.map(({ trial }, index) => (this.isBoard ? index + 1 : trial)), [0, 1].map((line) => figures.map((pair) => finite(pair[line]))));
    const keys = [...new Set(trials.flatMap(({ settings: own }) => Object.keys(own)))];
    const rank = ({ outcome, objective }) => [outcome === "finished" ? 0 : 1, objective ?? Infinity];
    const order = [...trials].sort((a, b) => rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1] || 0);
    const row = (trial, place) => {
      const { trial: number, preset, outcome, validation, epochs, seconds: time, settings: own, problem } = trial;
      const first = h("span", { class: place === 0 && outcome === "finished" ? "better" : "" }, `${preset ? `${preset} ` : ""}${number}`, place === 0 && outcome === "finished" ? h("span", { class: "hidden" }, " (best)") : null);
      const marks = { finished: "good", stopped: "soft", failed: "bad" };
      return [first, [chip(outcome, marks[outcome] ?? "soft"), problem && h("small", {}, cut(problem, 300))], validation ? short(validation.loss) : "", validation?.accuracy === undefined ? "" : share(validation.accuracy), count(epochs), seconds(time), ...keys.map((key) => told(own[key]))];
    };
    const kept = this.place.firstChild?.scrollLeft ?? 0;
    put(this.place, table(`${this.isBoard ? "Leaderboard" : "Trials"} of ${name}`, ["Trial", "Outcome", "Loss", "Accuracy", "Epochs", "Time", ...keys], order.map(row)), others ? h("p", { class: "soft" }, this.isBoard ? `${count(others)} worse ones are not shown.` : `${count(others)} earlier ones are not shown.`) : null);
    this.place.firstChild.scrollLeft = kept;
  }
}

/// Returns the settings of runs side by side: of several, first those that differ.
function settings(runs) {
  if (!runs.length) return h("p", { class: "soft" }, "Choose runs in the table to see their settings.");
  const names = [...new Set(runs.flatMap(({ settings: own }) => Object.keys(own)))];
  const differs = (name) => new Set(runs.map(({ settings: own }) => JSON.stringify(own[name]))).size > 1;
  const shown = (caption, rows) => table(caption, ["Setting", ...runs.map(({ name }) => cut(name, 40))], rows.map((name) => [name, ...runs.map(({ settings: own }) => told(own[name]))]));
  const all = h("details", {}, h("summary", {}, `All ${names.length}`), shown("All settings", names));
  if (runs.length === 1) return all;
  const different = names.filter(differs);
  return [different.length ? shown("Settings that differ", different) : h("p", { class: "soft" }, "They differ in nothing."), all];
}

/// Returns the value of a setting as text.
function told(value) {
  if (value === undefined || value === null) return "";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
  return cut(typeof value === "string" ? value : JSON.stringify(value), 200);
}
