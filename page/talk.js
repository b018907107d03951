// The tab "Talk": a conversation with a model, by writing and by speaking.

import { get } from "./api.js";
import { Composer } from "./talk-composer.js";
import { ConversationList } from "./talk-list.js";
import { MessageView } from "./talk-message.js";
import { chosenOptions, hasSettings, openSettings, systemPrompt } from "./talk-settings.js";
import { SpokenReply } from "./talk-voice.js";
import { reply } from "./reply.js";
import { Player } from "./sound.js";
import { choice, choose, conversation, keep, newConversation, newId, others, troubles } from "./store.js";
import { announce, el, iconButton, problem, say } from "./ui.js";

const KEEP_EACH_MS = 3000; // while a reply is written
const NEAR = 80; // pixels from the end at which reading counts as being there
const TITLE_WORDS = 7;

/** Draw the tab. */
export async function open(section) {
  const talk = new Talk();
  section.append(talk.element);
  section.addEventListener("shown", () => talk.shown());
  await talk.start();
}

class Talk {
  #conversation = newConversation();
  #views = [];
  #writing = null; // the AbortController of the reply that is being written
  #spoken = null;
  #isStarted = false;

  constructor() {
    this.player = new Player({ onchange: () => this.#showState() });
    this.list = new ConversationList({
      onopen: (id) => this.#open(id),
      onnew: () => this.#show(newConversation()),
      onremoved: (id) => id === this.#conversation.id && this.#show(newConversation()),
      onrename: (id, title) => this.#rename(id, title),
    });
    this.composer = new Composer({
      onsend: (text, images) => this.#send(text, images),
      onstop: () => this.#stop(),
      onlisten: () => this.#silence(),
    });
    this.title = el("h1", { class: "talk-title", dir: "auto" });
    this.models = el("select", { "aria-label": "Model", onchange: () => this.#choseModel() });
    this.voices = el("select", { "aria-label": "Voice of the replies", onchange: () => this.#choseVoice() });
    this.tune = iconButton("tune", "Settings of replies", () => openSettings(() => this.#showState()));
    this.messages = el("div", { class: "talk-messages", tabindex: "0", role: "log", "aria-label": "Messages", "aria-live": "off" });
    this.element = this.#frame();
  }

  #frame() {
    const show = (isShown) => {
      this.element.classList.toggle("has-list", isShown);
      if (isShown) this.list.element.querySelector("button").focus();
      else if (!isShown && this.list.element.contains(document.activeElement)) toggle.focus();
    };
    const toggle = iconButton("list", "Conversations", () => show(!this.element.classList.contains("has-list")), { class: "icon-button talk-toggle" });
    this.list.element.addEventListener("keydown", ({ key }) => key === "Escape" && show(false));
    const bar = el("div", { class: "talk-bar" }, toggle, this.title, el("div", { class: "talk-choices" }, this.models, this.voices, this.tune));
    const shade = el("div", { class: "talk-shade", onclick: () => this.element.classList.remove("has-list") });
    return el("div", { class: "talk" }, this.list.element, shade, el("div", { class: "talk-main" }, bar, this.messages, this.composer.element));
  }

  async start() {
    troubles.addEventListener("trouble", ({ detail }) => say(detail, { isProblem: true }));
    others.addEventListener("changed", ({ detail }) => this.#changedElsewhere(detail));
    this.#draw();
    this.#offerFocus();
    await Promise.all([this.#readModels(), this.#readVoices(), this.list.refresh()]);
  }

  /** Come back to: models and voices may have come meanwhile. */
  shown() {
    if (this.#isStarted) Promise.all([this.#readModels(), this.#readVoices()]);
    this.#isStarted = true;
    this.#offerFocus();
  }

  /** Writing can begin at once, unless somebody is elsewhere already. */
  #offerFocus() {
    if (document.activeElement === document.body) this.composer.focus();
  }

  // ---------------------------------------------------------------- models and voices

  async #readModels() {
    try {
      const { data } = await get("/v1/models");
      this.known = new Map(data.map((model) => [model.id, model]));
      const option = ({ id }) => el("option", { value: id }, id);
      const aliases = data.filter(({ id, root }) => id !== root);
      this.models.replaceChildren(
        el("optgroup", { label: "Models" }, data.filter(({ id, root }) => id === root).map(option)),
        aliases.length ? el("optgroup", { label: "Other names" }, aliases.map(option)) : "",
      );
      const wanted = choice("model", "");
      if (this.known.has(wanted)) this.models.value = wanted;
      this.#choseModel();
    } catch (error) {
      if (error.status !== 401) problem(error);
    }
  }

  async #readVoices() {
    try {
      const { data } = await get("/v1/audio/voices");
      this.voices.replaceChildren(
        el("option", { value: "" }, "Silent replies"),
        el("optgroup", { label: "Speak replies as" }, data.map(({ id, name, description }) => el("option", { value: id, title: description }, name))),
      );
      const wanted = choice("voice", "");
      if (data.some(({ id }) => id === wanted)) this.voices.value = wanted;
    } catch (error) {
      if (error.status !== 401) problem(error);
    }
  }

  #choseModel() {
    choose("model", this.models.value);
    const modalities = this.known?.get(this.models.value)?.input_modalities ?? [];
    this.composer.setSight(modalities.includes("image"), this.models.value);
  }

  #choseVoice() {
    choose("voice", this.voices.value);
    if (!this.voices.value) this.#silence();
    else this.player.unlock();
  }

  // ---------------------------------------------------------------- the conversation

  async #open(id) {
    this.element.classList.remove("has-list");
    if (id === this.#conversation.id) return;
    try {
      const kept = await conversation(id);
      if (kept) this.#show(kept);
    } catch (error) {
      problem(error);
    }
  }

  #show(shown) {
    this.#stop();
    this.#conversation = shown;
    this.element.classList.remove("has-list");
    this.#draw();
    this.messages.scrollTop = this.messages.scrollHeight;
    this.list.refresh(shown.id);
    this.composer.focus();
  }

  #draw() {
    const { messages, title } = this.#conversation;
    this.title.textContent = title || "New conversation";
    const known = new Map(this.#views.map((view) => [view.message, view]));
    this.#views = messages.map((message) => known.get(message) ?? new MessageView(message, this.#actions));
    this.#views.forEach((view, at) => view.show({ isLast: at === messages.length - 1 }));
    this.messages.replaceChildren(...(messages.length ? this.#views.map(({ element }) => element) : [this.#welcome()]));
    this.#showState();
  }

  #welcome() {
    const ideas = ["Explain a rainbow to a child.", "Write a haiku about rain.", "Plan a meal with eggs and rice."];
    return el(
      "div", { class: "talk-welcome" },
      el("p", { class: "talk-hello" }, "What is on your mind?"),
      el("p", { class: "hint" }, "Everything stays on your own machine. Write below, or hold the microphone and speak."),
      el("div", { class: "row" }, ideas.map((idea) => el("button", { class: "button", type: "button", onclick: () => this.#send(idea, []) }, idea))),
    );
  }

  #actions = {
    edit: (message, text) => this.#again(message, { ...message, content: text }),
    retry: (message) => this.#again(message),
    speak: (message) => this.#speakAgain(message),
  };

  /** Another tab changed a conversation: show it anew, unless something is being written here. */
  async #changedElsewhere(id) {
    await this.list.refresh();
    const kept = await conversation(id);
    if (id !== this.#conversation.id) return;
    if (!kept) this.#deletedElsewhere();
    else if (kept.revision > this.#conversation.revision && !this.#writing) {
      this.#conversation = kept;
      this.#draw();
    }
  }

  /** What is on the screen stays there; going on with it makes a new conversation of it. */
  #deletedElsewhere() {
    this.#conversation = { ...this.#conversation, id: newId(), revision: 0 };
    say("This conversation was deleted in another tab. If you go on with it here, it is kept as a new one.", { seconds: 30 });
  }

  async #keep() {
    const shown = this.#conversation;
    const before = shown.id;
    await keep(shown);
    if (shown === this.#conversation) this.title.textContent = shown.title;
    if (before !== shown.id) say("This conversation went on in another tab. Here it is one of its own now.");
    await this.list.refresh(this.#conversation.id);
  }

  /** The one that is open gets its name here: a copy of it would go another way than the reply that is written. */
  async #rename(id, title) {
    const isOpen = id === this.#conversation.id;
    const named = isOpen ? this.#conversation : await conversation(id);
    if (!named) return;
    named.title = title;
    await (isOpen ? this.#keep() : keep(named));
  }

  // ---------------------------------------------------------------- writing

  #send(text, images) {
    if (this.#writing) return false;
    const { messages } = this.#conversation;
    messages.push({ role: "user", content: text, images });
    this.#conversation.title ||= titleOf(text);
    this.#write();
    return true;
  }

  /** Write a reply anew: drop it, or what comes from a message on, of which `changed` takes the place. */
  #again(message, changed) {
    if (this.#writing) return;
    const { messages } = this.#conversation;
    const at = messages.indexOf(message);
    if (at < 0) return;
    messages.splice(at);
    if (changed) messages.push(changed);
    this.#write();
    this.composer.focus();
  }

  async #write() {
    const shown = this.#conversation;
    const message = { role: "assistant", content: "", model: this.models.value };
    this.#silence();
    this.#writing = new AbortController();
    const { signal } = this.#writing;
    if (this.voices.value) this.player.unlock(); // while this is still the user's own click
    const asked = [...shown.messages];
    shown.messages.push(message);
    this.#draw();
    const view = this.#views.at(-1);
    view.grow();
    view.foot.replaceChildren();
    this.messages.scrollTop = this.messages.scrollHeight;
    this.#spoken = this.voices.value ? new SpokenReply(this.player, this.voices.value, problem) : null;
    let keptAt = performance.now();
    const keeping = this.#keep();
    const onchange = () => {
      view.grow();
      this.#spoken?.feed(message.content);
      this.#follow();
      if (performance.now() - keptAt < KEEP_EACH_MS) return;
      keptAt = performance.now();
      keep(shown);
    };
    await reply({ messages: asked, model: this.models.value, system: systemPrompt(), options: chosenOptions(), signal, into: message, onchange });
    await keeping;
    this.#written(shown, message, view);
  }

  #written(shown, message, view) {
    this.#writing = null;
    if (!message.problem && message.ending !== "stopped") this.#spoken?.finish(message.content);
    view.show({ isLast: true });
    if (shown === this.#conversation) {
      announce(message.problem ?? "The reply is written.");
      this.#follow();
      this.#keep();
    } else keep(shown).then(() => this.list.refresh());
    this.#showState();
  }

  /** Stay at the end, for who reads there. */
  #follow() {
    const { scrollTop, scrollHeight, clientHeight } = this.messages;
    const isNear = scrollHeight - scrollTop - clientHeight < NEAR;
    if (isNear) requestAnimationFrame(() => (this.messages.scrollTop = this.messages.scrollHeight));
  }

  // ---------------------------------------------------------------- speaking

  #speakAgain(message) {
    this.#silence();
    const voice = this.voices.value || choice("last-voice", "alloy");
    this.#spoken = new SpokenReply(this.player, voice, problem);
    this.#spoken.finish(message.content);
  }

  #silence() {
    this.#spoken?.stop();
    this.#spoken = null;
  }

  #stop() {
    this.#writing?.abort();
    this.#silence();
  }

  #showState() {
    const isWriting = this.#writing !== null;
    this.composer.setState({ isWriting, isSpeaking: this.player.isPlaying });
    this.messages.setAttribute("aria-busy", String(isWriting));
    this.tune.classList.toggle("is-set", hasSettings());
  }
}

/** The first words of a message, as a conversation's name. */
function titleOf(text) {
  const words = text.trim().split(/\s+/);
  const title = words.slice(0, TITLE_WORDS).join(" ").slice(0, 60);
  return (words.length > TITLE_WORDS || title.length === 60 ? `${title}…` : title) || "An image";
}
