// Sentences that explain one token's numbers. A sentence is a list of strings, alternately plain and bold, so that
// tokens can be bold without any text being parsed. Column and token are as in counterfactual.js.

/** @import { Labels, Column, Recipe, Row, Token } from "../types.js" */

import { anchorOf, coefficientsAt, controlsOf, deltasOf, flipsOf, insideOf, levelOf, mixedAt, nat, sumOfTerms } from "./counterfactual.js";
import { factorAt } from "./schedule.js";
import { capital, factorText, roleName, shareText, symbolOf } from "./formats.js";

const SAYABLE_NATS = 0.05; // smaller differences are not mentioned
export const FAR_VALUE = 99; // larger values of a control are not stated
const LEAST_OFF_NATS = 0.001; // smaller errors of log-probs are not given
const NO_BREAK = "\u00a0";
/** @type {(role: string) => boolean} */
export const isBase = (role) => role.endsWith("_base");
/** @type {<T>(rows: T[], worth: (row: T) => number) => T} the first of the best; null if there are none */
export const bestBy = (rows, worth) => rows.reduce((best, row) => (best === null || worth(row) > worth(best) ? row : best), /** @type {any} */ (null));

/** @type {(token: Token) => boolean} at the slider values of now, the same noise would choose another token */
const wouldChange = (token) => token.would !== undefined && token.would !== token.i;

// The rival that explains most: the anchor's first choice; where that is the token itself, the likeliest of the mix, which a chance
// draw or a person passed over; else the tuned model's first choice, or the next best of the mix. The likeliest of the mix comes first
// where no preference led to the token: a person gave it, the sliders moved away from it, or chance passed over both. null: none.
/** @type {(column: Recipe, token: Token) => Row | null} */
export function mainRival(column, token) {
  const others = token.c.filter(([id]) => id !== token.i), likeliest = bestBy(token.c, (row) => nat(row[1]));
  const passed = likeliest && likeliest[0] !== token.i ? likeliest : null;
  const first = others.find(([id]) => id === token.b);
  const own = token.c.find(([id]) => id === token.i);
  const astray = token.n < column.given || wouldChange(token) || (own && first && nat(first[1]) > nat(own[1]));
  if (passed && astray) return passed;
  if (first || passed) return first || passed;
  if (column.terms.length) {
    const place = 2 + column.terms[0][2];
    const favourite = bestBy(token.c, (row) => nat(row[place]));
    if (favourite[0] !== token.i) return favourite;
  }
  return bestBy(others, (row) => nat(row[1]));
}

/** @type {(nats: number) => string} */
export function oddsText(nats) { // "6.2 nats (490×)": log-odds in nats and as a factor
  const times = Math.exp(Math.min(Math.abs(nats), 14)), shown = times < 10 ? times.toFixed(1) + "×" : factorText(Math.abs(nats));
  return (nats !== 0 && Math.abs(nats) < SAYABLE_NATS ? "less than 0.1" : Math.abs(nats).toFixed(1)) + " nats (" + shown + ")";
}

// What the terms add: tuning, size, or both; and whether it takes a plural verb.
/** @type {(column: Recipe) => { name: string, plural: boolean }} */
export function subjectOf(column) {
  const kinds = column.terms.map(([, , plus, minus]) => {
    const names = [column.roles[plus], column.roles[minus]].map(isBase);
    return names[0] && names[1] ? "size" : names[1] ? "tuning" : "other";
  });
  if (kinds.includes("other")) return { name: "the terms", plural: true };
  const both = kinds.includes("size") && kinds.includes("tuning");
  return { name: both ? "tuning and size" : kinds[0], plural: both };
}

// What decided this token against `against`, or against the rival that explains most. Empty if no rival is listed.
// `factors` are the schedule's: values of controls are stated as positions of their sliders.
/** @type {(column: Column, token: Token, labels: Labels, against?: number | null, factors?: number[]) => string[]} */
export function explain(column, token, labels, against = null, factors = [1]) {
  const chosen = token.c.find(([id]) => id === token.i), rival = token.c.find(([id]) => id === against && id !== token.i) || mainRival(column, token);
  if (!chosen || !rival) return [];
  const bold = { c: labels.get(chosen[0]), r: labels.get(rival[0]) };
  const anchor = roleName(column.roles[0]);
  const logOdds = anchorOf(chosen) - anchorOf(rival);
  if (!column.terms.length) return filled(oneModelText(anchor, logOdds, token.i === token.b, token.n < (column.given || 0)), bold);
  if ([...chosen.slice(2), ...rival.slice(2)].includes(null)) return filled("One of the models gives {c} or {r} zero probability here, so their log-odds are not finite.", bold);
  const mixed = mixedAt(column, token, {});
  const push = mixed.get(token.i) - anchorOf(chosen) - (mixed.get(rival[0]) - anchorOf(rival));
  if (!Number.isFinite(push)) return filled("The weight filter excludes {r} here.", bold);
  const flips = flipText(column, token, [chosen, rival], labels, factorAt(factors, token.n));
  const would = wouldChange(token) ? labels.get(/** @type {number} */ (token.would)) : ""; // at other slider values
  const passed = would ? null : passedOver(column, token, [chosen, rival]);
  const luck = passed ? " Chance chose it over {l}, which the mix prefers by " + oddsText(nat(passed[1]) - nat(chosen[1])) + "." : "";
  return filled(verdictText(column, token, [chosen, rival], logOdds, push) + luck + (would ? wouldText(token) : flips.text),
    { ...bold, ...flips.bold, w: would, l: passed ? labels.get(passed[0]) : "" });
}

// The likeliest token of the mix, if the noise did not choose it and the sentence compares the token with another rival. The card
// then adds that chance chose the token.
/** @type {(column: Column, token: Token, rows: [Row, Row]) => Row | null} */
function passedOver(column, token, [chosen, rival]) {
  const likeliest = bestBy(token.c, (row) => nat(row[1]));
  const isNews = token.n >= (column.given || 0) && likeliest[0] !== rival[0] && nat(rival[1]) <= nat(chosen[1]);
  return isNews && nat(likeliest[1]) > nat(chosen[1]) ? likeliest : null;
}

/** @type {(token: Token) => string} */
const wouldText = ({ sure }) => " At these slider values the same noise " + (sure ? "chooses" : "probably chooses") + " {w}.";

/** @type {(name: string, logOdds: number, isFirst: boolean, isGiven: boolean) => string} */
function oneModelText(name, logOdds, isFirst, isGiven) {
  const who = "This column is the " + name + " model alone.";
  if (!Number.isFinite(logOdds)) return who + " It gives {r} zero probability here.";
  if (isFirst) return who + " It prefers {c} to {r} by " + oddsText(logOdds) + ".";
  if (isGiven) return who + " This token was given, not sampled: the model prefers {r} to it by " + oddsText(logOdds) + ".";
  return who + " It prefers {r} by " + oddsText(logOdds) + ", but the noise chose {c}.";
}

/** @type {(column: Column, token: Token, rows: [Row, Row], logOdds: number, push: number) => string} */
function verdictText(column, token, rows, logOdds, push) {
  const { name, plural } = subjectOf(column), anchor = roleName(column.roles[0]);
  /** @type {(word: string) => string} */
  const verb = (word) => (plural ? word : word + "s");
  const parts = partsText(column, token, rows);
  if (logOdds + push < 0 && token.n < (column.given || 0)) return "This token was given, not sampled: the mix prefers {r} to it by " + oddsText(logOdds + push) + ".";
  if (logOdds + push < 0 && wouldChange(token)) return "With the sliders as they are now, the mix prefers {r} to {c} by " + oddsText(logOdds + push) + "; {c} was written with other values.";
  if (logOdds + push < 0) return "Chance decided here: the mix prefers {r} to {c} by " + oddsText(logOdds + push) + ", but the shared noise chose {c}.";
  if (logOdds < 0) return capital(name) + " " + verb("decide") + " here: the " + anchor + " alone prefers {r} by " + oddsText(logOdds) + ", and " +
    name + " " + verb("add") + " " + push.toFixed(1) + " nats to the lead of {c}" + parts + ".";
  const preference = "prefers {c} to {r} by " + oddsText(logOdds);
  if (push > SAYABLE_NATS) return "Both agree here: the " + anchor + " " + preference + ", and " + name + " " + verb("add") + " " + push.toFixed(1) + " nats to that lead" + parts + ".";
  if (push < -SAYABLE_NATS) return "The " + anchor + " decides here: it " + preference + "; " + name + " " + (plural ? "push" : "pushes") +
    " the other way by " + (-push).toFixed(1) + " nats" + parts + ".";
  return "The " + anchor + " decides here: it " + preference + "; " + name + " " + (plural ? "make" : "makes") + " no difference.";
}

/** @type {(column: Column, token: Token, rows: [Row, Row]) => string} */
function partsText(column, token, [chosen, rival]) { // what each of several terms adds
  const inside = insideOf(column, token);
  if (column.terms.length < 2 || (inside && !(inside.has(chosen[0]) && inside.has(rival[0])))) return "";
  const weights = coefficientsAt(column, token.v), ours = deltasOf(column, chosen), theirs = deltasOf(column, rival);
  const parts = column.terms.flatMap(([, , plus, minus], k) => {
    const sizes = isBase(column.roles[plus]) && isBase(column.roles[minus]);
    const value = weights[k] * (ours[k] - theirs[k]);
    return Math.abs(value) < SAYABLE_NATS ? [] : (sizes ? "size" : roleName(column.roles[plus])) + " " + (value < 0 ? "−" : "+") + Math.abs(value).toFixed(1);
  });
  return parts.length ? " (" + parts.join(", ") + ")" : "";
}

// A slider that begins at 0 has nothing below 0.00, as a tie near it would read.
/** @type {(value: number, lowest: number) => string} */
const underText = (value, lowest) => (lowest === 0 && value < 0.005 ? "at" : "below");

// The value of each control at which the two would swap places, with all other controls unchanged. It is about these two only; the
// candidate that takes the lead before, or where these two never swap, is named too.
/** @type {(column: Column, token: Token, rows: [Row, Row], labels: Labels, factor: number) => { text: string, bold: Record<string, string> }} */
function flipText(column, token, [chosen, rival], labels, factor) {
  const controls = controlsOf(column);
  if (!controls.length) return { text: "", bold: {} };
  /** @type {Record<string, string>} */
  const bold = {};
  /** @type {(number | null)[]} */
  const pairs = controls.map(() => null); // the values that are stated
  const [ahead, other] = nat(chosen[1]) >= nat(rival[1]) ? ["{c}", "{r}"] : ["{r}", "{c}"];
  const places = controls.flatMap((control, k) => {
    const found = levelOf(column, token, control, rival[0], factor);
    const lowest = control === "beta" ? 0 : column.rules.lowest; // where its slider begins
    if (!found || !(found.slider >= lowest && found.slider <= (controls.length > 1 ? column.rules.highest : FAR_VALUE))) return [];
    bold[k] = placeText(control, found.slider);
    pairs[k] = found.slider;
    const beyond = found.slider > column.rules.highest ? ", beyond the slider's range" : "";
    return [(token.v[control] <= found.effective ? "only from" : underText(found.slider, lowest)) + " {" + k + "}" + beyond];
  });
  const firsts = controls.flatMap((control, k) => {
    const first = overtakerOf(column, token, control, rival[0], pairs[k], factor);
    if (!first) return [];
    Object.assign(bold, { ["o" + k]: labels.get(first.id), ["p" + k]: placeText(control, first.slider) });
    return ["{o" + k + "} " + (pairs[k] !== null ? "already " : "") + (first.isAbove ? "from" : "below") + " {p" + k + "}"];
  });
  const already = firsts.join(", or ");
  if (places.length) return { text: " The column would prefer " + other + " to " + ahead + " " + places.join(", or ") + (already ? ", but " + already : "") + ".", bold };
  const never = " No " + (controls.length === 1 ? symbolOf(controls[0]) : "single slider") + " would put " + other + " ahead of " + ahead;
  return { text: never + (already ? ", but the column would prefer " + already : "") + ".", bold };
}

/** @type {(control: string, value: number) => string} */
const placeText = (control, value) => symbolOf(control) + NO_BREAK + "=" + NO_BREAK + value.toFixed(value >= 10 ? 1 : 2);

// The candidate that takes the lead from the chosen token within the slider's range, and on the way to `pair`, where the rival
// does, all as positions of the slider. null: none, or the chosen token has no lead to lose.
/** @type {(column: Column, token: Token, control: string, rival: number, pair: number | null, factor: number) => { id: number, slider: number, isAbove: boolean } | null} */
function overtakerOf(column, token, control, rival, pair, factor) {
  const share = control === "beta" ? 1 : factor, now = token.v[control] / share;
  const own = token.c.find(([id]) => id === token.i), { lowest, highest } = column.rules;
  if (!share || !own || token.c.some((row) => nat(row[1]) > nat(own[1]))) return null;
  const low = Math.max(control === "beta" ? 0 : lowest, pair !== null && pair < now ? pair : -Infinity);
  const high = Math.min(highest, pair !== null && pair >= now ? pair : Infinity);
  const places = flipsOf(column, token, control).map(([id, value]) => ({ id, slider: value / share, isAbove: value / share >= now }));
  return places.find(({ id, slider, isAbove }) => id !== rival && slider > low && slider < high && (pair === null || isAbove === pair >= now)) ?? null;
}

// Only the template is parsed, never the inserted text.
/** @type {(template: string, bold: Record<string, string>) => string[]} */
const filled = (template, bold) => template.split(/\{(\w+)\}/).map((piece, i) => (i % 2 ? bold[piece] : piece));

// What happened to a draft. Draft and target share their noise, so between o / (2 - o) and o of all drafts are accepted
// where the two distributions overlap by o.
/** @type {(column: Column, token: Token, labels: Labels) => string[]} */
export function explainDraft(column, token, labels) {
  if (!token.d || !column.drafter) return []; // a file may claim a draft without a drafter
  const [drafted, overlap] = token.d, bold = { c: labels.get(token.i), d: labels.get(drafted) };
  const who = "The small " + roleName(column.drafter).replace(/^small /, "") + " model proposed {d}";
  const mix = column.terms.length ? "mix" : roleName(column.roles[0]);
  const fared = drafted === token.i ? " and the " + mix + " agreed." : "; with the same noise the " + mix + " sampled {c} instead.";
  return filled(who + fared + " Their distributions overlap by " + shareText(overlap) + ", so such a draft is " + keptText(overlap) + ".", bold);
}

// What stays open because a server sent only the likeliest log-probs of its model. The plain text needs no labels.
/** @type {(token: Token) => string[]} */
export function explainCut(token) {
  if (!token.u) return [];
  const [certain, sent, asked, hidden, off] = token.u, few = sent === 1 ? "the likeliest token" : "the " + sent.toLocaleString("en") + " likeliest tokens";
  const also = asked ? " and " + asked.toLocaleString("en") + " that it was asked for" : "";
  const verdict = certain ? "This token is certain: none of the others can take its place." : "This token is not certain: with the others, it might be another one.";
  const error = off === null ? "by an unknown amount" : off < LEAST_OFF_NATS ? "by less than " + LEAST_OFF_NATS + " nats" : "by up to " + off.toPrecision(2) + " nats";
  return ["The server of the large model sent " + few + also + "; the others have " + shareText(hidden) + " of its probability. " + verdict
    + " Log-probs of the mix may be off " + error + "; rank and entropy are estimates."];
}

const SAYABLE_SHARE = 0.005; // probabilities have two digits: a smaller unrecorded rest does not show in them

// Whether the probabilities of a token seen at other slider values are estimates, and whether its entropy is known: that needs each
// of the tokens that were not recorded, not only what they have together.
/** @type {(token: Token) => boolean} */
export const isEstimate = ({ hidden }) => hidden !== undefined && (hidden.how === "unknown" || (hidden.how === "bound" && hidden.share > SAYABLE_SHARE));
/** @type {(token: Token) => boolean} */
export const knowsEntropy = (token) => !isEstimate(token) && !(token.hidden && token.hidden.share > SAYABLE_SHARE);

// How far the card may be off at slider values other than those that the token was written with.
/** @type {(token: Token) => string[]} */
export function explainEstimate(token) {
  if (!token.hidden || !isEstimate(token)) return [];
  const { share, how } = token.hidden, rest = "The mix is estimated at these slider values: the run recorded only the likeliest tokens, and ";
  if (how === "unknown") return [rest + "what the others have here is unknown. The leads are exact."];
  return [rest + "the others have up to " + shareText(share) + ". A token may be up to " + (1 / (1 - share)).toFixed(share > 0.5 ? 1 : 2) + " times as likely as shown; the leads are exact."];
}

/** @type {(overlap: number) => string} */
function keptText(overlap) {
  const low = Math.round((100 * overlap) / (2 - overlap)), high = Math.round(100 * overlap);
  if (overlap <= 0) return "never accepted";
  if (low >= 99) return overlap >= 1 ? "always accepted" : "almost always accepted";
  if (high < 1) return "almost never accepted";
  return "accepted " + (low === high ? "about " + low : low + " to " + high) + " % of the time";
}

// Explains a chosen token on which the weight filter kept the terms from acting. Empty elsewhere.
/** @type {(column: Column, token: Token) => string[]} */
export function explainFilter(column, token) {
  if (!column.filter || column.filter.kind !== "top_p" || column.terms.length === 0) return [];
  const row = token.c.find(([id]) => id === token.i);
  if (!row || token.y.slice(1, -2).some(Boolean)) return [];
  if (Math.abs(sumOfTerms(coefficientsAt(column, token.v), deltasOf(column, row))) < SAYABLE_NATS) return [];
  const anchor = roleName(column.roles[0]);
  return ["The weight filter acted here: the token is outside the " + anchor + "'s top " + Math.round(1000 * column.filter.value) / 10 +
    " %, so the terms do not act on it and it keeps the " + anchor + "'s log-prob."];
}
