// The tab "Status": how the server is, how to connect other programs to it, its key, what failed.

import { get, key, send, setKey } from "./api.js";
import { CONNECTIONS } from "./connections.js";
import { Rates, numbersOf } from "./numbers.js";
import { microphoneProblem } from "./sound.js";
import { busy, copyButton, el, mending, say } from "./ui.js";

const EVERY_MS = 2000;
const PARTS = {
  chat: "Chat",
  speech: "Speech",
  voice_cloning: "Cloned voices",
  transcription: "Transcription",
  embeddings: "Embeddings",
};
const OVERALL = {
  ok: ["All is well", "Chat, speech and transcription are ready."],
  loading: ["Almost there", "Some parts are still being loaded."],
  degraded: ["Partly ready", "Some parts do not work. What would mend them is said below."],
  unavailable: ["Not ready", "Nothing can answer. What would mend it is said below."],
};
const STATES = { ready: ["Ready", "is-good"], loading: ["Loading", ""], unavailable: ["Not there", ""] };

/** Draw the tab. */
export async function open(section) {
  const status = new Status();
  section.append(status.element);
  section.addEventListener("shown", () => status.shown());
  await status.begin();
  setInterval(() => {
    if (!section.hidden && !document.hidden) status.read();
  }, EVERY_MS);
}

class Status {
  #rates = new Rates();
  #isReading = false;
  #drawn = new Map(); // what each place shows, so that what has not changed stays: a selection, the focus

  constructor() {
    this.title = el("h1", {}, "Status");
    this.lead = el("p", { class: "lead", role: "status" }, "Asking the server…");
    this.parts = el("ul", { class: "plain stack" });
    this.numbers = el("dl", { class: "tiles" });
    this.failures = el("div", { class: "stack" });
    this.keyPlace = el("section", { class: "card stack", "aria-labelledby": "key-title" });
    this.element = el("div", { class: "column" }, this.title, this.lead);
    this.#drawKey(false);
  }

  /** Show the rest when the server has told it: drawn before, it would jump when that comes. */
  async begin() {
    await this.read();
    const parts = el("section", { class: "card stack", "aria-labelledby": "parts-title" }, el("h2", { id: "parts-title" }, "Parts"), this.parts);
    this.element.append(...[
      this.numbers,
      el("div", { class: "two" }, parts, connecting()),
      microphone(),
      this.keyPlace,
      el("section", { class: "card stack", "aria-labelledby": "failures-title" }, el("h2", { id: "failures-title" }, "Last failures"), this.failures),
    ].filter(Boolean));
  }

  /** The tab is looked at: where it was opened for the key, that is at hand. */
  shown() {
    this.read();
    if (location.hash !== "#status/key") return;
    this.#drawKey(true);
    this.lead.after(this.keyPlace);
    scrollTo(0, 0);
    this.keyPlace.querySelector("input").focus();
  }

  /** Ask for all of it anew. */
  async read() {
    if (this.#isReading) return;
    this.#isReading = true;
    await Promise.all([this.#readHealth(), this.#readNumbers(), this.#readFailures()]);
    this.#isReading = false;
  }

  /** Draw a place only when what it shows is another thing. */
  #show(place, value, draw) {
    const text = JSON.stringify(value);
    if (this.#drawn.get(place) === text) return;
    this.#drawn.set(place, text);
    place.replaceChildren(...draw());
  }

  async #readHealth() {
    try {
      this.#drawHealth(await get("/health"));
    } catch (error) {
      if (error.body?.parts) return this.#drawHealth(error.body); // 503: nothing is ready
      this.#say("The server does not answer", `${error.message} This page goes on asking.`);
      this.#show(this.parts, null, () => []);
    }
  }

  #drawHealth({ status, parts }) {
    this.#say(...(OVERALL[status] ?? OVERALL.degraded));
    const names = [...new Set([...Object.keys(PARTS), ...Object.keys(parts)])].filter((name) => name in parts);
    this.#show(this.parts, parts, () => names.map((name) => partItem(PARTS[name] ?? name, parts[name])));
  }

  #say(title, lead) {
    if (this.title.textContent !== title) this.title.textContent = title;
    if (this.lead.textContent !== lead) this.lead.textContent = lead;
  }

  async #readNumbers() {
    try {
      const text = await (await send("/metrics")).text();
      const tiles = this.#rates.tiles(numbersOf(text), performance.now() / 1000);
      this.#show(this.numbers, tiles, () => tiles.map(([name, value, hint]) => (
        el("div", { class: "tile" }, el("dt", {}, name), el("dd", { class: "numbers" }, value), hint && el("dd", { class: "hint numbers" }, hint))
      )));
    } catch {
      this.#show(this.numbers, null, () => []); // why is said in the headline, or by the key's field
    }
  }

  async #readFailures() {
    let kept;
    try {
      kept = (await get("/errors")).data;
    } catch (error) {
      this.#show(this.failures, error.message, () => [el("p", { class: "hint" }, error.message)]);
      return;
    }
    this.#show(this.failures, kept, () => (kept.length ? [el("ul", { class: "plain failures" }, kept.slice(0, 20).map(failureItem))] : [el("p", { class: "hint" }, "Nothing has failed since the server started.")]));
  }

  // ---------------------------------------------------------------- the key

  #drawKey(isWanted) {
    const field = el("input", { type: "password", autocomplete: "off", "aria-label": "API key", value: key(), placeholder: "The key" });
    const keep = el("button", { class: "button is-main" }, "Use this key");
    const wrong = el("div");
    const use = async (event) => {
      event.preventDefault();
      wrong.replaceChildren();
      await busy(keep, async () => {
        setKey(field.value.trim());
        await get("/v1/models");
        say(field.value ? "The key works. It stays in this browser." : "No key is sent any more, and none is needed.");
        this.read();
      }, wrong); // beside the field: a short text on top would outlast the key that is right
    };
    this.keyPlace.replaceChildren(
      el("h2", { id: "key-title" }, "Key"),
      el("p", { class: "hint" }, isWanted ? "This server wants a key. Whoever started it has it." : "Only a server that was started with keys wants one."),
      el("form", { class: "row", onsubmit: use }, el("div", { class: "grow" }, field), keep),
      wrong,
    );
  }
}

function partItem(name, { status, reason, mend }) {
  const [words, kind] = STATES[status] ?? [status, ""];
  return el(
    "li", { class: "part" },
    el("div", { class: "row is-apart" }, el("strong", {}, name), el("span", { class: `chip ${kind}` }, words)),
    reason && el("p", { class: "hint" }, reason[0].toUpperCase() + reason.slice(1)),
    mend && el("p", { class: "hint mend" }, mending(mend)),
  );
}

function failureItem({ created, method, path, status, message }) {
  const when = new Date(created * 1000);
  return el(
    "li", {},
    el("div", { class: "row is-apart hint" }, el("code", {}, `${method} ${path}`), el("span", { class: "numbers" }, `${status === 200 ? "while streaming" : status} · `, el("time", { datetime: when.toISOString() }, when.toLocaleString()))),
    el("p", { dir: "auto" }, message),
  );
}

function connecting() {
  const base = `${location.origin}/v1`;
  return el(
    "section", { class: "card stack", "aria-labelledby": "connect-title" },
    el("h2", { id: "connect-title" }, "Connect other programs"),
    el("p", { class: "hint" }, "Any program that lets you set an OpenAI base URL can use this server."),
    el("div", { class: "field" }, el("span", {}, "Base URL"), el("div", { class: "address" }, el("code", {}, base), copyButton(base, "Copy the base URL"))),
    CONNECTIONS.map(({ name, steps }) => (
      el("details", {}, el("summary", {}, name), el("ol", {}, steps(location).map((step) => el("li", {}, step))))
    )),
  );
}

/** Why this page gets no microphone, and how it would; null where it does. */
function microphone() {
  const why = microphoneProblem();
  if (!why) return null;
  const command = "./start_openai_api.sh --ssl-certfile cert.pem --ssl-keyfile key.pem";
  return el(
    "section", { class: "card stack", "aria-labelledby": "microphone-title" },
    el("h2", { id: "microphone-title" }, "The microphone does not work here"),
    el("p", {}, why),
    el("div", { class: "address" }, el("code", {}, command), copyButton(command, "Copy the command")),
    el("p", { class: "hint" }, "The README says under Security how a certificate is made in one line."),
  );
}
