// The list of conversations beside the Talk tab.

import { conversation, exported, heads, imported, remove, restore } from "./store.js";
import { busy, download, el, icon, iconButton, say } from "./ui.js";

/** The list. `onopen(id)` when one is chosen, `onnew()` for a fresh one, `onremoved(id)` when one is gone,
    `onrename(id, title)` to name one. */
export class ConversationList {
  #shown = null;
  #drawn = ""; // what the list shows: it is drawn anew only when that is another, for the focus in it
  #isNaming = false; // a name is being typed: the list waits

  constructor({ onopen, onnew, onremoved, onrename }) {
    Object.assign(this, { onopen, onnew, onremoved, onrename });
    this.items = el("ul", {});
    const file = el("input", { type: "file", class: "unseen", accept: ".json,application/json", "aria-label": "File of conversations", tabindex: "-1" });
    file.addEventListener("change", () => this.#import(file));
    this.element = el(
      "nav", { class: "talk-list", "aria-label": "Conversations" },
      el("button", { class: "button is-new", type: "button", onclick: () => this.onnew() }, icon("plus"), "New conversation"),
      this.items,
      el("div", { class: "row talk-list-foot" },
        file,
        el("button", { class: "button is-small", type: "button", onclick: () => file.click() }, icon("upload"), "Import"),
        el("button", { class: "button is-small", type: "button", onclick: (event) => busy(event.currentTarget, exportAll) }, icon("download"), "Export")),
    );
  }

  /** Read the list anew; `id` is the conversation that is open. */
  async refresh(id = this.#shown) {
    this.#shown = id;
    const all = await heads();
    const drawn = JSON.stringify([id, all.map((head) => [head.id, head.title])]);
    if (drawn === this.#drawn || this.#isNaming) return;
    this.#drawn = drawn;
    const items = all.map((head) => this.#item(head));
    this.items.replaceChildren(...(items.length ? items : [el("li", { class: "hint" }, "Your conversations stay in this browser.")]));
  }

  #item({ id, title }) {
    const name = title || "Without a name";
    const isShown = id === this.#shown;
    const open = el(
      "button", { class: "talk-list-name", type: "button", dir: "auto", dataset: { id }, "aria-current": isShown ? "true" : null, onclick: () => this.onopen(id) }, name,
    );
    const tools = [
      iconButton("edit", `Rename: ${name}`, () => this.#rename(id, item)),
      iconButton("download", `Export: ${name}`, () => exportOne(id, name)),
      iconButton("trash", `Delete: ${name}`, (event) => busy(event.currentTarget, () => this.#remove(id))),
    ];
    for (const tool of tools) tool.classList.add("is-small");
    const item = el("li", { class: isShown ? "is-shown" : null }, open, el("span", { class: "talk-list-tools" }, tools));
    return item;
  }

  async #rename(id, item) {
    const kept = await conversation(id);
    if (!kept || this.#isNaming || !item.isConnected) return;
    const field = el("input", { value: kept.title, "aria-label": "Name of the conversation", maxlength: 200, dir: "auto" });
    this.#isNaming = true;
    const done = async (isWanted) => {
      field.onblur = null;
      this.#isNaming = false;
      this.#drawn = "";
      const title = field.value.trim();
      if (isWanted && title && title !== kept.title) await this.onrename(id, title);
      await this.refresh();
    };
    field.addEventListener("keydown", async ({ key }) => {
      if (key !== "Enter" && key !== "Escape") return;
      await done(key === "Enter");
      this.items.querySelector(`[data-id="${id}"]`)?.focus();
    });
    field.onblur = () => done(true);
    item.replaceChildren(field);
    field.select();
  }

  async #remove(id) {
    const kept = await conversation(id);
    await remove(id);
    this.onremoved(id);
    await this.refresh();
    const undo = async () => {
      await restore(kept);
      await this.refresh();
    };
    say("The conversation is deleted.", { action: kept && { label: "Undo", run: undo }, seconds: 15 });
  }

  async #import(file) {
    const [chosen] = file.files;
    file.value = "";
    if (!chosen) return;
    try {
      const number = await imported(await chosen.text());
      say(number === 1 ? "One conversation was imported." : `${number} conversations were imported.`);
    } catch (error) {
      say(error.message, { isProblem: true });
    }
    await this.refresh();
  }
}

async function exportAll() {
  download(await exported(), "conversations.json");
}

async function exportOne(id, name) {
  // Signs that some system has no file names with.
  const plain = name.replace(/[^\p{L}\p{N} _-]/gu, "").trim().slice(0, 60) || "conversation";
  download(await exported(id), `${plain}.json`);
}
