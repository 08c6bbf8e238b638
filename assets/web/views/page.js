// Sets up the page from the server's first line.

import { el, menuOption, noHover, part, showText, verbatim } from "../dom.js";
import { on, setConfig } from "../store.js";
import { addressSoon, settleAddress } from "./address.js";
import { makeFamilyChip } from "./family.js";
import { makeField, showFieldsSummary } from "./fields.js";
import { makeChangedChip, startFamily } from "./formats.js";
import { reopenLesson } from "./lesson.js";
import { bringBack } from "./memory.js";
import { makeMethods } from "./method.js";
import { loadPlotly } from "./plotting.js";
import { startRun } from "./ask.js";
import { chooseColumns } from "./recipes.js";
import { makeGallery, showAbsent } from "./replay.js";
import { askSurprise, offerQuestions } from "./completion.js";
import { allSettings, chooseBehaviour, fitPrompt } from "./settings.js";
import { readAddress } from "./share.js";
import { setControls } from "./sliders.js";
import { welcome } from "./welcome.js";

function startPage(page) {
  setConfig(page);
  const [family, ...others] = page.chips;
  const loadChip = el("span", "chip");
  loadChip.dataset.part = "load";
  loadChip.hidden = true;
  part("chips").replaceChildren(makeFamilyChip(family), ...others.map(makeChip), makeChangedChip(), loadChip);
  part("examples").replaceChildren(...page.examples.map(makeExample), ...(page.world ? [makeSurprise()] : []));
  part("behaviour").replaceChildren(...page.behaviours.map(makeOption));
  part("fields").replaceChildren(...Object.entries(page.fields).map(([name, field]) => makeField(name, field)));
  showFieldsSummary();
  makeMethods();
  chooseColumns(page.columns);
  startFamily(page);
  makeGallery(part("gallery"));
  if (page.absent) showAbsent();
  offerQuestions(chooseExample, askFor);
  const fresh = allSettings(), back = bringBack();
  Promise.resolve(back || readAddress()).then(reopenLesson).then(() => welcome(fresh)).then(back ? addressSoon : settleAddress);
  (window.requestIdleCallback || setTimeout)(() => loadPlotly());
}

function makeChip(text) { // a fact, with its reason in the tooltip
  const chip = el("span", "chip", noHover() ? text : text.split(", because")[0]);
  chip.title = text;
  return chip;
}

function makeLink(text, shows, act) {
  const link = el("a");
  link.href = "#";
  link.append(verbatim(showText(el("span"), text)), ...(shows ? [" ", el("small", "", shows)] : []));
  link.addEventListener("click", (event) => (event.preventDefault(), act()));
  return link;
}

const makeExample = (example) => makeLink(example.prompt, example.shows, () => chooseExample(example));
const makeSurprise = () => makeLink("Surprise me", "", () => askSurprise(askFor));

function chooseExample({ prompt, behaviour, alpha }) {
  if (behaviour) chooseBehaviour(behaviour);
  if (alpha !== null) setControls({ alpha });
  askFor(prompt);
}

function askFor(text) {
  const held = part("examples").matches(":has(:focus-visible)");
  overwrite(part("prompt"), text);
  fitPrompt();
  startRun();
  if (held) part("alpha").focus({ preventScroll: true }); // the run puts the examples away, and the focus would be lost
}

// Replaces the text as if typed, so that Ctrl+Z restores the old text.
function overwrite(field, text) {
  const had = /** @type {HTMLElement | null} */ (document.activeElement);
  if (field.value && field.value !== text) {
    field.select();
    document.execCommand("insertText", false, text);
    had?.focus({ preventScroll: true });
  }
  field.value = text;
}

function makeOption(behaviour) {
  const option = menuOption(behaviour.role, behaviour.title);
  option.title = behaviour.about;
  return option;
}

export function listen() {
  on("page", startPage);
}
