// Modal dialogs: Esc, the close button or a click outside closes them, Tab cycles inside, and the focus returns to where it
// was.

import { el, element, onKeys } from "../dom.js";

const DOUBLE_CLICK_MS = 500;
let openedAt = 0;

export const dialogOf = (name) => element.querySelector('dialog[data-dialog="' + name + '"]');
export const dialogIsOpen = () => element.querySelector("dialog[open]") !== null;

export function openDialog(name) {
  if (dialogIsOpen()) return;
  dialogOf(name).showModal();
  openedAt = performance.now();
}

function wrapFocus(dialog, key) {
  if (key !== "Tab" && key !== "Shift+Tab") return false;
  const stops = [...dialog.querySelectorAll("button, input, select")].filter((stop) => !stop.disabled && stop.offsetParent);
  if (document.activeElement !== stops.at(key === "Tab" ? -1 : 0)) return false;
  stops.at(key === "Tab" ? 0 : -1).focus();
  return true;
}

export function makeOffer(title, about) {
  const button = el("button", "offer");
  button.append(el("b", "", title), el("span", "", about));
  return button;
}

export function listen() {
  for (const dialog of element.querySelectorAll("dialog")) {
    onKeys(dialog, (key) => wrapFocus(dialog, key));
    dialog.addEventListener("click", (event) => {
      const beside = event.target === dialog && event.timeStamp - openedAt > DOUBLE_CLICK_MS; // not the second click of a double click on its button
      if (beside || event.target.closest(".close")) dialog.close();
    });
  }
}
