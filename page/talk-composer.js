// Where a message is made: text, images, or the microphone.

import { imageOf } from "./images.js";
import { microphoneProblem } from "./sound.js";
import { Microphone } from "./talk-voice.js";
import { announce, el, icon, iconButton, problem, say } from "./ui.js";

const HOLD_MS = 400; // a shorter press means: go on listening until the next one
const HOLD = "Hold to talk";

/** `onsend(text, images)` gives back whether it was taken; `onstop` ends what is written and spoken; `onlisten`
    is told that the microphone is about to listen. */
export class Composer {
  #images = [];
  #canSee = false;
  #model = "";
  #pressedAt = 0;

  constructor({ onsend, onstop, onlisten }) {
    Object.assign(this, { onsend, onstop, onlisten });
    this.microphone = new Microphone({
      onstate: (state) => this.#listened(state),
      onlevel: (level) => (this.level.style.transform = `scaleX(${level})`),
      onheard: (text) => this.#heard(text),
      onproblem: problem,
    });
    this.text = el("textarea", {
      rows: 1, dir: "auto", "aria-label": "Your message", placeholder: "Write a message",
      onkeydown: (event) => this.#key(event), onpaste: (event) => this.#paste(event), oninput: () => this.#fit(),
    });
    this.shownImages = el("div", { class: "images", hidden: true });
    this.file = el("input", { type: "file", class: "unseen", accept: "image/*", multiple: true, tabindex: "-1", "aria-label": "Images", onchange: () => this.#choose() });
    this.attach = iconButton("image", "Attach an image", () => this.#attach());
    this.mic = iconButton("mic", HOLD, null, {
      onpointerdown: (event) => this.#press(event), onpointerup: () => this.#release(), onpointercancel: () => this.microphone.cancel(),
      onkeydown: (event) => this.#keyPress(event), onkeyup: (event) => this.#keyRelease(event), oncontextmenu: (event) => event.preventDefault(),
    });
    this.level = el("span", {});
    this.heard = el("span", {}, "");
    this.listening = el("div", { class: "listening", hidden: true }, this.heard, el("div", { class: "level" }, this.level), iconButton("close", "Forget what was said", () => this.microphone.cancel()));
    this.quiet = el("button", { class: "button is-small", type: "button", hidden: true, onclick: () => this.onstop() }, icon("stop"), "Stop speaking");
    this.send = iconButton("send", "Send", null, { class: "icon-button is-main", type: "submit" });
    this.stop = iconButton("stop", "Stop writing", () => this.onstop(), { class: "icon-button is-main", hidden: true });
    this.element = this.#form();
  }

  #form() {
    const over = (event) => {
      if (!this.#canSee) return;
      event.preventDefault();
      if (event.type === "drop") this.#add([...event.dataTransfer.files]);
    };
    return el(
      "form", { class: "composer", ondragover: over, ondrop: over, onsubmit: (event) => { event.preventDefault(); this.#submit(); } },
      this.shownImages, this.text, this.listening, this.file,
      el("div", { class: "row" }, this.attach, this.mic, el("span", { class: "grow" }), this.quiet, this.send, this.stop),
    );
  }

  focus() {
    // On a phone it would raise the keyboard.
    if (matchMedia("(pointer: fine)").matches) this.text.focus({ preventScroll: true });
  }

  setState({ isWriting, isSpeaking }) {
    const hadFocus = document.activeElement === this.send || document.activeElement === this.stop;
    this.send.hidden = isWriting;
    this.stop.hidden = !isWriting;
    this.quiet.hidden = isWriting || !isSpeaking;
    if (hadFocus) (isWriting ? this.stop : this.send).focus();
  }

  /** Whether the model that was chosen sees images. */
  setSight(canSee, model) {
    this.#canSee = canSee;
    this.#model = model;
    const label = canSee ? "Attach an image" : `Attach an image: ${model} sees none`;
    this.attach.title = label;
    this.attach.setAttribute("aria-label", label);
    this.attach.classList.toggle("is-off", !canSee);
  }

  // ---------------------------------------------------------------- text

  #key(event) {
    const isTouch = matchMedia("(pointer: coarse)").matches;
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || isTouch) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    if (this.microphone.state === "listening") return this.microphone.finish();
    const text = this.text.value.trim();
    if (!text && !this.#images.length) return;
    if (this.#images.length && !this.#canSee) {
      say(`${this.#model} sees no images. Choose a model that does, or take the image away.`, { isProblem: true });
      return;
    }
    if (!this.onsend(text, this.#images)) return;
    this.text.value = "";
    this.#images = [];
    this.#drawImages();
    this.#fit();
  }

  #fit() {
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight}px`;
  }

  // ---------------------------------------------------------------- images

  #attach() {
    if (this.#canSee) this.file.click();
    else say(`${this.#model} sees no images. Models that do are under Models.`, {});
  }

  #choose() {
    this.#add([...this.file.files]);
    this.file.value = "";
  }

  #paste(event) {
    const files = [...event.clipboardData.files].filter(({ type }) => type.startsWith("image/"));
    if (!files.length) return;
    event.preventDefault();
    if (this.#canSee) this.#add(files);
    else this.#attach();
  }

  async #add(files) {
    for (const file of files) {
      try {
        this.#images.push(await imageOf(file));
      } catch (error) {
        problem(error);
      }
    }
    this.#drawImages();
  }

  #drawImages() {
    const without = (url) => () => {
      this.#images = this.#images.filter((each) => each !== url);
      this.#drawImages();
    };
    this.shownImages.hidden = !this.#images.length;
    this.shownImages.replaceChildren(...this.#images.map((url) => (
      el("span", { class: "image" }, el("img", { src: url, alt: "Image to send" }), iconButton("close", "Take the image away", without(url)))
    )));
  }

  // ---------------------------------------------------------------- microphone

  #press(event) {
    if (event.button) return;
    this.mic.setPointerCapture(event.pointerId);
    this.#begin();
  }

  #begin() {
    if (this.microphone.state === "listening") {
      this.#pressedAt = -Infinity; // the second press: it ends with its release
      return;
    }
    const why = microphoneProblem();
    if (why) return say(why, { isProblem: true });
    this.#pressedAt = performance.now();
    this.onlisten();
    this.microphone.start();
  }

  #release() {
    if (performance.now() - this.#pressedAt > HOLD_MS) this.microphone.finish();
  }

  #keyPress(event) {
    if (event.key === "Escape") this.microphone.cancel();
    if (!["Enter", " "].includes(event.key)) return;
    event.preventDefault();
    if (!event.repeat) this.#begin();
  }

  #keyRelease(event) {
    if (["Enter", " "].includes(event.key)) this.#release();
  }

  #listened(state) {
    const words = { idle: "", starting: "One moment…", listening: "Listening… let go to send, or press again", writing: "Writing down what you said…" };
    this.heard.textContent = words[state];
    this.listening.hidden = state === "idle";
    this.text.hidden = state !== "idle";
    this.level.style.transform = "scaleX(0)";
    this.mic.classList.toggle("is-main", state === "listening");
    this.mic.setAttribute("aria-pressed", String(state === "listening"));
    this.mic.disabled = state === "writing";
    announce(words[state]);
  }

  #heard(text) {
    if (!text) return say("Nothing was heard. Hold the button while you speak, closer to the microphone.");
    this.text.value = [this.text.value.trim(), text].filter(Boolean).join(" ");
    this.#submit();
  }
}
