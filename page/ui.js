// Pieces that every tab is made of. All text goes into the page as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Attributes: `class`, `dataset` and listeners (`onclick`) as one expects; true and false set and
    leave out; values of properties (`value`, `checked` …) go there. Children: nodes, texts, lists; null is none. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(made.dataset, value);
    else if (["value", "checked", "indeterminate", "srcObject"].includes(name)) made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** An icon of the sprite in index.html, such as `send`. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button that is an icon; `label` is what it is called. */
export function iconButton(name, label, onclick, attributes = {}) {
  return el("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...attributes }, icon(name));
}

/** Tell screen readers, without showing it. */
export function announce(text) {
  document.getElementById("said").textContent = text;
}

/** Show a short text for some seconds. `action`: { label, run } adds a button, such as "Undo". */
export function say(text, { action, isProblem = false, seconds = 6 } = {}) {
  const close = () => toast.remove();
  const toast = el(
    "div",
    { class: isProblem ? "toast is-problem" : "toast", role: isProblem ? "alert" : null },
    el("p", { dir: "auto" }, text),
    action && el("button", { class: "button is-small", onclick: () => { close(); action.run(); } }, action.label),
    iconButton("close", "Close this message", close),
  );
  const toasts = document.getElementById("toasts");
  // The same words twice tell nothing new.
  for (const other of toasts.children) if (other.firstChild.textContent === text) other.remove();
  toasts.append(toast);
  if (!isProblem) announce(text);
  setTimeout(close, (isProblem ? 2 * seconds : seconds) * 1000);
  return close;
}

/** Say what went wrong: in `where`, if given (replacing what it held), else in a toast. A stop that the user
    asked for is no problem. */
export function problem(error, where) {
  if (error?.name === "AbortError") return;
  const text = error?.message || String(error);
  // A plain Error has words for the user; any other is a fault of ours.
  if (error?.constructor !== Error && error?.name !== "ApiProblem") console.warn(error);
  if (where) where.replaceChildren(el("p", { class: "problem", role: "alert", dir: "auto" }, text));
  else say(text, { isProblem: true });
}

/** What a link names behind its tab (`#speak/hello.wav`); a broken one as it is. */
export function linked() {
  const name = location.hash.split("/")[1] ?? "";
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** What mends a part that is not ready: a link where a model has to be fetched, which the page can do too. */
export function mending(mend) {
  const name = /\bmodels download (\S+)/.exec(mend ?? "")?.[1];
  if (!name) return mend ?? "";
  return el("a", { href: `#models/${name}`, onclick: (event) => event.currentTarget.closest("dialog")?.close() }, `Fetch ${name} under Models.`);
}

/** Do async `work` while a button is off, so that a second click does nothing; a failure is shown. */
export async function busy(button, work, where) {
  if (button.hasAttribute("aria-busy")) return undefined;
  // Not `disabled`: that takes the focus away.
  for (const state of ["aria-busy", "aria-disabled"]) button.setAttribute(state, "true");
  try {
    return await work();
  } catch (error) {
    problem(error, where);
    return undefined;
  } finally {
    for (const state of ["aria-busy", "aria-disabled"]) button.removeAttribute(state);
  }
}

/** Put a text on the clipboard; where the browser forbids it (a page without https), by the older way. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = document.activeElement;
    const area = el("textarea", { class: "unseen", value: text, "aria-hidden": "true" });
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    before.focus({ preventScroll: true });
    return isCopied;
  }
}

/** A button that copies a text, or what a function gives. */
export function copyButton(text, label = "Copy") {
  const button = iconButton("copy", label, async () => {
    const isCopied = await copy(typeof text === "function" ? text() : text);
    if (!isCopied) return say("The browser did not let the page copy. Select the text and copy it yourself.", { isProblem: true });
    button.replaceChildren(icon("check"));
    announce("Copied.");
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

/** A field to drop files on, or to choose them with. `onfiles` gets an array of Files. */
export function fileDrop({ label, hint = "", accept = "", multiple = false, onfiles }) {
  const input = el("input", { type: "file", class: "unseen", accept, multiple, onchange: () => give(input.files) });
  const give = (files) => {
    if (files.length) onfiles(multiple ? [...files] : [files[0]]);
    input.value = ""; // so that the same file can be chosen again
  };
  const over = (isOver) => (event) => {
    event.preventDefault();
    drop.classList.toggle("is-over", isOver);
    if (event.type === "drop") give(event.dataTransfer.files);
  };
  const drop = el(
    "label",
    { class: "drop", ondragover: over(true), ondragleave: over(false), ondrop: over(false) },
    icon("upload"), el("strong", {}, label), hint && el("span", { class: "hint" }, hint), input,
  );
  return drop;
}

/** Save a Blob as a file. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

let numFields = 0;

/** An input under its label; `aside` stands at the end of the label's line. */
export function field(label, input, aside) {
  input.id = `field-${(numFields += 1)}`;
  const name = el("label", { for: input.id }, label);
  return el("div", { class: "field" }, aside ? el("div", { class: "row is-apart" }, name, aside) : name, input);
}

/** Bytes, as people say them: 25 MB. */
export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (bytes >= 1000 && at < units.length - 1) {
    bytes /= 1000;
    at += 1;
  }
  return `${at && bytes < 10 ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
}

/** Seconds, as a clock shows them: 1:05, 1:02:03. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  const tail = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}
