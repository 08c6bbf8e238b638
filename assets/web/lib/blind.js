// The columns without their names: which of them is the one asked for?

/** @import { Column, Poll, Run } from "../types.js" */

import { writtenText } from "./conversation.js";
import { shuffled } from "./poll.js";
import { textOf } from "./tokens.js";

/** @type {(k: number) => string} */
export const letterOf = (k) => String.fromCharCode(65 + k);
/** @type {(column: Column) => string} */
export const wholeText = (column) => writtenText(column).trim();

// The column that is asked for: the up-scaled one; of several, or of none, the one that the page plots first.
/** @type {(run: Run) => number} */
export function askedColumn({ columns, attributed }) {
  const up = columns.flatMap((column, p) => (column.kind === "up" ? [p] : []));
  return up.length === 1 ? up[0] : attributed ?? columns.length - 1;
}

// Whether a column has another text than the one that is asked for: otherwise nobody could choose.
/** @type {(run: Run) => boolean} */
export function canBeBlind(run) {
  const asked = wholeText(run.columns[askedColumn(run)]);
  return asked !== "" && run.columns.some((column) => wholeText(column) !== asked);
}

// The order in which they are shown: `order[k]` is the column that gets the k-th letter.
/** @type {(run: Run) => number[]} */
export const blindOrder = (run) => shuffled(run.columns.map((_, p) => p), [run.prompt, ...run.columns.map(textOf)].join("\n"));

// The run as it may be seen: letters for names, and no tokens, whose colours, numbers and cards would give the answer away.
/** @type {(run: Run, order: number[]) => Run} */
export function inDisguise(run, order) {
  const columns = order.map((p, k) => ({
    ...run.columns[p], name: "Column " + letterOf(k), kind: "blind", recipe: "", about: "", terms: [], roles: [], drafter: null, v: {},
    tokens: [], spans: [], ended: null, bars: [{ x: [], y: [] }], remixed: null, scored: null, drafted: false, view: null, entry: 0, unfolded: 0,
  }));
  return { ...run, columns, attributed: null, drafted: false };
}

/** @type {(run: Run, order: number[], id: string) => Poll} */
export function blindPoll(run, order, id) {
  const asked = askedColumn(run), only = run.columns.filter(({ kind }) => kind === "up").length === 1;
  const title = only ? "Which column is the up-scaled one?" : "Which column is " + run.columns[asked].name + "?";
  const options = order.map((_, k) => ({ id: letterOf(k), label: "Column " + letterOf(k) }));
  return { id, kind: "column", title, prompt: run.prompt, before: "", options, answer: letterOf(order.indexOf(asked)), revealed: false };
}
