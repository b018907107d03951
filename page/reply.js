// One reply of a model: what is asked, what has come so far, how it ended. Knows nothing of what is drawn.

import { events } from "./api.js";

/** What can be set about replies, as the settings show it: fields of /v1/chat/completions. */
export const OPTIONS = [
  { name: "temperature", label: "Temperature", placeholder: "0.8", hint: "Higher is livelier; 0 always takes the likeliest word.", min: 0, max: 5, step: 0.05 },
  { name: "top_p", label: "Top P", placeholder: "0.95", hint: "Only the likeliest words that make up this share.", min: 0, max: 1, step: 0.01 },
  { name: "min_p", label: "Min P", placeholder: "0.05", hint: "Leaves out words this much less likely than the best.", min: 0, max: 1, step: 0.01 },
  { name: "top_k", label: "Top K", placeholder: "40", hint: "Only so many of the likeliest words; 0: all.", min: 0, max: 1000, step: 1 },
  { name: "repeat_penalty", label: "Repeat penalty", placeholder: "1", hint: "1 is off; 1.1 keeps a model from repeating itself.", min: 0.5, max: 2, step: 0.01 },
  { name: "max_tokens", label: "Longest reply", placeholder: "no limit", hint: "In tokens, about ¾ of a word each.", min: 1, step: 1 },
  { name: "seed", label: "Seed", placeholder: "drawn", hint: "The same number gives the same reply again.", min: 0, step: 1 },
];

/** A message as the API takes it. */
function wire({ role, content, images = [] }) {
  if (!images.length) return { role, content };
  const parts = images.map((url) => ({ type: "image_url", image_url: { url } }));
  return { role, content: [...parts, { type: "text", text: content }] };
}

/** Have a model write the next message of a conversation. It grows while this runs: `onchange` is called after
    each change; `content`, `reasoning`, at the end `stats` and `ending`. Nothing is thrown: a failure is its
    `problem`, with what was written left as it is. */
export async function reply({ messages, model, system, options, signal, into, onchange }) {
  const said = messages.filter(({ role, content, images }) => role === "user" || content || images?.length).map(wire);
  const body = {
    model,
    messages: system ? [{ role: "system", content: system }, ...said] : said,
    stream: true,
    stream_options: { include_usage: true },
    ...options,
  };
  try {
    for await (const chunk of events("/v1/chat/completions", body, signal)) {
      take(chunk, into);
      onchange();
    }
  } catch (error) {
    if (error.name === "AbortError") into.ending = "stopped";
    else into.problem = error.message;
  }
  onchange();
}

function take(chunk, into) {
  for (const { delta, finish_reason: reason } of chunk.choices ?? []) {
    if (delta?.content) into.content += delta.content;
    if (delta?.reasoning_content) into.reasoning = (into.reasoning ?? "") + delta.reasoning_content;
    if (reason) into.ending = reason;
  }
  if (chunk.model) into.model = chunk.model;
  const { usage, timings } = chunk;
  if (usage) {
    into.stats = {
      numWritten: usage.completion_tokens,
      numRead: usage.prompt_tokens,
      numCached: usage.prompt_tokens_details?.cached_tokens ?? 0,
      perSecond: timings?.predicted_per_second ?? 0,
    };
  }
}

/** The numbers under a reply, in words; empty where there are none. */
export function statsText({ stats, model }) {
  if (!stats) return "";
  const speed = stats.perSecond ? `${stats.perSecond.toFixed(stats.perSecond < 10 ? 1 : 0)} tokens/s` : "";
  const read = `${stats.numRead} read` + (stats.numCached ? `, ${stats.numCached} of them remembered` : "");
  return [model, speed, `${stats.numWritten} written`, read].filter(Boolean).join(" · ");
}
