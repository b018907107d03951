// What the page keeps in this browser: conversations (IndexedDB) and choices (localStorage). Where the browser
// keeps nothing, or is full, all lasts until the page is closed, and `troubles` says so.
//
// A conversation: { id, title, createdAt, updatedAt, revision, messages: [{ role, content, … }] }; times in ms.

const NAME = "conversations";
const HEADS = "heads"; // what the list shows, without reading the conversations themselves

/** Told in words when something cannot be kept. */
export const troubles = new EventTarget();
/** Told of what other tabs of this browser changed: "changed" with the id as detail. */
export const others = new EventTarget();

const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel(NAME) : null;
if (channel) {
  channel.onmessage = ({ data }) => {
    removed.delete(data); // if it was brought back there, it is kept here too
    changedElsewhere(data);
  };
}

const inMemory = new Map();
const removed = new Set(); // here: a reply that was still being written brings no conversation back
let opening = null;

function changedElsewhere(id) {
  others.dispatchEvent(new CustomEvent("changed", { detail: id }));
}

function trouble(text) {
  troubles.dispatchEvent(new CustomEvent("trouble", { detail: text }));
}

/** The database; null where the browser has none for us. */
function database() {
  opening ??= new Promise((resolve) => {
    const giveUp = () => {
      trouble("This browser keeps nothing for this page: conversations last until it is closed. Export those that you need.");
      resolve(null);
    };
    try {
      const request = indexedDB.open("page", 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore(NAME, { keyPath: "id" });
        request.result.createObjectStore(HEADS, { keyPath: "id" });
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = giveUp;
    } catch {
      giveUp();
    }
  });
  return opening;
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function headOf({ id, title, updatedAt }) {
  return { id, title, updatedAt };
}

/** A name for something, that nothing else has. */
export function newId() {
  // Not randomUUID: pages without https have none.
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A conversation without a word yet. It is kept with its first message. */
export function newConversation() {
  return { id: newId(), title: "", createdAt: Date.now(), updatedAt: Date.now(), revision: 0, messages: [] };
}

/** { id, title, updatedAt } of all conversations, the latest first. */
export async function heads() {
  const kept = await database();
  const all = kept ? await result(kept.transaction(HEADS).objectStore(HEADS).getAll()) : [];
  const loose = [...inMemory.values()].map(headOf);
  return [...all.filter(({ id }) => !inMemory.has(id)), ...loose].sort((a, b) => b.updatedAt - a.updatedAt);
}

/** A conversation; undefined when there is none with this id. */
export async function conversation(id) {
  if (inMemory.has(id)) return structuredClone(inMemory.get(id));
  const kept = await database();
  return kept ? result(kept.transaction(NAME).objectStore(NAME).get(id)) : undefined;
}

/** Keep a conversation. If another tab went on with it since it was read, it is not overwritten: this one
    becomes a conversation of its own (its `id` and `title` change). One that was deleted stays deleted. */
export async function keep(conversation) {
  if (removed.has(conversation.id)) return;
  conversation.updatedAt = Date.now();
  const kept = inMemory.has(conversation.id) ? null : await database();
  try {
    if (!kept) throw new DOMException("", "UnknownError");
    if (await write(kept, conversation)) channel?.postMessage(conversation.id);
    else changedElsewhere(conversation.id);
  } catch (error) {
    if (error.name === "QuotaExceededError") {
      trouble("The browser's storage is full: this conversation lasts until the page is closed. Export or delete some.");
    }
    inMemory.set(conversation.id, structuredClone(conversation));
  }
}

/** Whether it is kept now: one that was kept before, and is no more, is not. */
function write(kept, conversation) {
  let isThere = true;
  return new Promise((resolve, reject) => {
    const transaction = kept.transaction([NAME, HEADS], "readwrite");
    const store = transaction.objectStore(NAME);
    const reading = store.get(conversation.id);
    reading.onsuccess = () => {
      isThere = Boolean(reading.result) || conversation.revision === 0;
      if (!isThere) return;
      if (reading.result && reading.result.revision !== conversation.revision) {
        conversation.id = newId();
        conversation.title = `${conversation.title} (from another tab)`;
      }
      conversation.revision += 1;
      store.put(conversation);
      transaction.objectStore(HEADS).put(headOf(conversation));
    };
    transaction.oncomplete = () => resolve(isThere);
    transaction.onabort = () => reject(transaction.error);
  });
}

/** Keep a conversation that was deleted here after all. */
export async function restore(conversation) {
  removed.delete(conversation.id);
  await keep(Object.assign(conversation, { revision: 0 }));
}

/** Delete a conversation. */
export async function remove(id) {
  removed.add(id);
  inMemory.delete(id);
  const kept = await database();
  if (!kept) return;
  const transaction = kept.transaction([NAME, HEADS], "readwrite");
  transaction.objectStore(HEADS).delete(id);
  await result(transaction.objectStore(NAME).delete(id));
  channel?.postMessage(id);
}

/** Conversations as a JSON file; all of them, or one. */
export async function exported(id) {
  const ids = id ? [id] : (await heads()).map((head) => head.id);
  const all = await Promise.all(ids.map(conversation));
  return new Blob([JSON.stringify({ conversations: all.filter(Boolean) }, null, 1)], { type: "application/json" });
}

/** Keep the conversations of an exported file; how many there were. Throws an Error that says what is wrong. */
export async function imported(text) {
  let read;
  try {
    read = JSON.parse(text).conversations.map(checked);
  } catch {
    throw new Error("This is no file of conversations. One that was exported here is wanted (.json).");
  }
  for (const each of read) await keep(each);
  return read.length;
}

/** A conversation of a file: what is not as it should be is left out. It never replaces one that is here. */
function checked({ title, createdAt, messages }) {
  const text = (value) => (typeof value === "string" ? value : "");
  const isImage = (url) => typeof url === "string" && /^data:image\/[a-z+.-]+;base64,/.test(url);
  return {
    ...newConversation(),
    title: text(title).slice(0, 200),
    createdAt: Number(createdAt) || Date.now(),
    messages: messages
      .filter(({ role }) => role === "user" || role === "assistant")
      .map(({ role, content, images, reasoning, model }) => ({
        role,
        content: text(content),
        images: Array.isArray(images) ? images.filter(isImage) : [],
        reasoning: text(reasoning),
        model: text(model),
      })),
  };
}

const choices = new Map(); // of this visit, where nothing is kept

/** What was chosen before, such as the model; `otherwise` if nothing was. */
export function choice(name, otherwise) {
  try {
    const kept = localStorage.getItem(`choice-${name}`);
    if (kept !== null) return JSON.parse(kept);
  } catch {
    // No storage, or not ours: as if nothing was chosen.
  }
  return choices.get(name) ?? otherwise;
}

/** Remember a choice. */
export function choose(name, value) {
  choices.set(name, value);
  try {
    localStorage.setItem(`choice-${name}`, JSON.stringify(value));
  } catch {
    // It lasts until the page is closed.
  }
}
