// How the server does now: alarms, traffic, quality, drift, and what just happened.

import { Events, get, post } from "./api.js";
import { failedCard, failure, settle } from "./answer.js";
import { button, card, chip, choice, field, h, put } from "./dom.js";
import { moment, short } from "./format.js";
import { Quality } from "./quality.js";
import { Traffic } from "./traffic.js";

const ALL = "";
const KEPT = 30;
const SETTLED = 1000;

/// The view in which the server is watched.
export class Watch {
  constructor({ go }) {
    this.go = go;
    this.element = h("div", { class: "view" });
    this.changed = new Set();
    this.soon = null;
  }

  async show(model) {
    try {
      this.catalog = await get("/models");
    } catch (error) {
      put(this.element, h("h1", {}, "Watch"), failedCard("Models", error));
      return;
    }
    const { models, default_model: preferred } = this.catalog;
    const name = model === "*" ? ALL : (model ?? preferred ?? ALL);
    this.model = models.find((each) => each.name === name) ?? null;
    this.build();
    this.listen();
    this.quality.of(this.model);
    this.loadAlarms();
  }

  close() {
    this.traffic?.close();
    this.events?.stop();
    clearTimeout(this.soon);
  }

  build() {
    this.traffic = new Traffic({ told: (series, error) => this.told(series, error) });
    this.traffic.of(this.model?.name);
    this.traffic.start();
    this.quality = new Quality();
    this.alarms = h("div");
    this.happened = h("ol", { class: "events", tabindex: "0", "aria-label": "Events" }, h("li", { class: "soft" }, "Nothing yet. Changes of versions, labels, drift and alarms appear here."));
    this.live = h("span", { role: "status" }, chip("connecting", "soft"));
    this.trouble = h("div");
    const { figures, promises, confusion, drift } = this.quality;
    const ofModel = this.model ? [card("Quality", figures), card("Sets and abstentions", promises), h("div", { class: "two even" }, card("Drift", drift), card("Confusion", confusion))] : card("Quality and drift", h("p", { class: "soft" }, "Choose a model to see them."));
    put(this.element, this.head(), card("Alarms", this.alarms), card("Traffic", this.trouble, this.traffic.element), ofModel, card("What happened", this.happened));
  }

  head() {
    const names = this.catalog.models.map(({ name }) => [name, name]);
    const pick = choice([["*", "All models"], ...names], this.model?.name ?? "*", (name) => this.go("watch", name));
    pick.id = "pick-model";
    return h("header", { class: "view-head" }, h("div", {}, h("h1", {}, "Watch"), h("p", { class: "soft" }, "Since this page was opened, every two seconds. ", this.live)), h("div", { class: "row" }, field("Model", pick)));
  }

  told(series, error) {
    put(this.trouble, error ? failure(error) : null);
    if (series) this.quality.metrics(series);
  }

  listen() {
    const states = { live: ["live", "good"], waiting: ["no events now", "warning"] };
    const state = (now) => put(this.live, chip(...states[now]));
    this.events = new Events({ heard: (kind, data) => this.heard(kind, data), state });
  }

  heard(kind, data) {
    if (this.happened.firstChild?.classList.contains("soft")) put(this.happened);
    const entry = h("li", {}, h("time", {}, new Date().toLocaleTimeString("en-GB")), chip(kind, "soft"), h("span", {}, told(kind, data)));
    this.happened.prepend(entry);
    while (this.happened.children.length > KEPT) this.happened.lastChild.remove();
    this.changed.add(kind);
    // One look for a burst of events.
    this.soon ??= setTimeout(() => this.refresh(), SETTLED);
  }

  /// Asks again for what the events of the last moment are about.
  refresh() {
    const { changed } = this;
    const all = changed.has("missed") || changed.has("lagged");
    if (all || changed.has("alarm")) this.loadAlarms();
    if (all || changed.has("quality")) this.quality.refreshLabels();
    if (all || changed.has("drift")) this.quality.refreshDrift();
    if (all || changed.has("version")) this.refreshVersions();
    changed.clear();
    this.soon = null;
  }

  async refreshVersions() {
    const { models } = await get("/models").catch(() => this.catalog);
    this.quality.of(models.find(({ name }) => name === this.model?.name) ?? this.model);
  }

  loadAlarms() {
    return settle(this.alarms, get("/alarms").then(({ alarms }) => this.list(alarms)));
  }

  list(alarms) {
    const told = JSON.stringify(alarms);
    // A form that somebody fills in stays while nothing changes.
    if (told === this.toldAlarms) return [...this.alarms.childNodes];
    this.toldAlarms = told;
    const open = alarms.filter(({ state }) => state !== "cleared");
    const past = alarms.filter(({ state }) => state === "cleared").slice(0, 10);
    const quiet = h("p", {}, chip("quiet", "good"), " Nothing is wrong.");
    const history = past.length ? h("details", {}, h("summary", {}, `${past.length} that were cleared`), past.map((alarm) => this.alarm(alarm))) : null;
    return [open.length ? open.map((alarm) => this.alarm(alarm)) : quiet, history];
  }

  alarm(alarm) {
    const { severity, kind, summary, raised_at: raised, state, acknowledged, model, version } = alarm;
    const tone = { critical: "bad", warning: "warning" }[severity] ?? "soft";
    const of = model ? ` ${model}${version === undefined || version === null ? "" : ` ${version}`}` : "";
    const known = acknowledged ? h("p", { class: "soft" }, `Known to ${acknowledged.who}: ${acknowledged.why}`) : null;
    const form = state === "raised" ? this.acknowledging(alarm) : null;
    return h("article", { class: "alarm" }, h("p", {}, chip(severity, tone), ` ${kind}${of}, since ${moment(raised)}`), h("p", {}, summary), known, form);
  }

  acknowledging({ id }) {
    const who = h("input", { type: "text", required: true, maxlength: 200, autocomplete: "name" });
    const why = h("input", { type: "text", required: true, maxlength: 2000, autocomplete: "off" });
    const outcome = h("div", { role: "status" });
    const send = async (event) => {
      event.preventDefault();
      try {
        await post(`/alarms/${encodeURIComponent(id)}/acknowledge`, { who: who.value, why: why.value });
        await this.loadAlarms();
      } catch (error) {
        put(outcome, failure(error));
      }
    };
    const form = h("form", { class: "row", on: { submit: send } }, field("Who", who), field("Why it may go on", why), h("button", { type: "submit" }, "Acknowledge"));
    return h("details", {}, h("summary", {}, "Acknowledge"), form, outcome);
  }
}

/// Returns an event in words.
function told(kind, data) {
  const { model = "", version = "" } = data;
  const of = `${model} ${version}`.trim();
  const words = {
    version: () => `${of} is ${data.state}${data.reason ? `: ${data.reason}` : ""}`,
    drift: () => `${of}, ${data.stream}: ${data.state}, evidence ${short(data.evidence)}`,
    quality: () => `labels changed the figures of ${of}`,
    alarm: () => `${data.turn ?? data.state}: ${data.summary}`,
    missed: () => "some events before the next are no longer remembered",
    lagged: () => "this page did not keep up; it connects again",
  };
  return (words[kind] ?? (() => JSON.stringify(data)))();
}
