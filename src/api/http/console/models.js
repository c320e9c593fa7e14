// Which models and versions there are, what is known of them, and the changes that an administrator may make.

import { get, post } from "./api.js";
import { failedCard, failure, settle } from "./answer.js";
import { stateChip, transformOf } from "./catalog.js";
import { announce, button, card, choice, chip, facts, field, h, put, table } from "./dom.js";
import { count, cut, moment, percent, seconds, short } from "./format.js";

/// The view of models and versions.
export class Models {
  constructor({ go }) {
    this.go = go;
    this.element = h("div", { class: "view" });
  }

  async show(name) {
    try {
      this.catalog = await get("/models");
    } catch (error) {
      put(this.element, h("h1", {}, "Models"), failedCard("Models", error));
      return;
    }
    const { models, default_model: preferred } = this.catalog;
    this.model = models.find((model) => model.name === name) ?? models.find((model) => model.name === preferred) ?? models[0];
    this.build();
  }

  close() {
    this.dialog?.close();
  }

  build() {
    this.dialog = h("dialog", { "aria-labelledby": "confirm" });
    this.audit = h("div");
    const model = this.model;
    const head = h("header", { class: "view-head" }, h("div", {}, h("h1", {}, "Models"), h("p", { class: "soft" }, this.counted())));
    const detail = model ? [this.versions(), this.aliases(), this.comparison(), this.about()] : card("No model yet", h("p", {}, "Put a model.onnx into models/<name>/1/, or train one with weir train mnist-mlp."));
    put(this.element, head, h("div", { class: "side" }, this.list(), h("div", { class: "main" }, detail, card("Audit trail", this.audit))), this.dialog);
    settle(this.audit, get("/audit?limit=20").then(({ entries }) => trail(entries)));
  }

  counted() {
    const { models } = this.catalog;
    const serving = models.flatMap(({ versions }) => versions).filter(({ state }) => state === "AVAILABLE").length;
    return `${models.length} ${models.length === 1 ? "model" : "models"}, ${serving} ${serving === 1 ? "version serves" : "versions serve"}.`;
  }

  list() {
    const entry = (model) => {
      const { name, versions, default_version: answers, problem } = model;
      const isHere = name === this.model?.name;
      const state = answers === null ? chip("not served", "bad") : chip(`version ${answers}`, "good");
      const more = versions.length > 1 ? `${versions.length} versions` : "";
      return h("li", {}, h("a", { href: `#/models/${encodeURIComponent(name)}`, "aria-current": isHere ? "true" : false }, h("b", {}, name), h("span", {}, state, problem ? chip("a problem", "warning") : null, more && h("small", {}, ` ${more}`))));
    };
    return h("nav", { class: "list", "aria-label": "Models" }, h("ul", {}, this.catalog.models.map(entry)));
  }

  versions() {
    const { name, versions, aliases, problem } = this.model;
    const named = (number) => Object.entries(aliases).filter(([, version]) => version === number).map(([alias]) => chip(alias, "blue"));
    const row = (version) => {
      const { state, reason, attempts, tuning } = version;
      const why = reason ? h("small", {}, reason, attempts ? ` (${attempts} attempts)` : "") : null;
      return [version.version, h("div", {}, stateChip(state), named(version.version), why), quality(version), tuning ? seconds(tuning.costs[0]?.microseconds / 1e6) : "", tuning?.engine ?? "", this.actions(version)];
    };
    const columns = ["Version", "State", "Test quality", "One sample", "Engine", "Change"];
    return card(name, problem && h("p", {}, chip("a problem", "warning"), " ", problem), table(`Versions of ${name}`, columns, versions.toReversed().map(row)));
  }

  actions({ version, state }) {
    const { name } = this.model;
    if (state !== "AVAILABLE") return button("Load", () => this.confirm(`Load ${name} ${version}?`, "It is checked, loaded and warmed up beside what serves now.", "Load", `/models/${name}/load`, { version }));
    const promote = button("Promote", () => this.promote(version));
    const unload = button("Unload", () => this.confirm(`Unload ${name} ${version}?`, "Requests for it are refused from then on, until it is loaded again or the server starts again.", "Unload", `/models/${name}/unload`, { version }), "danger");
    return h("div", { class: "row tight" }, promote, unload);
  }

  /// Asks which alias shall point to a version. What it points to now must still be true when the server changes it.
  promote(version) {
    const { name, aliases } = this.model;
    const alias = h("input", { type: "text", value: "stable", required: true, autocomplete: "off" });
    const changed = h("input", { type: "checkbox" });
    const body = () => ({ alias: alias.value.trim(), version, expected: aliases[alias.value.trim()] ?? 0, allow_changes: changed.checked });
    const more = h("div", {}, field("Alias", alias), h("p", {}, h("label", {}, changed, " Also if callers find other inputs, outputs or labels")));
    this.confirm(`Promote ${name} ${version}?`, "The alias points to this version from then on. The alias stable answers requests that name no version. No request is lost.", "Promote", `/models/${name}/promote`, body, more);
  }

  aliases() {
    const { name, aliases } = this.model;
    const names = Object.entries(aliases);
    const row = ([alias, version]) => [alias, version, button("Roll back", () => this.confirm(`Roll ${alias} back?`, `It points to version ${version} now, and then again to the one before.`, "Roll back", `/models/${name}/rollback`, { alias }))];
    const none = h("p", { class: "soft" }, "None. Requests that name no version get the newest one that serves.");
    return card("Aliases", names.length ? table(`Aliases of ${name}`, ["Alias", "Version", "Change"], names.map(row)) : none);
  }

  /// Asks before it changes anything.
  confirm(title, text, verb, path, body, extra = null) {
    const outcome = h("div");
    const submit = h("button", { type: "submit", class: "primary" }, verb);
    const change = async (event) => {
      event.preventDefault();
      submit.disabled = true;
      try {
        await post(path, typeof body === "function" ? body() : body);
        announce("Done.");
        await this.show(this.model.name);
      } catch (error) {
        put(outcome, failure(error));
        submit.disabled = false;
      }
    };
    const cancel = button("Cancel", () => this.dialog.close());
    const form = h("form", { on: { submit: change } }, h("h2", { id: "confirm" }, title), h("p", {}, text), extra, outcome, h("div", { class: "row end" }, cancel, submit));
    put(this.dialog, form);
    this.dialog.showModal();
  }

  /// Two versions side by side, of which one may be another model's.
  comparison() {
    const served = this.catalog.models.flatMap(({ name, versions }) => versions.filter(({ signature }) => signature).map((version) => ({ name, version })));
    if (served.length < 2) return null;
    const text = ({ name, version }) => `${name} ${version.version}`;
    const chosen = this.pair(served);
    const place = h("div");
    const show = () => put(place, compared(served[chosen.left], served[chosen.right], text), this.disagreement(served[chosen.left], served[chosen.right]));
    const pick = (side) => choice(served.map((each, index) => [index, text(each)]), chosen[side], (index) => ((chosen[side] = Number(index)), show()));
    show();
    return card("Compare", h("div", { class: "row gap" }, field("This", pick("left")), field("with that", pick("right"))), place);
  }

  /// Two versions of a model can be asked about the same samples.
  disagreement(left, right) {
    if (left.name !== right.name || left.version === right.version) return null;
    const [one, other] = [left.version.version, right.version.version];
    const place = h("div", { role: "status" });
    const ask = button("Ask both about the probe set", async () => {
      ask.disabled = true;
      await settle(place, post(`/models/${encodeURIComponent(left.name)}/versions/${one}/compare?with=${other}`, {}).then((found) => disagreed(found, one, other)));
      ask.disabled = false;
    });
    return h("div", { class: "disagreement" }, ask, place);
  }

  /// Returns the places of the version that answers, and of what is most worth comparing it with.
  pair(served) {
    const { name, default_version: answers } = this.model;
    const left = Math.max(0, served.findIndex((each) => each.name === name && each.version.version === answers));
    const kind = ({ version }) => transformOf(version).transform.output?.kind;
    const others = served.map((_, index) => index).filter((index) => index !== left);
    const right = others.find((index) => served[index].name === name) ?? others.find((index) => kind(served[index]) === kind(served[left])) ?? others[0];
    return { left, right };
  }

  about() {
    const version = this.model.versions.findLast(({ signature }) => signature);
    if (!version) return null;
    const { transform, labels } = transformOf(version);
    const tensors = (list) => h("ul", { class: "plain" }, list.map(({ name, dtype, shape }) => h("li", {}, h("code", {}, cut(name, 60)), ` ${dtype} [${shape.join(", ")}]`)));
    const pairs = [
      ["Description", version.description],
      ["Made", version.created && moment(version.created)],
      ["Made as", version.origin && `${version.origin.model} ${version.origin.version}`],
      ["Parameters", version.parameters && count(version.parameters)],
      ["Inputs", tensors(version.signature.inputs)],
      ["Outputs", tensors(version.signature.outputs)],
      ["Classes", labels.length ? cut(labels.join(", "), 300) : ""],
      ["Answers", version.answer ?? transform.output?.kind],
      ["Batches", version.batching],
    ];
    const transforms = h("details", {}, h("summary", {}, "Transforms"), h("pre", { tabindex: "0" }, JSON.stringify(transform, null, 2)));
    return card(`About version ${version.version}`, facts(pairs), transforms);
  }
}

/// Returns the quality on test data in a few words.
function quality({ metrics }) {
  if (metrics?.test) return percent(metrics.test.accuracy, 2);
  if (metrics?.regression) return `± ${short(metrics.regression.test.root_mean_squared_error)}`;
  return metrics?.likelihood ? `${short(metrics.likelihood.mean_score)} nats` : "";
}

const FIGURES = [
  ["Accuracy on test data", ({ metrics }) => metrics?.test?.accuracy, percentOf, 1],
  ["Loss on test data", ({ metrics }) => metrics?.test?.loss, short, -1],
  ["Calibration error", ({ metrics }) => metrics?.test?.expected_calibration_error, short, -1],
  ["Macro F1", ({ metrics }) => metrics?.test?.macro_average?.f1, percentOf, 1],
  ["Root mean squared error", ({ metrics }) => metrics?.regression?.test?.root_mean_squared_error, short, -1],
  ["Accuracy on validation data", ({ metrics }) => metrics?.validation?.accuracy, percentOf, 1],
  ["Accuracy by the probe", ({ probe }) => probe?.accuracy, percentOf, 1],
  ["Parameters", ({ parameters }) => parameters, count, -1],
  ["Time of one sample", ({ tuning }) => tuning.costs[0]?.microseconds / 1e6, seconds, -1],
  ["Largest batch", ({ tuning }) => tuning.max_batch, count, 0],
];

function percentOf(value) {
  return percent(value, 2);
}

/// Returns a table of figures; the better one of each is marked.
function compared(left, right, text) {
  const row = ([name, read, format, direction]) => {
    const [one, other] = [read(left.version), read(right.version)];
    if (!Number.isFinite(one) && !Number.isFinite(other)) return null;
    const isBetter = (mine, yours) => Number.isFinite(mine) && Number.isFinite(yours) && (mine - yours) * direction > 0;
    const cell = (mine, yours) => h("span", { class: isBetter(mine, yours) ? "better" : "" }, format(mine), isBetter(mine, yours) ? h("span", { class: "hidden" }, " (better)") : null);
    return [name, cell(one, other), cell(other, one)];
  };
  return table("Comparison", ["Figure", text(left), text(right)], FIGURES.map(row).filter(Boolean));
}

/// Returns what two versions disagree on.
function disagreed({ samples, disagreements, share: part, interval, right, mean_difference: mean, largest_difference: largest, differences = [] }, one, other) {
  const verdict = right && (right.p_value < 0.05 ? "chance is an unlikely reason" : "chance explains it well");
  const pairs = [
    ["Disagree", `${count(disagreements)} of ${count(samples)}: ${percent(part, 1)} (95 %: ${percent(interval[0], 1)} to ${percent(interval[1], 1)})`],
    ["Both right", right && count(right.both)],
    [`Only ${one} right`, right && count(right.only_this)],
    [`Only ${other} right`, right && count(right.only_other)],
    ["Neither right", right && count(right.neither)],
    ["Difference", right && `p = ${short(right.p_value)}: ${verdict}`],
    ["Mean distance", mean === undefined ? undefined : short(mean)],
    ["Largest distance", largest === undefined ? undefined : short(largest)],
  ];
  const rows = differences.map(({ sample, truth, this: ours, other: theirs }) => [sample, truth ?? "", cut(ours, 40), cut(theirs, 40)]);
  const list = rows.length ? h("details", {}, h("summary", {}, rows.length < disagreements ? `The first ${rows.length}` : `All ${rows.length}`), table("Samples that they disagree on", ["Sample", "Truth", `Version ${one}`, `Version ${other}`], rows)) : null;
  return [facts(pairs), list];
}

function trail(entries) {
  if (!entries.length) return h("p", { class: "soft" }, "Nobody has changed anything yet.");
  const row = ({ time, by, action, model, version, alias, outcome, request_id: id }) => [moment(time), by ?? "", action, `${model} ${version ?? ""} ${alias ? `as ${alias}` : ""}`, outcome, h("code", {}, cut(id, 40))];
  return table("Audit trail", ["When", "Who", "What", "Of", "Outcome", "Request"], entries.map(row));
}
