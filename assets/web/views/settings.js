// Reads all settings of the next run into one object, and back: for Run, links and the browser's memory.

import { part } from "../dom.js";
import { fieldInputs, noNumber, setField } from "./fields.js";
import { setFormats } from "./formats.js";
import { methodNow, METHODS, setMethod } from "./method.js";
import { checkColumns, chooseColumns, chosenColumn, columnsNow } from "./recipes.js";
import { controlsNow, setControls } from "./sliders.js";

// The settings that Run posts; the server checks them all. `fillIn` is the inverse, for links and files.
export function askedNow() {
  const asked = { prompt: part("prompt").value, behaviour: part("behaviour").value, columns: columnsNow(), controls: controlsNow(), ...methodNow() };
  for (const input of fieldInputs()) asked[input.dataset.field] = noNumber(input) ?? input.valueAsNumber;
  return asked;
}

export function fillIn(asked) {
  if (asked.prompt !== undefined) part("prompt").value = asked.prompt;
  if (asked.behaviour) part("behaviour").value = asked.behaviour;
  for (const input of fieldInputs()) if (input.dataset.field in asked) setField(input, asked[input.dataset.field]);
  if (asked.columns) chooseColumns(asked.columns.map(({ name, recipe }) => chosenColumn(name, recipe)));
  for (const name of Object.keys(METHODS)) if (asked[name]) setMethod(name, asked[name]);
  setFormats(asked.formats || {});
  setControls(asked.controls || {});
  fitPrompt();
  return checkColumns();
}

export function fitPrompt() {
  const prompt = part("prompt");
  prompt.style.height = "auto";
  prompt.style.height = Math.min(prompt.scrollHeight + 3, window.innerHeight * 0.4) + "px";
}
