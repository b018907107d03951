// The tab "Transcribe": speech to text while it is heard; its words light up as they are played.

import { ApiProblem, events } from "./api.js";
import { HEARD, languageName, languageOptions } from "./languages.js";
import { Playback } from "./playback.js";
import { RecordButton } from "./record-button.js";
import { FORMATS } from "./subtitles.js";
import { announce, copyButton, download, duration, el, field, fileDrop, icon, problem, size } from "./ui.js";

// The server's own limit may be another; far above it nothing is sent in vain.
const TOO_LARGE_BYTES = 150_000_000;

/** Draw the tab. */
export function open(section) {
  section.append(new Transcribe().node);
}

class Transcribe {
  #abort = null;
  #words = []; // { start, end, node }
  #lit = null;

  constructor() {
    this.language = el("select", {}, languageOptions(HEARD, "Found out by listening"));
    this.task = el("select", {}, el("option", { value: "transcriptions" }, "In the language spoken"), el("option", { value: "translations" }, "In English"));
    this.names = el("input", { autocomplete: "off", dir: "auto", placeholder: "Names and rare words, if any" });
    this.wrong = el("div");
    this.playback = new Playback({ label: "the recording", ontime: (time) => this.#light(time) });
    this.text = el("div", { class: "transcript", dir: "auto", tabindex: "0", role: "region", "aria-label": "Text" });
    this.state = el("p", { class: "hint", role: "status" });
    this.stop = el("button", { type: "button", class: "button is-small", onclick: () => this.#abort?.abort() }, icon("stop"), "Stop");
    this.again = el("button", { type: "button", class: "button is-small", hidden: true, onclick: () => this.#transcribe() }, icon("retry"), "Again");
    this.title = el("h2", { class: "cut", dir: "auto" });
    this.savers = el("div", { class: "row", role: "group", "aria-label": "Save the text" }, this.#savers(), copyButton(() => this.said.text, "Copy the text"));
    this.result = el("div", { class: "card stack", hidden: true }, this.title, this.playback.node,
      el("div", { class: "row is-apart" }, this.state, el("span", {}, this.stop, this.again)), this.text, this.savers);
    this.node = el("div", { class: "column" }, el("h1", {}, "Transcribe"),
      el("p", { class: "lead" }, "Speech of ninety-nine languages, written down while you watch."), this.#form(), this.wrong, this.result);
  }

  #form() {
    const onbegin = () => {
      this.wrong.replaceChildren();
      this.playback.pause();
    };
    const recorder = new RecordButton({ onbegin, ontake: (blob) => this.#take(blob, "recording.wav"), wrong: this.wrong });
    return el("div", { class: "card stack" },
      fileDrop({ label: "Drop a recording here, or choose one", hint: "Any sound or video", accept: "audio/*,video/*", onfiles: ([file]) => this.#take(file, file.name) }),
      recorder.node,
      el("div", { class: "fields" }, field("Language spoken", this.language), field("Write it", this.task), field("Spelling", this.names)));
  }

  #savers() {
    return Object.keys(FORMATS).map((name) => el("button", { type: "button", class: "button is-small", onclick: () => this.#save(name) }, icon("download"), name));
  }

  #take(file, name) {
    this.wrong.replaceChildren();
    if (file.size > TOO_LARGE_BYTES) {
      problem(new ApiProblem(`${name} has ${size(file.size)}; that is far too large. Save it as mp3 first, or cut it into parts.`), this.wrong);
      return;
    }
    this.file = file;
    this.fileName = name;
    this.title.textContent = name;
    this.playback.load(file);
    this.#transcribe();
  }

  async #transcribe() {
    this.#abort?.abort(); // of another file
    const abort = (this.#abort = new AbortController());
    this.#begin();
    const path = `/v1/audio/${this.task.value}`;
    try {
      for await (const event of events(path, this.#request(), abort.signal)) {
        if (this.#abort !== abort) return;
        this.#hearEvent(event);
      }
      this.#end();
    } catch (error) {
      if (this.#abort !== abort) return;
      problem(error, this.wrong);
      this.state.textContent = error.name === "AbortError" ? "Stopped." : "Not finished.";
      this.result.hidden = this.result.hidden || (error.status >= 400 && !this.said.segments.length);
    }
    this.#abort = null;
    this.stop.hidden = true;
    this.again.hidden = false;
    this.savers.hidden = !this.said.segments.length;
  }

  #request() {
    const form = new FormData();
    form.append("file", this.file, this.fileName);
    form.append("stream", "true");
    for (const each of ["segment", "word"]) form.append("timestamp_granularities[]", each);
    if (this.language.value && this.task.value === "transcriptions") form.append("language", this.language.value);
    if (this.names.value.trim()) form.append("hotwords", this.names.value);
    return form;
  }

  #begin() {
    this.said = { text: "", segments: [], words: [] };
    this.#words = [];
    this.#lit = null;
    this.wrong.replaceChildren();
    this.text.replaceChildren();
    this.state.textContent = "Listening…";
    this.result.hidden = false;
    this.savers.hidden = true;
    this.stop.hidden = false;
    this.again.hidden = true;
    this.#reveal();
  }

  /** On a phone it is below what is seen. */
  #reveal() {
    this.result.scrollIntoView({ block: "nearest" });
  }

  #hearEvent(event) {
    if (event.type === "transcript.text.done") Object.assign(this.said, { text: event.text, language: event.languages?.[0]?.code });
    if (event.type !== "transcript.text.segment") return;
    const { start, end, text, words } = event;
    this.said.segments.push({ id: this.said.segments.length, start, end, text });
    this.said.words.push(...words);
    this.said.text = this.said.segments.map((segment) => segment.text).join("").trim();
    this.text.append(this.#segment(event));
    if (this.said.segments.length === 1) this.#reveal();
    this.state.textContent = `Listening… ${duration(end)} of ${duration(this.playback.seconds)}`;
  }

  /** A line: where it begins, and its words. */
  #segment({ start, text, words }) {
    const shown = words.length ? words : [{ word: text.trim(), start, end: start }];
    let at = 0;
    const nodes = shown.map(({ word, start: from, end }) => {
      // Between words stands what the text has there: not every script has spaces.
      const found = text.indexOf(word, at);
      const gap = found < 0 ? " " : text.slice(at, found);
      at = found < 0 ? at : found + word.length;
      const node = el("span", { class: "word", onclick: () => this.#jump(from) }, word);
      this.#words.push({ start: from, end, node });
      return [gap, node];
    });
    const jump = el("button", { type: "button", class: "jump numbers", "aria-label": `Play from ${duration(start)}`, onclick: () => this.#jump(start) }, duration(start));
    return el("p", {}, jump, el("span", {}, nodes));
  }

  #end() {
    const { text, language } = this.said;
    if (!text) {
      this.state.textContent = "Nobody says anything in this recording.";
      return;
    }
    const spoken = language ? ` Language: ${languageName(language)}.` : "";
    this.state.textContent = `${this.#words.length} words.${spoken} Click a word to hear it.`;
    announce("The text is complete.");
  }

  #jump(seconds) {
    this.playback.seek(seconds);
    this.playback.play();
  }

  #light(time) {
    const word = this.playback.isPlaying ? this.#words.findLast(({ start }) => start <= time) : null;
    if (word?.node === this.#lit) return;
    this.#lit?.classList.remove("is-lit");
    this.#lit = word?.node ?? null;
    this.#lit?.classList.add("is-lit");
  }

  #save(format) {
    const { type, write } = FORMATS[format];
    const said = { ...this.said, duration: this.playback.seconds };
    download(new Blob([write(said)], { type }), `${this.fileName.replace(/\.[^.]*$/, "")}.${format}`);
  }
}
