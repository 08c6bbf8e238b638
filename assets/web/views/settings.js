// Reads all settings of the next run into one object, and back: for Run, links and the browser's memory.

import { part } from "../dom.js";
import { conversation, ownFormats } from "../store.js";
import { conversationSettings, fillConversation } from "./conversation.js";
import { fieldInputs, noNumber, setField } from "./fields.js";
import { setFormats } from "./formats.js";
import { methodNow, METHODS, setMethod } from "./method.js";
import { checkColumns, chooseColumns, chosenColumn, columnsNow } from "./recipes.js";
import { controlsNow, setControls } from "./sliders.js";

// The settings that Run posts; the server checks them all. `fillIn` is the inverse, for links and files.
export function runSettings() {
  const settings = { prompt: part("prompt").value, behaviour: part("behaviour").value, columns: columnsNow(), controls: controlsNow(), ...methodNow(), ...conversationSettings() };
  for (const input of fieldInputs()) settings[input.dataset.field] = noNumber(input) ?? input.valueAsNumber;
  return settings;
}

// All of them, as `fillIn` takes them.
export const allSettings = () => structuredClone({ ...runSettings(), formats: { ...ownFormats }, conversation });

export function fillIn(settings) {
  if (settings.prompt !== undefined) part("prompt").value = settings.prompt;
  if (settings.behaviour) part("behaviour").value = settings.behaviour;
  for (const input of fieldInputs()) if (input.dataset.field in settings) setField(input, settings[input.dataset.field]);
  if (settings.columns) chooseColumns(settings.columns.map(({ name, recipe }) => chosenColumn(name, recipe)));
  for (const name of Object.keys(METHODS)) if (settings[name]) setMethod(name, settings[name]);
  setFormats(settings.formats || {});
  fillConversation(settings);
  setControls(settings.controls || {});
  fitPrompt();
  return checkColumns();
}

export function chooseBehaviour(role) {
  part("behaviour").value = role;
  return checkColumns();
}

export function fitPrompt() {
  const prompt = part("prompt");
  prompt.style.height = "auto";
  prompt.style.height = Math.min(prompt.scrollHeight + 3, window.innerHeight * 0.4) + "px";
}
