// Lessons: their address, and the token that a step selects.

/** @import { Column, Place, TokenPlace } from "../types.js" */

/** @type {(hash: string, field: string) => string} */
function valueIn(hash, field) {
  const found = hash.slice(1).split("&").find((one) => one.startsWith(field + "="));
  try {
    return decodeURIComponent((found || "").slice(field.length + 1));
  } catch {
    return ""; // a damaged address
  }
}

// `#lesson=name&step=3`, or null.
/** @type {(hash: string) => { name: string, at: number } | null} */
export function lessonIn(hash) {
  const name = valueIn(hash, "lesson"), step = Number(valueIn(hash, "step"));
  return name ? { name, at: Number.isInteger(step) && step > 0 ? step - 1 : 0 } : null;
}

/** @type {(name: string, at: number) => string} */
export const lessonHash = (name, at) => "#lesson=" + encodeURIComponent(name) + "&step=" + (at + 1);

/** @type {(at: number, count: number) => number} */
export const withinSteps = (at, count) => Math.max(0, Math.min(count - 1, at));

// What a step says of a token that is not there, so that the lesson's author finds the mistake.
/** @type {(columns: Pick<Column, "name" | "tokens">[], place: TokenPlace) => string} */
export function lackOf(columns, { column, token, nth }) {
  const there = columns.find(({ name }) => name === column);
  if (!there) return "No column “" + column + "” is shown, only " + columns.map(({ name }) => "“" + name + "”").join(", ") + ".";
  const what = typeof token === "number" ? "token " + token : nth > 1 ? "occurrence " + nth + " of “" + token + "”" : "“" + token + "”";
  return "The text of “" + column + "” that is shown has no " + what + ".";
}

// Where the token is: the `token`th of a column, or the first of the `nth` occurrence of a text, as in eft_demo/lessons/claims.py.
/** @type {(columns: Pick<Column, "name" | "tokens">[], place: TokenPlace) => Place | null} */
export function placeOf(columns, { column, token, nth }) {
  const p = columns.findIndex(({ name }) => name === column), tokens = columns[p]?.tokens || [];
  if (typeof token === "number") return token <= tokens.length ? { p, i: token - 1 } : null;
  const text = tokens.map(({ s }) => s).join("");
  let start = -1, end = 0;
  for (let count = 0; count < nth; count += 1) {
    start = text.indexOf(token, start + 1);
    if (start < 0) return null;
  }
  const i = tokens.findIndex(({ s }) => (end += s.length) > start);
  return i < 0 ? null : { p, i };
}
