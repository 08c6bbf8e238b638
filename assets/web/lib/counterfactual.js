// What another alpha would have chosen: as the server scored it, or else worked out from the recorded candidates, without a
// model. A token lists the likeliest candidates only, so an estimate has an upper bound for the probability of the others, or
// says that there is none.
// tests/ui/test_counterfactual.py compares it with the real mixture and the real noise.
//
//   column  {terms: [[scale, control or null, plus, minus]...], sampling: {temperature, top_p, top_k, min_p, seed},
//           filter: {kind: "off" | "top_p" | "mask", value}, rules: constants from Python,
//           unreplayed: [names of active warpers that only Python has],
//           scored: {control, changes: Map of a slider value -> Map of position -> id that it draws instead}, once known}
//           plus and minus are places in `roles`, the anchor is 0
//   token  {i: id, n: position, v: {control: effective value}, y: [anchor, bars..., normaliser, log p],
//           c: [[id, mix, one per role...]...]}                   nats; null is minus infinity

/** @import { Choice, Controls, Known, Nats, Recipe, Row, Token } from "../types.js" */

import { noiseOf } from "./noise.js";
import { drawFrom } from "./sampling.js";
import { factorAt } from "./schedule.js";

const ROUNDING = 1e-6; // recorded probabilities are rounded; a smaller rest counts as none
const ROUNDED_REST = 1e-3; // log-probs have three decimals: a smaller rest may come from rounding alone
const MAX_UNSURE = 0.05; // with more probability than this on unrecorded tokens, the choice is not certain

/** @type {(value: Nats | undefined) => number} */
export const nat = (value) => (value === null || value === undefined ? -Infinity : value);
/** @type {(token: Token) => Row} */
const ownRow = (token) => /** @type {Row} */ (token.c.find(([id]) => id === token.i)); // a token is always listed
/** @type {(row: Row) => number} */
export const anchorOf = (row) => nat(row[2]);
/** @type {(column: Recipe, controls: Controls) => number[]} */
export const coefficientsAt = (column, controls) => column.terms.map(([scale, control]) => scale * (control === null ? 1 : controls[control]));

/** @type {(column: Recipe, row: Row) => number[]} */
export function deltasOf(column, row) { // one per term, finite
  if (anchorOf(row) === -Infinity) return column.terms.map(() => 0);
  return column.terms.map(([, , plus, minus]) => {
    const up = nat(row[2 + plus]), down = nat(row[2 + minus]);
    if (up === -Infinity || down === -Infinity) return up === down ? 0 : up === -Infinity ? -column.rules.support_nats : column.rules.support_nats; // as `term_delta` of mixing.py
    return up - down;
  });
}

/** @type {(coefficients: number[], deltas: number[]) => number} */
export const sumOfTerms = (coefficients, deltas) => coefficients.reduce((sum, weight, k) => sum + weight * deltas[k], 0);

// Map of id -> anchor + terms at these effective values, not normalised. Controls left out stay as they were.
/** @type {(column: Recipe, token: Token, controls: Controls) => Known<number>} */
export function mixedAt(column, token, controls) {
  const coefficients = coefficientsAt(column, { ...token.v, ...controls });
  // The engine's coefficients are float32, in which the smallest numbers are 0.
  const inside = coefficients.some((weight) => Math.fround(weight)) ? insideOf(column, token) : null;
  return /** @type {any} */ (new Map(token.c.map((row) => {
    if (inside === null || inside.has(row[0])) return [row[0], anchorOf(row) + sumOfTerms(coefficients, deltasOf(column, row))];
    return [row[0], column.filter.kind === "mask" ? -Infinity : anchorOf(row)];
  })));
}

/** @type {(column: Recipe, token: Token) => Set<number> | null} */
export function insideOf(column, token) { // the tokens on which the terms act; null where all are
  const { kind, value } = column.filter;
  if (kind === "off") return null;
  const ranked = [...token.c].sort((a, b) => anchorOf(b) - anchorOf(a) || a[0] - b[0]);
  if (kind === "mask") return new Set(ranked.filter((row) => anchorOf(row) >= anchorOf(ranked[0]) + Math.log(value)).map((row) => row[0]));
  const inside = new Set();
  let ahead = 0;
  for (const row of ranked) {
    if (ahead > value) break;
    if (wasActedOn(column, token, row)) inside.add(row[0]);
    ahead += Math.exp(anchorOf(row));
  }
  return inside;
}

/** @type {(column: Recipe, token: Token, row: Row) => boolean} */
function wasActedOn(column, token, row) { // when it was recorded; it shows in the log-prob
  const pushed = sumOfTerms(coefficientsAt(column, token.v), deltasOf(column, row));
  const off = nat(row[1]) - anchorOf(row) - normaliserOf(token);
  return Math.abs(off - pushed) <= Math.abs(off) + ROUNDING;
}

/** @type {(token: Token) => number} */
const normaliserOf = (token) => nat(token.y[token.y.length - 2]);

/** @type {(column: Recipe, token: Token, controls: Controls) => number | null} */
function wayOf(column, token, controls) { // 1: as recorded; 0: no terms; null: not on the line between the two
  const then = coefficientsAt(column, token.v), now = coefficientsAt(column, { ...token.v, ...controls });
  /** @type {(share: number) => boolean} */
  const near = (share) => then.every((weight, k) => Math.abs(share * weight - now[k]) <= 1e-9);
  if (near(1)) return 1;
  const k = then.findIndex(Boolean);
  const share = k < 0 ? -1 : now[k] / then[k];
  return share >= 0 && share <= 1 && near(share) ? share : null;
}

/** @type {(logprobs: number[]) => number} */
const logRest = (logprobs) => Math.log(Math.max(1 - logprobs.reduce((sum, value) => sum + Math.exp(value), 0), ROUNDING / 10));

/** @type {(logMass: number, values: number[]) => number} */
function shareOf(logMass, values) {
  const top = Math.max(logMass, ...values), mass = Math.exp(logMass - top);
  return mass / (mass + values.reduce((sum, value) => sum + Math.exp(value - top), 0));
}

export const keyOfValue = (/** @type {number} */ value) => value.toFixed(6); // of a slider's value in `scored.changes`

// What the server found for these slider values, if it scored them with the other values as recorded. null: not scored.
/** @type {(column: Recipe, token: Token, sliders: Controls, factor: number) => Choice | null} */
function scoredAt({ scored }, token, sliders, factor) {
  if (!scored || sliders[scored.control] === undefined) return null;
  const { [scored.control]: value, ...others } = sliders, changes = scored.changes.get(keyOfValue(value));
  const moved = Object.entries(effectiveAt(others, factor)).some(([name, now]) => name in token.v && Math.abs(now - token.v[name]) > 1e-6); // the recorded ones are rounded
  return changes && !moved ? { id: changes.get(token.n) ?? token.i, sure: true, unrecorded: 0, exact: true } : null;
}

// The same as `choiceAt` for slider positions: exact where the server scored them.
/** @type {(column: Recipe, token: Token, sliders: Controls, factors: number[]) => Choice} */
export function choiceOf(column, token, sliders, factors) {
  const factor = factorAt(factors, token.n);
  return scoredAt(column, token, sliders, factor) ?? choiceAt(column, token, effectiveAt(sliders, factor));
}

// {id, sure, unrecorded}: what the same noise chooses among the recorded tokens if all tokens before it stay the same.
// `unrecorded` is an upper bound for the probability of all other tokens, null if there is none. A forced token stays
// as long as the noise chooses the same token as it would at the recorded values.
/** @type {(column: Recipe, token: Token, controls: Controls) => Choice} */
export function choiceAt(column, token, controls) {
  const way = wayOf(column, token, controls);
  if (way === 1) return { id: token.i, sure: true, unrecorded: 0 }; // the values are the recorded ones
  if (column.unreplayed?.length) return { id: token.i, sure: false, unrecorded: null }; // it needs the whole distribution
  const mixed = mixedAt(column, token, controls), noise = noiseOf(column, token);
  const drawn = drawFrom(column, mixed, noise);
  const stays = token.n < column.given && drawFrom(column, mixedAt(column, token, {}), noise) === drawn;
  const unrecorded = way === null ? null : unrecordedAt(column, token, mixed, way);
  return { id: stays ? token.i : drawn, sure: unrecorded !== null && unrecorded <= MAX_UNSURE, unrecorded };
}

// The mass of any fixed set of tokens is log-convex between no terms and the recorded values, so it stays below the straight line
// between its ends. It holds for temperatures up to 1 only.
/** @type {(column: Recipe, token: Token, mixed: Known<number>, way: number) => number | null} */
function unrecordedAt({ sampling: { temperature }, rules }, token, mixed, way) {
  if (temperature > 1) return null;
  const atRecord = logRest(token.c.map((row) => nat(row[1]))) - normaliserOf(token);
  const logMass = (1 - way) * logRest(token.c.map(anchorOf)) + way * atRecord;
  const values = [...mixed.values()];
  if (temperature >= rules.greedy_below) return shareOf(logMass / temperature, values.map((value) => value / temperature));
  return logMass < Math.max(...values) ? 0 : shareOf(logMass, values);
}

// [[rival, value of the control at which both are equally likely]...], the nearest first.
/** @type {(column: Recipe, token: Token, control: string) => [rival: number, value: number][]} */
export function flipsOf(column, token, control) {
  if (token.v[control] === undefined || !column.terms.some((term) => term[1] === control)) return [];
  const level = mixedAt(column, token, { [control]: 0 }), higher = mixedAt(column, token, { [control]: 1 });
  /** @type {[number, number][]} */
  const flips = [];
  for (const rival of level.keys()) {
    const logOdds = level.get(token.i) - level.get(rival);
    const slope = higher.get(rival) - level.get(rival) - (higher.get(token.i) - level.get(token.i));
    if (rival !== token.i && Number.isFinite(logOdds) && Number.isFinite(slope) && Number.isFinite(logOdds / slope)) flips.push([rival, logOdds / slope]);
  }
  return flips.sort((a, b) => Math.abs(a[1] - token.v[control]) - Math.abs(b[1] - token.v[control]));
}

// Where `control` makes the token and `rival` tie: its effective value, and the slider's position for it under the schedule's `factor`.
/** @type {(column: Recipe, token: Token, control: string, rival: number, factor: number) => { effective: number, slider: number } | null} */
export function levelOf(column, token, control, rival, factor) {
  const found = flipsOf(column, token, control).find(([id]) => id === rival), share = control === "beta" ? 1 : factor;
  return found && share ? { effective: found[1], slider: found[1] / share } : null;
}

// The effective values when the sliders are at `controls`; `factor` is the schedule's, which does not scale beta.
/** @type {(controls: Controls, factor: number) => Controls} */
export const effectiveAt = (controls, factor) => Object.fromEntries(Object.entries(controls).map(([name, value]) => [name, name === "beta" ? value : value * factor]));

/** @type {(column: Recipe) => string[]} */
export const controlsOf = (column) => [...new Set(column.terms.map((term) => term[1]).filter((name) => name !== null))];

// The token as it would be recorded at these values: with the same fields, so that the same code draws both.
// `would` is the token that the same noise would choose, `sure` whether that is certain, `exact` whether the server scored it.
// `hidden` is what the tokens that were not recorded get: without it, the probabilities would pass for measured ones.
/** @type {(column: Recipe, token: Token, sliders: Controls, factors: number[]) => Token} */
export function remix(column, token, sliders, factors) {
  const factor = factorAt(factors, token.n);
  const mine = Object.fromEntries(Object.entries(sliders).filter(([name]) => name in token.v));
  const v = { ...token.v, ...effectiveAt(mine, factor) };
  const way = wayOf(column, token, v);
  if (way === 1) return token;
  const { id, sure, exact = false } = choiceOf(column, token, mine, factors);
  const mixed = mixedAt(column, token, v);
  const rest = restAt(column, token, v);
  const top = Math.max(...mixed.values(), rest);
  const logZ = top + Math.log([...mixed.values(), rest].reduce((sum, value) => sum + Math.exp(value - top), 0));
  /** @type {Row[]} */
  const c = token.c.map(([other, , ...roles]) => [other, mixed.get(other) - logZ, ...roles]);
  c.sort((a, b) => nat(b[1]) - nat(a[1]));
  const row = ownRow(token);
  const inside = insideOf(column, token);
  const acts = !inside || inside.has(token.i);
  const bars = coefficientsAt(column, v).map((weight, k) => (acts ? weight * deltasOf(column, row)[k] : 0));
  const final = mixed.get(token.i) - logZ;
  /** @type {(value: number) => Nats} */
  const finite = (value) => (Number.isFinite(value) ? value : null);
  return {
    ...token, v, c,
    y: [token.y[0], ...bars, -logZ, finite(final)],
    e: -[...mixed.values(), rest].reduce((sum, value) => sum + (value === -Infinity ? 0 : Math.exp(value - logZ) * (value - logZ)), 0),
    r: 1 + c.filter((other) => nat(other[1]) > final).length,
    would: id,
    sure,
    exact,
    hidden: { share: Math.exp(rest - logZ), how: way === null ? "unknown" : way === 0 ? "exact" : "bound" },
  };
}

// The log of the probability of all unrecorded tokens, interpolated linearly between no terms and the recorded values:
// exact at both ends, too high between them, too low beyond. A line through a rest that rounding may have made would let it outgrow
// every token, so beyond the ends such a rest stays as it is at the nearer one.
/** @type {(column: Recipe, token: Token, v: Controls) => number} */
function restAt(column, token, v) {
  const then = coefficientsAt(column, token.v), now = coefficientsAt(column, v);
  const k = then.findIndex(Boolean), share = k < 0 ? 0 : now[k] / then[k];
  const none = logRest(token.c.map(anchorOf)), mixed = logRest(token.c.map((row) => nat(row[1]))), recorded = mixed - normaliserOf(token);
  if ((share < 0 || share > 1) && Math.min(none, mixed) < Math.log(ROUNDED_REST)) return share < 0 ? none : recorded;
  return (1 - share) * none + share * recorded;
}
