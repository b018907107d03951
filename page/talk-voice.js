// The voice of the Talk tab: replies spoken while they are written, and "hold to talk".

import { post, send } from "./api.js";
import { record } from "./sound.js";

const FIRST_CLAUSE = 40; // characters after which the first piece may end at a comma: to be heard soon
const LEAST = [2, 60, 160]; // characters of the first piece, the second, each later one
const MOST = 1000; // of one without any mark in it

// "1. ", "J. " and "Dr. " end no sentence.
const NO_END = /(^|\s)(\d{1,3}|\p{Lu}|Mrs?|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e)\.\s$/u;

/** Cuts a growing text into pieces to be spoken: the first one short, the later ones longer, for a voice reads
    several sentences better than one. Code is left out. */
export class Pieces {
  #at = 0;
  #numCut = 0;

  /** The pieces that are complete in the text so far; at its end (`isWhole`) the rest too. */
  *next(text, isWhole = false) {
    while (this.#at < text.length) {
      const rest = text.slice(this.#at);
      if (/^\s*(```|~~~)/.test(rest)) {
        const code = /^\s*(```|~~~)[^\n]*\n(?:[^]*?\n)??\s*\1[^\n]*(\n|$)/.exec(rest);
        if (!code && !isWhole) return;
        this.#at += code ? code[0].length : rest.length;
        continue;
      }
      const prose = rest.split(/\n\s*(?=```|~~~)/, 1)[0];
      const length = this.#length(prose, isWhole || prose.length < rest.length);
      if (!length) return;
      this.#at += length;
      const piece = prose.slice(0, length).trim();
      if (!/[\p{L}\p{N}]/u.test(piece)) continue;
      this.#numCut += 1;
      yield piece;
    }
  }

  #length(prose, isAll) {
    const least = LEAST[Math.min(this.#numCut, LEAST.length - 1)];
    const ends = /[.!?…]+["'”’»)\]*_]*\s|[。！？]+[”’」』）]*|\n+/g;
    for (const end of prose.matchAll(ends)) {
      const length = end.index + end[0].length;
      if (length >= least && !NO_END.test(prose.slice(0, length))) return length;
    }
    if (isAll && prose.length <= MOST) return prose.length;
    if (this.#numCut === 0) {
      for (const clause of prose.matchAll(/[,;:–—]\s/g)) if (clause.index >= FIRST_CLAUSE) return clause.index + 2;
    }
    return prose.length > MOST ? prose.lastIndexOf(" ", MOST) + 1 || MOST : 0;
  }
}

/** A reply being spoken: `feed` it the text so far, `finish` it with the whole, or `stop` it. */
export class SpokenReply {
  #pieces = new Pieces();
  #stop = new AbortController();
  #last = Promise.resolve();

  constructor(player, voice, onproblem) {
    Object.assign(this, { player, voice, onproblem });
  }

  feed(text, isWhole = false) {
    if (this.#stop.signal.aborted) return;
    for (const piece of this.#pieces.next(text, isWhole)) this.#speak(piece);
  }

  finish(text) {
    this.feed(text, true);
  }

  stop() {
    this.#stop.abort();
    this.player.stop();
  }

  /** One piece is asked for when the one before has arrived, which is long before it was heard. */
  #speak(text) {
    const { signal } = this.#stop;
    const body = { input: text, voice: this.voice, response_format: "pcm", stream: true };
    const previous = this.#last;
    const answer = (async () => {
      await previous;
      signal.throwIfAborted();
      return send("/v1/audio/speech", { method: "POST", body, signal });
    })();
    const piece = this.player.add(answer);
    this.#last = piece.sound.then(
      () => {},
      (error) => {
        if (error.name === "AbortError" || signal.aborted) return;
        this.#stop.abort(); // the next piece would fail the same way
        this.onproblem(error);
      },
    );
  }
}

/** The microphone of the composer: idle -> starting -> listening -> writing -> idle. */
export class Microphone {
  state = "idle";
  #recording = null;
  #isCancelled = false;

  /** `onstate` is told of each state, `onlevel` how loud it is (0…1); `onheard` gets the words. */
  constructor({ onstate, onlevel, onheard, onproblem }) {
    Object.assign(this, { onstate, onlevel, onheard, onproblem });
  }

  #to(state) {
    this.state = state;
    this.onstate(state);
  }

  async start() {
    if (this.state !== "idle") return;
    this.#isCancelled = false;
    this.#to("starting");
    try {
      this.#recording = await record({ onlevel: this.onlevel });
    } catch (error) {
      this.#to("idle");
      this.onproblem(error);
      return;
    }
    if (this.#isCancelled) this.cancel();
    else this.#to("listening");
  }

  /** Write down what was heard. */
  async finish() {
    if (this.state !== "listening") return;
    this.#to("writing");
    try {
      const form = new FormData();
      form.append("file", await this.#recording.stop(), "said.wav");
      form.append("model", "whisper-1");
      const { text } = await post("/v1/audio/transcriptions", form);
      this.#to("idle");
      this.onheard(text.trim());
    } catch (error) {
      this.#to("idle");
      this.onproblem(error);
    }
  }

  /** Forget what was heard. */
  cancel() {
    this.#isCancelled = true;
    if (!this.#recording || this.state === "writing") return;
    this.#recording.cancel();
    this.#recording = null;
    this.#to("idle");
  }
}
