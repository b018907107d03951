// Sound out and in: a player of speech that is still being made, and a recorder. Knows nothing of what is drawn.
// Samples are Float32Array, mono, -1…1.

const RATE_HZ = 24_000;
const LEAD_S = 0.03; // between now and the first sample, so that it is not already past when it is scheduled
const BLOCK_S = 0.1; // at least so much is scheduled at once, but for the first block of all

/** Plays answers of /v1/audio/speech (wav or pcm) one after the other without a gap, each while it arrives. */
export class Player {
  #context = null;
  #pieces = new Set();
  #sources = new Set();
  #last = Promise.resolve();
  #nextAt = 0; // when the next sample is due, on the context's clock
  #onchange;

  /** `onchange` is called whenever `isPlaying` may have changed. */
  constructor({ onchange = () => {} } = {}) {
    this.#onchange = onchange;
  }

  /** Browsers let sound begin in a click or a key press only: call this there if the sound comes later. */
  unlock() {
    // At the speech's own rate: blocks that the browser resamples one by one would click where they meet.
    this.#context ??= new AudioContext({ sampleRate: RATE_HZ });
    if (this.#context.state === "suspended") this.#context.resume();
  }

  /** Whether anything is heard or about to be. */
  get isPlaying() {
    return this.#pieces.size > 0;
  }

  /** Queue an answer (or the promise of one). The piece that is given back tells how it fares. */
  add(answer) {
    this.unlock();
    const piece = new Piece(this.#context);
    this.#pieces.add(piece);
    const previous = this.#last;
    // Read at once, heard in its turn: what waits is not made to wait by us.
    const blocks = new Blocks(answer);
    this.#last = (async () => {
      await previous;
      await this.#play(piece, blocks);
    })();
    this.#onchange();
    return piece;
  }

  /** Silence, now. What was queued is dropped. */
  stop() {
    for (const source of this.#sources) source.stop();
    this.#sources.clear();
    for (const piece of this.#pieces) piece.stopped();
    this.#pieces.clear();
    this.#nextAt = 0;
    this.#last = Promise.resolve();
    this.#onchange();
  }

  pause() {
    return this.#context?.suspend();
  }

  resume() {
    return this.#context?.resume();
  }

  async #play(piece, blocks) {
    try {
      for await (const samples of blocks) {
        if (piece.isStopped) return;
        this.#schedule(piece, samples, blocks.rateHz);
      }
      piece.received(blocks.rateHz);
      this.#endWithLast(piece);
    } catch (error) {
      piece.failed(error);
      this.#forget(piece);
    } finally {
      if (piece.isStopped) blocks.cancel();
    }
  }

  #schedule(piece, samples, rateHz) {
    const buffer = this.#context.createBuffer(1, samples.length, rateHz);
    buffer.copyToChannel(samples, 0);
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#context.destination);
    const at = Math.max(this.#nextAt, this.#context.currentTime + (this.#nextAt ? 0 : LEAD_S));
    source.start(at);
    this.#nextAt = at + buffer.duration;
    piece.begins(at, samples);
    piece.last = source;
    this.#sources.add(source);
    source.addEventListener("ended", () => this.#sources.delete(source));
  }

  #endWithLast(piece) {
    const done = () => {
      piece.over();
      this.#forget(piece);
    };
    if (piece.last && this.#sources.has(piece.last)) piece.last.addEventListener("ended", done);
    else done();
  }

  #forget(piece) {
    this.#pieces.delete(piece);
    if (!this.isPlaying) this.#nextAt = 0;
    this.#onchange();
  }
}

/** One answer in a Player's queue. `begun`: its first sample is scheduled; `sound`: all of it has arrived, as
    { samples, rateHz }; `ended`: it was heard, or stopped. `begun` and `sound` fail when the answer does. */
class Piece {
  #context;
  #blocks = [];
  #startAt = null;
  isStopped = false;
  last = null;

  constructor(context) {
    this.#context = context;
    for (const name of ["begun", "sound", "ended"]) {
      this[name] = new Promise((resolve, reject) => (this[`_${name}`] = { resolve, reject }));
      this[name].catch(() => {}); // who waits for one of them need not wait for all
    }
  }

  /** Seconds of it that were heard. */
  get position() {
    if (this.#startAt === null) return 0;
    return Math.min(Math.max(0, this.#context.currentTime - this.#startAt), this.duration);
  }

  /** Seconds of it that have arrived. */
  get duration() {
    return this.#blocks.reduce((sum, each) => sum + each.length, 0) / (this.rateHz ?? RATE_HZ);
  }

  /** What has arrived of it. */
  get samples() {
    return joined(this.#blocks);
  }

  begins(at, samples) {
    this.#startAt ??= at;
    this.#blocks.push(samples);
    this._begun.resolve();
  }

  received(rateHz) {
    this.rateHz = rateHz;
    this._begun.resolve();
    this._sound.resolve({ samples: joined(this.#blocks), rateHz });
  }

  over() {
    this._ended.resolve();
  }

  stopped() {
    this.isStopped = true;
    const stop = new DOMException("Stopped.", "AbortError");
    this._begun.reject(stop);
    this._sound.reject(stop);
    this.over();
  }

  failed(error) {
    this._begun.reject(error);
    this._sound.reject(error);
    this.over();
  }
}

/** The samples in a wav or pcm answer, block by block as they arrive. */
class Blocks {
  rateHz = RATE_HZ;
  #isStopped = false;
  #reader = null;

  constructor(answer) {
    this.answer = Promise.resolve(answer);
    this.answer.catch(() => {}); // said when its turn comes
  }

  cancel() {
    this.#isStopped = true;
    this.answer.then(() => this.#reader?.cancel()).catch(() => {});
  }

  async #read() {
    try {
      return await this.#reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server went away before all of it was spoken.");
    }
  }

  async *[Symbol.asyncIterator]() {
    const answer = await this.answer;
    if (this.#isStopped) return;
    const type = answer.headers.get("content-type") ?? "";
    if (!type.startsWith("audio/")) throw new Error("The answer is no sound.");
    this.rateHz = Number(/rate=(\d+)/.exec(type)?.[1] ?? RATE_HZ);
    this.#reader = answer.body.getReader();
    let rest = new Uint8Array();
    let isHeaderRead = !type.startsWith("audio/wav");
    let least = 2;
    while (true) {
      const { value, done } = await this.#read();
      if (value) rest = appended(rest, value);
      if (!isHeaderRead) {
        const header = wavHeader(rest);
        if (!header && !done) continue;
        if (!header) throw new Error("The answer is no sound.");
        isHeaderRead = true;
        this.rateHz = header.rateHz;
        rest = rest.slice(header.length);
      }
      if (rest.length >= least || (done && rest.length > 1)) {
        const whole = rest.length & ~1;
        yield floats(rest.slice(0, whole));
        rest = rest.slice(whole);
        least = 2 * BLOCK_S * this.rateHz;
      }
      if (done) return;
    }
  }
}

function appended(first, second) {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function floats(bytes) {
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, at) => view.getInt16(2 * at, true) / 32_768);
}

function joined(blocks) {
  const all = new Float32Array(blocks.reduce((sum, each) => sum + each.length, 0));
  let at = 0;
  for (const block of blocks) {
    all.set(block, at);
    at += block.length;
  }
  return all;
}

/** Length and rate of a wav file's head; null until it has all arrived. Its sizes are not read: those of a
    stream are unknown when it begins. */
function wavHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let rateHz = RATE_HZ;
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = String.fromCharCode(...bytes.subarray(at, at + 4));
    if (name === "fmt " && at + 16 <= bytes.length) rateHz = view.getUint32(at + 12, true);
    if (name === "data") return { length: at + 8, rateHz };
    at += 8 + view.getUint32(at + 4, true);
  }
  return null;
}

/** A wav file (16 bit, mono) of samples. */
export function wavOf(samples, rateHz) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, rateHz, true);
  view.setUint32(28, 2 * rateHz, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, n) => view.setInt16(44 + 2 * n, Math.max(-1, Math.min(1, sample)) * 32_767, true));
  return new Blob([view.buffer], { type: "audio/wav" });
}

/** Why this page cannot use the microphone, in plain words with what helps; null when it can. */
export function microphoneProblem() {
  if (!isSecureContext) {
    return (
      "Browsers give the microphone only to pages from this machine itself or from https. Open the page as " +
      "http://localhost, or start the server with --ssl-certfile and --ssl-keyfile (see Status)."
    );
  }
  return navigator.mediaDevices ? null : "This browser gives no page a microphone.";
}

const REFUSALS = {
  NotAllowedError: "The page may not use the microphone. Allow it in the browser, beside the address, and try again.",
  NotFoundError: "There is no microphone. Connect one and try again.",
  NotReadableError: "Another program has the microphone. Close that and try again.",
};

/** Begin to record: { stop() -> wav Blob, cancel(), seconds }. `onlevel` is told how loud it is, 0…1, several
    times a second; `isRaw` leaves out the browser's own noise and echo filters, for a voice to be cloned. */
export async function record({ onlevel = () => {}, isRaw = false } = {}) {
  const why = microphoneProblem();
  if (why) throw new Error(why);
  const filters = { echoCancellation: !isRaw, noiseSuppression: !isRaw, autoGainControl: !isRaw };
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, ...filters } });
  } catch (error) {
    throw new Error(REFUSALS[error.name] ?? `The microphone does not start: ${error.message}.`);
  }
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule("/page/recorder-worklet.js");
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    throw error;
  }
  return new Recording(stream, context, onlevel);
}

class Recording {
  #blocks = [];

  constructor(stream, context, onlevel) {
    this.stream = stream;
    this.context = context;
    this.node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    this.flushed = new Promise((resolve) => {
      this.node.port.onmessage = ({ data }) => {
        if (data === null) return resolve();
        this.#blocks.push(data);
        onlevel(levelOf(data));
      };
    });
    context.createMediaStreamSource(stream).connect(this.node);
  }

  /** Seconds recorded so far. */
  get seconds() {
    return this.#blocks.reduce((sum, each) => sum + each.length, 0) / this.context.sampleRate;
  }

  /** End it: a wav Blob of all that was heard. */
  async stop() {
    this.node.port.postMessage("end");
    await this.flushed;
    const samples = joined(this.#blocks);
    const rateHz = this.context.sampleRate;
    this.cancel();
    return wavOf(samples, rateHz);
  }

  /** End it, and throw away what was heard. */
  cancel() {
    for (const track of this.stream.getTracks()) track.stop();
    if (this.context.state !== "closed") this.context.close();
  }
}

/** How loud samples are, 0…1: from -60 dB to full scale, as ears count. */
function levelOf(samples) {
  const power = samples.reduce((sum, each) => sum + each * each, 0) / samples.length;
  return Math.min(1, Math.max(0, 1 + (10 * Math.log10(power + 1e-10)) / 60));
}
