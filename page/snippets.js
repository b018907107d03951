// A request to /v1/audio/speech as programs would send it. The key itself is never shown: snippets are passed on.

import { key } from "./api.js";

/** Of `body`, by the name of the language. */
export function snippets(body) {
  return { curl: curl(body), Python: python(body), JavaScript: javascript(body) };
}

function curl(body) {
  const json = JSON.stringify(body, null, 2).replaceAll("'", String.raw`'\''`);
  const lines = [`curl ${location.origin}/v1/audio/speech`, `-H "Content-Type: application/json"`];
  if (key()) lines.push(`-H "Authorization: Bearer $OPENAI_API_KEY"`);
  lines.push(`-d '${json}'`, `--output speech.${body.response_format}`);
  return lines.join(" \\\n  ");
}

function python(body) {
  const { language, seed, ...own } = body;
  const more = { ...(language && { language }), ...(seed && { seed }) };
  const fields = Object.entries(own).map(([name, value]) => `    ${name}=${JSON.stringify(value)},`);
  if (Object.keys(more).length) fields.push(`    extra_body=${JSON.stringify(more)},`);
  return `import os
import openai

client = openai.OpenAI(
    base_url="${location.origin}/v1",
    api_key=os.environ.get("OPENAI_API_KEY", "none-needed"),
)
with client.audio.speech.with_streaming_response.create(
${fields.join("\n")}
) as speech:
    speech.stream_to_file("speech.${body.response_format}")
`;
}

function javascript(body) {
  const authorization = key() ? `\n    Authorization: \`Bearer \${process.env.OPENAI_API_KEY}\`,` : "";
  return `const answer = await fetch("${location.origin}/v1/audio/speech", {
  method: "POST",
  headers: {
    "Content-Type": "application/json",${authorization}
  },
  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll("\n", "\n  ")}),
});
if (!answer.ok) throw new Error((await answer.json()).error.message);
const speech = await answer.blob();
`;
}
