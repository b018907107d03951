// What the server says of the recordings of a voice.

import { el } from "./ui.js";

const KINDS = { problem: "is-bad", warning: "is-warn", advice: "" };

/** What the server says of a voice's recordings. */
export function verdict(told) {
  const found = [...(told.findings ?? []), ...(told.clips ?? []).flatMap((clip) => clip.findings)];
  const seconds = told.speech_s === null || told.speech_s === undefined ? "" : `${told.speech_s.toFixed(1)} seconds of speech. `;
  const good = !found.length && el("p", {}, el("span", { class: "chip is-good" }, "Good"), " A clean recording of good length.");
  const numClips = told.clips?.length ?? 0;
  return el("div", { class: "stack" }, el("p", { class: "hint" }, `${seconds}${numClips} ${numClips === 1 ? "recording" : "recordings"}.`), good,
    found.map(({ kind, message }) => el("p", {}, el("span", { class: `chip ${KINDS[kind]}` }, kind), ` ${message}`)));
}
