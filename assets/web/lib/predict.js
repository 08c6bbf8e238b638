// Predicting a token before it is shown: the options to choose from, what may be seen meanwhile, and the odds afterwards.

/** @import { Cover, Labels, Poll, Row, Run, Token, Column } from "../types.js" */

import { anchorOf, nat } from "./counterfactual.js";
import { shuffled } from "./poll.js";
import { notablePlace } from "./tokens.js";

const OPTIONS = 4;
const LEAST_OPTIONS = 2; // with fewer there is nothing to choose
const SAID_CHARS = 48; // of the text before the token, in the question

// The candidates to choose from: the token, the anchor's first choice, then the likeliest under either; each label once.
/** @type {(token: Token, labels: Labels) => number[]} */
export function candidatesOf(token, labels) {
  /** @type {(row: Row) => number} */
  const worth = (row) => Math.max(nat(row[1]), anchorOf(row));
  const ranked = [...token.c].sort((one, other) => worth(other) - worth(one) || one[0] - other[0]).map(([id]) => id);
  /** @type {Map<string, number>} */
  const byLabel = new Map();
  for (const id of [token.i, token.b, ...ranked])
    if (labels.has(id) && !byLabel.has(labels.get(id))) byLabel.set(labels.get(id), id);
  return [...byLabel.values()].slice(0, OPTIONS);
}

/** @type {(run: Run, p: number, i: number) => boolean} */
export const isGuessable = ({ columns, labels }, p, i) => candidatesOf(columns[p].tokens[i], labels).length >= LEAST_OPTIONS;

// The nearest place after `i` (by 1) or before it (by -1) where there is something to guess; null: none.
/** @type {(run: Run, p: number, i: number, by: 1 | -1) => number | null} */
export function nextGuess(run, p, i, by) {
  for (let at = i + by; at >= 0 && at < run.columns[p].tokens.length; at += by) if (isGuessable(run, p, at)) return at;
  return null;
}

// Where to begin: at the token that tuning changed most, or near it.
/** @type {(run: Run, p: number) => number | null} */
export function firstGuess(run, p) {
  const at = notablePlace(run.columns[p].tokens);
  return nextGuess(run, p, at - 1, 1) ?? nextGuess(run, p, at, -1);
}

// What may be seen of the run: the column up to the token, and nothing of the others.
/** @type {(run: Run, p: number, i: number) => Run} */
export function upTo(run, p, i) {
  /** @type {(column: Column, k: number) => Column} */
  const cut = (column, k) => ({ ...column, tokens: k === p ? column.tokens.slice(0, i) : [], spans: [], ended: null, remixed: null, scored: null, view: null, entry: 0, unfolded: 0 });
  return { ...run, columns: run.columns.map(cut), attributed: p };
}

/** @type {(run: Run, p: number, i: number, id: string) => Poll} */
export function predictionOf(run, p, i, id) {
  const column = run.columns[p], token = column.tokens[i];
  const options = candidatesOf(token, run.labels).map((one) => ({ id: String(one), label: run.labels.get(one) }));
  return { id, kind: "token", ...titleOf(column, i), prompt: run.prompt, options: shuffled(options, [run.prompt, column.recipe, i].join("\n")), answer: String(token.i), revealed: false };
}

/** @type {(column: Column, i: number) => { title: string, before: string }} */
function titleOf({ tokens, name }, i) {
  const before = tokens.slice(0, i).map(({ s }) => s).join("").trim(), isLong = [...before].length > SAID_CHARS;
  const said = isLong ? "…" + [...before].slice(-SAID_CHARS).join("").replace(/^\S*\s+(?=\S)/, "") : before;
  return { title: said ? "What comes after “" + said + "”?" : "What is the first token of " + name + "?", before: isLong ? before : "" };
}

// Log-probs of an option under the anchor and under the mix; a column of one model has the anchor alone.
/** @type {(cover: Cover, id: string) => [name: string, logprob: number | null][]} */
export function oddsOf({ whole, place }, id) {
  const { p, i } = /** @type {NonNullable<Cover["place"]>} */ (place), column = whole.columns[p];
  const row = column.tokens[i].c.find((one) => String(one[0]) === id);
  if (!row) return [];
  /** @type {[string, number | null]} */
  const anchor = [column.roles[0], row[2]];
  return column.terms.length ? [anchor, ["mix", row[1]]] : [anchor];
}
