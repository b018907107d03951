// The tab "Transcribe".

import { el } from "./ui.js";

/** Draw the tab. */
export function open(section) {
  section.append(el("div", { class: "column" }, el("h1", {}, "Transcribe"), el("p", { class: "lead" }, "Speech, written down.")));
}
