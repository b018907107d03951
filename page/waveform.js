// A waveform on a canvas: how far it was played, a place to jump to and, where wanted, a range to select. Every
// part of it is a slider to keyboards and screen readers.

import { duration, el } from "./ui.js";

const BAR = 3; // pixels from bar to bar
const LOOKS = 400_000; // samples that are looked at for one drawing: of an hour each would take a second
const STEP_S = 0.1;
const KEYS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };

export class Waveform {
  #samples = new Float32Array();
  #rateHz = 1;
  #position = 0;
  #peaks = null;
  #canvas = el("canvas", { "aria-hidden": "true" });
  #seek;
  #handles = [];
  selection = null; // { start, end } in seconds

  /** `onseek` is told the seconds that were jumped to; with `onselect` there is a range, and it is told that. */
  constructor({ label, onseek, onselect }) {
    this.onselect = onselect;
    this.#seek = slider(label, { read: () => this.#position, move: onseek });
    if (onselect) {
      this.#handles = [
        this.#handle("Beginning", "start", (time) => Math.min(time, this.selection.end - STEP_S)),
        this.#handle("End", "end", (time) => Math.max(time, this.selection.start + STEP_S)),
      ];
    }
    this.node = el("div", { class: "waveform" }, this.#canvas, this.#seek, this.#handles);
    for (const part of [this.#seek, ...this.#handles]) drag(part, this);
    new ResizeObserver(() => this.#resized()).observe(this.node);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  get seconds() {
    return this.#samples.length / this.#rateHz;
  }

  get position() {
    return this.#position;
  }

  set position(seconds) {
    this.#position = seconds;
    this.draw();
  }

  /** Draw these samples; all of them are selected. */
  show(samples, rateHz) {
    this.#samples = samples;
    this.#rateHz = rateHz;
    this.#peaks = null;
    if (this.onselect) this.select(0, this.seconds);
    else this.draw();
  }

  /** Select from one second to another. */
  select(start, end) {
    this.selection = { start: Math.max(0, start), end: Math.min(this.seconds, end) };
    this.draw();
    this.onselect(this.selection);
  }

  /** The seconds at a place on the screen. */
  at(x) {
    const box = this.node.getBoundingClientRect();
    return (Math.min(Math.max(0, x - box.left), box.width) / box.width) * this.seconds;
  }

  #handle(label, side, within) {
    const move = (time) => this.select(...Object.values({ ...this.selection, [side]: within(time) }));
    return slider(label, { read: () => this.selection?.[side] ?? 0, move, className: `handle is-${side}` });
  }

  #resized() {
    const scale = devicePixelRatio;
    this.#canvas.width = this.node.clientWidth * scale;
    this.#canvas.height = this.node.clientHeight * scale;
    this.#peaks = null;
    this.draw();
  }

  draw() {
    const { width, height } = this.#canvas;
    const { seconds } = this;
    for (const part of [this.#seek, ...this.#handles]) part.tell(seconds);
    if (!width) return;
    const drawing = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.node);
    const [played, waiting, left] = ["--accent", "--line-strong", "--line"].map((name) => style.getPropertyValue(name));
    drawing.clearRect(0, 0, width, height);
    const bar = BAR * devicePixelRatio;
    this.#peaks ??= peaksOf(this.#samples, Math.floor(width / bar));
    this.#peaks.forEach((peak, at) => {
      const time = (at / this.#peaks.length) * seconds;
      const isOut = this.selection && (time < this.selection.start || time > this.selection.end);
      drawing.fillStyle = isOut ? left : time < this.#position ? played : waiting;
      const tall = Math.max(devicePixelRatio, peak * height);
      drawing.fillRect(at * bar, (height - tall) / 2, bar * 0.66, tall);
    });
  }
}

/** The loudest sample for each of `count` bars, as a share of the loudest of all. */
function peaksOf(samples, count) {
  const each = samples.length / count;
  const step = Math.max(1, Math.floor(samples.length / LOOKS));
  const peaks = Array.from({ length: samples.length ? count : 0 }, (_, at) => {
    let most = 0;
    const end = Math.min(samples.length, (at + 1) * each);
    for (let n = Math.floor(at * each); n < end; n += step) most = Math.max(most, Math.abs(samples[n]));
    return most;
  });
  const loudest = Math.max(0.05, ...peaks);
  return peaks.map((peak) => peak / loudest);
}

/** An element that is a slider of seconds; `tell` has it say where it is, of so many. */
function slider(label, { read, move, className = "seek" }) {
  const keys = (event) => {
    const ends = { Home: 0, End: Infinity };
    if (!(event.key in KEYS) && !(event.key in ends)) return;
    event.preventDefault();
    const seconds = Number(part.getAttribute("aria-valuemax"));
    const to = ends[event.key] ?? read() + KEYS[event.key] * (className === "seek" ? 1 : STEP_S);
    move(Math.min(Math.max(0, to), seconds));
  };
  const attributes = { role: "slider", tabindex: "0", "aria-label": label, "aria-valuemin": "0" };
  const part = el("div", { class: className, ...attributes, onkeydown: keys });
  part.move = move;
  part.tell = (seconds) => {
    part.setAttribute("aria-valuemax", seconds.toFixed(1));
    part.setAttribute("aria-valuenow", read().toFixed(1));
    part.setAttribute("aria-valuetext", `${duration(read())} of ${duration(seconds)}`);
    if (className !== "seek") part.style.left = `${seconds ? (100 * read()) / seconds : 0}%`;
  };
  part.tell(0);
  return part;
}

function drag(part, waveform) {
  const follow = (event) => part.move(waveform.at(event.clientX));
  part.addEventListener("pointerdown", (event) => {
    part.setPointerCapture(event.pointerId);
    follow(event);
  });
  part.addEventListener("pointermove", (event) => {
    if (part.hasPointerCapture(event.pointerId)) follow(event);
  });
}
