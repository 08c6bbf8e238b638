// What can be asked: completing a question while it is typed, a random question, whether a question names anything known, and
// the kinds of things in words. All from one table, which eft_demo/atlas/askable.py makes from the facts.

/** @import { Askable } from "../types.js" */

import { capital } from "./formats.js";

export const OFFERED = 8;
const MIN_NAME = 3; // shorter names are also parts of common words
const MIN_TELLING = 6; // shorter words of the forms are in questions about anything: "what", "which", "where"
const COMMON = new Set(["the", "and", "for", "red", "who", "how", "was", "bear", "lead", "may", "can", "mine", "good", "hello"]); // names that are also words of any question

/** @type {(text: string) => string[]} */
export const wordsOf = (text) => text.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "").match(/[\p{L}\p{N}]+/gu) || [];

/** @type {(table: Askable, entity: number, form: number) => string} */
export function questionOf({ forms, entities }, entity, form) {
  const [name, said] = entities[entity];
  return forms[form].replace("{e}", said || name);
}

// Questions that contain every typed word, the last one perhaps unfinished. Those that begin as typed come first, then those
// whose entity does.
/** @type {(table: Askable, typed: string) => string[]} */
export function complete(table, typed) {
  const words = wordsOf(typed), last = words.at(-1);
  if (!last || (words.length === 1 && last.length < 2)) return [];
  /** @type {[number, string][]} */
  const found = [];
  const begins = typed.trim().toLowerCase();
  const formWords = table.forms.map((form) => wordsOf(form));
  const fits = (/** @type {string[]} */ have, /** @type {string} */ word) => have.includes(word) || (word === last && have.some((one) => one.startsWith(word)));
  const byForm = formWords.map((have) => words.filter((word) => !fits(have, word)));
  table.entities.forEach(([name, , forms], e) => {
    const own = wordsOf(name);
    if (words.length === 1 && !fits(own, last)) return;
    for (const form of forms) {
      const left = byForm[form];
      if (left.some((word) => !fits(own, word))) continue;
      const question = questionOf(table, e, form), text = question.toLowerCase();
      const rank = text.startsWith(begins) ? 0 : left.length && own[0].startsWith(left[0]) ? 1 : 2;
      found.push([rank * 1000 + question.length, question]);
    }
  });
  const questions = found.sort(([one], [other]) => one - other).map(([, question]) => question);
  return [...new Set(questions)].slice(0, OFFERED);
}

// A random question; `chance` and `other` are random numbers from 0 to 1, which choose its form and its entity. Every form comes
// up equally often, not every entity.
/** @type {(table: Askable, chance: number, other: number) => string} */
export function surprise(table, chance, other) {
  const form = Math.floor(chance * table.forms.length) % table.forms.length;
  const able = table.entities.flatMap(([, , forms], e) => (forms.includes(form) ? [e] : []));
  return able.length ? questionOf(table, able[Math.floor(other * able.length) % able.length], form) : surprise(table, (chance + 0.37) % 1, other);
}

/** @type {(word: string) => string} */
const singular = (word) => word.replace(/ies$/, "y").replace(/([^s])s$/, "$1");

// Whether a question may ask for an entity by a value that `values` lacks, a number or a common noun: "which element is number
// 58?", "which country has the lion as its national symbol?". It then has two of: a kind of thing, a word of the forms, a number.
/** @type {(table: Askable, question: string) => boolean} */
function mayAskByValue({ kinds, forms }, question) {
  const words = new Set(wordsOf(question).map(singular));
  const ofKinds = new Set(kinds.map((kind) => singular(wordsOf(kind).at(-1) || "")));
  const ofForms = new Set(forms.flatMap(wordsOf).map(singular).filter((word) => word.length >= MIN_TELLING && !ofKinds.has(word)));
  const has = (/** @type {Set<string>} */ known) => [...words].some((word) => known.has(word));
  return Number(has(ofKinds)) + Number(has(ofForms)) + Number(/\d/.test(question)) > 1;
}

// The plurals that a name may have in a question: "lions", "finches", "butterflies", "wolves".
/** @type {(name: string) => string[]} */
const pluralsOf = (name) => [name + "s", name + "es", name.replace(/y$/, "ies"), name.replace(/fe?$/, "ves")];

// Whether a question names nothing that the facts name: no entity and no value.
/** @type {(table: Askable, question: string) => boolean} */
export function isOutside(table, question) {
  if (mayAskByValue(table, question)) return false;
  const asked = " " + wordsOf(question).join(" ") + " ";
  const names = (/** @type {string} */ name) => {
    const own = wordsOf(name).join(" ");
    if (own.length < MIN_NAME || COMMON.has(own)) return false;
    return asked.includes(" " + own + " ") || asked.includes(" " + own + " s ") || pluralsOf(own).some((several) => asked.includes(" " + several + " "));
  };
  return !table.entities.some(([name]) => names(name)) && !table.values.some(names);
}

// The first `count` kinds of things in the plural: "countries, cities and 12 other kinds of things".
/** @type {(kinds: string[], count: number) => string} */
export function kindsText(kinds, count) {
  const more = kinds.length - count;
  return kinds.slice(0, count).map(plural).join(", ") + (more > 1 ? " and " + more + " other kinds of things" : "");
}

/** @type {(kind: string) => string} */
function plural(kind) {
  const named = kind.replace(/^us /, "US ").replace(/^(egyptian|greek)/, capital);
  if (/[^s]s$/.test(named)) return named; // it is one already
  if (named.endsWith("y")) return named.slice(0, -1) + "ies";
  return named + (/(s|x|ch|sh)$/.test(named) ? "es" : "s");
}
