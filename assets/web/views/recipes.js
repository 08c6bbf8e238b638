// The columns of the next run: up to four, each chosen from the menu or typed. The server parses typed recipes.

import { server } from "../api.js";
import { asSeen, turnsFor } from "../lib/conversation.js";
import { el, menuOption, onKeys, part } from "../dom.js";
import { changeColumn, chosen, config, conversation, emit, run, setChosen } from "../store.js";
import { makeColumns } from "./columns.js";
import { hideError, makeErrorPlace, showError } from "./messages.js";
import { showSliders } from "./sliders.js";

const CHECK_MS = 120; // after the last key
const OWN = "Custom recipe";
let checkTimer = 0, checks = 0, waiting = null; // `waiting`: for the check that the server is asked for now

const presetOf = (text) => config.presets.find((preset) => preset.text === text);

// A column with that recipe; the header of a custom recipe comes later with the server's check.
export const chosenColumn = (name, text) => ({ controls: [], kind: "", about: "", recipe: text, ...presetOf(text), name, text });

export function chooseColumns(columns) {
  setChosen(columns.slice(0, config.max_columns));
  part("chooser").replaceChildren(...chosen.map(makeChoice));
  part("add-column").disabled = chosen.length >= config.max_columns;
  showChosen();
}

function makeChoice(column, index) {
  const box = el("div", "choice"), n = index + 1;
  const menu = el("select");
  menu.id = "eft-column-" + index;
  menu.append(...config.presets.map(({ title }, k) => menuOption(k, title)), menuOption("", "Custom recipe (type below)"));
  const label = el("label", "", "Column " + n);
  label.htmlFor = menu.id;
  const remove = el("button", "plain", "✕");
  remove.disabled = chosen.length === 1;
  remove.title = "Remove column " + n;
  remove.setAttribute("aria-label", remove.title);
  const text = Object.assign(el("textarea"), { id: "eft-recipe-" + index, rows: 2, spellcheck: false, autocapitalize: "off", value: column.text });
  text.setAttribute("autocorrect", "off");
  text.setAttribute("aria-label", "Recipe of column " + n);
  const sentence = makeErrorPlace("column-" + index, [text], "div");
  menu.addEventListener("change", () => pickPreset(index, config.presets[menu.value]));
  remove.addEventListener("click", () => removeColumn(index));
  text.addEventListener("input", () => typeRecipe(index, text.value));
  onKeys(text, (key) => key === "Enter" || key === "Shift+Enter"); // a recipe is one line
  const head = el("div", "choice-head");
  head.append(label, remove);
  box.append(head, menu, text, el("small"), sentence);
  return box;
}

const choiceBox = (index) => part("chooser").querySelectorAll(".choice")[index];

function pickPreset(index, preset) {
  if (!preset) return choiceBox(index).querySelector("textarea").focus(); // for typing
  changeColumn(index, { ...preset });
  choiceBox(index).querySelector("textarea").value = preset.text;
  showChosen();
  checkColumns();
}

function typeRecipe(index, text) {
  const preset = presetOf(text.trim()), column = chosen[index];
  const named = config.presets.some(({ name }) => name === column.name);
  changeColumn(index, { ...column, ...preset, text, name: preset ? preset.name : named ? OWN : column.name });
  showChosen();
  clearTimeout(checkTimer);
  checkTimer = setTimeout(checkColumns, CHECK_MS);
}

// The check that a run has to wait for, because it may bring sliders: of recipes that are typed, or filled in from a recorded
// run, a file or a lesson. Begun now if it has not begun yet; null if it has ended. The sliders of a preset are known without it.
export function whenChecked() {
  if (checkTimer) return checkColumns();
  return chosen.every(({ text }) => presetOf(text.trim())) ? null : waiting;
}

function addColumn() {
  const offered = config.presets.find((preset) => !chosen.some(({ text }) => text === preset.text)) || config.presets[0];
  chooseColumns([...chosen, { ...offered }]);
  choiceBox(chosen.length - 1).querySelector("select").focus();
  checkColumns();
}

function removeColumn(index) {
  chooseColumns(chosen.filter((_, k) => k !== index));
  choiceBox(Math.min(index, chosen.length - 1)).querySelector("select").focus();
  checkColumns();
}

// Has the server check all recipes with the chosen behaviour; an invalid one keeps its sliders.
export function checkColumns() {
  clearTimeout(checkTimer);
  checkTimer = 0;
  const mine = waiting = askToCheck().finally(() => { if (waiting === mine) waiting = null; });
  return mine;
}

async function askToCheck() {
  const asked = (checks += 1);
  try {
    const answers = JSON.parse(await server.check_columns({ behaviour: part("behaviour").value, columns: columnsNow() }));
    if (asked !== checks) return; // a newer check is under way
    setChosen(chosen.map((column, k) => ({ ...column, error: "", ...answers[k], name: column.name, text: column.text })));
    hideError("columns");
  } catch {
    showError("columns", "The server could not be reached to check the recipes. Run checks them again.");
  }
  showChosen();
}

function showChosen() {
  chosen.forEach(showChoice);
  showColumnsSummary();
  showSliders();
  showWaiting();
}

// Before the first run, the columns that it will have, with the turns that it will follow. The card says what they are.
export function showWaiting() {
  if (run) return;
  const names = distinctNames(), turns = turnsFor(conversation, names);
  makeColumns(chosen.map((column, k) => ({ ...column, name: names[k], turns: turns.map((turn) => asSeen(turn, k)) })));
  emit("waiting");
}

function showChoice(column, index) {
  const box = choiceBox(index), preset = presetOf(column.text.trim());
  box.querySelector("select").value = preset ? config.presets.indexOf(preset) : "";
  box.querySelector("small").textContent = column.error ? "" : column.about;
  if (column.error) showError("column-" + index, column.error);
  else hideError("column-" + index);
}

const distinctNames = () => chosen.map(({ name }, k) => {
  const before = chosen.slice(0, k).filter((other) => other.name === name).length;
  return before ? name + " " + (before + 1) : name;
});
export const columnsNow = () => distinctNames().map((name, k) => ({ name, recipe: chosen[k].text }));

export function showColumnsSummary() {
  const asked = distinctNames(), differ = run && asked.join() !== run.columns.map((column) => column.name).join();
  const usual = asked.join() === config.columns.map(({ name }) => name).join();
  part("columns-summary").textContent = (usual && !differ ? "" : asked.join(" · ")) + (differ ? " · from the next run" : "");
}

export function listen() {
  part("add-column").addEventListener("click", addColumn);
  part("behaviour").addEventListener("change", checkColumns);
}
