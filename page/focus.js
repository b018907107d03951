// Where the focus goes when what has it disappears: a row that is deleted, a list that is drawn anew, a message that
// is closed. Browsers then give it to nothing, and who works with the keyboard begins again at the top.

const CONTROLS = "a[href], button, input:not([tabindex='-1']), select, textarea, summary, [tabindex='0']";
const PASSING = "dialog, .toasts"; // from these the focus goes back to where it was before

let last = null; // { at, order }: the control that had the focus, as a place in the order of all
let checking = null;

/** Keep the focus on what is there, from now on. */
export function keepFocus() {
  addEventListener("pointerdown", () => (last = null), { capture: true }); // a click on nothing means nothing
  addEventListener("focusin", ({ target }) => remember(target));
  addEventListener("focusout", ({ target, relatedTarget }) => !relatedTarget && requestAnimationFrame(() => left(target)));
  const changes = { subtree: true, childList: true, attributes: true, attributeFilter: ["hidden", "disabled", "open"] };
  new MutationObserver(() => (checking ??= requestAnimationFrame(check))).observe(document.body, changes);
}

function remember(control) {
  if (control.closest(PASSING)) return;
  const order = [...document.querySelectorAll(CONTROLS)].filter((each) => !each.closest(PASSING));
  const at = order.indexOf(control);
  last = at < 0 ? null : { at, order };
}

/** The focus went out of the page, to the browser's own buttons: it is not lost. */
function left(control) {
  const isGone = document.activeElement === document.body && isUsable(control) && !control.closest(PASSING);
  if (isGone) last = null;
}

function check() {
  checking = null;
  const { activeElement } = document;
  const isLost = activeElement === document.body || !isUsable(activeElement);
  const next = last && isLost && !document.querySelector("dialog[open]") ? heir(last) : null;
  // On a phone a text field would raise the keyboard.
  if (!next?.matches("input, textarea") || matchMedia("(pointer: fine)").matches) next?.focus();
}

/** What was there itself, as it is drawn now; else the nearest of those around it. */
function heir({ at, order }) {
  const now = [...document.querySelectorAll(CONTROLS)].filter((each) => isUsable(each) && !each.closest(PASSING));
  for (let far = 0; far < order.length; far += 1) {
    for (const each of [order[at + far], order[at - far]]) {
      if (!each) continue;
      const found = isUsable(each) ? each : now.find((other) => other.tagName === each.tagName && nameOf(other) === nameOf(each));
      if (found) return found;
    }
  }
  return null;
}

function isUsable(control) {
  if (control.disabled) return false;
  // Safari before 17.4 has no `checkVisibility`.
  return control.checkVisibility?.({ visibilityProperty: true }) ?? control.getClientRects().length > 0;
}

function nameOf(control) {
  return control.getAttribute("aria-label") ?? (control.labels?.[0] ?? control).textContent;
}
