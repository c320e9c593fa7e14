// Pictures of codes: a seed, a few drawn by chance, and a slider for each number of a code.

import { ask } from "./api.js";
import { settle, timing } from "./answer.js";
import { button, field, h, put } from "./dom.js";
import { bytes, shown } from "./pad.js";

const FEW = 8;
const REACH = 3;

/// Makes pictures. `asked` is told each request, for the texts that repeat it.
export class Generator {
  constructor({ path, numbers, asked }) {
    this.path = path;
    this.asked = asked;
    this.latent = Array(numbers).fill(0);
    this.seed = h("input", { type: "number", min: 0, step: 1, value: 7, inputmode: "numeric" });
    this.few = h("div", { class: "strip" });
    this.answer = h("div", { class: "answer", role: "status" });
    this.sliders = this.latent.map((_, index) => this.slider(index));
    const make = button(`Make ${FEW}`, () => this.make(), "primary");
    const zero = button("All to zero", () => this.take(Array(numbers).fill(0)));
    const seeded = h("form", { class: "row", on: { submit: (event) => (event.preventDefault(), this.make()) } }, field("Seed", this.seed), make);
    const code = h("div", { class: "sliders", role: "group", "aria-label": "The code" }, this.sliders.map(({ element }) => element));
    this.element = h("div", {}, seeded, this.few, h("h3", {}, "Code"), code, zero);
  }

  slider(index) {
    const control = h("input", { type: "range", min: -REACH, max: REACH, step: 0.05, value: 0, "aria-label": `Number ${index + 1} of the code` });
    const number = h("output", {}, "0");
    control.addEventListener("input", () => {
      this.latent[index] = Number(control.value);
      number.textContent = control.value;
      this.draw();
    });
    return { control, number, element: h("div", { class: "slider" }, h("span", { "aria-hidden": "true" }, index + 1), control, number) };
  }

  take(latent) {
    this.latent = [...latent];
    latent.forEach((value, index) => {
      this.sliders[index].control.value = value;
      this.sliders[index].number.textContent = String(Number(value.toFixed(2)));
    });
    this.draw();
  }

  request(value) {
    return { path: this.path, body: JSON.stringify(value), json: value, type: "application/json" };
  }

  async make() {
    const request = this.request({ seed: Math.max(0, Math.trunc(Number(this.seed.value) || 0)), count: FEW });
    await settle(this.few, ask(request).then(({ content }) => this.offers(content, request)));
  }

  async offers({ images }, request) {
    const offer = async ({ image, latent }, index) => {
      const picture = await shown(bytes(image), `Picture ${index + 1} of this seed`);
      return h("button", { type: "button", class: "offer", on: { click: () => this.take(latent) } }, picture);
    };
    const offers = await Promise.all(images.map(offer));
    this.take(images[0].latent);
    this.asked(request);
    return offers;
  }

  /// Draws the code. While an answer is under way, only the last change waits.
  async draw() {
    this.waits = true;
    if (this.isDrawing) return;
    this.isDrawing = true;
    while (this.waits) {
      this.waits = false;
      const request = this.request({ latent: [this.latent] });
      await settle(this.answer, this.drawn(request));
      this.asked(request);
    }
    this.isDrawing = false;
  }

  async drawn(request) {
    const { content, milliseconds } = await ask(request);
    const picture = await shown(bytes(content.images[0].image), "The picture of this code");
    picture.classList.add("large");
    return [picture, timing(content, milliseconds)];
  }

  /// Begins with pictures of the seed.
  start() {
    put(this.answer, h("p", { class: "soft" }, "Making the first pictures…"));
    this.make();
  }
}
