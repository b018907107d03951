// The tab "Models".

import { el } from "./ui.js";

/** Draw the tab. */
export function open(section) {
  section.append(el("div", { class: "column" }, el("h1", {}, "Models"), el("p", { class: "lead" }, "What is on this machine, and what could be.")));
}
