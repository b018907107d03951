// How other programs are connected, step by step: the texts of the Status tab.

/** As seen from a container on the same machine, which has a localhost of its own. */
function fromContainer({ protocol, hostname, port }) {
  const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  return `${protocol}//${isHere ? "host.docker.internal" : hostname}${port ? `:${port}` : ""}/v1`;
}

export const CONNECTIONS = [
  {
    name: "Open WebUI",
    steps: (location) => [
      "Open Admin Panel → Settings → Connections, and add a connection under OpenAI API.",
      `URL: ${location.origin}/v1 – if Open WebUI runs in Docker: ${fromContainer(location)}`,
      "Key: anything, or one of the server's keys where it has some. Save: the models appear in the list.",
      "For voices: Admin Panel → Settings → Audio. Choose OpenAI for both directions, with the same URL and key; speech model tts-1 and voice alloy, transcription model whisper-1.",
    ],
  },
  {
    name: "SillyTavern",
    steps: (location) => [
      "Open API Connections (the plug), choose Chat Completion, and as source Custom (OpenAI-compatible).",
      `Custom endpoint: ${location.origin}/v1 – then Connect, and choose a model.`,
      `For voices: Extensions → TTS → OpenAI Compatible, endpoint ${location.origin}/v1/audio/speech; for cloned voices XTTSv2, endpoint ${location.origin}`,
    ],
  },
  {
    name: "Python",
    steps: (location) => [
      "pip install openai",
      `import openai; client = openai.OpenAI(base_url="${location.origin}/v1", api_key="none-needed")`,
      'client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hello!"}])',
    ],
  },
];
