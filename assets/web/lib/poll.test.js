import assert from "node:assert/strict";
import { test } from "node:test";

import { optionOf, shuffled, votesOf, withoutAnswer } from "./poll.js";

const poll = { id: "a", kind: /** @type {const} */ ("token"), title: "Which?", options: [{ id: "7", label: "Lima" }, { id: "9", label: "Peru" }], answer: "7", revealed: false };

test("others see the answer once it is revealed, and not before", () => {
  assert.ok(!JSON.stringify(withoutAnswer(poll)).includes('"answer":"7"'));
  assert.equal(withoutAnswer({ ...poll, revealed: true }).answer, "7");
});

test("the votes of the room and the guesses of this page add up; what is no option or no count is ignored", () => {
  const votes = (tally, guesses) => votesOf(poll, tally, guesses).map((one) => [one.votes, one.share]);
  assert.deepEqual(votes({}, []), [[0, 0], [0, 0]]);
  assert.deepEqual(votes({ 7: 2 }, ["9", "7"]), [[3, 0.75], [1, 0.25]]);
  assert.deepEqual(votes(/** @type {any} */ ({ 7: -2, 9: "3", 8: 9, toString: 4 }), ["8"]), [[0, 0], [0, 0]]);
  assert.deepEqual(votes({ 7: 1.5 }, []), [[0, 0], [0, 0]]);
  assert.deepEqual(votesOf({ ...poll, options: [{ id: "toString", label: "x" }] }, {}, [])[0].votes, 0);
});

test("a key names an option by its place", () => {
  assert.deepEqual(["1", "2", "3", "0", "a", "", "Shift+1"].map((key) => optionOf(poll, key)), ["7", "9", null, null, null, null, null]);
});

test("an order depends on the text alone, and loses nothing", () => {
  const list = ["a", "b", "c", "d"];
  assert.deepEqual(shuffled(list, "run 1"), shuffled(list, "run 1"));
  assert.deepEqual(shuffled(list, "run 1").sort(), list);
  const orders = Array.from({ length: 240 }, (_, n) => shuffled(list, "run " + n).join(""));
  const firsts = list.map((one) => orders.filter((order) => order[0] === one).length);
  assert.ok(firsts.every((count) => count > 30), String(firsts)); // each about 60 times
  assert.deepEqual(shuffled([], "x"), []);
});
