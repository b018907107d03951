// A sound with its waveform and a play button; one plays at a time.

import { ApiProblem } from "./api.js";
import { wavOf } from "./sound.js";
import { duration, el, icon, problem } from "./ui.js";
import { Waveform } from "./waveform.js";

const RATE_HZ = 24_000; // what the server speaks and hears voices at
// Larger files are played, not drawn: in memory their samples take twenty times as much.
const MAX_DRAWN_BYTES = 60_000_000;
let stopOther = () => {};

/** What makes sound calls this as it begins, with what stops it: the sound before it ends. */
export function only(stop) {
  if (stop !== stopOther) stopOther();
  stopOther = stop;
}

/** The samples of a file of sound, mono; throws where the browser cannot read it. */
export async function decoded(blob) {
  const bytes = await blob.arrayBuffer();
  if (blob.type.startsWith("audio/pcm")) {
    const view = new DataView(bytes);
    return Float32Array.from({ length: bytes.byteLength >> 1 }, (_, at) => view.getInt16(2 * at, true) / 32_768);
  }
  const sound = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(bytes);
  const samples = sound.getChannelData(0);
  for (let channel = 1; channel < sound.numberOfChannels; channel += 1) {
    sound.getChannelData(channel).forEach((sample, at) => (samples[at] += sample));
  }
  return sound.numberOfChannels > 1 ? samples.map((sample) => sample / sound.numberOfChannels) : samples;
}

export class Playback {
  #audio = new Audio();
  #url = null;
  #isLive = false;
  #button = el("button", { type: "button", class: "icon-button is-main", onclick: () => this.toggle() });
  #time = el("span", { class: "hint numbers" });
  #stop = () => this.pause();
  samples = null;

  /** `ontime` is told the seconds, many times each; `onselect` as for a Waveform; `onplay`, that it begins or
      ends. */
  constructor({ label, ontime = () => {}, onselect, onplay = () => {} }) {
    this.ontime = ontime;
    this.onplay = onplay;
    this.label = label;
    this.waveform = new Waveform({ label: `Place in: ${label}`, onseek: (time) => this.seek(time), onselect });
    this.node = el("div", { class: "playback" }, this.#button, this.waveform.node, this.#time);
    for (const name of ["play", "pause", "ended"]) this.#audio.addEventListener(name, () => this.#changed());
    this.#audio.addEventListener("loadedmetadata", () => this.#tell());
    this.#changed();
  }

  get isPlaying() {
    return this.#isLive || !this.#audio.paused;
  }

  get seconds() {
    return this.samples ? this.waveform.seconds : this.#audio.duration || 0;
  }

  /** Take a file of sound. What the browser cannot draw, it may play all the same; false then. */
  async load(blob) {
    this.pause();
    this.samples = null;
    this.waveform.show(new Float32Array(), RATE_HZ);
    this.blob = blob;
    try {
      if (blob.size > MAX_DRAWN_BYTES) throw new Error("It is too large to be drawn.");
      const samples = await decoded(blob);
      if (this.blob !== blob) return true; // another one came meanwhile
      this.samples = samples;
      this.waveform.show(samples, RATE_HZ);
    } catch {
      // The server reads more formats than browsers do: it is not refused for that.
    }
    if (this.blob !== blob) return true;
    if (this.#url) URL.revokeObjectURL(this.#url);
    const isBare = blob.type.startsWith("audio/pcm");
    this.#url = URL.createObjectURL(isBare ? wavOf(this.samples, RATE_HZ) : blob);
    // Asked for an empty file, the browser complains of its length.
    if (blob.size) this.#audio.src = this.#url;
    else this.#audio.removeAttribute("src");
    this.#tell();
    return this.samples !== null;
  }

  /** Show a piece of a Player while it is made and heard; `stop` ends it. */
  async live(piece, stop) {
    this.samples = null;
    this.blob = null;
    this.#isLive = true;
    this.#stopLive = stop;
    only(this.#stop);
    this.#changed();
    let shown = -Infinity;
    let isOver = false;
    piece.ended.finally(() => (isOver = true));
    while (!isOver) {
      await frame();
      if (piece.duration > 1.05 * shown + 0.3) {
        // Less and less often, the longer it is: all of it is drawn anew.
        shown = piece.duration;
        this.waveform.show(piece.samples, RATE_HZ);
      }
      this.waveform.position = piece.position;
      this.#time.textContent = duration(piece.position);
    }
    this.#isLive = false;
    this.#changed();
  }

  #stopLive = () => {};

  async play() {
    only(this.#stop);
    try {
      await this.#audio.play();
    } catch (error) {
      // Not allowed: nothing was clicked yet, as when a link leads to a sound. The button waits for that.
      if (!["AbortError", "NotAllowedError"].includes(error.name)) problem(new ApiProblem("This browser cannot play this sound."));
    }
  }

  pause() {
    if (this.#isLive) this.#stopLive();
    this.#audio.pause();
  }

  toggle() {
    if (this.isPlaying) return this.pause();
    const { selection, position } = this.waveform;
    if (selection && (position < selection.start || position >= selection.end)) this.seek(selection.start);
    return this.play();
  }

  seek(seconds) {
    if (this.#isLive) return;
    this.#audio.currentTime = seconds;
    this.#tell();
  }

  /** A wav file of what is selected; the file itself where that is all, or nothing is known of it. */
  get part() {
    const { selection, seconds } = this.waveform;
    if (!this.samples || !selection || selection.end - selection.start > seconds - 0.05) return this.blob;
    return wavOf(this.samples.slice(selection.start * RATE_HZ, selection.end * RATE_HZ), RATE_HZ);
  }

  #changed() {
    this.#button.replaceChildren(icon(this.#isLive ? "stop" : this.isPlaying ? "pause" : "play"));
    this.#button.setAttribute("aria-label", `${this.#isLive ? "Stop" : this.isPlaying ? "Pause" : "Play"}: ${this.label}`);
    this.onplay(this.isPlaying);
    if (!this.#audio.paused) this.#follow();
  }

  async #follow() {
    if (this.isFollowing) return;
    this.isFollowing = true;
    while (!this.#audio.paused) {
      this.#tell();
      const { selection } = this.waveform;
      if (this.samples && selection && this.#audio.currentTime >= selection.end) this.pause();
      await frame();
    }
    this.isFollowing = false;
    this.#tell();
  }

  #tell() {
    const now = this.#audio.currentTime;
    this.waveform.position = now;
    this.#time.textContent = `${duration(now)} / ${duration(this.seconds)}`;
    this.ontime(now);
  }
}

function frame() {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}
