// The tab "Status".

import { el } from "./ui.js";

/** Draw the tab. */
export function open(section) {
  section.append(el("div", { class: "column" }, el("h1", {}, "Status"), el("p", { class: "lead" }, "How the server is.")));
}
