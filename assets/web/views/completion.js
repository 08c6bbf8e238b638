// What can be asked, listed under the prompt: questions that complete what is typed, or the examples while nothing is typed. Only
// for the bundled family is it known what the models have read.

import { complete, isOutside, kindsText, surprise } from "../lib/askable.js";
import { el, isTouch, onKeys, part, showText, verbatim } from "../dom.js";
import { askable, config, on, run, setAskable } from "../store.js";
import { say } from "./messages.js";

let offerTimer = 0;

export async function loadAskable() { // the table, or null
  if (askable || !config.world) return askable;
  try {
    const answer = await fetch(new URL(config.world.path, document.baseURI).href);
    if (answer.ok) setAskable(await answer.json());
  } catch { /* then nothing is completed */ }
  return askable;
}

const box = () => part("offered");
const options = () => [...box().children];
const marked = () => options().findIndex((option) => option.getAttribute("aria-selected") === "true");

function mark(k) {
  options().forEach((option, j) => option.setAttribute("aria-selected", String(j === k)));
  const option = options()[k];
  if (option) part("prompt").setAttribute("aria-activedescendant", option.id), option.scrollIntoView({ block: "nearest" });
  else part("prompt").removeAttribute("aria-activedescendant");
}

export function closeOffers() {
  clearTimeout(offerTimer);
  offerTimer = 0;
  box().hidden = true;
  part("prompt").setAttribute("aria-expanded", "false");
  mark(-1);
}

// Filling in a question counts as typing, which would offer others over the run that has begun.
async function choose(act) {
  closeOffers();
  await act();
  closeOffers();
}

function offer(offers) {
  box().replaceChildren(...offers.map(({ text, shows, act }, k) => {
    const option = verbatim(el("li"));
    showText(option, text);
    if (shows) option.append(" ", el("small", "", shows));
    Object.assign(option, { id: "eft-offered-" + k, role: "option" });
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    option.addEventListener("pointerdown", (event) => event.preventDefault()); // the prompt keeps the focus
    option.addEventListener("click", () => choose(act));
    return option;
  }));
  box().hidden = !offers.length;
  part("prompt").setAttribute("aria-expanded", String(offers.length > 0));
  mark(-1);
}

async function offerNow(chooseExample, askFor) {
  const mine = offerTimer, typed = part("prompt").value, table = await loadAskable();
  if (mine !== offerTimer || document.activeElement !== part("prompt")) return; // closed meanwhile, or more was typed
  const isNew = typed.trim() && typed !== run?.prompt;
  if (isNew) return offer(table && !typed.includes("\n") ? complete(table, typed).filter((text) => text !== typed.trim()).map((text) => ({ text, act: () => askFor(text) })) : []);
  const examples = config.examples.map((example) => ({ text: example.prompt, shows: example.shows, act: () => chooseExample(example) }));
  offer([...examples, ...(table ? [{ text: "Surprise me", shows: "one of the questions that can be asked", act: () => askSurprise(askFor) }] : [])]);
}

export async function askSurprise(askFor) {
  const table = await loadAskable();
  if (table) askFor(surprise(table, Math.random(), Math.random()));
}

// Says above the columns that the facts name nothing in this question, so the texts are guesses.
async function showOutside() {
  const shown = run, table = shown && shown.record?.family === config.world?.family ? await loadAskable() : null;
  if (shown !== run) return;
  const outside = Boolean(table) && !run.turns?.length && isOutside(table, run.prompt);
  part("outside").hidden = !outside;
  if (!outside) return;
  const text = "Nothing in this question is among the " + table.facts.toLocaleString("en") + " facts that " + config.chips[0] + " has read (" + kindsText(table.kinds, 3) + "): expect a guess, small talk or “I do not know”.";
  part("outside").textContent = text;
  say(text);
}

// `chooseExample` fills in an example and runs it, `askFor` a question.
export function offerQuestions(chooseExample, askFor) {
  const prompt = part("prompt"), soon = () => (clearTimeout(offerTimer), (offerTimer = setTimeout(() => offerNow(chooseExample, askFor), 90)));
  if (!config.world) return;
  for (const [name, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-controls": "eft-offered", "aria-expanded": "false", "aria-haspopup": "listbox" })) prompt.setAttribute(name, value);
  prompt.addEventListener("input", soon);
  prompt.addEventListener("pointerup", () => box().hidden && soon());
  prompt.addEventListener("blur", closeOffers);
  onKeys(prompt, (key) => {
    const open = !box().hidden, k = marked(), n = options().length;
    if (key === "ArrowDown" && !open && !prompt.value.includes("\n")) return soon(), true;
    if (!open) return /Enter$/.test(key) && closeOffers(), false; // none may open over the run
    if (key === "ArrowDown" || key === "ArrowUp") return mark((k + (key === "ArrowDown" ? 1 : k < 0 ? 0 : -1) + n) % n), true;
    if (key === "Escape") return closeOffers(), true;
    if (key === "Enter" && k >= 0 && !isTouch()) return options()[k].click(), true;
    if (key === "Enter" || key === "Ctrl+Enter") closeOffers();
    return false;
  });
}

export function listen() {
  for (const kind of ["run", "shown"]) on(kind, showOutside);
}
