// Shows what a model answered, whatever its kind.

import { ask } from "./api.js";
import { card, chip, facts, h, put, table } from "./dom.js";
import { count, cut, figure, percent, seconds, short } from "./format.js";
import { bytes, shown } from "./pad.js";

/// Returns the parts of an answer: the head that says it in short, and what stands below.
export async function answerOf(prediction, request) {
  if ("detections" in prediction) return detected(prediction, request);
  if ("class" in prediction) return classified(prediction);
  if ("labels" in prediction) return labelled(prediction);
  if ("reconstruction" in prediction) return reconstructed(prediction);
  if ("value" in prediction) return [h("p", { class: "verdict" }, figure(prediction.value))];
  if ("unclassified_pixels" in prediction || Array.isArray(prediction.classes)) return segmented(prediction, request);
  if ("embedding" in prediction) return [vector("A vector", prediction.embedding)];
  if ("image" in prediction) return [await shown(bytes(prediction.image), "The picture that the model made")];
  return Object.entries(prediction.outputs ?? {}).map(([name, values]) => vector(name, values));
}

/// Returns bars with names and numbers; the longest is `whole`.
function bars(rows, whole = 1) {
  const bar = ({ name, value, text, tone = "" }) => {
    const fill = h("span", { class: `fill ${tone}` });
    fill.style.setProperty("--share", Math.max(0, Math.min(1, value / whole)));
    return h("li", {}, h("span", { class: "name" }, name), h("span", { class: "track", "aria-hidden": "true" }, fill), h("span", { class: "number" }, text));
  };
  return h("ul", { class: "bars" }, rows.map(bar));
}

const confidences = (classes, tone = () => "") =>
  bars(classes.map((scored) => ({ name: cut(scored.label, 40), value: scored.confidence, text: percent(scored.confidence, 2), tone: tone(scored) })));

function classified(prediction) {
  const verdict = h("p", { class: "verdict" }, cut(prediction.label, 60), h("small", {}, `${percent(prediction.confidence, 2)} sure`));
  const best = confidences(prediction.top_k, ({ class: index }) => (index === prediction.class ? "best" : ""));
  return [verdict, best, doubts(prediction)];
}

/// Returns what the answer says about how far to trust it.
function doubts({ anomaly, set, set_level: level, abstained, inverted }) {
  const list = (labels) => (labels.length ? labels.map((label) => cut(label, 40)).join(", ") : "no class is likely enough");
  const unusual = (p) => [p < 0.01 ? chip("unlike what it knows", "warning") : chip("usual", "good"), ` ${percent(p, p < 0.1 ? 2 : 0)} of known inputs are at least as unusual`];
  return facts([
    ["Input", anomaly && h("span", {}, unusual(anomaly.p_value))],
    ["Right with at least", set && `${percent(level, 0)}: ${list(set)}`],
    ["Trust", abstained === undefined ? undefined : abstained ? chip("better withheld", "warning") : chip("good enough to give", "good")],
    ["Colours", inverted ? "exchanged black and white, as the model knows them" : undefined],
  ]);
}

function labelled({ labels, top_k: best }) {
  const accepted = new Set(labels.map(({ class: index }) => index));
  const head = labels.length ? labels.map(({ label }) => cut(label, 40)).join(", ") : "no label";
  return [h("p", { class: "verdict" }, head), confidences(best, ({ class: index }) => (accepted.has(index) ? "best" : ""))];
}

async function reconstructed({ reconstruction, latent, score, quantile }) {
  const picture = await shown(bytes(reconstruction), "The picture that the model made again");
  const rank = quantile === undefined ? undefined : `${percent(quantile, 1)} of known pictures are more usual`;
  return [picture, facts([["Unlikeliness", `${short(score)} nats`], ["Rank", rank]]), vector("Code", latent)];
}

/// Returns the picture that was sent with the answer drawn on it, as the server draws it.
async function painted(request) {
  const drawn = await ask({ ...request, path: `${request.path}${request.path.includes("?") ? "&" : "?"}draw=true`, headers: { accept: "image/png" } });
  return shown(drawn.content, "The picture with the answer drawn on it");
}

async function detected({ detections }, request) {
  const found = detections.length === 1 ? "1 thing" : `${count(detections.length)} things`;
  const box = ({ box }) => box.map((edge) => Math.round(edge)).join(", ");
  const rows = detections.map((thing) => [cut(thing.label, 40), percent(thing.confidence), box(thing)]);
  const list = rows.length ? table("What was found", ["Label", "Confidence", "Left, top, right, bottom"], rows) : null;
  return [h("p", { class: "verdict" }, found), request.isPicture && (await painted(request)), list];
}

async function segmented({ classes }, request) {
  const areas = bars(classes.map(({ label, share }) => ({ name: cut(label, 40), value: share, text: percent(share) })));
  return [request.isPicture && (await painted(request)), areas];
}

const MOST_BARS = 40;
const MOST_NUMBERS = 400;

/// Returns numbers: as a drawing with their list, or as a list where they are no numbers.
function vector(name, values) {
  const flat = [values].flat(Infinity);
  const numbers = flat.filter((value) => typeof value === "number");
  const listed = flat.slice(0, MOST_NUMBERS).map((value) => (typeof value === "number" ? short(value) : String(value)));
  const more = flat.length > MOST_NUMBERS ? ` … and ${count(flat.length - MOST_NUMBERS)} more` : "";
  const few = numbers.length === flat.length && flat.length > 1 && flat.length <= MOST_BARS;
  return h("div", { class: "vector" }, h("h3", {}, `${cut(name, 60)} `, h("small", {}, count(flat.length))), few && columns(flat), h("p", { class: "numbers" }, listed.join("  "), more));
}

/// Draws numbers as columns from a line at zero.
function columns(values) {
  const most = Math.max(...values.map(Math.abs)) || 1;
  const column = (value) => {
    const bar = h("span", { class: value < 0 ? "below" : "above" });
    bar.style.setProperty("--share", Math.abs(value) / most);
    return bar;
  };
  return h("div", { class: "profile", "aria-hidden": "true" }, values.map(column));
}

const STAGES = [
  ["decode", "reading"],
  ["queue", "waiting"],
  ["infer", "model"],
];

/// Returns where the time went: in the server by stage, and around it.
export function timing({ timings_ms: timings }, milliseconds) {
  const known = STAGES.map(([stage, name]) => ({ stage, name, value: timings[stage] }));
  const rest = Math.max(0, timings.total - known.reduce((sum, { value }) => sum + value, 0));
  const parts = [...known, { stage: "rest", name: "the rest", value: rest }];
  const piece = ({ stage, value }) => {
    const part = h("span", { class: stage });
    part.style.setProperty("flex-grow", 100 * Math.max(value / timings.total || 0, 0.005));
    return part;
  };
  const entry = ({ stage, name, value }) => h("li", {}, h("span", { class: `key ${stage}`, "aria-hidden": "true" }), `${name} `, h("b", {}, seconds(value / 1e3)));
  return h(
    "div",
    { class: "timing" },
    h("div", { class: "stack", "aria-hidden": "true" }, parts.map(piece)),
    h("ul", {}, parts.map(entry)),
    h("p", { class: "soft" }, `${seconds(timings.total / 1e3)} in the server, ${seconds(milliseconds / 1e3)} as this page saw it`),
  );
}

/// Returns a failure as the server said it.
export function failure(refusal) {
  const title = refusal.status ? `${refusal.status} ${refusal.problem?.title ?? ""}` : "No answer";
  const body = refusal.problem ? JSON.stringify(refusal.problem, null, 2) : refusal.message;
  return h(
    "div",
    { class: "failure", role: "alert" },
    h("p", {}, h("b", {}, title.trim())),
    h("p", {}, refusal.reason),
    refusal.id && h("p", { class: "soft" }, "Request ", h("code", {}, refusal.id)),
    h("details", {}, h("summary", {}, "The answer as it came"), h("pre", { tabindex: "0" }, body)),
  );
}

/// Shows a failure in place of a card's content.
export function failedCard(title, refusal) {
  return card(title, failure(refusal));
}

/// Puts what a promise gives into a place, or its failure.
export async function settle(place, work) {
  place.setAttribute("aria-busy", "true");
  try {
    put(place, await work);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === undefined) throw error;
    put(place, failure(error));
  } finally {
    place.removeAttribute("aria-busy");
  }
}
