// The tab "Voices".

import { el } from "./ui.js";

/** Draw the tab. */
export function open(section) {
  section.append(el("div", { class: "column" }, el("h1", {}, "Voices"), el("p", { class: "lead" }, "All voices, and new ones from a recording.")));
}
