// Runs on the browser's audio thread: passes on what the microphone hears, in blocks of 2048 samples.

const BLOCK = 2048;

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
    this.isOver = false;
    this.port.onmessage = () => {
      this.port.postMessage(this.block.slice(0, this.filled));
      this.port.postMessage(null); // that was all
      this.isOver = true;
    };
  }

  process([[heard]]) {
    if (this.isOver) return false;
    if (!heard) return true; // the microphone has not begun
    if (this.filled + heard.length > BLOCK) {
      this.port.postMessage(this.block.slice(0, this.filled));
      this.filled = 0;
    }
    this.block.set(heard, this.filled);
    this.filled += heard.length;
    return true;
  }
}

registerProcessor("recorder", Recorder);
