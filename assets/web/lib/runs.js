// A run as the page holds it, built line by line from what the server sends.

/** @import { Column, Line, Rules, Run, RunLine, Token } from "../types.js" */

import { seenBy } from "./conversation.js";

/** @type {(line: RunLine, rules: Rules, parent?: Run | null) => Run} */
export function makeRun(line, rules, parent = null) {
  const columns = line.columns.map((_, p) => startColumn(line, p, rules));
  for (const p of line.copied || []) Object.assign(columns[p], parent?.columns[p]); // their tokens are not sent again
  return { ...line, labels: /** @type {any} */ (new Map(parent ? parent.labels : [])), bytes: new Map(parent ? parent.bytes : []), columns };
}

// Column `p` before its first token.
/** @type {(line: RunLine, p: number, rules: Rules) => Column} */
function startColumn({ columns, sampling, seeds, unreplayed, filter, given, givens, turns, prompt }, p, rules) {
  return {
    ...columns[p],
    sampling: { ...sampling, seed: seeds?.[p] ?? sampling.seed },
    unreplayed: unreplayed || [],
    filter,
    rules,
    given: givens?.[p] ?? (given || 0),
    v: {},
    tokens: [],
    spans: [],
    ended: null,
    turns: seenBy(turns, prompt, p),
  };
}

/** @type {(to: Run, labels: Record<string, string | string[]> | undefined) => void} */
export function addLabels(to, labels) {
  for (const [id, value] of Object.entries(labels || {})) {
    const [label, bytes] = Array.isArray(value) ? value : [value];
    to.labels.set(Number(id), label);
    if (bytes !== undefined) to.bytes.set(Number(id), bytes);
  }
}

/** @type {(column: Column, token: Token) => void} */
export function record(column, token) { // fills in the defaults that the wire format omits
  column.v = token.v ??= column.v;
  token.r ??= 1;
  token.b ??= token.i;
  token.q ??= column.roles.map(() => 1);
  token.n = column.tokens.length;
  column.tokens.push(token);
}

/** @type {(run: Run, line: Line) => void} */
export function grow(run, line) { // by one more line of those that a column is sent: a token, or its end
  const column = run.columns[line.p];
  if (line.k === "end") column.ended = /** @type {any} */ (line);
  if (line.k === "t") addLabels(run, line.w), record(column, /** @type {any} */ (line));
}
