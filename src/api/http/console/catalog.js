// What the list of models says.

import { chip } from "./dom.js";

const STATES = {
  START: ["starting", "soft"],
  LOADING: ["loading", "soft"],
  AVAILABLE: ["available", "good"],
  UNLOADING: ["unloading", "soft"],
  END: ["not loaded", "bad"],
};

/// Returns the state of a version as a mark.
export function stateChip(state) {
  const [text, tone] = STATES[state] ?? [state.toLowerCase(), "soft"];
  return chip(text, tone);
}

/// Returns the version that answers when none is asked for, or null.
export function defaultVersion({ default_version: version }) {
  return version ?? null;
}

/// Returns the transforms around a version and the names of its classes, from its manifest or its settings.
export function transformOf({ transform, labels, declared }) {
  const found = transform ?? declared?.transform ?? {};
  return { transform: found, labels: labels ?? declared?.labels ?? [] };
}
