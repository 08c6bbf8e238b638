// What tuning did to a whole text, in one sentence: at how many places the likeliest token is another one than the base's, and
// how sure the base was there and elsewhere. All of it is recorded: the likeliest token of the mix is the first candidate,
// the anchor's own is listed too.

/** @import { Column, Token } from "../types.js" */

import { nat } from "./counterfactual.js";
import { capital, roleName } from "./formats.js";
import { subjectOf } from "./sentences.js";

const ALIKE = 0.1; // a difference of probabilities that is not worth a word

/** @type {(token: Token) => boolean} */
export const isChanged = (token) => token.c.length > 0 && token.c[0][0] !== token.b;

// The probability that the anchor gives to its own first choice.
/** @type {(token: Token) => number} */
export const sureness = (token) => Math.exp(nat(token.c.find(([id]) => id === token.b)?.[2]));

/** @type {(numbers: number[]) => number} */
const mean = (numbers) => numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
/** @type {(share: number) => string} */
const percentText = (share) => Math.round(100 * share) + "\u00a0%";

/** @type {(column: Column) => string} empty without terms or tokens */
export function summaryText(column) {
  const { tokens, terms, roles } = column;
  if (!terms.length || !tokens.length) return "";
  const { name, plural } = subjectOf(column), who = capital(name), base = roleName(roles[0]);
  const there = tokens.filter(isChanged), elsewhere = tokens.filter((token) => !isChanged(token));
  const head = who + " changed the likeliest token at " + there.length + " of " + tokens.length + (tokens.length === 1 ? " place" : " places");
  if (!there.length) return who + (plural ? " change" : " changes") + " no likeliest token here: the " + base + " alone prefers the same " + tokens.length + ".";
  if (!elsewhere.length) return head + ".";
  const [at, other] = [there, elsewhere].map((list) => mean(list.map(sureness)));
  const sure = at < other - ALIKE ? "less confident there" : at > other + ALIKE ? "more confident there" : "as confident there as elsewhere";
  return head + "; the " + (/base/.test(base) ? "base" : base) + " was " + sure + ": " + percentText(at) + " for its first choice, " + percentText(other) + " elsewhere.";
}
