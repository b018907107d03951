// A new voice: from a file or from the microphone, cut to its best part, named, and sent.

import { ApiProblem, post } from "./api.js";
import { SPOKEN, languageOptions } from "./languages.js";
import { Playback } from "./playback.js";
import { RecordButton } from "./record-button.js";
import { busy, el, field, fileDrop, problem, size } from "./ui.js";
import { verdict } from "./verdict.js";

// Read at leisure it takes some twenty seconds; it has every sound of English, and all moods of a voice.
const READING =
  "The north wind and the sun were arguing which of them was the stronger, when a traveller came along, wrapped in a " +
  "warm cloak. “Watch this!” said the wind, and blew as hard as it could. But the more it blew, the more closely did " +
  "the traveller fold the cloak around him. Then the sun shone out, gently and warmly. And what do you think happened?";
const BEST_S = [6, 30];
const LEAST_S = 3;
// The server's own limit may be another; far above it nothing is sent in vain.
const TOO_LARGE_BYTES = 150_000_000;

/** The card. `onmade` gets the new voice as the server tells it. */
export function newVoice(onmade) {
  return new NewVoice(onmade).node;
}

class NewVoice {
  constructor(onmade) {
    this.onmade = onmade;
    this.wrong = el("div");
    this.fit = el("p", { class: "hint", role: "status" });
    this.playback = new Playback({ label: "the recording", onselect: () => this.#judge() });
    this.name = el("input", { maxlength: "80", autocomplete: "off", dir: "auto" });
    this.language = el("select", {}, languageOptions(SPOKEN, "Not said"));
    this.about = el("input", { maxlength: "200", autocomplete: "off", dir: "auto" });
    this.consent = el("input", { type: "checkbox" });
    this.save = el("button", { type: "button", class: "button is-main", onclick: () => busy(this.save, () => this.#send(), this.wrong) }, "Make the voice");
    this.said = el("div", { role: "status" });
    this.source = this.#source();
    this.form = this.#form();
    this.node = el("details", { class: "card" }, el("summary", {}, "Make a voice of your own"),
      el("div", { class: "stack" }, this.source, this.form, this.wrong, this.said));
  }

  #source() {
    const recorder = new RecordButton({ isRaw: true, onbegin: () => this.#clear(), ontake: (blob) => this.#take(blob, "recording.wav"), wrong: this.wrong });
    const drop = fileDrop({ label: "Drop a recording here, or choose one", hint: "Any sound or video; 6 to 30 seconds of one person, without music", accept: "audio/*,video/*", onfiles: ([file]) => this.#take(file, file.name) });
    return el("div", { class: "halves" }, drop,
      el("div", { class: "stack" }, el("p", {}, "Or read this aloud, near to the microphone, in a quiet room:"),
        el("blockquote", { lang: "en" }, READING),
        recorder.node));
  }

  #form() {
    return el("div", { class: "stack", hidden: true }, this.playback.node, this.fit,
      el("div", { class: "fields" }, field("Name", this.name), field("Language spoken", this.language), field("A few words about it", this.about)),
      el("label", { class: "check" }, this.consent, "This person agrees that I make a voice of this recording"),
      el("div", { class: "row" }, this.save, el("button", { type: "button", class: "button", onclick: () => this.#clear() }, "Cancel")));
  }

  /** Take a recording to be looked at, cut and named. */
  async #take(file, name) {
    this.#clear();
    if (file.size > TOO_LARGE_BYTES) {
      return problem(new ApiProblem(`${name} has ${size(file.size)}; that is far too large. Half a minute of speech is enough.`), this.wrong);
    }
    this.fileName = name;
    this.form.hidden = false;
    if (name !== "recording.wav") this.name.value ||= name.replace(/\.[^.]*$/, "").slice(0, 80);
    await this.playback.load(file);
    this.#judge();
    this.form.scrollIntoView({ block: "nearest" });
    return undefined;
  }

  /** What can be said before the server has heard it. */
  #judge() {
    const { selection, seconds } = this.playback.waveform;
    if (!this.playback.samples || !selection) {
      this.fit.textContent = "The browser cannot draw this file. The server may read it all the same.";
      return;
    }
    const chosen = selection.end - selection.start;
    const words =
      chosen < LEAST_S ? "Too short: at least 3 seconds of speech are needed." :
      chosen < BEST_S[0] ? "A bit short: 6 seconds or more sound better." :
      chosen > BEST_S[1] ? "More than needed: the best half minute is enough." : "A good length.";
    const loudest = this.playback.samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    const level = loudest > 0.99 ? " It is too loud in places: go further from the microphone." : loudest < 0.05 ? " It is very soft: go nearer to the microphone." : "";
    const cut = chosen < seconds - 0.05 ? ` of ${seconds.toFixed(1)}` : "";
    this.fit.textContent = `${chosen.toFixed(1)}${cut} seconds. ${words}${level} Drag the ends to cut.`;
  }

  async #send() {
    this.wrong.replaceChildren();
    if (!this.name.value.trim()) throw new ApiProblem("Give the voice a name.");
    if (!this.consent.checked) throw new ApiProblem("Ask whose voice it is, and say that they agree.");
    const form = new FormData();
    const { part } = this.playback;
    form.append("audio_sample", part, part === this.playback.blob ? this.fileName : "part.wav");
    form.append("name", this.name.value);
    if (this.language.value) form.append("language", this.language.value);
    if (this.about.value) form.append("description", this.about.value);
    form.append("consent", "Said on the page that this person agrees.");
    const made = await post("/v1/audio/voices", form);
    this.#clear();
    this.said.replaceChildren(el("h3", { dir: "auto" }, `${made.name}: what the recording is worth`), verdict(made));
    await this.onmade(made);
  }

  #clear() {
    this.playback.pause();
    this.wrong.replaceChildren();
    this.said.replaceChildren();
    this.form.hidden = true;
    this.consent.checked = false;
    for (const input of [this.name, this.about]) input.value = "";
  }
}
