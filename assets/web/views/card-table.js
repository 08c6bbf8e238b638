// What the card of a token holds: its title, its numbers, its candidates and what they mean. Shared with saved
// pages, so it must not import store.js.

/** @import { Column, Run, Token } from "../types.js" */

import { decimal, estimated, factorText, symbolOf } from "../lib/formats.js";
import { explain, explainCut, explainDraft, explainEstimate, explainFilter, isEstimate, knowsEntropy, subjectOf } from "../lib/sentences.js";
import { nat } from "../lib/counterfactual.js";
import { FAINT_NATS, listedRows, shiftOf, wordAround } from "../lib/tokens.js";
import { el, showPieces } from "../dom.js";

const NO_NATS = 5e-4; // log-probs have three decimals

export function titleOf(run, column, i) {
  const label = run.labels.get(column.tokens[i].i), word = wordAround(column.tokens, i), at = " · token " + (i + 1) + " of " + column.tokens.length;
  return ["“", label, ...(word.length > label.length ? ["” in ", word, at] : ["”" + at])];
}

export function noteOf(run, column, token) {
  const shift = shiftOf(token);
  const notes = ["", "probability " + (isEstimate(token) ? estimated : decimal)(token.y.at(-1))];
  if (column.terms.length) {
    const by = "net effect of " + subjectOf(column).name + " ";
    notes.push(by + (Math.abs(shift) < NO_NATS ? "none" : Math.abs(shift) < FAINT_NATS ? "less than 0.1 nats" : (shift < 0 ? "▼ −" : "▲ +") + Math.abs(shift).toFixed(1) + " nats (" + factorText(shift) + ")"));
  }
  return ["", column.name, notes.join(" · ")];
}

export function printOf(run, column, token) { // the small print
  const notes = ["rank " + token.r, knowsEntropy(token) ? "entropy " + (token.e ?? 0).toFixed(2) + " nats" : "entropy unknown"];
  for (const [name, value] of Object.entries(token.v)) notes.push(symbolOf(name) + " " + value.toFixed(2));
  notes.push("id " + token.i);
  const bytes = run.bytes.get(token.i);
  if (bytes !== undefined) notes.push(bytes ? "bytes " + bytes : "no text");
  return notes.join(" · ");
}

export const verdictOf = (run, column, token, against = null) => explain(column, token, run.labels, against, run.factors);
export const besidesOf = (run, column, token) => [explainFilter(column, token), explainDraft(column, token, run.labels), explainCut(token), explainEstimate(token)];

export function writeVerdict(verdict, sentences) { // each alternates between plain text and token text
  const said = sentences.filter((pieces) => pieces.length);
  verdict.hidden = !said.length;
  verdict.replaceChildren(...said.map((pieces) => holdStops(showPieces(el("span", "said"), pieces, "b"))));
}

// Keeps the full stop or comma after a token on its line: a box with an ellipsis, as a token may need, lets the line end after it.
function holdStops(sentence) {
  for (const token of sentence.querySelectorAll("b")) {
    const rest = token.nextSibling, [stop] = /^[.,;:)]+/.exec(rest?.textContent ?? "") || [];
    if (!stop) continue;
    const held = el("span", "held");
    token.replaceWith(held);
    held.append(token, stop);
    rest.textContent = rest.textContent.slice(stop.length);
  }
  return sentence;
}

/** @type {(run: Run, column: Column, token: Token, nameOf: (id: number, label: string, row: import("../types.js").Row, token: Token) => HTMLElement) => any} */
export function tableOf(run, column, token, nameOf) { // `nameOf` makes the element that names a candidate
  const alone = column.roles.length === 1;
  const heads = alone ? [column.roles[0]] : [...column.roles, "mix"];
  const table = el("table");
  table.setAttribute("aria-label", "Candidates");
  const head = el("tr");
  head.append(el("td"), ...heads.map((name) => el("th", "", name.replaceAll("_", " "))));
  const thead = el("thead");
  thead.append(head);
  const body = el("tbody");
  for (const row of listedRows(column, token)) body.append(rowOf(run, row, token, column, nameOf));
  body.append(restOf(column, token, heads.length));
  table.append(thead, body);
  if (!alone) table.append(ranksOf(run, column, token));
  table.classList.toggle("many", heads.length > 5);
  return table;
}

// What all tokens that are not listed get together.
function restOf(column, token, count) {
  const row = el("tr", "rest"), name = el("th", "", "everything else");
  name.scope = "row";
  const listed = listedRows(column, token), alone = column.roles.length === 1;
  const places = alone ? [1] : [...column.roles.map((_, k) => k + 2), 1];
  row.append(name, ...places.slice(0, count).map((place) => {
    const left = 1 - listed.reduce((sum, values) => sum + Math.exp(nat(values[place])), 0);
    return meter(left > 5e-4 ? Math.log(left) : null, place === 1 && !alone ? "var(--up)" : colourOf(column, alone ? 0 : place - 2));
  }));
  return row;
}

// The rank of the token under every model, and in the mix. Exact if few tokens are ahead of it, else a lower bound.
function ranksOf(run, column, token) {
  const foot = el("tfoot"), row = el("tr"), name = showPieces(el("th"), ["rank of “", run.labels.get(token.i), "”"]);
  name.scope = "row";
  row.append(name, ...token.q.map((rank) => el("td", "", rank < 0 ? "≥ " + -rank : String(rank))), el("td", "", String(token.r)));
  foot.append(row);
  return foot;
}

// A role has the colour of its bar in the plot.
export function colourOf(column, place) {
  const k = place === 0 ? -1 : column.terms.findIndex((term) => term[2] === place);
  return place && k < 0 ? "var(--small)" : column.bars[k + 1].marker.color;
}

function rowOf(run, candidate, token, column, nameOf) {
  const [id, mix, ...roles] = candidate;
  const row = el("tr", id === token.i ? "chosen" : ""), label = run.labels.get(id);
  row.dataset.id = id;
  // "Sw" and " Sw" are two tokens and look alike: their numbers tell them apart
  const twin = token.c.some(([other]) => other !== id && run.labels.get(other) === label);
  const name = el("th");
  name.scope = "row";
  name.append(nameOf(id, twin ? label + " #" + id : label, candidate, token));
  const colours = column.roles.map((_, place) => colourOf(column, place));
  const cells = roles.length === 1 ? [meter(mix, colours[0])] : [...roles.map((v, i) => meter(v, colours[i])), meter(mix, "var(--up)")];
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
