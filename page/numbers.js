// What /metrics says, in the few numbers that the Status tab shows.

import { size } from "./ui.js";

const PREFIX = "openai_api_";

/** The numbers of Prometheus's text by name, summed over their labels: `of(name)`; `of(name, { engine: "chat" })`
    of these labels only. */
export function numbersOf(text) {
  const lines = [...text.matchAll(/^([a-z_:]+)(?:\{(.*)\})? ([\d.e+-]+)$/gim)].map(([, name, labels = "", value]) => ({
    name,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, said]) => [label, said])),
    value: Number(value),
  }));
  return {
    of(name, wanted = {}) {
      const found = lines.filter((line) => line.name === name || line.name === PREFIX + name);
      const fits = ({ labels }) => Object.entries(wanted).every(([label, said]) => labels[label] === said);
      return found.filter(fits).reduce((sum, { value }) => sum + value, 0);
    },
    engines: [...new Set(lines.filter(({ name }) => name === `${PREFIX}jobs_running`).map(({ labels }) => labels.engine))],
  };
}

const TOKENS = "chat_completion_tokens_total";
const ENGINES = { chat: "chat", embeddings: "embeddings", speech: "speech", voice_cloning: "cloned voices", transcription: "transcription" };

/** Remembers the last numbers, to say how fast they grow. */
export class Rates {
  #before = null;

  /** [name, value, hint] of what is shown. `now` in seconds. */
  tiles(numbers, now) {
    const written = numbers.of(TOKENS);
    const before = this.#before ?? { written, now };
    this.#before = { written, now };
    // An answer's tokens are counted when it is over: between two looks none may have been.
    const mean = numbers.of("chat_time_per_output_token_seconds_count") / numbers.of("chat_time_per_output_token_seconds_sum");
    const running = numbers.engines.filter((engine) => numbers.of("jobs_running", { engine }));
    const cached = numbers.of("chat_cached_prompt_tokens_total") / numbers.of("chat_prompt_tokens_total");
    const started = numbers.of("process_start_time_seconds");
    return [
      ["Busy with", running.length ? running.map((engine) => ENGINES[engine] ?? engine).join(", ") : "nothing", `${numbers.of("jobs_running")} running`],
      ["Waiting", String(numbers.of("jobs_waiting")), `${numbers.of("jobs_refused_total")} refused so far`],
      ["Tokens/s", mean ? mean.toFixed(mean < 10 ? 1 : 0) : "–", growth(written, before.written)],
      ["Remembered", cached ? `${Math.round(100 * cached)} %` : "–", "of the prompts"],
      ["Memory", numbers.of("process_resident_memory_bytes") ? size(numbers.of("process_resident_memory_bytes")) : "–", "of this server"],
      ["Up for", started ? hours(Date.now() / 1000 - started) : "–", `${numbers.of("http_requests_total")} requests`],
    ];
  }
}

function hours(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function growth(written, before) {
  const more = written > before ? `, ${written - before} just now` : "";
  return `${written.toLocaleString("en")} written${more}`;
}
