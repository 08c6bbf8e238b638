// The Teach menu. Each entry belongs to the view that it opens, which hears "teach" before the menu opens and says whether
// its entry can be used; a press on an entry closes the menu.

import { element, onKeys, part } from "../dom.js";
import { emit } from "../store.js";

const entries = () => [...part("teach-menu").querySelectorAll("button")].filter((button) => !button.hidden && !button.disabled);
const isOpen = () => !part("teach-menu").hidden;

function open(now) {
  if (now) emit("teach");
  part("teach-menu").hidden = !now;
  part("teach-open").setAttribute("aria-expanded", String(now));
  if (now) entries()[0]?.focus();
}

// A dialog returns the focus to the element that had it, so the focus moves to the menu's button, which stays visible.
function leave() {
  open(false);
  part("teach-open").focus({ preventScroll: true });
}

// An entry that cannot be used says why in place of what it does.
/** @type {(entry: any, refusal: string) => void} */
export function allow(entry, refusal) {
  const about = entry.querySelector("span");
  about.dataset.about ??= about.textContent;
  about.textContent = refusal || about.dataset.about;
  entry.disabled = Boolean(refusal);
}

function onKey(key, { target }) {
  const all = entries(), at = all.indexOf(target), step = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[key];
  if (key === "Escape") leave();
  else if (step !== undefined) all.at(step === all.length ? 0 : step).focus();
  else return false;
  return true;
}

export function listen() {
  const menu = part("teach-menu");
  part("teach-open").addEventListener("click", () => open(!isOpen()));
  menu.addEventListener("click", ({ target }) => target.closest("button") && leave(), true); // before the entry acts
  menu.addEventListener("focusout", ({ relatedTarget: to }) => to && !menu.contains(to) && to !== part("teach-open") && open(false));
  document.addEventListener("pointerdown", ({ target }) => element.isConnected && isOpen() && !menu.contains(target) && !part("teach-open").contains(target) && open(false));
  onKeys(menu, onKey);
}
