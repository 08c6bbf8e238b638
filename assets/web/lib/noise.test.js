import assert from "node:assert/strict";
import { test } from "node:test";
import { noiseOf, gumbelOf, splitmix } from "./noise.js";

test("splitmix64 as published: the first outputs of seed 1234567", () => {
  const golden = 0x9e3779b97f4a7c15n, mask = (1n << 64n) - 1n;
  const outputs = [0n, 1n, 2n].map((k) => splitmix((1234567n + k * golden) & mask));
  assert.deepEqual(outputs, [6457827717110365317n, 3203168211198807973n, 9817491932198370423n]);
});

test("the noise follows from seed, position and token alone, and is finite", () => {
  const all = [0, 1, 2].flatMap((seed) => [0, 1].flatMap((position) => [0, 5, 2 ** 31].map((id) => gumbelOf(seed, position, id))));
  assert.ok(all.every(Number.isFinite));
  assert.equal(new Set(all).size, all.length);
  assert.equal(gumbelOf(3, 4, 5), gumbelOf(3, 4, 5));
});

test("the noise has the mean and the variance of the Gumbel distribution", () => {
  const draws = Array.from({ length: 20_000 }, (_, id) => gumbelOf(7, 0, id));
  const mean = draws.reduce((sum, x) => sum + x, 0) / draws.length;
  const variance = draws.reduce((sum, x) => sum + (x - mean) ** 2, 0) / draws.length;
  assert.ok(Math.abs(mean - 0.5772) < 0.03, String(mean));
  assert.ok(Math.abs(variance - Math.PI ** 2 / 6) < 0.08, String(variance));
});

test("a token's noise is computed once", () => {
  const token = { n: 3, c: [[4, 0], [9, -1]] }, column = { sampling: { seed: 2 } };
  const first = noiseOf(column, token);
  assert.deepEqual([...first], [[4, gumbelOf(2, 3, 4)], [9, gumbelOf(2, 3, 9)]]);
  assert.equal(noiseOf(column, token), first);
});
