// Messages: errors at their fields, notices, and announcements for screen readers.

import { el, element, part, verbatim } from "../dom.js";

export function notice(text) {
  part("notice-text").textContent = text;
  part("notice").hidden = !text;
  if (text) say(text);
}

// An error in a recipe shows its text with the wrong character marked.
function sentenceParts(text) {
  const [sentence, line, caret] = text.split("\n");
  if (caret === undefined) return [text];
  const characters = [...line], at = caret.length - 1;
  const shown = verbatim(el("code", "pointed"));
  shown.append(characters.slice(0, at).join(""), el("mark", "", characters[at] || "\u00a0"), characters.slice(at + 1).join(""));
  return [sentence, shown];
}

export function showMessage(name, text) {
  part(name).textContent = text;
  part(name).hidden = false;
}

// Where an error about `where` is shown; hidden until there is one. It describes its fields.
export function makeErrorPlace(where, fields, tag = "p") {
  const place = Object.assign(el(tag, "sentence"), { id: "eft-error-" + where });
  place.dataset.error = where;
  for (const field of fields) field.setAttribute("aria-describedby", place.id);
  place.setAttribute("role", "alert");
  place.hidden = true;
  return place;
}

function errorPlace(where) {
  return element.querySelector('[data-error="' + (where === "server" ? "prompt" : CSS.escape(where)) + '"]') || element.querySelector('[data-error="prompt"]');
}

const markFields = (place, invalid) => {
  if (place.id) element.querySelectorAll('[aria-describedby~="' + place.id + '"]').forEach((field) => field.setAttribute("aria-invalid", invalid));
};

export function showError(where, text) {
  const place = errorPlace(where);
  markFields(place, where === place.dataset.error); // others are shown at the prompt, which is not at fault
  place.replaceChildren(...sentenceParts(text));
  place.dataset.from = where;
  place.hidden = false;
  const drawer = place.closest(".drawer");
  if (drawer) openDrawer(drawer.id);
}

function hide(place) {
  markFields(place, false);
  place.hidden = true;
  place.replaceChildren(); // a hidden text still describes the field that names it
}

export function hideError(where) {
  const place = errorPlace(where);
  if (place.dataset.from === where) hide(place);
}

export function clearErrors() {
  element.querySelectorAll("[data-error]").forEach(hide);
}

export const openers = () => part("more").querySelectorAll(".openers button");

// One drawer is open at a time; its own button closes it again.
export function openDrawer(id) {
  for (const button of openers()) {
    const open = button.getAttribute("aria-controls") === id;
    button.setAttribute("aria-expanded", open);
    element.querySelector("#" + button.getAttribute("aria-controls")).hidden = !open;
  }
}

export const PRESS_RUN = "Press Run to run the prompt again.";
export const say = (text) => { part("status").textContent = text; };

export function listen() {
  for (const button of openers())
    button.addEventListener("click", () => openDrawer(button.getAttribute("aria-expanded") === "true" ? "" : button.getAttribute("aria-controls")));
  part("notice-close").addEventListener("click", () => notice(""));
}
