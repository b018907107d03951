// The server's API: the only place that asks it for anything. Knows nothing of what is drawn.

const KEY = "api-key";
let keyOfThisVisit = ""; // where the browser keeps nothing

/** The API key that is sent; empty: none. */
export function key() {
  try {
    return localStorage.getItem(KEY) ?? keyOfThisVisit;
  } catch {
    return keyOfThisVisit;
  }
}

/** Send this API key from now on; empty: none. Throws ApiProblem for one that no request can carry. */
export function setKey(value) {
  const [odd] = /[^\x20-\xff]/u.exec(value) ?? [];
  if (odd) throw new ApiProblem(`No key has a '${odd}' in it: keys are of plain letters, digits and signs.`);
  keyOfThisVisit = value;
  try {
    if (value) localStorage.setItem(KEY, value);
    else localStorage.removeItem(KEY);
  } catch {
    // Storage is switched off: the key lasts until the page is closed.
  }
}

/** A request that failed: `status` is HTTP's (0: no answer came), `message` can be shown as it is, `body` is the
    answer's JSON. */
export class ApiProblem extends Error {
  constructor(message, status = 0, code = null) {
    super(message);
    this.name = "ApiProblem";
    this.status = status;
    this.code = code;
  }
}

const WENT_AWAY = "The server went away.";

/** The answer of `path`. A FormData goes as a form, a Blob as it is, any other body as JSON. Throws ApiProblem
    for any answer but a 2xx; the AbortError of `signal` passes through. */
export async function send(path, { method = "GET", body, signal } = {}) {
  const headers = {};
  if (key()) headers.Authorization = `Bearer ${key()}`;
  const isRaw = body === undefined || body instanceof FormData || body instanceof Blob;
  if (!isRaw) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: isRaw ? body : JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiProblem("The server does not answer. Is it running?");
  }
  if (answer.ok) return answer;
  throw await problemOf(answer);
}

async function problemOf(answer) {
  const text = await answer.text().catch(() => "");
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Something between us and the server answered in its own words.
  }
  const said = body?.error ?? {};
  const words = said.message ?? `The server answered ${answer.status} ${answer.statusText}.`;
  const wanted = key() ? "The server does not know this key." : "This server wants a key.";
  const message = answer.status === 401 ? wanted : words; // the field for it comes by "key-wanted"
  const problem = new ApiProblem(message, answer.status, said.code ?? null);
  problem.body = body;
  if (answer.status === 401) dispatchEvent(new CustomEvent("key-wanted", { detail: problem }));
  return problem;
}

async function json(answer) {
  try {
    return parsed(await answer.text());
  } catch (error) {
    if (error.name === "AbortError" || error instanceof ApiProblem) throw error;
    throw new ApiProblem(WENT_AWAY);
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiProblem("The server gave an answer that this page does not understand.");
  }
}

/** The JSON at `path`. */
export async function get(path, signal) {
  return json(await send(path, { signal }));
}

/** The JSON that answers `body`. */
export async function post(path, body, signal) {
  return json(await send(path, { method: "POST", body, signal }));
}

/** The server-sent events that answer `body`, each parsed. Throws ApiProblem for an `error` among them, and
    when the stream ends before its end: at `[DONE]`, or with `hasDone` false where there is none. */
export async function* events(path, body, signal, { hasDone = true } = {}) {
  const answer = await send(path, { method: "POST", body, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    while (true) {
      const { value, done } = await next(reader);
      if (done) break;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue;
        const data = line.slice(5).trim();
        if (data === "[DONE]") return;
        yield checked(parsed(data));
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // the reader of the events stopped early: the server should, too
  }
  if (hasDone) throw new ApiProblem(WENT_AWAY);
}

async function next(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiProblem(WENT_AWAY);
  }
}

function checked(event) {
  if (!event.error) return event;
  const { message, code } = event.error;
  throw new ApiProblem(message ?? "The server failed.", 200, code ?? null);
}
