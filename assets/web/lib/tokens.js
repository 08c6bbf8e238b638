// What the record of one token holds: how far the terms moved it, which candidates matter, the word that it is a part of.

/** @import { Nats, Column, Recipe, Row, Token } from "../types.js" */

import { nat } from "./counterfactual.js";
import { mainRival } from "./sentences.js";

/** @type {(token: Token) => number} */
export const shiftOf = (token) => { // what the terms did to the chosen token, in nats
  const first = token.y[0], last = token.y[token.y.length - 1];
  return first === null || last === null ? 0 : last - first;
};

// The index of the token to select after a run: the one that tuning changed most, where there is any that the base would not
// have preferred; else the one that it moved most. -1 without tokens.
/** @type {(tokens: Token[]) => number} */
export function notablePlace(tokens) {
  const changed = tokens.some((token) => token.b !== token.i);
  const moved = tokens.map((token) => (changed && token.b === token.i ? -1 : Math.abs(shiftOf(token))));
  return moved.indexOf(Math.max(...moved));
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
