import assert from "node:assert/strict";
import { test } from "node:test";
import { drawFrom } from "./sampling.js";

const plain = { temperature: 1, top_k: 0, top_p: 1, min_p: 0, seed: 0 };
const mixed = new Map([[1, -1], [2, -2], [3, -3]]);
const noise = (...values) => new Map(values.map((value, k) => [k + 1, value]));

test("temperature 0 takes the likeliest, and of equals the first id", () => {
  assert.equal(drawFrom({ ...plain, temperature: 0 }, mixed, noise(0, 9, 9)), 1);
  assert.equal(drawFrom({ ...plain, temperature: 0 }, new Map([[8, -1], [5, -1]]), new Map()), 5);
});

test("the noise decides among what is kept", () => {
  assert.equal(drawFrom(plain, mixed, noise(0, 0, 2.5)), 3);
  assert.equal(drawFrom(plain, mixed, noise(0, 0, 1.5)), 1);
});

test("top-k, top-p and min-p keep a token out, whatever its noise", () => {
  for (const only of [{ top_k: 2 }, { top_p: 0.9 }, { min_p: 0.2 }]) assert.notEqual(drawFrom({ ...plain, ...only }, mixed, noise(0, 0, 50)), 3, JSON.stringify(only));
  assert.equal(drawFrom({ ...plain, top_p: 0.01 }, mixed, noise(-9, 9, 9)), 1); // one always stays
});

test("temperature divides the log-probs but not the noise", () => {
  assert.equal(drawFrom({ ...plain, temperature: 4 }, mixed, noise(0, 0, 0.6)), 3);
});
