// A sheet to draw on with a mouse, a finger or a pen; and the place that pictures are dropped, pasted or chosen for.

import { announce, button, freshId, h } from "./dom.js";

const SIDE = 280;
const STROKE = 22;
// As large as is sent: a drawing has no more detail.
const SENT = 112;

/// An input of pictures. `changed` is called when there is another picture, or none.
export class Pad {
  constructor({ draws, changed }) {
    this.draws = draws;
    this.changed = changed;
    this.strokes = [];
    this.file = null;
    this.pointer = null;
    this.canvas = h("canvas", { width: SIDE, height: SIDE, role: "img", class: "sheet" });
    this.hint = h("p", { class: "pad-hint", "aria-hidden": "true" }, draws ? "Draw here" : "Drop a picture here");
    this.undoButton = button("Undo", () => this.undo());
    this.clearButton = button("Clear", () => this.clear());
    this.element = this.build();
    this.listen();
    this.paint();
  }

  build() {
    const picker = h("input", { type: "file", accept: "image/*", id: freshId(), class: "hidden", on: { change: () => this.take(picker.files[0]) } });
    const choose = h("label", { for: picker.id, class: "button" }, "Choose a file");
    const also = this.draws ? "Or drop, paste or choose a picture." : "Or paste or choose one.";
    const tools = h("div", { class: "row" }, picker, choose, this.draws && this.undoButton, this.clearButton);
    return h("div", { class: "pad" }, h("div", { class: "frame" }, this.canvas, this.hint), tools, h("p", { class: "soft" }, also));
  }

  listen() {
    const { canvas, element } = this;
    if (this.draws) {
      canvas.classList.add("drawable");
      canvas.addEventListener("pointerdown", (event) => this.begin(event));
      canvas.addEventListener("pointermove", (event) => this.go(event));
      canvas.addEventListener("pointerup", (event) => this.end(event));
      canvas.addEventListener("pointercancel", (event) => this.end(event));
    }
    element.addEventListener("dragover", (event) => event.preventDefault());
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      this.take(event.dataTransfer.files[0]);
    });
    this.pasted = (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
      if (file) this.take(file);
    };
    window.addEventListener("paste", this.pasted);
  }

  close() {
    window.removeEventListener("paste", this.pasted);
  }

  begin(event) {
    if (event.button !== 0 || this.pointer !== null) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.dropFile();
    this.strokes.push([this.place(event)]);
    this.paint();
  }

  go(event) {
    if (event.pointerId !== this.pointer) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    this.strokes.at(-1).push(...(moves.length ? moves : [event]).map((move) => this.place(move)));
    this.paint();
  }

  end(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.changed();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
  }

  undo() {
    this.dropFile();
    this.strokes.pop();
    this.paint();
    this.changed();
  }

  clear() {
    this.dropFile();
    this.strokes = [];
    this.paint();
    this.changed();
  }

  dropFile() {
    this.file = null;
    this.picture?.close();
    this.picture = null;
  }

  /// Takes a file as it is; what cannot be shown is sent all the same, since the server knows more formats.
  async take(file) {
    if (!file) return;
    this.dropFile();
    this.strokes = [];
    this.file = file;
    this.picture = await createImageBitmap(file).catch(() => null);
    if (!this.picture) announce("This browser cannot show the picture. It is sent as it is.");
    this.paint();
    this.changed();
  }

  isEmpty() {
    return !this.file && this.strokes.length === 0;
  }

  paint() {
    const { canvas, picture } = this;
    if (picture) fit(canvas, picture);
    else drawn(canvas, SIDE, this.strokes);
    this.hint.hidden = !this.isEmpty();
    this.undoButton.disabled = this.strokes.length === 0;
    this.clearButton.disabled = this.isEmpty();
    canvas.setAttribute("aria-label", this.described());
  }

  described() {
    if (this.file) return `The picture ${this.file.name}`;
    return this.strokes.length ? `A drawing of ${this.strokes.length} strokes` : "An empty sheet";
  }

  /// Returns the picture as bytes with a name, or null where there is none.
  async read() {
    if (this.file) return { body: this.file, type: this.file.type || "application/octet-stream", name: this.file.name };
    if (!this.strokes.length) return null;
    const canvas = h("canvas");
    drawn(canvas, SENT, this.strokes);
    // `toBlob` would wait until the browser is idle, for up to a second.
    const body = bytes(canvas.toDataURL("image/png").split(",")[1]);
    return { body, type: "image/png", name: "drawing.png" };
  }
}

/// Draws strokes in black on white.
function drawn(canvas, side, strokes) {
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side, side);
  context.scale(side / SIDE, side / SIDE);
  Object.assign(context, { lineWidth: STROKE, lineCap: "round", lineJoin: "round", strokeStyle: "#10161d" });
  for (const [first, ...rest] of strokes) {
    context.beginPath();
    context.moveTo(...first);
    if (!rest.length) context.lineTo(...first);
    rest.forEach((point) => context.lineTo(...point));
    context.stroke();
  }
}

const LARGEST = 900;

/// Shows a picture with its own proportions; small ones keep their pixels.
export function fit(canvas, picture) {
  const scale = Math.min(1, LARGEST / Math.max(picture.width, picture.height));
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.classList.toggle("pixels", picture.width <= 96);
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
}

/// Returns a picture that an answer holds as bytes.
export async function shown(blob, label) {
  const canvas = h("canvas", { role: "img", class: "picture", "aria-label": label });
  const picture = await createImageBitmap(blob);
  fit(canvas, picture);
  picture.close();
  return canvas;
}

/// Returns the bytes that base64 stands for.
export function bytes(base64) {
  return new Blob([Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))]);
}
