import assert from "node:assert/strict";
import { test } from "node:test";
import { drawFrom, isGreedy } from "./sampling.js";

const plain = { temperature: 1, top_k: 0, top_p: 1, min_p: 0, seed: 0 };
const draw = (sampling, values, ours) => drawFrom({ sampling, rules: { greedy_below: 1e-4 } }, values, ours);
const mixed = new Map([[1, -1], [2, -2], [3, -3]]);
const noise = (...values) => new Map(values.map((value, k) => [k + 1, value]));

test("temperature 0 takes the likeliest token, on a tie the lowest id", () => {
  assert.equal(draw({ ...plain, temperature: 0 }, mixed, noise(0, 9, 9)), 1);
  assert.equal(draw({ ...plain, temperature: 0 }, new Map([[8, -1], [5, -1]]), new Map()), 5);
  assert.deepEqual([0, 0.1].map((temperature) => isGreedy({ sampling: { temperature }, rules: { greedy_below: 1e-4 } })), [true, false]);
});

test("the noise decides among the kept tokens", () => {
  assert.equal(draw(plain, mixed, noise(0, 0, 2.5)), 3);
  assert.equal(draw(plain, mixed, noise(0, 0, 1.5)), 1);
});

test("top-k, top-p and min-p keep a token out, whatever its noise", () => {
  for (const only of [{ top_k: 2 }, { top_p: 0.9 }, { min_p: 0.2 }]) assert.notEqual(draw({ ...plain, ...only }, mixed, noise(0, 0, 50)), 3, JSON.stringify(only));
  assert.equal(draw({ ...plain, top_p: 0.01 }, mixed, noise(-9, 9, 9)), 1); // one always stays
});

test("temperature divides the log-probs but not the noise", () => {
  assert.equal(draw({ ...plain, temperature: 4 }, mixed, noise(0, 0, 0.6)), 3);
});

test("tokens that tie with the last kept one are kept", () => {
  const ties = new Map([[1, -1], [2, -2], [3, -2], [4, -9]]);
  for (const only of [{ top_k: 2 }, { top_p: 0.75 }, { min_p: Math.exp(-1) - 1e-9 }]) assert.equal(draw({ ...plain, ...only }, ties, new Map([[1, 0], [2, 0], [3, 9], [4, 99]])), 3, JSON.stringify(only));
});
