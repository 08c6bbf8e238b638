// The shared noise, as eft_demo/method/sampling.py makes it: a hash of seed, position and token id, read as Gumbel noise.

/** @import { Known, Recipe, Token } from "../types.js" */

const MASK_64 = (1n << 64n) - 1n;
const GOLDEN = 0x9e3779b97f4a7c15n;

// The noise of every candidate, computed once and stored with the token.
/** @type {(column: Recipe, token: Token) => Known<number>} */
export function noiseOf(column, token) {
  token.noise ??= /** @type {any} */ (new Map(token.c.map(([id]) => [id, gumbelOf(column.sampling.seed, token.n, id)])));
  return /** @type {Known<number>} */ (token.noise);
}

/** @type {(seed: number, position: number, id: number) => number} */
export function gumbelOf(seed, position, id) {
  const key = splitmix((splitmix(BigInt(seed)) + BigInt(position) * GOLDEN) & MASK_64);
  const bits = finalise((key + (BigInt(id) + 1n) * GOLDEN) & MASK_64);
  const u = Math.min(1 - 2 ** -24, Math.max(2 ** -64, Number(bits) * 2 ** -64));
  return -Math.log(-Math.log1p(-u));
}

/** @type {(x: bigint) => bigint} */
export const splitmix = (x) => finalise((x + GOLDEN) & MASK_64);

/** @type {(x: bigint) => bigint} */
function finalise(x) {
  x = ((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK_64;
  x = ((x ^ (x >> 27n)) * 0x94d049bb133111ebn) & MASK_64;
  return x ^ (x >> 31n);
}
