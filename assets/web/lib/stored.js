// The lines of one column as the browser stores them and the server takes them back; and a check of stored tokens.

/** @import { Column, Run, Token } from "../types.js" */

/** @type {(run: Run, column: Column) => string} */
export function storedText({ labels, bytes }, { tokens, ended }) {
  /** @type {Record<number, string | (string | undefined)[]>} */
  const w = {};
  /** @type {(id: number) => void} */
  const name = (id) => (w[id] ??= bytes.has(id) ? [labels.get(id), bytes.get(id)] : labels.get(id));
  for (const token of tokens) {
    for (const id of token.d ? [token.i, token.b, token.d[0]] : [token.i, token.b]) name(id);
    for (const [id] of token.c) name(id);
  }
  const t = tokens.map(({ k, p, n, w: sent, v, r, b, q, noise, ...token }, i) => ({ // noise is computed again
    ...token, ...(i && v === tokens[i - 1].v ? {} : { v }), ...(r === 1 ? {} : { r }), ...(b === token.i ? {} : { b }), ...(q.every((rank) => rank === 1) ? {} : { q }),
  }));
  return JSON.stringify({ w, t, end: ended });
}

// The token, if it has the form of one of this column; throws otherwise, because storage may be damaged.
/** @type {(token: any, column: Column) => Token} */
export function checkedToken(token, column) {
  /** @type {(list: any) => boolean} */
  const numbers = (list) => Array.isArray(list) && list.every((x) => x === null || Number.isFinite(x));
  /** @type {(list: any) => boolean} */
  const rows = (list) => Array.isArray(list) && list.every((row) => numbers(row) && row.length === column.roles.length + 2);
  if (!Number.isInteger(token.i) || typeof token.s !== "string" || !numbers(token.y) || token.y.length !== column.terms.length + 3 || !rows(token.c) || !numbers(token.q ?? [])) throw new Error("no token");
  return token;
}

// Whether other versions or models made a run than those of `here`, as far as both are known.
/** @type {(there: any, here: any) => boolean} */
export function madeOtherwise(there, here) {
  if (!there || !here) return false;
  const { models, ...versions } = there;
  const differs = (/** @type {any} */ one, /** @type {any} */ other) => Object.keys(one).some((key) => one[key] && other[key] && one[key] !== other[key]);
  return differs(versions, here) || Object.keys(models ?? {}).some((role) => here.models[role] && differs(models[role], here.models[role]));
}
