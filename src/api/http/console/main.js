// Puts the console in place of the plain page, and shows the view that the address names.

import { useKey } from "./api.js";
import { button, field, h, put } from "./dom.js";

// A view is loaded when it is first shown.
const VIEWS = {
  try: ["Try", async () => (await import("./try.js")).Try],
  watch: ["Watch", async () => (await import("./watch.js")).Watch],
  models: ["Models", async () => (await import("./models.js")).Models],
  runs: ["Runs", async () => (await import("./runs.js")).Runs],
};
const THEMES = { auto: "as the system", light: "light", dark: "dark" };
const STORED_THEME = "weir-theme";

let view = null;
let shownName = null;
let hasBeenShown = false;
// Somebody who closes the question for a key is not asked again; the button is still there.
let isDeclined = false;

const outlet = h("main", { id: "main", tabindex: "-1" });
const links = Object.fromEntries(Object.entries(VIEWS).map(([name, [title]]) => [name, h("a", { href: `#/${name}` }, title)]));
const keyButton = button("Key", () => askForKey(false), "quiet");
const dialog = h("dialog", { "aria-labelledby": "key-title" });

function go(name, ...parts) {
  location.hash = `#/${[name, ...parts].filter((part) => part !== "").map(encodeURIComponent).join("/")}`;
}

/// Shows the view that the address names.
async function route() {
  const [name, ...parts] = location.hash.replace(/^#\//, "").split("/").map(decoded);
  const known = name in VIEWS ? name : "try";
  const [title, load] = VIEWS[known];
  const View = await load();
  view?.close();
  view = new View({ go });
  const shown = view;
  const focused = document.activeElement?.id;
  const isElsewhere = known !== shownName;
  shownName = known;
  document.title = `${title} · Weir`;
  for (const link of Object.values(links)) link.removeAttribute("aria-current");
  links[known].setAttribute("aria-current", "page");
  await shown.show(...parts).catch((error) => failed(shown, error));
  if (shown !== view) return shown.close();
  put(outlet, shown.element);
  if (isElsewhere) window.scrollTo(0, 0);
  // A choice that led here keeps the focus.
  if (focused?.startsWith("pick-")) document.getElementById(focused)?.focus();
  else if (hasBeenShown && !focusIsKept()) outlet.focus({ preventScroll: true });
  hasBeenShown = true;
}

/// Says that a view could not be made, which is a fault of the console.
function failed(shown, error) {
  put(shown.element, h("h1", {}, "This view failed"), h("p", {}, String(error)));
  throw error;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/// Returns true while the focus is in the head, from where the next view is chosen.
function focusIsKept() {
  return document.activeElement && document.activeElement !== document.body && !outlet.contains(document.activeElement);
}

/// Asks for the key of a server that needs one.
function askForKey(isNeeded) {
  if (dialog.open) return;
  keyButton.hidden = false;
  const key = h("input", { type: "password", required: isNeeded, autocomplete: "off", spellcheck: "false" });
  const keep = h("input", { type: "checkbox", id: "keep-key" });
  const use = (event) => {
    event.preventDefault();
    useKey(key.value.trim(), keep.checked);
    dialog.close();
    isDeclined = false;
    route();
  };
  const text = isNeeded ? "This server asks for a key. Without a valid one it shows nothing." : "The key is shown to this server only.";
  put(
    dialog,
    h(
      "form",
      { on: { submit: use } },
      h("h2", { id: "key-title" }, "Key"),
      h("p", {}, text),
      field("Key", key),
      h("div", { class: "check" }, keep, h("label", { for: "keep-key" }, "Keep it in this tab until it is closed; otherwise a reload forgets it")),
      h("div", { class: "row end" }, button("Cancel", decline), h("button", { type: "submit", class: "primary" }, "Use it")),
    ),
  );
  dialog.showModal();
}

function decline() {
  isDeclined = true;
  dialog.close();
}

/// Returns the button for light or dark, which is remembered on this machine.
function themePicker() {
  const names = Object.keys(THEMES);
  const remembered = stored();
  let theme = names.includes(remembered) ? remembered : "auto";
  const picker = button("◐", () => use(names[(names.indexOf(theme) + 1) % names.length]), "quiet icon");
  const use = (chosen) => {
    theme = chosen;
    document.documentElement.classList.remove("light", "dark");
    if (theme !== "auto") document.documentElement.classList.add(theme);
    picker.title = `Colours: ${THEMES[theme]}`;
    picker.setAttribute("aria-label", picker.title);
    store(theme);
  };
  use(theme);
  return picker;
}

function stored() {
  try {
    return localStorage.getItem(STORED_THEME);
  } catch {
    return null;
  }
}

function store(theme) {
  try {
    localStorage.setItem(STORED_THEME, theme);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

function frame() {
  const mark = h("img", { src: "/console/icon.svg", alt: "", width: 26, height: 26 });
  const brand = h("a", { class: "brand", href: "#/try" }, mark, "Weir");
  const tabs = h("nav", { "aria-label": "Views", class: "tabs" }, Object.values(links));
  const more = h("div", { class: "more" }, h("a", { href: "/docs/" }, "API"), keyButton, themePicker());
  keyButton.hidden = true;
  const skip = h("a", { class: "skip", href: "#main", on: { click: (event) => (event.preventDefault(), outlet.focus()) } }, "Skip to the content");
  const toast = h("div", { id: "toast", role: "status" });
  document.body.replaceChildren(skip, h("header", { class: "top" }, h("div", { class: "bar" }, brand, tabs, more)), outlet, toast, dialog);
  document.documentElement.classList.add("console");
}

frame();
window.addEventListener("weir-key-needed", () => isDeclined || askForKey(true));
dialog.addEventListener("cancel", () => (isDeclined = true));
window.addEventListener("hashchange", route);
route();
