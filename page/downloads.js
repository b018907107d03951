// The downloads of models: begun, shown while they run, stopped.

import { events, get, send } from "./api.js";
import { announce, busy, duration, el, say, size } from "./ui.js";

export class Downloads {
  #rows = new Map(); // name of a model: its row

  /** `onend` is called when one is over. */
  constructor(onend) {
    this.onend = onend;
    this.list = el("ul", { class: "rows" });
    this.node = el("section", { class: "card stack", "aria-label": "Being fetched", hidden: true }, el("h2", {}, "Being fetched"), this.list);
  }

  /** Look on at those that run: others may have begun them. */
  async refresh() {
    const { data } = await get("/v1/models/downloads");
    for (const download of data) {
      const isRunning = ["starting", "running"].includes(download.status);
      if (isRunning && !this.#rows.has(download.model)) this.begin(download.model).catch(() => {}); // said in its row
    }
  }

  /** Fetch a model, to its end; who asks for one that is being fetched shares it. Throws what goes wrong before
      it begins. `terms`: { accept_license } where that was asked for. */
  async begin(model, terms = {}) {
    if (this.#rows.has(model)) return;
    const row = new Row(model, () => this.#forget(model));
    this.#rows.set(model, row);
    this.list.append(row.node);
    this.node.hidden = false;
    const stream = events("/v1/models/download", { model, stream: true, ...terms });
    try {
      for await (const download of stream) row.show(download);
      this.#ended(model, row, terms);
    } catch (error) {
      // What never began is the button's to tell; what broke off stays in its row, with a way on.
      if (!row.last) {
        this.#forget(model);
        throw error;
      }
      row.failed(error.message, () => {
        this.#forget(model);
        return this.begin(model, terms);
      });
    }
  }

  #ended(model, row, terms) {
    const { status, root, error } = row.last ?? {};
    if (status === "failed") {
      row.failed(error ?? "It failed.", () => {
        this.#forget(model);
        return this.begin(model, terms);
      });
      return;
    }
    this.#forget(model);
    say(status === "stopped" ? `${model} is stopped. What was fetched is kept for the next time.` : `${root ?? model} is here.`);
    this.onend();
  }

  #forget(model) {
    this.#rows.get(model)?.node.remove();
    this.#rows.delete(model);
    this.node.hidden = this.#rows.size === 0;
  }
}

class Row {
  last = null;

  constructor(model, forget) {
    this.model = model;
    this.forget = forget;
    this.bar = el("progress", { "aria-label": `How far ${model} is` });
    this.state = el("p", { class: "hint numbers" }, "Is looked up…");
    this.stop = el("button", { type: "button", class: "button is-small", disabled: true, "aria-label": `Stop ${model}`, onclick: () => busy(this.stop, () => this.#stop()) }, "Stop");
    this.node = el("li", { class: "row" }, el("div", { class: "grow" }, el("p", {}, el("strong", { dir: "auto" }, model)), this.bar, this.state), this.stop);
  }

  show(download) {
    this.last = download;
    const { completed_bytes: done, total_bytes: total, bytes_per_s: pace, seconds_left: left } = download;
    this.stop.disabled = false;
    if (!total) return;
    this.bar.max = total;
    this.bar.value = done;
    const speed = pace ? `, ${size(pace)} a second` : "";
    const rest = left === null ? "" : `, ${duration(left)} left`;
    this.state.textContent = `${size(done)} of ${size(total)}${speed}${rest}`;
  }

  failed(message, again) {
    this.bar.hidden = true;
    this.state.textContent = message;
    this.state.className = "problem";
    announce(message);
    const retry = el("button", { type: "button", class: "button is-small", onclick: () => busy(retry, again) }, "Try again");
    const close = el("button", { type: "button", class: "button is-small", onclick: this.forget }, "Close");
    this.stop.replaceWith(el("span", { class: "row" }, retry, close));
  }

  async #stop() {
    await send(`/v1/models/downloads/${encodeURIComponent(this.last.id)}`, { method: "DELETE" });
  }
}
