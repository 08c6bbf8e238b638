import assert from "node:assert/strict";
import { test } from "node:test";

import { blanksOf, piecesOf, slidersAt, sumOf, tieOf, wordsFor } from "./tasks.js";

const labels = /** @type {any} */ (new Map([[1, "of"], [2, "Lima"], [3, "Peru"]]));
// Two candidates: the base prefers 1 by 2 nats, tuning pushes 2 by 3.
const rows = [[2, -0.1, -2.5, -1, -4], [1, -1.1, -0.5, -3, -3]];
const token = (n, shift, more = {}) => ({ i: 2, b: 1, n, s: " Lima", v: { alpha: 1 }, y: [-2.5, shift, -0.5, -3 + shift], c: rows, r: 1, q: [1, 1, 1], e: shift / 10, ms: 0, ...more });
const makeColumn = (tokens, more = {}) => /** @type {any} */ ({
  name: "Up", recipe: "mix", roles: ["large_base", "small_tuned", "small_base"], terms: [[1, "alpha", 1, 2]], tokens, given: 0,
  sampling: { temperature: 0, top_p: 1, top_k: 0, min_p: 0, seed: 1 }, filter: { kind: "off", value: 1 }, rules: { support_nats: 30, greedy_below: 1e-4, lowest: 0, highest: 3 }, ...more,
});

test("the blanks are the tokens that tuning moved most, apart from one another, in the order of the text", () => {
  const column = makeColumn([token(0, 1), token(1, 9), token(2, 8), token(3, 2), token(4, 7, { s: "\n" }), token(5, 6)]);
  assert.deepEqual(blanksOf(column, labels), [1, 3, 5]); // 2 is next to 1, and 4 shows nothing
  assert.equal(blanksOf(makeColumn(Array.from({ length: 40 }, (_, n) => token(n, n))), labels).length, 6);
  assert.deepEqual(blanksOf(makeColumn([]), labels), []);
  assert.deepEqual(blanksOf(makeColumn([token(0, 1, { c: [[2, 0, 0, 0, 0]], b: 2 })]), labels), []); // nothing to choose from
});

test("in a column of one model they are the tokens of which it was least sure", () => {
  const alone = makeColumn([token(0, 1), token(1, 2), token(2, 3)], { terms: [], roles: ["large_base"] });
  assert.deepEqual(blanksOf(alone, labels), [0, 2]);
});

test("the text keeps the spaces around a blank and holds none of its letters", () => {
  const column = makeColumn([token(0, 1, { s: "In" }), token(1, 2), token(2, 1, { s: "." })]);
  assert.deepEqual(piecesOf(column, [1]), ["In", " ", 1, "", "."]);
});

test("the words to choose from are the options of a question to the class, always in one order", () => {
  const column = makeColumn([token(0, 1)]), run = /** @type {any} */ ({ prompt: "Why?", labels, columns: [column] });
  assert.deepEqual([...wordsFor(run, column, 0)].sort(), ["Lima", "of"]);
  assert.deepEqual(wordsFor(run, column, 0), wordsFor(run, column, 0));
});

test("the parts that are given add up to the number to find", () => {
  const { parts, logprob, probability } = sumOf(makeColumn([token(0, 2.9)]), 0);
  assert.ok(Math.abs(parts.reduce((sum, part) => sum + part, 0) - logprob) < 1e-9);
  assert.equal(probability, Math.exp(logprob));
  assert.deepEqual(sumOf(makeColumn([token(0, 1)], { terms: [] }), 0).parts, [-2.5]);
});

test("the sheet states the sliders of the recipe at every blank", () => {
  const column = makeColumn([token(0, 1), token(1, 2, { v: { alpha: 2, beta: 1 } })]);
  assert.deepEqual(slidersAt(column, [0, 1]), [{ control: "alpha", values: [1, 2] }]);
  assert.deepEqual(slidersAt(makeColumn([token(0, 1)], { terms: [] }), [0]), []);
});

test("the alpha to find is the difference of the log-probs over that of the changes", () => {
  const found = tieOf(makeColumn([token(0, 3)]), [0]), [own, rival] = found?.rows || [];
  assert.deepEqual([own.id, rival.id, own.delta, rival.delta], [2, 1, 3, 0]);
  assert.ok(Math.abs((found?.value ?? 0) - (rival.anchor - own.anchor) / (own.delta - rival.delta)) < 1e-9);
});

test("without one alpha to find there is no such question", () => {
  assert.equal(tieOf(makeColumn([token(0, 3)], { terms: [] }), [0]), null);
  assert.equal(tieOf(makeColumn([token(0, 3)], { filter: { kind: "top_p", value: 0.9 } }), [0]), null);
  assert.equal(tieOf(makeColumn([token(0, 3)]), []), null);
  assert.equal(tieOf(makeColumn([token(0, 3, { c: [[2, -0.1, -2.5, -1, -4], [1, -1, -0.5, null, -3]] })]), [0]), null);
});
