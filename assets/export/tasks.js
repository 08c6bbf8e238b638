// A worksheet made from a run: which tokens of a text become blanks, and the numbers to find, with their answers.

/** @import { Column, Labels, Run, Token } from "../web/types.js" */

import { anchorOf, coefficientsAt, controlsOf, deltasOf, flipsOf, nat } from "../web/lib/counterfactual.js";
import { shuffled } from "../web/lib/poll.js";
import { candidatesOf } from "../web/lib/predict.js";
import { FAR_VALUE, mainRival } from "../web/lib/sentences.js";
import { finalOf, shiftOf } from "../web/lib/tokens.js";

const BLANKS = 6;
const APART = 2; // so many tokens from one blank to the next, so that there is a text to guess from

// The tokens that become blanks, in the order of the text: those that the terms moved most, or, in a column of one model, those
// of which it was least sure.
/** @type {(column: Column, labels: Labels) => number[]} */
export function blanksOf(column, labels) {
  /** @type {(token: Token) => number} */
  const worth = (token) => (column.terms.length ? Math.abs(shiftOf(token)) : token.e ?? 0);
  const able = column.tokens.filter((token) => token.s.trim() && finalOf(token) !== null && candidatesOf(token, labels).length > 1);
  /** @type {number[]} */
  const taken = [];
  for (const { n } of [...able].sort((one, other) => worth(other) - worth(one) || one.n - other.n))
    if (taken.length < BLANKS && taken.every((other) => Math.abs(other - n) >= APART)) taken.push(n);
  return taken.sort((one, other) => one - other);
}

// The text in pieces: a string, or the number of a blank from 1.
/** @type {(column: Column, blanks: number[]) => (string | number)[]} */
export function piecesOf({ tokens }, blanks) {
  return tokens.flatMap((token, i) => {
    if (i === 0) token = { ...token, s: token.s.trimStart() };
    const k = blanks.indexOf(i);
    return k < 0 ? [token.s] : [/** @type {RegExpMatchArray} */ (token.s.match(/^\s*/))[0], k + 1, /** @type {RegExpMatchArray} */ (token.s.match(/\s*$/))[0]];
  });
}

// The words to choose from for a blank, in a fixed, shuffled order.
/** @type {(run: Run, column: Column, i: number) => string[]} */
export const wordsFor = (run, column, i) => shuffled(candidatesOf(column.tokens[i], run.labels).map((id) => run.labels.get(id)), [run.prompt, column.recipe, i].join("\n"));

// What the sliders of a column were at each blank: they may move within a text.
/** @type {(column: Column, blanks: number[]) => { control: string, values: number[] }[]} */
export const slidersAt = (column, blanks) => controlsOf(column).map((control) => ({ control, values: blanks.map((i) => column.tokens[i].v[control]) }));

// A sum to do for each blank: the parts of its log-prob, which are given, and what they make.
/** @type {(column: Column, i: number) => { parts: number[], logprob: number, probability: number }} */
export function sumOf(column, i) {
  const { y } = column.tokens[i], parts = (column.terms.length ? y.slice(0, -1) : y.slice(0, 1)).map(nat), logprob = nat(finalOf(column.tokens[i]));
  return { parts, logprob, probability: Math.exp(logprob) };
}

// Where the token and its rival tie: their log-probs under the models of a column with one term, and the value to find. null
// where no blank has such a value.
/** @type {(column: Column, blanks: number[]) => { i: number, rival: number, rows: { id: number, anchor: number, plus: number, minus: number, delta: number }[], scale: number, value: number } | null} */
export function tieOf(column, blanks) {
  const [control] = controlsOf(column);
  if (column.terms.length !== 1 || control === undefined || column.filter.kind !== "off") return null;
  const [[scale, , plus, minus]] = column.terms;
  for (const i of blanks) {
    const token = column.tokens[i], own = token.c.find(([id]) => id === token.i), other = mainRival(column, token);
    const flip = other && flipsOf(column, token, control).find(([id]) => id === other[0]);
    if (!own || !other || !flip || Math.abs(flip[1]) > FAR_VALUE) continue;
    const rows = [own, other].map((row) => ({ id: row[0], anchor: anchorOf(row), plus: nat(row[2 + plus]), minus: nat(row[2 + minus]), delta: deltasOf(column, row)[0] }));
    if (rows.every((row) => Object.values(row).every(Number.isFinite))) return { i, rival: other[0], rows, scale: coefficientsAt(column, { ...token.v, [control]: 1 })[0] || scale, value: flip[1] };
  }
  return null;
}
