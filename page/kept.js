// The speech that the server keeps in `audio/`: a list to listen to, save and share.

import { get, send } from "./api.js";
import { busy, copy, download, el, iconButton, problem, say, size } from "./ui.js";

const PATH = "/v1/audio/speech/kept";
const AT_FIRST = 6;
const MORE = 50;

/** The list: { node, refresh(), listen(id) }. `onlisten` gets a file of it, as the server lists it, and its
    sound. */
export function kept(onlisten) {
  const list = el("ul", { class: "rows" });
  const more = el("button", { type: "button", class: "button is-small", onclick: () => draw(shown + MORE) }, "Show more");
  const wrong = el("div");
  const node = el("section", { class: "card stack", "aria-label": "Earlier", hidden: true }, el("h2", {}, "Earlier"), wrong, list, more);
  let files = [];
  let shown = AT_FIRST;

  function draw(count) {
    shown = count;
    list.replaceChildren(...files.slice(0, shown).map((file) => row(file, onlisten)));
    more.hidden = files.length <= shown;
    node.hidden = files.length === 0 && !wrong.firstChild;
  }

  async function refresh() {
    try {
      files = (await get(PATH)).data;
      wrong.replaceChildren();
    } catch (error) {
      problem(error, wrong);
    }
    draw(shown);
  }

  /** Listen to one by its id, which may be no more. */
  async function listen(id) {
    const file = files.find((each) => each.id === id) ?? { id, words: "" };
    await sound(id).then((blob) => onlisten(file, blob)).catch(problem);
  }

  return { node, refresh, listen };
}

async function sound(id) {
  return (await send(`${PATH}/${encodeURIComponent(id)}`)).blob();
}

function row(file, onlisten) {
  const name = file.words || "no words";
  const when = new Date(file.created * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const play = iconButton("play", `Listen to: ${name}`, () => busy(play, async () => onlisten(file, await sound(file.id))));
  const save = iconButton("download", `Save: ${name}`, () => busy(save, async () => download(await sound(file.id), file.id)));
  const pass = iconButton("share", `Share: ${name}`, () => busy(pass, () => share(file)));
  return el("li", { class: "row" }, play,
    el("div", { class: "grow" }, el("p", { class: "cut", dir: "auto" }, name),
      el("p", { class: "hint cut" }, `${file.voice} · ${when} · ${file.format}, ${size(file.size_bytes)}`)),
    el("span", {}, save, pass));
}

/** On a phone to another app; elsewhere as a link to this page. */
async function share(file) {
  if (navigator.share && matchMedia("(pointer: coarse)").matches) {
    const blob = await sound(file.id);
    const files = [new File([blob], file.id, { type: blob.type })];
    if (navigator.canShare?.({ files })) return navigator.share({ files });
  }
  const isCopied = await copy(`${location.origin}/#speak/${encodeURIComponent(file.id)}`);
  if (!isCopied) throw new Error("The browser did not let the page copy the link.");
  return say("The link is copied. It works for whoever can open this page, as long as the server keeps the file.");
}
