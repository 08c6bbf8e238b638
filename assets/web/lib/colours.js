// What the colours of the tokens mean: classes for the style sheet, the number behind each, and the entries of the legend.

/** @import { Colour, Column, Token } from "../types.js" */

import { coefficientsAt, nat } from "./counterfactual.js";
import { decimal, signed } from "./formats.js";
import { FAINT_NATS, finalOf, shiftOf, STRONG_NATS } from "./tokens.js";

const OTHER_TOKEN = "the anchor alone prefers another token"; // not "would choose": with the same noise it may choose this one

// Grades from plain to strong: a token belongs to the first whose test it passes; the last takes the rest.
/** @type {(title: string, value: (token: Token) => number, number: (token: Token) => string, grades: [string, (value: number) => boolean][]) => Colour} */
const graded = (title, value, number, grades) => ({
  title,
  classes: (column, token) => ["grade-" + grades.findIndex(([, test]) => test(value(token)))],
  number: (column, token) => number(token),
  legend: grades.map(([text], k) => ["grade-" + k, text, "abc"]),
});

/** @type {Record<string, Colour>} */
export const COLOURS = {
  tuning: {
    title: "tuning effect",
    classes: tuningClasses,
    number: (column, token) => (column.terms.length ? signed(shiftOf(token)) : ""),
    legend: [["raised", "▲ raised by tuning"], ["lowered", "▼ lowered by tuning"], ["flip", OTHER_TOKEN]],
  },
  probability: graded("probability", (token) => Math.exp(nat(finalOf(token))), (token) => decimal(finalOf(token)), [
    ["90 % or more", (p) => p >= 0.9], ["50 to 90 %", (p) => p >= 0.5], ["20 to 50 %", (p) => p >= 0.2], ["5 to 20 %", (p) => p >= 0.05], ["below 5 %", () => true],
  ]),
  rank: graded("rank", (token) => token.r, (token) => "#" + token.r, [
    ["first choice", (r) => r <= 1], ["2 to 10", (r) => r <= 10], ["11 to 100", (r) => r <= 100], ["beyond 100", () => true],
  ]),
  entropy: graded("entropy", (token) => nat(token.e), (token) => nat(token.e).toFixed(1), [
    ["certain: below 0.1 nats", (e) => e < 0.1], ["0.1 to 0.5", (e) => e < 0.5], ["to 1", (e) => e < 1], ["to 2", (e) => e < 2], ["very uncertain: 2 or more", () => true],
  ]),
  flip: {
    title: "changed tokens only",
    classes: flipClasses,
    number: (column, token, labels) => (flipClasses(column, token).length ? labels.get(token.b) : ""),
    legend: [["flip", OTHER_TOKEN + "; the number is its choice"]],
  },
  none: { title: "nothing", classes: () => [], number: () => "", legend: [] },
};

// Whether a term has a weight here: without one, the column is its anchor alone. The engine's weights are float32.
/** @type {(column: Column, token: Token) => boolean} */
const isActive = (column, token) => coefficientsAt(column, token.v).some((weight) => Math.fround(weight));

/** @type {(column: Column, token: Token) => string[]} */
function flipClasses(column, token) {
  return token.b !== token.i && isActive(column, token) ? ["flip"] : [];
}

/** @type {(column: Column, token: Token) => string[]} */
function tuningClasses(column, token) {
  const shift = shiftOf(token), classes = flipClasses(column, token);
  if (Math.abs(shift) >= FAINT_NATS) classes.push(shift > 0 ? "raised" : "lowered");
  if (Math.abs(shift) >= STRONG_NATS) classes.push("strong");
  return classes;
}

// The strength of the colour in percent; the most from four nats on.
/** @type {(token: Token) => number} */
export const strengthOf = (token) => Math.round(8 + 40 * Math.min(1, Math.abs(shiftOf(token)) / 4));
