// What the record of one token holds: how far the terms moved it, which candidates matter, the word that it is a part of.

/** @import { Nats, Column, Recipe, Row, Token } from "../types.js" */
import { nat } from "./counterfactual.js";
import { mainRival } from "./sentences.js";

/** @type {(token: Token) => number} */
export const shiftOf = (token) => { // what the terms did to the chosen token, in nats
  const first = token.y[0], last = token.y[token.y.length - 1];
  return first === null || last === null ? 0 : last - first;
};

/** @type {(token: Token) => number} */
export function knowledgeOf(token) { // its log-prob under the large base minus under the tuned model, where the base leads
  const row = token.c.find(([id]) => id === token.i);
  const [, , base, tuned] = row || [];
  return token.b !== token.i || base === null || base === undefined ? -Infinity : base - (tuned ?? -20);
}

// The index of the token to select after a run: where the large base knew what the small tuned model did not, or else the
// one that tuning moved most. -1 without tokens.
/** @type {(tokens: Token[]) => number} */
export function notablePlace(tokens) {
  const known = tokens.map(knowledgeOf), moved = tokens.map((token) => Math.abs(shiftOf(token)));
  const telling = Math.max(...known) > STRONG_NATS ? known : moved;
  return telling.indexOf(Math.max(...telling));
}

export const STRONG_NATS = 1; // from here a token gets its triangle
export const FAINT_NATS = 0.1; // below this it stays plain
/** @type {(token: Token) => Nats} */
export const finalOf = (token) => token.y[token.y.length - 1];
const ROWS_SHOWN = 8;

/** @type {(tokens: Token[], i: number) => string} */
export function wordAround(tokens, i) { // "L" and "ima" are parts of "Lima"
  /** @type {(token: Token | undefined) => boolean} */
  const inner = (token) => token !== undefined && /^[\p{L}\p{M}\p{N}]+$/u.test(token.s);
  /** @type {(token: Token | undefined) => boolean} */
  const opens = (token) => token !== undefined && /^\s?[\p{L}\p{M}\p{N}]+$/u.test(token.s);
  let from = i, to = i;
  if (!opens(tokens[i])) return "";
  while (inner(tokens[from]) && opens(tokens[from - 1])) from -= 1;
  while (inner(tokens[to + 1])) to += 1;
  return tokens.slice(from, to + 1).map((token) => token.s).join("").trim();
}

// The candidates that the card lists: the token, its rival and draft, then the likeliest of any model.
/** @type {(column: Recipe, token: Token) => Row[]} */
export function listedRows(column, token) {
  const rival = mainRival(column, token), kept = [token.i, token.b, rival && rival[0], token.d && token.d[0]];
  /** @type {(row: Row) => number} */
  const worth = (row) => Math.max(...row.slice(1).map(nat)) + (kept.includes(row[0]) ? 1e6 : 0);
  const shown = new Set([...token.c].sort((a, b) => worth(b) - worth(a)).slice(0, ROWS_SHOWN));
  return token.c.filter((row) => shown.has(row));
}

/** @type {(column: Column) => string} */
export const textOf = (column) => column.tokens.map((token) => token.s).join("");
