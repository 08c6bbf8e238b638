// The share of alpha that acts on each token, as in eft_demo/method/schedule.py, and slider positions derived from the
// recorded values of controls.

/** @import { Controls, Column, Token } from "../types.js" */

// The schedule's factor at a position; the last one repeats.
/** @type {(factors: number[], n: number) => number} */
export const factorAt = (factors, n) => factors[Math.min(n, factors.length - 1)];

// The controls that a person moved just before token `index`. Changes made by the schedule do not count.
/** @type {(column: Column, index: number, factors: number[]) => { name: string, value: number }[]} */
export function turnsAt(column, index, factors) {
  const before = column.tokens[index - 1];
  if (!before || before.v === column.tokens[index].v) return [];
  const then = liveOf(before, factors), now = liveOf(column.tokens[index], factors);
  return Object.entries(now).flatMap(([name, value]) => (Math.abs(value - then[name]) > 0.001 ? [{ name, value }] : []));
}

/** @type {(token: Pick<Token, "n" | "v">, factors: number[]) => Controls} */
export function liveOf(token, factors) { // slider positions; NaN where the schedule's factor is 0
  const factor = factorAt(factors, token.n);
  return Object.fromEntries(Object.entries(token.v).map(([name, value]) => [name, name === "beta" ? value : factor ? value / factor : NaN]));
}

// The factor of each of the first tokens; empty while the text is invalid. A copy of `Schedule.curve`, because the curve is
// drawn while a person types; tests/ui/test_twins.py compares them.
/** @type {(schedule: string, length: number) => number[]} */
export function factorsOf(schedule, length) {
  const [kind, ...rest] = schedule.split(" "), numbers = rest.filter(Boolean).map(Number), [n] = numbers;
  const isList = kind === "list", count = isList ? Math.max(1, numbers.length) : kind === "constant" ? 0 : 1;
  const isValid = isList ? (/** @type {number} */ x) => x >= 0 && x <= 1 : (/** @type {number} */ x) => Number.isInteger(x) && x >= 1;
  if (numbers.length !== count || !numbers.every(isValid)) return [];
  return Array.from({ length }, (_, i) => {
    if (kind === "warmup") return Math.min(1, (i + 1) / n);
    if (kind === "first") return i < n ? 1 : 0;
    return isList ? numbers[Math.min(i, numbers.length - 1)] : 1;
  });
}
