// The tab "Speak".

import { el } from "./ui.js";

/** Draw the tab. */
export function open(section) {
  section.append(el("div", { class: "column" }, el("h1", {}, "Speak"), el("p", { class: "lead" }, "Text, spoken in any voice.")));
}
