import assert from "node:assert/strict";
import { test } from "node:test";

import { candidatesOf, firstGuess, isGuessable, nextGuess, oddsOf, predictionOf, upTo } from "./predict.js";

// [id, mix, anchor, tuned]: 1 was sampled, 2 is the base's own choice
const rows = [[1, -0.5, -3, -0.4], [3, -1, -2, -1], [2, -2, -0.3, -4], [4, -4, -5, -4], [5, -6, -6, -6]];
const token = (n, c = rows, more = {}) => ({ i: 1, b: 2, n, s: " t" + n, v: {}, y: [-3, 2.5, 0, -0.5], c, r: 1, q: [1, 1], ms: 0, ...more });
const sure = [[1, 0, 0, 0]];
const makeRun = (tokens) => /** @type {any} */ ({
  prompt: "Why?", labels: new Map([[1, "Lima"], [2, "Peru"], [3, "Lima"], [4, "⟨1B⟩"], [5, "of"]]),
  columns: [{ name: "Base", recipe: "large_base", roles: ["large_base"], terms: [], tokens: [token(0), token(1)], ended: { why: "stop" } },
    { name: "Up", recipe: "mix", roles: ["large_base", "tuned"], terms: [[1, "alpha", 1, 0]], tokens, ended: { why: "stop" } }],
});
const run = makeRun([token(0, sure, { b: 1 }), token(1), token(2, sure, { b: 1 }), token(3)]);

test("the options are the token, the base's choice and the likeliest others, each label once", () => {
  assert.deepEqual(candidatesOf(/** @type {any} */ (token(0)), run.labels), [1, 2, 4, 5]);
  const poll = predictionOf(run, 1, 1, "a");
  assert.deepEqual(poll.options.map(({ label }) => label).sort(), ["Lima", "Peru", "of", "⟨1B⟩"]);
  assert.deepEqual([poll.answer, poll.revealed, poll.kind], ["1", false, "token"]);
  assert.deepEqual(predictionOf(run, 1, 1, "b").options, poll.options); // the same order every time
});

test("the place of the answer does not depend on the answer", () => {
  const places = Array.from({ length: 80 }, (_, n) => predictionOf({ ...run, prompt: "Why " + n }, 1, 1, "a").options.findIndex(({ id }) => id === "1"));
  for (const place of [0, 1, 2, 3]) assert.ok(places.filter((one) => one === place).length > 5);
});

test("a place without a choice is passed over", () => {
  assert.deepEqual([isGuessable(run, 1, 0), isGuessable(run, 1, 1)], [false, true]);
  assert.deepEqual([nextGuess(run, 1, 1, 1), nextGuess(run, 1, 3, 1), nextGuess(run, 1, 3, -1), nextGuess(run, 1, 1, -1)], [3, null, 1, null]);
  assert.equal(firstGuess(run, 1), 1);
  assert.equal(firstGuess(makeRun([]), 1), null);
  assert.equal(firstGuess(makeRun([token(0, sure, { b: 1 })]), 1), null);
  assert.equal(firstGuess(makeRun([token(0), token(1, [], { b: 3, y: [-9, 9, 0, 0] })]), 1), 0); // the changed one has nothing to choose from
});

test("what may be seen holds no token from the asked one on, and nothing of the other columns", () => {
  const seen = upTo(run, 1, 1);
  assert.deepEqual(seen.columns.map(({ tokens, ended }) => [tokens.length, ended]), [[0, null], [1, null]]);
  assert.equal(run.columns[1].tokens.length, 4);
  assert.equal(seen.attributed, 1);
});

test("the question quotes the end of the text before the token", () => {
  assert.equal(predictionOf(run, 1, 1, "a").title, "What comes after “t0”?");
  assert.equal(predictionOf(run, 0, 0, "a").title, "What is the first token of Base?");
  const long = makeRun([token(0, rows, { s: "word ".repeat(40) + "end" }), token(1)]);
  assert.match(predictionOf(long, 1, 1, "a").title, /“…word (word )+end”/);
  assert.deepEqual([predictionOf(long, 1, 1, "a").before, predictionOf(run, 1, 1, "a").before], ["word ".repeat(40) + "end", ""]);
  assert.equal(predictionOf(run, 1, 1, "a").prompt, "Why?");
  const one = makeRun([token(0, rows, { s: "x".repeat(400) }), token(1)]);
  assert.ok(predictionOf(one, 1, 1, "a").title.length < 80);
});

test("the odds of an option: under the base and in the mix, or of the one model there is", () => {
  const cover = /** @type {any} */ ({ whole: run, place: { p: 1, i: 1 } });
  assert.deepEqual(oddsOf(cover, "1"), [["large_base", -3], ["mix", -0.5]]);
  assert.deepEqual(oddsOf({ ...cover, place: { p: 0, i: 0 } }, "2"), [["large_base", -0.3]]);
  assert.deepEqual(oddsOf(cover, "99"), []);
});
