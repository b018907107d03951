// The tab "Voices": all voices to play, a new one from a recording, and deleting one.

import { get, send } from "./api.js";
import { newVoice } from "./new_voice.js";
import { Playback, only } from "./playback.js";
import { Player } from "./sound.js";
import { busy, el, iconButton, mending, problem, say } from "./ui.js";
import { verdict } from "./verdict.js";

const TYPES = { cloned: "Your own voices", standard: "Standard voices", studio: "Studio voices" };
const SHOWN = 60; // of ten thousand voices nobody looks at all
const UNDO_S = 60;

/** Draw the tab. */
export function open(section) {
  const tab = new Voices();
  section.append(tab.node);
  section.addEventListener("shown", () => tab.refresh());
}

class Voices {
  #player = new Player({ onchange: () => this.#heard() });
  #playing = null; // the button of what is played
  #leaving = new Map(); // id of a voice to be deleted: until when, in ms
  #stop = () => this.#player.stop();

  constructor() {
    this.search = el("input", { type: "search", placeholder: "Search by name", "aria-label": "Search voices", oninput: () => this.#draw() });
    this.searching = el("div", { hidden: true }, this.search);
    this.wrong = el("div");
    this.lists = el("div", { class: "stack is-wide" });
    this.preview = new Playback({ label: "the recording" });
    this.details = el("dialog", { "aria-label": "A voice", onclose: () => this.preview.pause() });
    const maker = newVoice(async (voice) => {
      await this.refresh();
      say(`${voice.name} is there.`);
    });
    this.node = el("div", { class: "column" }, el("h1", {}, "Voices"),
      el("p", { class: "lead" }, "Listen to every voice, and make one of your own from half a minute of speech."),
      maker, this.searching, this.wrong, this.lists, this.details);
    this.voices = [];
  }

  async refresh() {
    this.wrong.replaceChildren();
    try {
      const [{ data }, health] = await Promise.all([get("/v1/audio/voices"), get("/health")]);
      this.voices = data;
      this.cloning = health.parts.voice_cloning;
    } catch (error) {
      problem(error, this.wrong);
      const again = el("button", { type: "button", class: "button", onclick: () => busy(again, () => this.refresh()) }, "Try again");
      this.wrong.append(again);
    }
    this.searching.hidden = this.voices.length <= 24;
    this.#draw();
  }

  #draw() {
    const words = this.search.value.trim().toLowerCase();
    const found = this.voices.filter((voice) => `${voice.name} ${voice.description}`.toLowerCase().includes(words));
    const groups = Object.entries(TYPES).map(([type, title]) => {
      const voices = found.filter((voice) => voice.type === type);
      if (!voices.length) return null;
      const isMute = type === "cloned" && this.cloning?.status === "unavailable";
      const more = voices.length - SHOWN;
      return el("section", { class: "stack", "aria-label": title }, el("h2", {}, title),
        isMute && el("p", { class: "note" }, `They cannot speak yet, but their recordings can be played. ${this.cloning.reason} `, mending(this.cloning.mend)),
        el("div", { class: "cards" }, voices.slice(0, SHOWN).map((voice) => this.#card(voice))),
        more > 0 && el("p", { class: "hint" }, `And ${more.toLocaleString("en")} more. Search for one by its name.`));
    });
    this.lists.replaceChildren(...groups.filter(Boolean));
    if (words && !found.length) this.lists.append(el("p", { class: "empty" }, "No voice has that in its name."));
  }

  #card(voice) {
    if (this.#leaving.has(voice.id)) return this.#leavingCard(voice);
    const isOwn = voice.type === "cloned";
    const wrong = el("div");
    const play = iconButton("play", `Listen to ${voice.name}`, () => this.#listen(play, voice, wrong), { class: "icon-button is-main" });
    const own = isOwn && [
      iconButton("list", `About ${voice.name}`, (event) => busy(event.currentTarget, () => this.#about(voice))),
      iconButton("trash", `Delete ${voice.name}`, () => this.#ask(voice)),
    ];
    return el("article", { class: "card voice", "aria-label": voice.name }, play,
      el("div", { class: "grow" }, el("h3", { dir: "auto" }, voice.name), el("p", { class: "hint", dir: "auto" }, voice.description)),
      el("span", { class: "own" }, own), wrong);
  }

  /** Its own words; of a cloned voice that cannot speak, the recording. A second click stops it. */
  async #listen(button, voice, wrong) {
    if (this.#playing === button) return this.#player.stop();
    this.#player.stop();
    wrong.replaceChildren();
    only(this.#stop);
    this.#playing = button;
    this.#mark(button, "stop", `Stop ${voice.name}`);
    const isMute = voice.type === "cloned" && this.cloning?.status !== "ready";
    const body = { voice: voice.id, input: "Hello! This is how I sound when I read something to you.", response_format: "wav", stream: true };
    const path = isMute ? `/v1/audio/voices/${encodeURIComponent(voice.id)}/preview` : "/v1/audio/speech";
    const piece = this.#player.add(send(path, isMute ? {} : { method: "POST", body }));
    await piece.sound.catch((error) => problem(error, wrong));
    await piece.ended;
    this.#mark(button, "play", `Listen to ${voice.name}`);
    if (this.#playing === button) this.#playing = null;
    return undefined;
  }

  #mark(button, name, label) {
    button.querySelector("use").setAttribute("href", `#i-${name}`);
    button.setAttribute("aria-label", label);
    button.title = label;
  }

  #heard() {
    if (!this.#player.isPlaying) this.#playing = null;
  }

  /** What its recordings are worth, and the recording. */
  async #about(voice) {
    const path = `/v1/audio/voices/${encodeURIComponent(voice.id)}`;
    const [told, sound] = await Promise.all([get(path), send(`${path}/preview`).then((answer) => answer.blob()).catch(() => null)]);
    const close = el("button", { type: "button", class: "button", onclick: () => this.details.close() }, "Close");
    this.details.replaceChildren(el("div", { class: "stack" }, el("h2", { dir: "auto" }, told.name), verdict(told), sound && this.preview.node,
      el("p", { class: "hint" }, told.ready ? "It can speak: choose it in Speak or Talk." : [`It cannot speak yet. ${told.engine_status.reason ?? ""} `, mending(told.engine_status.mend)]), close));
    this.details.showModal();
    if (sound) await this.preview.load(sound);
  }

  #ask(voice) {
    const sure = el("button", { type: "button", class: "button is-bad", onclick: () => { this.details.close(); this.#leave(voice); } }, "Delete it");
    const not = el("button", { type: "button", class: "button", onclick: () => this.details.close() }, "Keep it");
    this.details.replaceChildren(el("div", { class: "stack" }, el("h2", { dir: "auto" }, `Delete ${voice.name}?`),
      el("p", {}, "Its recordings are deleted with it. For a minute it can be undone."), el("div", { class: "row" }, sure, not)));
    this.details.showModal();
  }

  /** The server is told after a minute, so that nothing has to be brought back; a page that is closed before
      deletes nothing. */
  #leave(voice) {
    const timer = setTimeout(() => this.#delete(voice), UNDO_S * 1000);
    const ticker = setInterval(() => this.#tick(voice.id), 1000);
    const end = () => {
      clearTimeout(timer);
      clearInterval(ticker);
      this.#leaving.delete(voice.id);
      this.#draw();
    };
    const left = el("span", { class: "numbers" });
    this.#leaving.set(voice.id, { until: Date.now() + UNDO_S * 1000, left, end });
    this.#tick(voice.id);
    this.#draw();
    left.closest("article")?.querySelector("button").focus();
  }

  #tick(id) {
    const leaving = this.#leaving.get(id);
    if (leaving) leaving.left.textContent = `${Math.max(0, Math.ceil((leaving.until - Date.now()) / 1000))} s`;
  }

  #leavingCard(voice) {
    const { left, end } = this.#leaving.get(voice.id);
    return el("article", { class: "card voice is-leaving", "aria-label": voice.name },
      el("div", { class: "grow" }, el("h3", { dir: "auto" }, voice.name),
        el("p", { class: "hint" }, "Is deleted in ", left, ". Close the page, and it stays.")),
      el("button", { type: "button", class: "button is-small", onclick: end }, "Undo"));
  }

  async #delete(voice) {
    try {
      await send(`/v1/audio/voices/${encodeURIComponent(voice.id)}`, { method: "DELETE" });
      say(`${voice.name} is deleted.`);
    } catch (error) {
      problem(error);
    }
    this.#leaving.get(voice.id)?.end();
    await this.refresh();
  }
}
