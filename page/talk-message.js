// One message of a conversation, as it is shown; a reply also while it grows.

import { MarkdownView } from "./markdown.js";
import { statsText } from "./reply.js";
import { copyButton, el, icon, iconButton } from "./ui.js";

const ENDINGS = {
  stopped: "Stopped.",
  length: "The reply reached its longest length (see the settings of replies).",
};

/** A message with its buttons. `actions`: { edit(message, text), retry(message), speak(message) }. */
export class MessageView {
  #markdown = null;
  #drawn = ""; // what is shown for good: a long reply is not drawn a second time

  constructor(message, actions) {
    Object.assign(this, { message, actions });
    this.isReply = message.role === "assistant";
    this.body = el("div", { class: "message-text", dir: "auto" });
    this.foot = el("div", { class: "message-foot" });
    this.trouble = el("div", {});
    this.thoughts = el("div", { class: "thoughts-text", dir: "auto" });
    this.thoughtsTitle = el("summary", {}, "Thoughts");
    this.thinking = el("details", { class: "thoughts", hidden: true, ontoggle: () => this.#showThoughts() }, this.thoughtsTitle, this.thoughts);
    this.element = el(
      "article",
      { class: this.isReply ? "message is-reply" : "message is-mine", "aria-label": this.isReply ? "Reply" : "You" },
      this.isReply && this.thinking, this.#images(), this.body, this.trouble, this.foot,
    );
    if (this.isReply) this.#markdown = new MarkdownView(this.body);
  }

  #images() {
    const images = this.message.images ?? [];
    return images.length ? el("div", { class: "images" }, images.map((url) => el("img", { src: url, alt: "Attached image" }))) : null;
  }

  /** A reply has grown. */
  grow() {
    const { content, reasoning } = this.message;
    this.element.classList.toggle("is-waiting", !content && !reasoning);
    this.thoughtsTitle.textContent = content ? "Thoughts" : "Thinking…";
    this.thinking.hidden = !reasoning;
    this.#showThoughts();
    if (content && content !== this.#drawn) this.#markdown.set(content);
  }

  #showThoughts() {
    if (this.thinking.open) this.thoughts.textContent = this.message.reasoning ?? "";
  }

  /** The message as it stands. `isLast`: only then a reply can be written anew. */
  show({ isLast = false } = {}) {
    const { content, problem, ending } = this.message;
    if (this.isReply) {
      this.grow();
      this.element.classList.remove("is-waiting");
      if (this.#drawn !== content) this.#markdown.finish(content);
      this.#drawn = content;
    } else {
      this.body.textContent = content;
      this.body.hidden = !content;
    }
    this.trouble.replaceChildren(...this.#troubles(problem, ending, isLast));
    this.foot.replaceChildren(...(this.isReply ? this.#replyFoot(isLast) : this.#ownFoot()));
  }

  #troubles(problem, ending, isLast) {
    if (!problem) return ENDINGS[ending] ? [el("p", { class: "hint" }, ENDINGS[ending])] : [];
    const kept = this.message.content ? " What was written is kept." : "";
    const again = isLast && el(
      "button", { class: "button is-small", type: "button", onclick: () => this.actions.retry(this.message) }, icon("retry"), "Try again",
    );
    return [el("div", { class: "problem row is-apart", role: "alert" }, el("span", { class: "grow", dir: "auto" }, problem + kept), again)];
  }

  #replyFoot(isLast) {
    const { content } = this.message;
    const small = { class: "icon-button is-small" };
    return [
      content && copyButton(() => this.message.content, "Copy the reply"),
      content && iconButton("speak", "Read the reply aloud", () => this.actions.speak(this.message)),
      isLast && iconButton("retry", "Write the reply anew", () => this.actions.retry(this.message), small),
      el("span", { class: "hint numbers" }, statsText(this.message)),
    ].filter(Boolean).map((each) => {
      if (each.matches("button")) each.classList.add("is-small");
      return each;
    });
  }

  #ownFoot() {
    const buttons = [copyButton(() => this.message.content, "Copy the message"), iconButton("edit", "Change the message", () => this.#edit())];
    for (const button of buttons) button.classList.add("is-small");
    return buttons;
  }

  #edit() {
    if (this.element.querySelector("form")) return;
    const area = el("textarea", { "aria-label": "Your message", rows: 3, value: this.message.content, dir: "auto" });
    const close = () => {
      form.remove();
      this.body.hidden = !this.message.content;
      this.foot.hidden = false;
      this.foot.querySelector("[aria-label='Change the message']").focus();
    };
    const send = (event) => {
      event.preventDefault();
      close();
      if (area.value.trim()) this.actions.edit(this.message, area.value.trim());
    };
    const form = el(
      "form", { class: "stack", onsubmit: send }, area,
      el("p", { class: "hint" }, "The reply is written anew; what came after it is dropped."),
      el("div", { class: "row" },
        el("button", { class: "button is-main is-small" }, "Send"),
        el("button", { class: "button is-small", type: "button", onclick: close }, "Cancel")),
    );
    area.addEventListener("keydown", (event) => event.key === "Escape" && close());
    this.body.hidden = true;
    this.foot.hidden = true;
    this.body.after(form);
    area.focus();
  }
}
