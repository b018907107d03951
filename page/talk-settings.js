// The settings of replies: the system prompt, and how a model chooses its words.

import { OPTIONS } from "./reply.js";
import { choice, choose } from "./store.js";
import { el, iconButton } from "./ui.js";

/** What the model is told before each conversation. */
export function systemPrompt() {
  return choice("system", "");
}

/** The options that were set, as the API takes them. */
export function chosenOptions() {
  const chosen = Object.fromEntries(OPTIONS.map(({ name }) => [name, choice(`option-${name}`, null)]));
  if (choice("thinking", "") !== "") chosen.enable_thinking = choice("thinking", "") === "yes";
  return Object.fromEntries(Object.entries(chosen).filter(([, value]) => value !== null));
}

/** Whether anything is not as it comes. */
export function hasSettings() {
  return systemPrompt() !== "" || Object.keys(chosenOptions()).length > 0;
}

function field({ name, label, hint, ...limits }) {
  const input = el("input", { type: "number", name, inputmode: "decimal", "aria-describedby": `hint-${name}`, value: choice(`option-${name}`, null) ?? "", ...limits });
  return el("label", { class: "field" }, el("span", {}, label), input, el("span", { class: "hint", id: `hint-${name}` }, hint));
}

/** Show the settings; `onchange` when they were changed. */
export function openSettings(onchange) {
  const system = el("textarea", { name: "system", rows: 4, dir: "auto", value: systemPrompt(), placeholder: "You are a patient teacher. Answer in two sentences." });
  const thinking = el("select", { name: "thinking" }, el("option", { value: "" }, "As the model does"), el("option", { value: "yes" }, "Yes"), el("option", { value: "no" }, "No"));
  thinking.value = choice("thinking", "");
  const close = () => dialog.close();
  const clear = () => {
    for (const each of form.elements) if (each.name) each.value = "";
  };
  const save = (event) => {
    event.preventDefault();
    choose("system", system.value.trim());
    choose("thinking", thinking.value);
    for (const { name } of OPTIONS) choose(`option-${name}`, form.elements[name].value === "" ? null : Number(form.elements[name].value));
    close();
    onchange();
  };
  const form = el(
    "form", { class: "stack", onsubmit: save },
    el("div", { class: "row is-apart" }, el("h2", { id: "settings-title" }, "Settings of replies"), iconButton("close", "Close without a change", close)),
    el("label", { class: "field" }, el("span", {}, "System prompt"), system, el("span", { class: "hint" }, "What the model is told first, in every conversation.")),
    el("div", { class: "settings" }, OPTIONS.map(field),
      el("label", { class: "field" }, el("span", {}, "Think first"), thinking, el("span", { class: "hint" }, "For models that can; others ignore it."))),
    el("div", { class: "row is-apart" },
      el("button", { class: "button", type: "button", onclick: clear }, "As it comes"),
      el("button", { class: "button is-main" }, "Save")),
  );
  const dialog = el("dialog", { "aria-labelledby": "settings-title", onclose: () => dialog.remove() }, form);
  document.body.append(dialog);
  dialog.showModal();
}
