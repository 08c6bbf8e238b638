// The card of one token: what every model would have said in its place, who put it there, and a sentence that says what
// that means. A click pins it; while the mouse rests on another token, that one is previewed.

import { percent } from "../lib/formats.js";
import { isGreedy } from "../lib/sampling.js";
import { bestBy } from "../lib/sentences.js";
import { el, onKeys, part, showPieces, verbatim } from "../dom.js";
import { carded, chosen, cover, on, preview, rival, run, running, selected, setRival, shown } from "../store.js";
import { besidesOf, noteOf, printOf, tableOf, titleOf, verdictOf, writeVerdict } from "./card-table.js";
import { select } from "./columns.js";
import { say } from "./messages.js";
import { waterfallsOf } from "./waterfall.js";

const MEASURED = 800; // at most this many tokens of a run are measured for the height of the card
let howTo = [], primer = null; // the skeleton's words on how to choose a token, and its list of what the columns are
// The recipes that each entry of that list is true of.
const PRIMED = { Base: /^large_base$/, Tuned: /^(?!large_|.*_base$)\w+$/, "Up-scaled": /^large_base \+ alpha\*\([^+]*- small_base\)$/ };
const LONGEST = 8; // this many of the longest verdicts are measured: the one with most letters may have a line less than another
const SPARE_PX = 5; // letters of other fonts and bold ones make a table a little higher
const LINE_PX = 22; // the sentence with most letters may have a line less than another
const LINE_CHARS = 40; // characters that the last line of a sentence may leave unused

export function emptyCard() {
  for (const name of KEPT_BOXES) part(name).style.minHeight = ""; // the heights of the run before
  delete part("card").dataset.room;
  part("card-title").textContent = "One token, every model";
  part("card-note").replaceChildren(...howTo);
  part("card-table").replaceChildren(primerOf(run ? run.columns : chosen));
  part("falls").replaceChildren();
  part("card-print").textContent = "";
  part("branching").hidden = true;
  part("card-verdict").hidden = part("card-more").hidden = true;
}

// What the columns on the page are: in the skeleton's words where these are true of them.
function primerOf(columns) {
  if (!columns.length || cover) return primer; // who guesses which column is which needs all of it
  const list = primer.cloneNode(false);
  list.append(...columns.flatMap(({ name, recipe, about }) => {
    const known = PRIMED[name]?.test(recipe) && [...primer.children].find((item) => item.firstElementChild.textContent === name);
    if (known) return [known.cloneNode(true)];
    return about ? [showPieces(el("li"), ["", name, ": " + about + "."], "b")] : [];
  }));
  return list;
}

export function drawCard() {
  const had = /** @type {HTMLElement | null} */ (document.activeElement), focused = had?.matches(".cand") && had.dataset.id; // measuring replaces the table
  reserveRoom();
  const { p, i } = carded(), column = run.columns[p], token = shown(column, i);
  showPieces(part("card-title"), titleOf(run, column, i));
  showPieces(part("card-note"), noteOf(run, column, token));
  const table = tableOf(run, column, token, candidateButton);
  part("card-table").replaceChildren(table);
  markRival();
  if (focused) table.querySelector('.cand[data-id="' + focused + '"]')?.focus();
  drawWaterfalls(column, token, preview ? null : rival);
  part("branching").hidden = false;
  part("samples").hidden = isGreedy(column);
  part("samples-same").hidden = !isGreedy(column);
  writeVerdict(part("card-verdict"), [verdictOf(run, column, token, preview ? null : rival)]);
  part("card-print").textContent = printOf(run, column, token);
  writeVerdict(part("card-more"), besidesOf(run, column, token));
  keepHeight();
}

function drawWaterfalls(column, token, against) {
  part("falls").replaceChildren(...waterfallsOf(run, column, token, against));
}

// Boxes never shrink within a run, so nothing below moves when a card is shorter.
const KEPT_BOXES = ["card-title", "card-note", "card-table", "card-said", "falls", "card-besides"];

function keepHeight() {
  const heights = KEPT_BOXES.map((name) => part(name).getBoundingClientRect().height); // not rounded; all read before one is set: one layout, not five
  KEPT_BOXES.forEach((name, k) => (part(name).style.minHeight = Math.max(parseFloat(part(name).style.minHeight) || 0, heights[k]) + "px"));
}

function spare(name, more) {
  const { style } = part(name), height = parseFloat(style.minHeight);
  if (height) style.minHeight = height + more + "px";
}

// After a run, the longest texts and tables are laid out for a moment to reserve the height of the tallest card.
function reserveRoom() {
  const count = run.columns.reduce((sum, { tokens }) => sum + tokens.length, 0), { dataset, clientWidth } = part("card");
  const key = [run.id, count, clientWidth].join(" "); // a branch or another width starts again
  if (running || !count || dataset.room === key) return;
  dataset.room = key;
  for (const name of KEPT_BOXES) part(name).style.minHeight = "";
  const step = Math.ceil(count / MEASURED);
  const sample = run.columns.flatMap((column) => column.tokens.filter((token) => token.n % step === 0).map((token) => [column, token]));
  const longest = (textOf, length) => bestBy(sample.map((pair) => textOf(...pair)), length);
  showPieces(part("card-title"), longest((column, token) => titleOf(run, column, token.n), (pieces) => pieces.join("").length));
  showPieces(part("card-note"), longest((column, token) => noteOf(run, column, token), (pieces) => pieces.join("").length));
  const verdicts = sample.map(([column, token]) => verdictOf(run, column, token)).map((pieces) => ({ pieces, length: pieces.join("").length }))
    .sort((one, other) => other.length - one.length).map(({ pieces }) => pieces);
  writeVerdict(part("card-more"), longest((column, token) => besidesOf(run, column, token), (sentences) => sentences.flat().join("").length + LINE_CHARS * sentences.filter((pieces) => pieces.length).length));
  for (const column of run.columns.filter(({ tokens }) => tokens.length)) {
    const widest = bestBy(column.tokens, (token) => token.c.length);
    part("card-table").replaceChildren(tableOf(run, column, widest, candidateButton));
    drawWaterfalls(column, widest, null);
    keepHeight();
  }
  for (const verdict of verdicts.slice(0, LONGEST)) {
    writeVerdict(part("card-verdict"), [verdict]);
    keepHeight();
  }
  spare("card-table", SPARE_PX);
  spare("card-besides", LINE_PX);
}

/** @type {(id: number, label: string, row: import("../types.js").Row, token: import("../types.js").Token) => HTMLElement} */
function candidateButton(id, label, [, mix], token) { // a press continues with it; a press beside it compares it with the token
  const button = verbatim(el("button", "cand", label));
  button.dataset.id = id;
  button.tabIndex = id === token.i ? 0 : -1;
  button.title = "Continue with this token (Enter) · token " + id;
  button.setAttribute("aria-label", run.labels.get(id) + ", " + percent(mix ?? null) + (id === token.i ? ", chosen" : "") + ". Continue with it");
  return button;
}

const candidateRows = () => [...part("card-table").querySelectorAll("tbody tr[data-id]")];

export function focusCandidates() {
  const rows = candidateRows();
  (rows.find((row) => !row.classList.contains("chosen")) || rows[0])?.querySelector(".cand").focus();
}

function markRival() {
  for (const row of candidateRows()) row.classList.toggle("rival", Number(row.dataset.id) === rival);
}

function compareWith(id) {
  setRival(id === rival || id === run.columns[selected.p].tokens[selected.i].i ? null : id);
  markRival();
  previewRival(rival);
}

function previewRival(id) { // shows the waterfall against this candidate while the pointer or focus is on it
  const { p, i } = carded(), column = run.columns[p], token = shown(column, i);
  const against = id === token.i ? rival : id ?? rival;
  drawWaterfalls(column, token, against);
  writeVerdict(part("card-verdict"), [verdictOf(run, column, token, against)]); // one rival on the whole card
}

export function listen() {
  howTo = [...part("card-note").childNodes];
  primer = part("card-table").querySelector(".primer");
  on("selected", drawCard);
  on("waiting", emptyCard);
  part("card-table").addEventListener("click", (event) => {
    const row = event.target.closest("tbody tr[data-id]");
    if (row && selected && !event.target.closest(".cand")) compareWith(Number(row.dataset.id));
  });
  for (const [enter, exit] of [["mouseover", "mouseleave"], ["focusin", "focusout"]]) {
    part("card-table").addEventListener(enter, (event) => {
      const row = event.target.closest("tbody tr[data-id]");
      if (row && selected) previewRival(Number(row.dataset.id));
    });
    part("card-table").addEventListener(exit, () => selected && previewRival(null));
  }
  onKeys(part("card-table"), (key, event) => {
    const row = event.target.closest("tbody tr");
    if (!row) return false;
    const rows = candidateRows(), at = rows.indexOf(row);
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -at, End: rows.length - 1 - at }[key];
    if (step !== undefined) rows[Math.max(0, Math.min(rows.length - 1, at + step))].querySelector(".cand").focus();
    else if (key === " ") compareWith(Number(row.dataset.id)), say(part("card-verdict").textContent);
    else if (key === "Escape" && !running) select(selected.p, selected.i, true);
    else return false;
    return true;
  });
}
