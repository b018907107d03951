// The tab "Speak": a text spoken, heard while it is made; how a program asks for the same; what was spoken before.

import { ApiProblem, get, send } from "./api.js";
import { SPOKEN, languageOptions } from "./languages.js";
import { kept } from "./kept.js";
import { Playback } from "./playback.js";
import { snippets } from "./snippets.js";
import { Player, wavOf } from "./sound.js";
import { choice, choose } from "./store.js";
import { busy, copyButton, download, el, field, icon, linked, problem } from "./ui.js";

const FORMATS = { mp3: "plays everywhere", wav: "exact, large", flac: "exact, smaller", opus: "smallest", aac: "for Apple", pcm: "bare samples" };
const GROUPS = { cloned: "Your own", standard: "Standard", studio: "Studio" };
const EXAMPLE = "Good morning! The kettle is on, the post is here, and it looks like a fine day.";

/** Draw the tab. */
export function open(section) {
  const tab = new Speak();
  section.append(tab.node);
  section.addEventListener("shown", () => tab.shown());
}

class Speak {
  #player = new Player();
  #said = null; // what the sound that is shown was made of
  #abort = null;

  constructor() {
    this.text = el("textarea", { rows: 5, value: EXAMPLE, dir: "auto", oninput: () => this.#changed() });
    this.count = el("span", { class: "hint numbers" });
    this.voice = el("select", { onchange: () => this.#changed() });
    this.speed = el("input", { type: "range", min: "0.5", max: "2", step: "0.05", value: choice("speak-speed", "1"), oninput: () => this.#changed() });
    this.pace = el("output", { class: "hint numbers" });
    const formats = Object.entries(FORMATS).map(([name, use]) => el("option", { value: name }, `${name} (${use})`));
    this.format = el("select", { onchange: () => this.#changed() }, formats);
    this.language = el("select", { onchange: () => this.#changed() }, languageOptions(SPOKEN, "Found out from the text"));
    this.button = el("button", { type: "button", class: "button is-main", onclick: () => this.#press() });
    this.wrong = el("div");
    this.playback = new Playback({ label: "the speech" });
    this.saver = el("button", { type: "button", class: "button is-small", onclick: () => busy(this.saver, () => this.#save()) });
    this.title = el("h2", { dir: "auto" });
    this.result = el("div", { class: "card stack", hidden: true }, this.title, this.playback.node, el("div", { class: "row" }, this.saver));
    this.kept = kept((file, blob) => this.#listen(file, blob));
    this.node = el("div", { class: "column" },
      el("h1", {}, "Speak"), el("p", { class: "lead" }, "Write something, and hear it in any voice."),
      this.#form(), this.result, this.#code(), this.kept.node);
    this.format.value = choice("speak-format", "mp3");
    this.language.value = choice("speak-language", "");
    this.#idle();
    this.#draw();
  }

  #form() {
    return el("div", { class: "card stack" },
      field("Text", this.text, this.count),
      el("div", { class: "fields is-two" },
        field("Voice", this.voice), field("Language", this.language), field("File format", this.format),
        field("Speed", this.speed, this.pace)),
      el("div", { class: "row" }, this.button,
        el("span", { class: "hint" }, "Pauses and other voices: write [pause:1s] or [voice:nova] into the text.")),
      this.wrong);
  }

  #code() {
    this.code = el("code");
    const names = Object.keys(snippets(this.#body()));
    this.language_of_code = names[0];
    const choose = (name) => {
      this.language_of_code = name;
      for (const each of buttons) each.setAttribute("aria-pressed", String(each.textContent === name));
      this.#draw();
    };
    const buttons = names.map((name) => el("button", { type: "button", class: "segment", "aria-pressed": String(name === names[0]), onclick: () => choose(name) }, name));
    return el("details", { class: "card" }, el("summary", {}, "The same from a program"),
      el("div", { class: "stack" },
        el("div", { class: "row is-apart" },
          el("div", { class: "segments", role: "group", "aria-label": "Language of the program" }, buttons),
          copyButton(() => this.code.textContent, "Copy the program")),
        el("div", { class: "code" }, el("pre", { tabindex: "0" }, this.code))));
  }

  async shown() {
    this.wrong.replaceChildren();
    try {
      await this.#fillVoices();
    } catch (error) {
      return this.#offerAgain(error);
    }
    await this.kept.refresh();
    const id = linked();
    if (id && location.hash !== this.opened) await this.kept.listen(id);
    this.opened = location.hash;
  }

  #offerAgain(error) {
    problem(error, this.wrong);
    const again = el("button", { type: "button", class: "button is-small", onclick: () => busy(again, () => this.shown()) }, "Try again");
    this.wrong.append(again);
  }

  async #fillVoices() {
    const { data } = await get("/v1/audio/voices");
    const chosen = this.voice.value || choice("speak-voice", "alloy");
    const groups = Object.entries(GROUPS).map(([type, label]) => {
      const voices = data.filter((voice) => voice.type === type);
      const options = voices.map((voice) => el("option", { value: voice.id }, voice.name));
      return voices.length > 0 && el("optgroup", { label }, options);
    });
    this.voice.replaceChildren(...groups.filter(Boolean));
    const isThere = data.some((voice) => voice.id === chosen);
    this.voice.value = isThere ? chosen : (data[0]?.id ?? "");
    this.#draw();
  }

  /** The request, with what is not as usual. */
  #body() {
    const body = { model: "tts-1", input: this.text.value, voice: this.voice.value || "alloy", response_format: this.format.value };
    if (this.speed.valueAsNumber !== 1) body.speed = this.speed.valueAsNumber;
    if (this.language.value) body.language = this.language.value;
    return body;
  }

  #changed() {
    for (const name of ["voice", "speed", "format", "language"]) choose(`speak-${name}`, this[name].value);
    this.#draw();
  }

  #draw() {
    this.count.textContent = `${this.text.value.length.toLocaleString("en")} characters`;
    this.pace.textContent = `${this.speed.value} ×`;
    this.saver.replaceChildren(icon("download"), `Save as ${this.format.value}`);
    if (this.code) this.code.textContent = snippets(this.#body())[this.language_of_code];
  }

  #press() {
    if (this.#abort) return this.#player.stop();
    if (!this.text.value.trim()) {
      problem(new ApiProblem("There is nothing to say yet. Write a text first."), this.wrong);
      return this.text.focus();
    }
    return this.#speak();
  }

  async #speak() {
    // A seed has a cloned voice say the same again, when the file is asked for in another format.
    const body = { ...this.#body(), seed: Math.floor(Math.random() * 2 ** 31) };
    const abort = (this.#abort = new AbortController());
    this.wrong.replaceChildren();
    this.button.replaceChildren(icon("stop"), "Stop");
    try {
      const sound = { ...body, response_format: "wav", stream: true };
      const piece = this.#player.add(send("/v1/audio/speech", { method: "POST", body: sound, signal: abort.signal }));
      piece.ended.then(() => abort.abort()); // stopped: the server should, too
      await piece.begun;
      this.#show(body.input, body);
      const live = this.playback.live(piece, () => this.#player.stop());
      const { samples, rateHz } = await piece.sound;
      await live;
      await this.playback.load(wavOf(samples, rateHz));
      this.kept.refresh();
    } catch (error) {
      if (this.#said === body) this.result.hidden = true; // unless it shows another one by now
      problem(error, this.wrong);
    } finally {
      this.#abort = null;
      this.#idle();
    }
  }

  #idle() {
    this.button.replaceChildren(icon("play"), "Speak");
  }

  #show(title, said) {
    this.#said = said;
    this.title.textContent = title.length > 80 ? `${title.slice(0, 80).trim()}…` : title;
    this.saver.hidden = !said;
    this.result.hidden = false;
    this.result.scrollIntoView({ block: "nearest" }); // on a phone it is below what is seen
  }

  /** Play one of the earlier ones. */
  async #listen(file, blob) {
    this.#show(file.words || "Speech", null);
    await this.playback.load(blob);
    await this.playback.play();
  }

  async #save() {
    const format = this.format.value;
    const name = `${this.#said.input.slice(0, 60).replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "speech"}.${format}`;
    if (format === "wav" && this.playback.blob) return download(this.playback.blob, name);
    const answer = await send("/v1/audio/speech", { method: "POST", body: { ...this.#said, response_format: format } });
    return download(await answer.blob(), name);
  }
}
