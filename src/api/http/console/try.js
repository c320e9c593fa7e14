// Asks a model, shows its answer, and takes the truth about it.

import { ask, get, hasKey } from "./api.js";
import { answerOf, failedCard, failure, timing } from "./answer.js";
import { announce, button, card, choice, field, freshId, h, put } from "./dom.js";
import { feedbackFor } from "./feedback.js";
import { Generator } from "./generator.js";
import { inputFor } from "./inputs.js";
import { Pad } from "./pad.js";
import { defaultVersion, stateChip, transformOf } from "./catalog.js";
import { snippets } from "./snippets.js";

/// The view in which a model is asked.
export class Try {
  constructor({ go }) {
    this.go = go;
    this.element = h("div", { class: "view" });
  }

  async show(model, version) {
    this.version = version ?? "";
    try {
      this.catalog = await get("/models");
    } catch (error) {
      put(this.element, h("h1", {}, "Try a model"), failedCard("Models", error));
      return;
    }
    const { models, default_model: preferred } = this.catalog;
    this.model = models.find(({ name }) => name === model) ?? models.find(({ name }) => name === preferred) ?? models[0];
    await this.build();
  }

  close() {
    this.input?.close?.();
  }

  async build() {
    this.close();
    if (!this.model) {
      put(this.element, h("h1", {}, "Try a model"), card("No model yet", h("p", {}, "Train one with ", h("code", {}, "weir train mnist-mlp"), ", or put a ", h("code", {}, "model.onnx"), " into ", h("code", {}, "models/<name>/1/"), ".")));
      return;
    }
    const chosen = this.chosen();
    const served = chosen?.signature ? chosen : null;
    this.served = served && { ...served, ...transformOf(served) };
    this.drift = served && (await get(`/models/${this.model.name}/drift?version=${served.version}`).catch(() => null));
    put(this.element, this.head(), served ? this.workplace() : this.absent(chosen));
  }

  /// Returns the version that will answer.
  chosen() {
    const { aliases, versions } = this.model;
    const number = this.version === "" ? defaultVersion(this.model) : (aliases[this.version] ?? Number(this.version));
    return versions.find(({ version }) => version === number);
  }

  absent(version) {
    const reason = version?.reason ?? this.model.problem ?? "No version of this model serves.";
    return card("Not served", h("p", {}, version && stateChip(version.state)), h("p", {}, reason));
  }

  head() {
    const { models } = this.catalog;
    const pick = choice(models.map(({ name, default_version: serves }) => [name, serves === null ? `${name} (not served)` : name]), this.model.name, (name) => this.go("try", name));
    pick.id = "pick-model";
    const version = choice(this.versions(), this.version, (chosen) => this.go("try", this.model.name, chosen));
    version.id = "pick-version";
    const served = this.served;
    return h(
      "header",
      { class: "view-head" },
      h("div", {}, h("h1", {}, "Try a model"), h("p", { class: "soft" }, served?.description ?? "")),
      h("div", { class: "row" }, field("Model", pick), field("Version", version)),
    );
  }

  versions() {
    const { aliases, versions } = this.model;
    const number = defaultVersion(this.model);
    const named = Object.entries(aliases).map(([alias, version]) => [alias, `${alias} → ${version}`]);
    const numbered = versions.toReversed().map(({ version, state }) => [version, state === "AVAILABLE" ? version : `${version} (${state.toLowerCase()})`]);
    return [["", number === null ? "the default" : `the default, now ${number}`], ...named, ...numbered];
  }

  path(verb) {
    const { name } = this.model;
    const version = this.version === "" ? "" : `/versions/${encodeURIComponent(this.version)}`;
    return `/models/${encodeURIComponent(name)}${version}/${verb}`;
  }

  workplace() {
    const { transform } = this.served;
    this.answer = h("div", { class: "answer" });
    this.verdict = h("div", { role: "status" });
    this.code = h("div");
    put(this.verdict, h("p", { class: "soft empty" }, transform.image ? "The answer appears here as soon as there is a picture." : "The answer appears here."));
    put(this.answer, this.verdict);
    const isGenerator = transform.output?.kind === "reconstruction";
    const parts = isGenerator ? this.modes() : [this.asking()];
    return [h("div", { class: "two" }, card("Input", ...parts), card("Answer", this.answer)), card("The same request as text", this.code)];
  }

  /// A model that can also make pictures: the two ways to use it.
  modes() {
    const place = h("div");
    const show = (mode) => {
      this.input?.close?.();
      put(place, mode === "make" ? this.making() : this.asking());
    };
    const name = freshId();
    const mode = (value, text) => h("label", {}, h("input", { type: "radio", name, value, checked: value === "ask", on: { change: () => show(value) } }), h("span", {}, text));
    show("ask");
    return [h("fieldset", { class: "segments" }, h("legend", { class: "hidden" }, "Use"), mode("ask", "Ask with a picture"), mode("make", "Make pictures")), place];
  }

  making() {
    const { signature, transform } = this.served;
    const code = signature.outputs.find(({ name }) => name === transform.output.code);
    const generator = new Generator({ path: this.path("generate"), numbers: code.shape.at(-1), asked: (request) => this.tell(request) });
    this.input = null;
    put(this.answer, generator.answer);
    generator.start();
    return generator.element;
  }

  asking() {
    const { transform } = this.served;
    put(this.answer, this.verdict);
    if (transform.image) {
      this.input = new Pad({ draws: "polarity" in transform.image, changed: () => this.ask() });
      return [this.input.element, this.options()];
    }
    this.input = inputFor(this.served, { drift: this.drift });
    const send = h("button", { type: "submit", class: "primary" }, "Ask");
    const keys = (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && this.ask();
    const form = h("form", { on: { submit: (event) => (event.preventDefault(), this.ask()), keydown: keys } }, this.input.element, this.options(), h("div", { class: "row" }, send, h("span", { class: "soft" }, "or Ctrl + Enter")));
    return [this.missing(), form];
  }

  /// Says which settings would let the model take pictures, if it looks as if it could.
  missing() {
    const lines = this.served.missing_settings;
    if (!lines?.length) return null;
    return h("details", {}, h("summary", {}, "It looks as if this model takes pictures"), h("p", {}, "These lines in its model.toml would let it:"), h("pre", { tabindex: "0" }, lines.join("\n")));
  }

  /// The choices about doubt, for versions with a reference that knows logits.
  options() {
    const streams = this.drift?.streams?.map(({ stream }) => stream) ?? [];
    this.query = { top_k: Math.min(10, Math.max(3, this.served.labels?.length ?? 3)) };
    if (!["classification", "labels"].includes(this.served.transform.output?.kind)) this.query = {};
    if (!streams.includes("energy")) return null;
    this.query.anomaly = true;
    const levels = [["", "off"], [0.9, "90 %"], [0.95, "95 %"], [0.99, "99 %"]];
    const rates = [["", "off"], [0.01, "1 %"], [0.005, "0.5 %"], [0.001, "0.1 %"]];
    const set = (name) => (value) => {
      if (value === "") delete this.query[name];
      else this.query[name] = value;
      this.ask();
    };
    const offered = [field("Name all classes, to be right in", choice(levels, "", set("set_level"))), field("Withhold answers, so that wrong ones are at most", choice(rates, "", set("error_rate")))];
    return h("details", { class: "options" }, h("summary", {}, "How sure must it be?"), h("div", { class: "row" }, offered));
  }

  async request() {
    const read = await this.input.read();
    if (!read) return null;
    const query = new URLSearchParams(this.query).toString();
    return { ...read, isPicture: this.input instanceof Pad, path: this.path("predict") + (query && `?${query}`) };
  }

  /// Asks with what is in the input. Of requests that overtake each other, the last one counts.
  async ask() {
    const request = await this.request();
    const turn = (this.turn = (this.turn ?? 0) + 1);
    if (!request) {
      put(this.verdict, h("p", { class: "soft empty" }, "There is nothing to ask about yet."));
      put(this.code);
      return;
    }
    this.verdict.setAttribute("aria-busy", "true");
    const shown = await this.answered(request).catch((error) => {
      if (error.status === undefined) throw error;
      return failure(error);
    });
    if (turn !== this.turn) return;
    this.verdict.removeAttribute("aria-busy");
    put(this.verdict, shown);
    await this.tell(request);
  }

  async answered(request) {
    const { content, milliseconds, id } = await ask(request);
    const parts = [];
    for (const prediction of content.predictions) parts.push(await answerOf(prediction, request));
    const truth = content.predictions.length === 1 ? feedbackFor(content, this.served) : null;
    const origin = h("p", { class: "soft origin" }, `${content.model} ${content.version}, request `, h("code", {}, id));
    return [parts, timing(content, milliseconds), truth?.element, origin];
  }

  /// Shows the texts that repeat a request.
  async tell(request) {
    const texts = await snippets(request, { hasKey: hasKey() });
    const languages = Object.keys(texts);
    this.language = languages.includes(this.language) ? this.language : languages[0];
    const text = h("pre", { tabindex: "0" }, texts[this.language]);
    const pick = (language) => {
      this.language = language;
      text.textContent = texts[language];
    };
    const name = freshId();
    const one = (language) => h("label", {}, h("input", { type: "radio", name, value: language, checked: language === this.language, on: { change: () => pick(language) } }), h("span", {}, language));
    const copy = button("Copy", () => copied(texts[this.language]));
    put(this.code, h("div", { class: "row spread" }, h("fieldset", { class: "segments" }, h("legend", { class: "hidden" }, "Language"), languages.map(one)), copy), text);
  }
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied.");
  } catch {
    announce("This browser does not let the page copy. Select the text instead.");
  }
}
