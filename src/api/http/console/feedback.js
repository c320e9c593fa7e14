// "Right", or "wrong, it is …": tells the server the truth about an answer.

import { post } from "./api.js";
import { failure } from "./answer.js";
import { button, choice, field, h, put } from "./dom.js";

/// Returns the question for the truth, or null for answers that have none.
export function feedbackFor(answer, version) {
  const [prediction] = answer.predictions;
  if ("class" in prediction) return new Feedback(answer, labelled(prediction, version));
  if ("value" in prediction) return new Feedback(answer, valued());
  return null;
}

/// The two ways to answer: what the button says, and the control that holds the truth.
function labelled(prediction, { labels = [] }) {
  const known = labels.length ? labels : prediction.top_k.map(({ label }) => label);
  const control = choice(known.map((label, index) => [index, label]), labels.length ? prediction.class : 0, () => {});
  const truth = () => ({ label: labels.length ? Number(control.value) : known[Number(control.value)] });
  return { control, truth, right: { label: prediction.class } };
}

function valued() {
  const control = h("input", { type: "text", inputmode: "decimal", autocomplete: "off", placeholder: "the true number" });
  const truth = () => {
    const text = control.value.trim();
    // What is no number is refused by the server, which says so.
    return { value: text && Number.isFinite(Number(text)) ? Number(text) : text };
  };
  return { control, truth, right: null };
}

class Feedback {
  constructor(answer, { control, truth, right }) {
    this.answer = answer;
    this.outcome = h("div", { role: "status" });
    const wrong = button("Send", () => this.send(truth()), "quiet");
    const yes = right && button("That is right", () => this.send(right), "quiet");
    const truthField = field(right ? "No, it is" : "It is", control);
    truthField.classList.add("inline");
    this.element = h("div", { class: "feedback" }, h("h3", {}, "Is it right?"), h("div", { class: "row" }, yes, truthField, wrong), this.outcome);
  }

  async send(truth) {
    const body = { request_id: this.answer.request_id, model: this.answer.model, ...truth };
    try {
      const told = await post("/feedback", body);
      put(this.outcome, h("p", {}, said(told), " ", !("retract" in truth) && this.retractor()));
    } catch (error) {
      put(this.outcome, failure(error));
    }
  }

  retractor() {
    return button("Take it back", () => this.send({ retract: true }), "link");
  }
}

const STATES = {
  joined: "Thank you. It counts",
  duplicate: "That was said before. It counts",
  superseded: "Something newer was said already",
  outvoted: "Kept, but other labels decide",
  retracted: "Taken back",
  held: "Kept until the prediction is known",
};

function said({ state, correct, model, version }) {
  const verdict = correct === undefined ? "" : correct ? " as right" : " as wrong";
  const of = model ? ` for ${model} ${version}` : "";
  return `${STATES[state] ?? state}${state === "joined" || state === "duplicate" ? verdict : ""}${of}.`;
}
