// Sampling fields: a number input and a slider each.

import { el, element, part } from "../dom.js";
import { config } from "../store.js";
import { hideError, makeErrorPlace } from "./messages.js";

export function makeField(name, field) {
  const box = el("div", "field");
  const label = el("label", "", field.name);
  const number = Object.assign(el("input"), { type: "number", inputMode: field.step === 1 ? "numeric" : "decimal", id: "eft-" + name, min: field.low, max: field.high, step: "any", value: field.value });
  number.dataset.field = name;
  label.htmlFor = number.id;
  label.append(number);
  const slider = Object.assign(el("input"), { type: "range", min: field.low, max: field.high, step: field.step, value: field.value });
  slider.setAttribute("aria-label", field.name);
  const onChange = () => (showFieldsSummary(), hideError(name));
  slider.addEventListener("input", () => { number.value = slider.value; onChange(); });
  number.addEventListener("input", () => { if (number.value !== "") slider.value = number.value; onChange(); });
  box.append(label, el("small", "", field.help), ...(name === "seed" ? [] : [slider]), makeErrorPlace(name, [number]));
  return box;
}

// Browsers do not report the text of an invalid number. An empty field is different and posts null.
export const noNumber = (input) => (input.validity.badInput ? "not a number" : undefined);
export const fieldInputs = () => [...element.querySelectorAll("[data-field]")];

// The seed, and whatever is not as usual.
export function showFieldsSummary() {
  const shown = fieldInputs().filter(({ dataset: { field }, value }) => field === "seed" || value !== String(config.fields[field].value));
  part("sampling-summary").textContent = shown.map((input) => config.fields[input.dataset.field].name.toLowerCase() + " " + input.value).join(" · ");
}

export function setField(input, value) {
  input.value = value;
  input.dispatchEvent(new Event("input"));
}
