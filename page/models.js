// The tab "Models": what is here, what can be fetched and fits, fetching, loading, removing.

import { get, post, send } from "./api.js";
import { Downloads } from "./downloads.js";
import { busy, el, field, icon, iconButton, linked, problem, say, size } from "./ui.js";

const KINDS = {
  chat: "Chat", transcription: "Transcription", voice: "Voice", "voice cloning": "Cloned voices", embedding: "Search (embeddings)", speech: "Speech",
};
const LOADABLE = ["chat", "embedding", "transcription", "voice cloning"];
const AT_FIRST = 8; // of those that can be fetched: the list is long on a phone
const STATES = { loaded: "in memory", loading: "is being loaded", available: "" };

/** Draw the tab. */
export function open(section) {
  const tab = new Models();
  section.append(tab.node);
  section.addEventListener("shown", () => tab.shown());
}

class Models {
  constructor() {
    this.lead = el("p", { class: "lead" }, "What this machine can do, and what it could.");
    this.wrong = el("div");
    this.downloads = new Downloads(() => this.refresh());
    this.here = el("ul", { class: "rows" });
    this.search = el("input", { type: "search", autocomplete: "off", placeholder: "german, code, small …", oninput: () => this.#drawOffers() });
    const kinds = Object.entries(KINDS).filter(([kind]) => kind !== "speech").map(([kind, name]) => el("option", { value: kind }, name));
    this.kind = el("select", { onchange: () => this.#drawOffers() }, el("option", { value: "" }, "Everything"), kinds);
    this.fitting = el("input", { type: "checkbox", checked: true, onchange: () => this.#drawOffers() });
    this.offers = el("ul", { class: "rows" });
    this.more = el("button", { type: "button", class: "button is-small", onclick: () => this.#showAll() });
    this.dialog = el("dialog", { "aria-label": "Are you sure?" });
    // Shown when they are filled: drawn before, one would jump when the other is.
    this.lists = [
      el("section", { class: "card stack", "aria-label": "On this machine", hidden: true }, el("h2", {}, "On this machine"), this.here),
      el("section", { class: "card stack", "aria-label": "Can be fetched", hidden: true }, el("h2", {}, "Can be fetched"),
        el("div", { class: "fields" }, field("Search", this.search), field("For", this.kind)),
        el("label", { class: "check" }, this.fitting, "Only what fits the memory that is free now"), this.offers, this.more, this.#other()),
    ];
    this.node = el("div", { class: "column" }, el("h1", {}, "Models"), this.lead, this.wrong, this.downloads.node, this.lists, this.dialog);
    this.told = { data: [], here: [] };
    this.models = [];
  }

  /** Any model of the hub. */
  #other() {
    const name = el("input", { autocomplete: "off", placeholder: "owner/name, or its address", spellcheck: "false" });
    const wrong = el("div");
    const work = () => {
      wrong.replaceChildren();
      return name.value.trim() && this.downloads.begin(name.value.trim());
    };
    const button = el("button", { type: "button", class: "button", onclick: () => busy(button, work, wrong) }, icon("download"), "Fetch it");
    return el("div", { class: "stack" },
      el("div", { class: "row is-low" }, el("div", { class: "grow" }, field("Another model of Hugging Face (GGUF)", name)), button), wrong);
  }

  /** A link may name a model to be looked for: it is shown, whatever was looked for before. */
  async shown() {
    if (!linked()) return this.refresh();
    this.search.value = linked();
    this.kind.value = "";
    this.fitting.checked = false;
    await this.refresh();
    return this.offers.querySelector("button")?.focus(); // below all that is on this machine
  }

  async refresh() {
    this.wrong.replaceChildren();
    try {
      const [models, told] = await Promise.all([get("/v1/models?type=all"), get("/v1/models/offers")]);
      this.models = models.data;
      this.told = told;
      this.lead.textContent = `${size(told.free_bytes)} of memory are free for models now.`;
      await this.downloads.refresh();
    } catch (error) {
      problem(error, this.wrong);
      const again = el("button", { type: "button", class: "button", onclick: () => busy(again, () => this.refresh()) }, "Try again");
      this.wrong.append(again);
    }
    this.#drawHere();
    this.#drawOffers();
    for (const each of this.lists) each.hidden = false;
  }

  #drawHere() {
    const known = new Set(this.told.here.map((model) => model.id));
    // The bundled voice is no file of models/.
    const others = this.models.filter(({ root }) => !known.has(root) && known.add(root));
    const rows = [...this.told.here, ...others.map(({ root, type }) => ({ id: root, kind: type, size_bytes: 0, bundled: true }))];
    this.here.replaceChildren(...rows.map((model) => this.#hereRow(model)));
  }

  #hereRow(model) {
    const names = this.models.filter(({ root, id }) => root === model.id && id !== root).map(({ id }) => id);
    const status = this.models.find(({ root }) => root === model.id)?.status ?? "available";
    const facts = [KINDS[model.kind] ?? model.kind, model.size_bytes && size(model.size_bytes), model.bundled && "came with the install"];
    const answers = names.length > 0 && `answers to ${names.slice(0, 4).join(", ")}${names.length > 4 ? ` and ${names.length - 4} more` : ""}`;
    const load = LOADABLE.includes(model.kind) && this.#loader(model, status);
    const remove = !model.bundled && iconButton("trash", `Remove ${model.id}`, () => this.#ask(model));
    return el("li", { class: "row" },
      el("div", { class: "grow" },
        el("p", { class: "name" }, el("strong", { dir: "auto" }, model.id), STATES[status] && el("span", { class: "chip is-good" }, STATES[status])),
        el("p", { class: "hint" }, [...facts, answers].filter(Boolean).join(" · "))),
      el("span", { class: "row" }, load, remove));
  }

  #loader(model, status) {
    const isLoaded = status === "loaded";
    const work = async () => {
      const hadFocus = document.activeElement === button;
      await post(`/v1/models/${isLoaded ? "unload" : "load"}`, { model: model.id });
      await this.refresh();
      if (hadFocus) [...this.here.querySelectorAll("[data-model]")].find((each) => each.dataset.model === model.id)?.focus();
    };
    const button = el("button", { type: "button", class: "button is-small", dataset: { model: model.id }, "aria-label": `${isLoaded ? "Unload" : "Load"} ${model.id}`, onclick: () => busy(button, work) }, isLoaded ? "Unload" : "Load");
    return button;
  }

  #drawOffers() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.told.data.filter((offer) => {
      const said = `${offer.id} ${offer.kind} ${offer.good_at} ${offer.licence}`.toLowerCase();
      return (!this.kind.value || offer.kind === this.kind.value) && (!this.fitting.checked || offer.fits) && words.every((word) => said.includes(word));
    });
    found.sort((one, other) => (other.id === this.told.best) - (one.id === this.told.best)); // the best first
    const shown = this.isAll ? found : found.slice(0, AT_FIRST);
    this.more.hidden = shown.length === found.length;
    this.more.textContent = `Show all ${found.length}`;
    this.offers.replaceChildren(...shown.map((offer) => this.#offerRow(offer)));
    if (!found.length) this.offers.append(el("li", { class: "empty" }, "None of the list is like that."));
  }

  #showAll() {
    this.isAll = true;
    this.#drawOffers();
    this.offers.children[AT_FIRST].querySelector("button").focus();
  }

  #offerRow(offer) {
    const button = el("button", { type: "button", class: "button is-small", "aria-label": `Fetch ${offer.id}`, onclick: () => busy(button, () => this.#begin(offer)) }, icon("download"), "Fetch");
    const facts = [KINDS[offer.kind], offer.size_bytes && size(offer.size_bytes), offer.context && `${offer.context.toLocaleString("en")} tokens of context`, offer.licence];
    return el("li", { class: "row" },
      el("div", { class: "grow" },
        el("p", { class: "name" }, el("strong", { dir: "auto" }, offer.id),
          offer.id === this.told.best && el("span", { class: "chip is-good" }, "best that fits"),
          !offer.fits && el("span", { class: "chip is-bad", title: offer.memory }, `too large now: needs ${size(offer.memory_bytes)}`)),
        el("p", { dir: "auto" }, offer.good_at),
        el("p", { class: "hint" }, facts.filter(Boolean).join(" · "))),
      button);
  }

  /** Of a model with a licence of its own, after that is read. */
  #begin(offer) {
    if (!offer.terms) return this.downloads.begin(offer.id);
    const fetchIt = () => {
      this.dialog.close();
      this.downloads.begin(offer.id, { accept_license: true }).catch(problem);
    };
    const agree = el("button", { type: "button", class: "button is-main", onclick: fetchIt }, "I agree: fetch it");
    const terms = offer.terms.replace(/\n +/g, " "); // broken for terminals, which are wider than a phone
    this.#show(`The licence of ${offer.id}`, el("p", { class: "terms" }, terms), agree);
    return undefined;
  }

  #ask(model) {
    const sure = el("button", { type: "button", class: "button is-bad", onclick: () => busy(sure, () => this.#remove(model)) }, "Remove it");
    this.#show(`Remove ${model.id}?`, el("p", {}, `Its files are deleted, ${size(model.size_bytes)}. To have it again, it must be fetched again.`), sure);
  }

  async #remove(model) {
    try {
      await send(`/v1/models/${encodeURIComponent(model.id)}`, { method: "DELETE" });
      say(`${model.id} is removed.`);
    } finally {
      this.dialog.close();
      await this.refresh();
    }
  }

  #show(title, ...parts) {
    const actions = parts.filter((part) => part?.tagName === "BUTTON");
    const not = el("button", { type: "button", class: "button", onclick: () => this.dialog.close() }, "Cancel");
    const words = parts.filter((part) => part && part.tagName !== "BUTTON");
    this.dialog.replaceChildren(el("div", { class: "stack" }, el("h2", { dir: "auto" }, title), words, el("div", { class: "row" }, actions, not)));
    this.dialog.showModal();
  }
}
