// The names of languages, in English as the page is.

import { el } from "./ui.js";

// Those of cloned voices, and all that speech is understood in.
export const SPOKEN = "en es fr de it pt pl tr ru nl cs ar zh-cn hu ko ja hi".split(" ");
export const HEARD = (
  "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml " +
  "cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am " +
  "yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
).split(" ");

/** The name of a language by its code. */
export function languageName(code) {
  try {
    // Whisper's own code for Javanese is not the standard's.
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code === "jw" ? "jv" : code);
  } catch {
    return code;
  }
}

/** Options for a choice of these, by name; the first is `none`, with an empty value. */
export function languageOptions(codes, none) {
  const named = codes.map((code) => [languageName(code), code]).sort();
  return [el("option", { value: "" }, none), ...named.map(([name, code]) => el("option", { value: code }, name))];
}
