// The tabs: one module each, loaded when its tab is first opened. The hash of the URL says which is open.

import { keepFocus } from "./focus.js";
import { el, problem } from "./ui.js";

const NAMES = ["talk", "speak", "voices", "transcribe", "models", "status"];
const opened = new Set();

function tab(name) {
  return document.getElementById(`tab-${name}`);
}

/** The tab that the URL names. What follows a slash (`#status/key`) is for the tab itself. */
function named() {
  const name = location.hash.slice(1).split("/")[0];
  return NAMES.includes(name) ? name : NAMES[0];
}

/** Show the tab of the URL, and load it the first time. */
async function show() {
  const name = named();
  for (const each of NAMES) {
    const isShown = each === name;
    document.getElementById(each).hidden = !isShown;
    tab(each).setAttribute("aria-selected", String(isShown));
    tab(each).tabIndex = isShown ? 0 : -1;
  }
  document.body.dataset.tab = name;
  document.title = `${tab(name).textContent.trim()} · Local server`;
  const section = document.getElementById(name);
  if (!opened.has(name)) {
    opened.add(name);
    try {
      const module = await import(`./${name}.js`);
      await module.open(section);
    } catch (error) {
      opened.delete(name);
      failed(section, error);
    }
  }
  section.dispatchEvent(new CustomEvent("shown"));
}

/** A tab that could not be loaded says so, with a way on. */
function failed(section, error) {
  console.warn(error);
  const again = el("button", { class: "button", onclick: () => location.reload() }, "Load the page again");
  section.replaceChildren(
    el("div", { class: "card" }, el("p", {}, "This part of the page could not be loaded. Is the server running?"), again),
  );
}

/** Arrow keys, Home and End go from tab to tab, as screen readers promise. */
function walk(event) {
  const at = NAMES.indexOf(named());
  const steps = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: NAMES.length - 1 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const name = NAMES.at(steps[event.key] % NAMES.length);
  location.hash = name;
  tab(name).focus();
}

/** The second click of a double click does nothing: it would begin a thing twice, or end what the first one began,
    or press what has come in its place. */
function dropSecond(event) {
  if (event.detail < 2 || !event.target.closest("button")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

addEventListener("click", dropSecond, { capture: true });
for (const name of NAMES) tab(name).addEventListener("click", () => (location.hash = name));
document.querySelector("[role=tablist]").addEventListener("keydown", walk);
addEventListener("hashchange", () => {
  // "#main" is the skip link's, no tab's.
  if (location.hash !== "#main") show();
});
// A key is asked for: wherever it was, the field for it is on the Status tab.
addEventListener("key-wanted", (event) => {
  if (location.hash === "#status/key") return; // there already
  problem(event.detail);
  location.hash = "status/key";
});
keepFocus();
show();
