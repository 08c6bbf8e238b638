// The card of one token: what every model would have said in its place, who put it there, and a sentence that says what
// that means. A click pins it; while the mouse rests on another token, that one is previewed.

import { decimal, percent, symbolOf } from "../lib/formats.js";
import { bestBy, explain, explainDraft, explainFilter, pusherOf } from "../lib/sentences.js";
import { FAINT_NATS, listedRows, rankUnder, shiftOf, wordAround } from "../lib/tokens.js";
import { el, onKeys, part, showPieces, verbatim } from "../dom.js";
import { carded, on, preview, rival, run, running, selected, setRival, shown } from "../store.js";
import { select } from "./columns.js";
import { drawFalls } from "./waterfall.js";

const MEASURED = 800; // so many tokens of a run at most say how much room a card needs
let howTo = []; // the skeleton's words on how to choose a token
const LINE_CHARS = 40; // what the last line of a sentence may waste

export function emptyCard() {
  part("card-title").textContent = "One token, every model";
  part("card-note").replaceChildren(...howTo);
  part("card-table").replaceChildren();
  part("falls").replaceChildren();
  part("branching").hidden = true;
  part("card-verdict").hidden = true;
}

export function drawCard() {
  keepRoom();
  const { p, i } = carded(), column = run.columns[p], token = shown(column, i);
  showPieces(part("card-title"), titleOf(column, i));
  showPieces(part("card-note"), noteOf(column, token));
  const table = tableOf(column, token), had = /** @type {HTMLElement | null} */ (document.activeElement), focused = had?.matches(".cand") && had.dataset.id;
  part("card-table").replaceChildren(table);
  if (focused) table.querySelector('.cand[data-id="' + focused + '"]')?.focus();
  drawFalls(column, token, preview ? null : rival);
  part("branching").hidden = false;
  drawVerdict(verdictOf(column, token));
  keepHeight();
}

export function titleOf(column, i) {
  const label = run.labels.get(column.tokens[i].i), word = wordAround(column.tokens, i), at = " · token " + (i + 1) + " of " + column.tokens.length;
  return ["“", label, ...(word.length > label.length ? ["” in ", word, at] : ["”" + at])];
}

const verdictOf = (column, token) => [explain(column, token, run.labels), explainFilter(column, token), explainDraft(column, token, run.labels)];

// What has been tall once stays so: nothing below moves when a shorter card comes.
const KEPT_BOXES = ["card-title", "card-note", "card-table", "card-said", "falls"];

function keepHeight() {
  const heights = KEPT_BOXES.map((name) => part(name).offsetHeight); // all read before one is set: one layout, not five
  KEPT_BOXES.forEach((name, k) => (part(name).style.minHeight = Math.max(parseFloat(part(name).style.minHeight) || 0, heights[k]) + "px"));
}

// Once a run has ended, the longest texts and the tables of its columns are laid out for a moment, so that no token that
// is walked to needs more room than there is.
function keepRoom() {
  const count = run.columns.reduce((sum, { tokens }) => sum + tokens.length, 0), { dataset, clientWidth } = part("card");
  const key = [run.id, count, clientWidth].join(" "); // a branch, or another width, begins anew
  if (running || !count || dataset.room === key) return;
  dataset.room = key;
  for (const name of KEPT_BOXES) part(name).style.minHeight = "";
  const step = Math.ceil(count / MEASURED);
  const sample = run.columns.flatMap((column) => column.tokens.filter((token) => token.n % step === 0).map((token) => [column, token]));
  const longest = (textOf, length) => bestBy(sample.map((pair) => textOf(...pair)), length);
  showPieces(part("card-title"), longest((column, token) => titleOf(column, token.n), (pieces) => pieces.join("").length));
  showPieces(part("card-note"), longest(noteOf, (pieces) => pieces.join("").length));
  drawVerdict(longest(verdictOf, (sentences) => sentences.flat().join("").length + LINE_CHARS * sentences.filter((pieces) => pieces.length).length));
  for (const column of run.columns.filter(({ tokens }) => tokens.length)) {
    const widest = bestBy(column.tokens, (token) => token.c.length);
    part("card-table").replaceChildren(tableOf(column, widest));
    drawFalls(column, widest, null);
    keepHeight();
  }
}

function noteOf(column, token) {
  const shift = shiftOf(token);
  const notes = ["", "probability " + decimal(token.y[token.y.length - 1]), "rank " + token.r, "entropy " + (token.e ?? 0).toFixed(2) + " nats"];
  if (column.terms.length) {
    const by = " by " + pusherOf(column).name;
    notes.push(Math.abs(shift) < FAINT_NATS ? "unchanged" + by : (shift < 0 ? "▼ lowered " : "▲ raised ") + Math.abs(shift).toFixed(1) + " nats" + by);
  }
  for (const [name, value] of Object.entries(token.v)) notes.push(symbolOf(name) + " " + value.toFixed(2));
  notes.push("id " + token.i);
  const bytes = run.bytes.get(token.i);
  if (bytes !== undefined) notes.push(bytes ? "bytes " + bytes : "no text");
  return ["", column.name, notes.join(" · ")];
}

function tableOf(column, token) {
  const alone = column.roles.length === 1;
  const heads = alone ? [column.roles[0]] : [...column.roles, "mix"];
  const table = el("table");
  const head = el("tr");
  head.append(el("td"), ...heads.map((name) => el("th", "", name.replaceAll("_", " "))));
  const thead = el("thead");
  thead.append(head);
  const body = el("tbody");
  for (const row of listedRows(column, token)) body.append(rowOf(row, token, column, alone));
  table.append(thead, body);
  if (!alone) table.append(ranksOf(column, token));
  table.classList.toggle("many", heads.length > 5);
  return table;
}

// The rank of the token under every model, and in the mix. Exact while few are ahead of it; else at least so far down.
function ranksOf(column, token) {
  const foot = el("tfoot"), row = el("tr"), name = showPieces(el("th"), ["rank of “", run.labels.get(token.i), "”"]);
  name.scope = "row";
  const ranks = token.q || column.roles.map((_, place) => rankUnder(token, 2 + place, run.sure));
  row.append(name, ...ranks.map((rank) => el("td", "", rank < 0 ? "≥ " + -rank : String(rank))), el("td", "", String(token.r)));
  foot.append(row);
  return foot;
}

// A role has the colour of its bar in the plot.
export function colourOf(column, place) {
  const k = place === 0 ? -1 : column.terms.findIndex((term) => term[2] === place);
  return place && k < 0 ? "var(--small)" : column.bars[k + 1].marker.color;
}

/** @type {(row: import("../types.js").Row, token: import("../types.js").Token, column: import("../types.js").Column, alone: boolean) => HTMLElement} */
function rowOf([id, mix, ...roles], token, column, alone) {
  const row = el("tr", id === token.i ? "chosen" : "");
  const label = run.labels.get(id);
  // "Sw" and " Sw" are two tokens and look alike: their numbers tell them apart
  const twin = token.c.some(([other]) => other !== id && run.labels.get(other) === label);
  const name = el("th"), button = verbatim(el("button", "cand", twin ? label + " #" + id : label));
  name.scope = "row";
  button.type = "button";
  button.dataset.id = row.dataset.id = id;
  button.tabIndex = id === token.i ? 0 : -1;
  button.title = "Continue with this token (Enter) · token " + id;
  button.setAttribute("aria-label", label + ", " + percent(mix ?? null) + (id === token.i ? ", chosen" : "") + ". Continue with it");
  name.append(button);
  row.classList.toggle("rival", id === rival);
  const colours = column.roles.map((_, place) => colourOf(column, place));
  const cells = alone ? [meter(mix, colours[0])] : [...roles.map((v, i) => meter(v, colours[i])), meter(mix, "var(--up)")];
  row.append(name, ...cells);
  return row;
}

function meter(logprob, colour) {
  const cell = el("td");
  const box = el("span", "meter");
  const bar = el("i");
  const p = logprob === null || logprob === undefined ? 0 : Math.exp(logprob);
  bar.style.width = (100 * p).toFixed(1) + "%";
  bar.style.setProperty("--c", colour);
  box.append(bar);
  cell.append(box, document.createTextNode(decimal(logprob)));
  return cell;
}

function drawVerdict(sentences) { // each is plain text and token text in turn
  const verdict = part("card-verdict"), said = sentences.filter((pieces) => pieces.length);
  verdict.hidden = !said.length;
  verdict.replaceChildren(...said.map((pieces) => {
    const sentence = el("span", "said");
    return showPieces(sentence, pieces, "b");
  }));
}

// compares it with the token.

const candidateRows = () => [...part("card-table").querySelectorAll("tbody tr")];

export function focusCandidates() {
  const rows = candidateRows();
  (rows.find((row) => !row.classList.contains("chosen")) || rows[0])?.querySelector(".cand").focus();
}

function compareWith(id) {
  setRival(id === rival || id === run.columns[selected.p].tokens[selected.i].i ? null : id);
  for (const row of candidateRows()) row.classList.toggle("rival", Number(row.dataset.id) === rival);
  glance(rival);
}

function glance(id) { // the falls against this one, for as long as it is looked at
  const { p, i } = carded(), column = run.columns[p], token = shown(column, i);
  drawFalls(column, token, id === token.i ? rival : id ?? rival);
}

export function listen() {
  howTo = [...part("card-note").childNodes];
  on("selected", drawCard);
  part("card-table").addEventListener("click", (event) => {
    const row = event.target.closest("tbody tr");
    if (row && selected && !event.target.closest(".cand")) compareWith(Number(row.dataset.id));
  });
  for (const [enter, exit] of [["mouseover", "mouseleave"], ["focusin", "focusout"]]) {
    part("card-table").addEventListener(enter, (event) => {
      const row = event.target.closest("tbody tr");
      if (row && selected) glance(Number(row.dataset.id));
    });
    part("card-table").addEventListener(exit, () => selected && glance(null));
  }
  onKeys(part("card-table"), (key, event) => {
    const row = event.target.closest("tbody tr");
    if (!row) return false;
    const rows = candidateRows(), at = rows.indexOf(row);
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -at, End: rows.length - 1 - at }[key];
    if (step !== undefined) rows[Math.max(0, Math.min(rows.length - 1, at + step))].querySelector(".cand").focus();
    else if (key === " ") compareWith(Number(row.dataset.id));
    else if (key === "Escape" && !running) select(selected.p, selected.i, true);
    else return false;
    return true;
  });
}
