// "Record": a button that begins and ends a recording, with a live level and a clock beside it.

import { microphoneProblem, record } from "./sound.js";
import { busy, duration, el, icon } from "./ui.js";

/** `onbegin` is called before the microphone is asked for, `ontake` with the recording, a wav Blob; what goes
    wrong is said in `wrong`. `isRaw`: as the microphone hears it. `node` is the row. */
export class RecordButton {
  #recording = null;

  constructor({ onbegin, ontake, wrong, isRaw = false }) {
    Object.assign(this, { onbegin, ontake, isRaw });
    const why = microphoneProblem();
    this.button = el("button", { type: "button", class: "button", disabled: Boolean(why), onclick: () => busy(this.button, () => this.#record(), wrong) });
    this.level = el("span");
    this.clock = el("span", { class: "hint numbers" });
    this.meter = el("div", { class: "grow", hidden: true }, el("div", { class: "level" }, this.level));
    this.node = el("div", { class: "row" }, this.button, this.meter, this.clock, why && el("p", { class: "hint" }, why));
    this.#idle();
  }

  #idle() {
    this.button.replaceChildren(icon("mic"), "Record");
    this.button.classList.remove("is-bad");
    this.meter.hidden = true;
    this.clock.textContent = "";
  }

  /** Begin, or end what was begun. */
  async #record() {
    if (this.#recording) {
      const recording = this.#recording;
      this.#recording = null;
      this.#idle();
      return this.ontake(await recording.stop());
    }
    this.onbegin();
    this.#recording = await record({ isRaw: this.isRaw, onlevel: (level) => this.#hear(level) });
    this.button.replaceChildren(icon("stop"), "Stop recording");
    this.button.classList.add("is-bad");
    this.meter.hidden = false;
    return undefined;
  }

  #hear(level) {
    if (!this.#recording) return;
    this.level.style.transform = `scaleX(${level})`;
    this.clock.textContent = duration(this.#recording.seconds);
  }
}
