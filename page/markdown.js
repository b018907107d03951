// Markdown, drawn safely: marked makes HTML of it, DOMPurify lets through what is listed here and nothing else.
// HTML in the text is shown as the text that it is.

import { Marked } from "./vendor/marked.js";
import "./vendor/purify.js"; // sets DOMPurify
import { copyButton, el } from "./ui.js";

const TAGS = (
  "p br hr h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong del a table thead tbody tr th td"
).split(" ");
const ALLOWED = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["href", "title", "align", "start", "class"],
  ALLOWED_URI_REGEXP: /^(https?:|mailto:|#)/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
// A drawing may take one part of the time in so many: the rest is for reading, typing and scrolling.
const REST = 3;
const PART = 40; // blocks that are laid out together: what is out of sight then costs nothing

function escaped(text) {
  return text.replace(/[&<>"]/g, (letter) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[letter]);
}

const marked = new Marked({
  gfm: true,
  breaks: true, // models mean their line breaks: poems, addresses
  renderer: {
    html: ({ text, block }) => (block ? `<p>${escaped(text)}</p>` : escaped(text)),
    // An image would tell its host who reads this: a link leaves that to the reader.
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

/** Tokens of marked as nodes. */
function drawn(tokens) {
  const fragment = DOMPurify.sanitize(marked.parser(tokens), ALLOWED);
  for (const each of fragment.querySelectorAll("p, li, h1, h2, h3, h4, h5, h6, blockquote, td, th")) each.dir = "auto";
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const table of fragment.querySelectorAll("table")) {
    const frame = el("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const block of fragment.querySelectorAll("pre")) block.replaceWith(codeBlock(block));
  // Names of the page's own styles are not for models to use.
  for (const each of fragment.querySelectorAll("[class]")) if (!each.closest(".code, .table")) each.removeAttribute("class");
  return fragment;
}

function codeBlock(block) {
  const language = /language-([\w+#.-]+)/.exec(block.firstElementChild?.className ?? "")?.[1] ?? "";
  const text = block.textContent.replace(/\n$/, "");
  const code = el("pre", { tabindex: "0", dir: "ltr", "aria-label": language ? `Code: ${language}` : "Code" }, el("code", {}, text));
  return el("div", { class: "code" }, el("div", { class: "code-top" }, el("span", {}, language), copyButton(text, "Copy code")), code);
}

/** An element that shows Markdown, also while it grows: `set` as often as one likes, `finish` at the end. */
export class MarkdownView {
  #element;
  #text = "";
  #numDone = 0; // characters whose blocks are complete, and drawn for good
  #tail = []; // nodes of the last block, which may still change
  #part = null; // that the next block goes into
  #frame = 0;
  #restUntil = 0;

  constructor(element) {
    this.#element = element;
    element.classList.add("markdown");
  }

  /** The text so far; it is drawn with the next frame, or when drawing has rested. */
  set(text) {
    this.#text = text;
    this.#frame ||= requestAnimationFrame(() => this.#inFrame());
  }

  /** The whole text, drawn now. */
  finish(text) {
    cancelAnimationFrame(this.#frame);
    const source = normal(text);
    // A link's address may stand far below it, in a block of its own.
    const hasReferences = /^ {0,3}\[[^\]\n]+\]:/m.test(source);
    if (hasReferences || !source.startsWith(normal(this.#text).slice(0, this.#numDone))) {
      this.#numDone = 0;
      this.#tail = [];
      this.#part = null;
      this.#element.replaceChildren();
      this.#append(drawn(marked.lexer(source)));
      return;
    }
    this.#text = text;
    this.#draw();
  }

  #inFrame() {
    const now = performance.now();
    if (now < this.#restUntil) {
      this.#frame = requestAnimationFrame(() => this.#inFrame());
      return;
    }
    this.#frame = 0;
    this.#draw();
    // What layout costs shows when it is asked for.
    void this.#element.offsetHeight;
    this.#restUntil = performance.now() + REST * (performance.now() - now);
  }

  /** Only what comes after the last complete block is read and drawn again. */
  #draw() {
    const rest = normal(this.#text).slice(this.#numDone);
    const tokens = marked.lexer(rest);
    let last = tokens.findLastIndex((token) => token.type !== "space");
    if (tokens.reduce((sum, token) => sum + token.raw.length, 0) !== rest.length) last = 0;
    for (const node of this.#tail) node.remove();
    if (last > 0) {
      this.#append(drawn(tokens.slice(0, last)));
      for (const token of tokens.slice(0, last)) this.#numDone += token.raw.length;
    }
    this.#tail = this.#append(drawn(tokens.slice(Math.max(last, 0))));
  }

  /** Put blocks at the end; these blocks. */
  #append(fragment) {
    const blocks = [...fragment.childNodes];
    for (const block of blocks) {
      if (!this.#part || this.#part.childElementCount >= PART) {
        this.#part = el("div", { class: "part" });
        this.#element.append(this.#part);
      }
      this.#part.append(block);
    }
    return blocks;
  }
}

function normal(text) {
  return text.replace(/\r\n?/g, "\n");
}
