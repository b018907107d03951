// A transcription as a file: the same texts that the server writes, without asking it to listen once more.

/** By the ending of the file: its type, and what writes it of { text, segments, words, language, duration }. */
export const FORMATS = {
  txt: { type: "text/plain", write: ({ text }) => `${text}\n` },
  srt: { type: "application/x-subrip", write: ({ segments }) => segments.map((each, n) => `${n + 1}\n${cue(each, ",")}`).join("") },
  vtt: { type: "text/vtt", write: ({ segments }) => `WEBVTT\n\n${segments.map((each) => cue(each, ".")).join("")}` },
  json: { type: "application/json", write: (said) => `${JSON.stringify(said, null, 2)}\n` },
};

function cue({ start, end, text }, point) {
  return `${clock(start, point)} --> ${clock(end, point)}\n${text.trim()}\n\n`;
}

function clock(seconds, point) {
  const all = Math.round(seconds * 1000);
  const parts = [Math.floor(all / 3_600_000), Math.floor(all / 60_000) % 60, Math.floor(all / 1000) % 60];
  return `${parts.map((part) => String(part).padStart(2, "0")).join(":")}${point}${String(all % 1000).padStart(3, "0")}`;
}
