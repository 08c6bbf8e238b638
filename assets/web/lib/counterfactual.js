// What another alpha would have chosen, worked out from the recorded candidates: the page's copy of
// eft_demo/runs/counterfactual.py, where the reasons are; a test holds the two against each other.
//
//   column  {terms: [[scale, control or null, plus, minus]...], sampling: {temperature, top_p, top_k, min_p, seed},
//           filter: {kind: "off" | "top_p" | "mask", value},      plus and minus are places in `roles`, the anchor is 0
//           unreplayed: [name of a warper that acts and is known to Python only...]}
//   token  {i: id, n: position, v: {control: effective value}, y: [anchor, bars..., normaliser, log p],
//           c: [[id, mix, one per role...]...]}                   nats; null is minus infinity

/** @import { Known, Controls, Nats, Column, Recipe, Row, Token } from "../types.js" */

import { noiseOf } from "./noise.js";
import { drawFrom } from "./sampling.js";
import { factorAt } from "./schedule.js";

const SUPPORT_NATS = 30;
const ROUNDING = 1e-6;

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
    if (up === -Infinity || down === -Infinity) return up === down ? 0 : up === -Infinity ? -SUPPORT_NATS : SUPPORT_NATS;
    return up - down;
  });
}

/** @type {(coefficients: number[], deltas: number[]) => number} */
export const pushOf = (coefficients, deltas) => coefficients.reduce((sum, weight, k) => sum + weight * deltas[k], 0);

// Map of id -> anchor + terms at these effective values, not normalised. Controls left out stay as they were.
/** @type {(column: Recipe, token: Token, controls: Controls) => Known<number>} */
export function mixedAt(column, token, controls) {
  const coefficients = coefficientsAt(column, { ...token.v, ...controls });
  const inside = coefficients.some(Boolean) ? insideOf(column, token) : null;
  return /** @type {any} */ (new Map(token.c.map((row) => {
    if (inside === null || inside.has(row[0])) return [row[0], anchorOf(row) + pushOf(coefficients, deltasOf(column, row))];
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
function wasActedOn(column, token, row) { // it shows in the log-prob
  const pushed = pushOf(coefficientsAt(column, token.v), deltasOf(column, row));
  const off = nat(row[1]) - anchorOf(row) - normaliserOf(token);
  return Math.abs(off - pushed) <= Math.abs(off) + ROUNDING;
}

/** @type {(token: Token) => number} */
const normaliserOf = (token) => nat(token.y[token.y.length - 2]);

/** @type {(column: Recipe, token: Token, controls: Controls) => number | null} */
function wayOf(column, token, controls) { // 1: as recorded; 0: no terms; null: beside the way between the two
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

// {id, changed, unrecorded}: what the same noise chooses among the recorded tokens; at most so much probability lies on
// others, null where that cannot be known. A warper that is known to Python only needs the whole distribution: what it
// would leave cannot be known, so the answer is the token as it is, with null.
/** @type {(column: Recipe, token: Token, controls: Controls) => { id: number, changed: boolean, unrecorded: number | null }} */
export function choiceAt(column, token, controls) {
  const way = wayOf(column, token, controls);
  if (way === 1) return { id: token.i, changed: false, unrecorded: 0 };
  if (column.unreplayed?.length) return { id: token.i, changed: false, unrecorded: null };
  const mixed = mixedAt(column, token, controls);
  const id = drawFrom(column.sampling, mixed, noiseOf(column, token));
  /** @type {number | null} */
  let unrecorded = null;
  const { temperature } = column.sampling;
  if (way !== null && temperature <= 1) {
    const atRecord = logRest(token.c.map((row) => nat(row[1]))) - normaliserOf(token);
    const logMass = (1 - way) * logRest(token.c.map(anchorOf)) + way * atRecord;
    const values = [...mixed.values()];
    if (temperature >= 1e-4) unrecorded = shareOf(logMass / temperature, values.map((value) => value / temperature));
    else unrecorded = logMass < Math.max(...values) ? 0 : shareOf(logMass, values);
  }
  return { id, changed: id !== token.i, unrecorded };
}

// [[rival, value of the control at which it draws level]...], the nearest first.
/** @type {(column: Recipe, token: Token, control: string) => [rival: number, value: number][]} */
export function flipsOf(column, token, control) {
  if (token.v[control] === undefined || !column.terms.some((term) => term[1] === control)) return [];
  const level = mixedAt(column, token, { [control]: 0 }), higher = mixedAt(column, token, { [control]: 1 });
  /** @type {[number, number][]} */
  const flips = [];
  for (const rival of level.keys()) {
    const lead = level.get(token.i) - level.get(rival);
    const slope = higher.get(rival) - level.get(rival) - (higher.get(token.i) - level.get(token.i));
    if (rival !== token.i && Number.isFinite(lead) && Number.isFinite(slope) && Number.isFinite(lead / slope)) flips.push([rival, lead / slope]);
  }
  return flips.sort((a, b) => Math.abs(a[1] - token.v[control]) - Math.abs(b[1] - token.v[control]));
}

// The values that act on a token when the sliders stand at `controls`; `factor` is the schedule's, beta has none.
/** @type {(controls: Controls, factor: number) => Controls} */
const effectiveAt = (controls, factor) => Object.fromEntries(Object.entries(controls).map(([name, value]) => [name, name === "beta" ? value : value * factor]));

/** @type {(column: Recipe) => string[]} */
export const controlsOf = (column) => [...new Set(column.terms.map((term) => term[1]).filter((name) => name !== null))];

// The token as it would be recorded at these values: the same fields, so that whatever draws a token draws this too.
// `would` is what the same noise would draw, `sure` whether at most `unsure` probability lies on tokens not recorded.
/** @type {(column: Column, token: Token, sliders: Controls, factors: number[], unsure: number) => Token} */
export function remix(column, token, sliders, factors, unsure) {
  const factor = factorAt(factors, token.n);
  const mine = Object.fromEntries(Object.entries(sliders).filter(([name]) => name in token.v));
  const v = { ...token.v, ...effectiveAt(mine, factor) };
  if (wayOf(column, token, v) === 1) return token;
  const { id, unrecorded } = choiceAt(column, token, v);
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
    would: token.n < column.given && drawnAsWritten(column, token) === id ? token.i : id, // a given token was not drawn
    sure: unrecorded !== null && unrecorded <= unsure,
  };
}

/** @type {(column: Recipe, token: Token) => number} */
const drawnAsWritten = (column, token) => drawFrom(column.sampling, mixedAt(column, token, {}), noiseOf(column, token));

// The log of what lies on tokens not recorded, as a straight line through what it is with no terms and as recorded:
// exact at both, too high between them, too low beyond.
/** @type {(column: Recipe, token: Token, v: Controls) => number} */
function restAt(column, token, v) {
  const then = coefficientsAt(column, token.v), now = coefficientsAt(column, v);
  const k = then.findIndex(Boolean), share = k < 0 ? 0 : now[k] / then[k];
  const none = logRest(token.c.map(anchorOf)), recorded = logRest(token.c.map((row) => nat(row[1]))) - normaliserOf(token);
  return (1 - share) * none + share * recorded;
}
