// Talks to the server that the page came from, and to nobody else.

const STORED = "weir-key";

let key = readStored();

function readStored() {
  try {
    return sessionStorage.getItem(STORED) ?? "";
  } catch {
    return "";
  }
}

/// Takes a key for all requests from now on. It stays in memory, or on request in this tab until it is closed.
export function useKey(text, keep) {
  key = text;
  try {
    if (text && keep) sessionStorage.setItem(STORED, text);
    else sessionStorage.removeItem(STORED);
  } catch {
    // A browser that forbids storage keeps the key in memory.
  }
}

export const hasKey = () => key !== "";

/// An answer that is no success, as it came.
class Refusal extends Error {
  constructor(status, body, id) {
    super(body);
    this.status = status;
    this.id = id;
    this.problem = parsed(body);
  }

  /// The reason in words.
  get reason() {
    return this.problem?.detail ?? this.problem?.error ?? this.message;
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function headersWith(more) {
  return key ? { ...more, authorization: `Bearer ${key}` } : { ...more };
}

async function send(path, { method = "GET", headers = {}, body, signal } = {}) {
  let response;
  try {
    response = await fetch(path, { method, headers: headersWith(headers), body, signal, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The server does not answer.", "");
  }
  if (response.ok) return response;
  if (response.status === 401) window.dispatchEvent(new CustomEvent("weir-key-needed"));
  throw new Refusal(response.status, await response.text(), response.headers.get("x-request-id") ?? "");
}

/// Returns what a path answers as JSON.
export async function get(path, signal) {
  return (await send(path, { signal })).json();
}

/// Returns what a path answers as text.
export async function text(path, signal) {
  return (await send(path, { signal })).text();
}

/// Posts JSON and returns the answer's.
export async function post(path, value) {
  const headers = { "content-type": "application/json" };
  return (await send(path, { method: "POST", headers, body: JSON.stringify(value) })).json();
}

/// Asks a model: returns the answer, how it came and how long that took.
export async function ask(request) {
  const began = performance.now();
  const headers = { "content-type": request.type, ...request.headers };
  const response = await send(request.path, { method: "POST", headers, body: request.body });
  const isPicture = response.headers.get("content-type") === "image/png";
  const content = isPicture ? await response.blob() : await response.json();
  return { content, milliseconds: performance.now() - began, id: response.headers.get("x-request-id") ?? "" };
}

const PAUSE = 3000;

/// Hears events until it is told to stop. Unlike `EventSource`, it can show a key.
export class Events {
  constructor({ heard, state }) {
    this.heard = heard;
    this.state = state;
    this.last = "";
    this.stopped = new AbortController();
    this.run();
  }

  stop() {
    this.stopped.abort();
  }

  async run() {
    const { signal } = this.stopped;
    while (!signal.aborted) {
      try {
        const headers = this.last ? { "last-event-id": this.last } : {};
        const response = await send("/events", { headers, signal });
        this.state("live");
        await this.read(response.body.pipeThrough(new TextDecoderStream()).getReader());
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 400) this.last = "";
      }
      if (signal.aborted) return;
      this.state("waiting");
      await new Promise((resume) => setTimeout(resume, PAUSE));
    }
  }

  async read(reader) {
    let pending = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const pieces = (pending + value).split("\n\n");
      pending = pieces.pop();
      pieces.forEach((piece) => this.take(piece));
    }
  }

  take(piece) {
    const event = { event: "message", data: "" };
    for (const line of piece.split("\n")) {
      const at = line.indexOf(": ");
      if (at > 0) event[line.slice(0, at)] = line.slice(at + 2);
    }
    if (event.id) this.last = event.id;
    if (event.data) this.heard(event.event, parsed(event.data) ?? {});
  }
}
