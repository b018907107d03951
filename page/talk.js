// The tab "Talk".

import { el } from "./ui.js";

/** Draw the tab. */
export function open(section) {
  section.append(el("div", { class: "column" }, el("h1", {}, "Talk"), el("p", { class: "lead" }, "A conversation with a model on this machine.")));
}
