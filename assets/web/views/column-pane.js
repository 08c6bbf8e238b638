// A column as it is drawn: its header, the text that grows token by token, and the line below. Shared with saved pages,
// so it must not import store.js.

import { draftsText, endedSpeed, ending, readable, symbolOf } from "../lib/formats.js";
import { turnsAt } from "../lib/schedule.js";
import { joins } from "../lib/signs.js";
import { endedThinking, thinkingPieces } from "../lib/thinking.js";
import { el, noHover, showText, verbatim } from "../dom.js";

function showRecipe(place, recipe) { // differences short, whole in the tooltip
  const differences = readable(recipe).replaceAll("(large_base − small_base)", "Δsize").replace(/\((\w+) − \w+_base\)/g, "Δ$1");
  place.textContent = noHover() ? readable(recipe) : differences.replace(/^(\w+ \+ [αβ]·Δ)\w+$/, "$1");
  place.title = readable(recipe);
  place.translate = false;
}

// Side by side; the style sheet lays one out, and four or more, in ways of their own.
/** @type {(box: HTMLElement, panes: HTMLElement[]) => void} */
export function showPanes(box, panes) {
  box.replaceChildren(...panes);
  box.classList.toggle("one", panes.length === 1);
  box.classList.toggle("many", panes.length > 3);
}

/** @type {(column: import("../types.js").Column, p: number, ...tools: HTMLElement[]) => HTMLElement} */
export function makePane(column, p, ...tools) {
  const pane = el("section", "pane " + column.kind);
  const title = verbatim(showText(el("h2"), column.name));
  const top = el("div", "pane-top");
  const recipe = el("code", "recipe");
  showRecipe(recipe, column.recipe);
  top.append(title, recipe, ...tools);
  const text = verbatim(el("div", "text empty"));
  text.dataset.p = p;
  text.dataset.empty = "Its text appears here.";
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", "Text of the column " + column.name);
  const sentence = el("p", "sentence");
  sentence.hidden = true;
  sentence.setAttribute("role", "alert");
  const foot = el("div", "foot");
  foot.append(el("span"), el("b"), el("small", "drafts"));
  pane.append(top, el("p", "what", column.about), ...(column.turns?.length ? [makeTurns(column)] : []), text, sentence, foot);
  return pane;
}

// The earlier turns as plain text, and the question that the column answers now.
function makeTurns(column) {
  const box = el("div", "turns");
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", "Earlier turns of the column " + column.name);
  for (const { question, answer } of column.turns) {
    box.append(verbatim(showText(el("p", "asked"), question)));
    if (answer !== null) box.append(verbatim(answered(answer)));
  }
  return box;
}

function answered(answer) {
  const line = el("div", "answered");
  for (const { thinking, text } of thinkingPieces(answer.trim())) {
    const piece = showText(el(thinking ? "div" : "span"), text);
    if (!thinking) line.append(piece);
    else {
      const fold = el("details", "thought");
      fold.append(el("summary", "", "Thinking"), piece);
      line.append(fold);
    }
  }
  if (!line.hasChildNodes()) line.append(el("i", "", "no text"));
  return line;
}

// The text may begin; the parts of the pane that change.
export function beginText(pane) {
  const view = {
    text: pane.querySelector(".text"),
    caret: el("span", "caret"),
    sentence: pane.querySelector(".sentence"),
    speed: pane.querySelector(".foot span"),
    drafts: pane.querySelector(".foot .drafts"),
    ending: pane.querySelector(".foot b"),
  };
  view.text.replaceChildren(view.caret);
  view.text.classList.remove("empty");
  return view;
}

export function writeToken(column, token, span, factors) {
  for (const { name, value } of turnsAt(column, token.n, factors)) {
    const turn = el("span", "turn"); // drawn by the style sheet, so that the text stays the model's own
    turn.dataset.name = symbolOf(name);
    turn.dataset.value = value.toFixed(2);
    write(column, turn);
  }
  // Leading space stays outside the span, so that colour and outline hug the word.
  const space = token.s.trim() ? token.s.match(/^[^\S\ufeff\u2028\u2029]*/)[0] : "";
  showText(span, token.s.slice(space.length));
  joinParts(column, token);
  if (space) write(column, token.n ? space : el("span", "lead", space));
  write(column, span);
  column.spans.push(span);
  if (token.s.includes(">")) foldThinking(column);
}

// When thinking has ended, its tokens are put into a box that a button opens. Its label is drawn by the style sheet, so
// that the text stays the model's own.
function foldThinking(column) {
  const found = endedThinking(column.tokens.slice(0, column.spans.length).map(({ s }) => s), column.unfolded || 0);
  if (!found) return;
  const [first, last] = found.map((i) => column.spans[i]), inside = [];
  for (let node = first; node && node !== last; node = node.nextSibling) inside.push(node);
  if (first !== last && inside.at(-1)?.nextSibling !== last) return; // a translator has moved them
  column.unfolded = found[1] + 1;
  const count = found[1] - found[0] + 1;
  const box = el("span", "thinking"), button = el("button", "fold");
  button.dataset.label = "Thinking, " + count + (count === 1 ? " token" : " tokens");
  button.setAttribute("aria-label", button.dataset.label);
  button.addEventListener("click", () => openFold(button, button.getAttribute("aria-expanded") !== "true"));
  first.before(button, box);
  box.append(...inside, last);
  openFold(button, false);
}

function openFold(button, open) {
  button.setAttribute("aria-expanded", String(open));
  button.nextSibling.hidden = !open;
}

// Opens the thinking that a token is in.
export function reveal(span) {
  const button = span.closest(".thinking[hidden]")?.previousSibling;
  if (button) openFold(button, true);
}

// Parts of a character that joins the one before it lose their boxes, which would separate the two.
function joinParts(column, token) {
  let first = token.n;
  while (first > 0 && !column.tokens[first - 1].s) first -= 1;
  if (!joins(column.tokens[first - 1]?.s || "", token.s)) return;
  column.view.text.classList.add("joining");
  for (const span of column.spans.slice(first, token.n)) {
    span.dataset.kind += " joined";
    span.classList.add("joined");
  }
}

// At the end of the text, before the caret, which a translator may have moved or wrapped.
function write({ view: { text, caret } }, node) {
  if (caret.parentNode === text) caret.before(node);
  else text.append(node);
}

export function endText(column, line) {
  const view = column.view;
  if (line.s) write(column, line.s);
  view.caret.remove();
  if (!view.text.hasChildNodes()) {
    view.text.classList.add("empty");
    view.text.dataset.empty = ["cancelled", "cut"].includes(line.why) ? "Stopped before the first token." : "The text is empty.";
  }
  if (line.tps) view.speed.textContent = endedSpeed(line);
  else if (!column.tokens.length) view.speed.textContent = "no tokens";
  view.drafts.textContent = draftsText(column, line.acc, line.speedup);
  view.drafts.title = line.speedup ? line.speedup.toFixed(1) + "× as fast as without drafts" : "";
  const count = column.tokens.length;
  view.ending.textContent = ending(column) + (count ? " · " + count + (count === 1 ? " token" : " tokens") : "");
  if (line.error) {
    view.sentence.textContent = line.error;
    view.sentence.hidden = false;
  }
}
