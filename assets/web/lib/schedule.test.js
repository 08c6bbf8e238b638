import assert from "node:assert/strict";
import { test } from "node:test";
import { factorAt, factorsOf, liveOf, turnsAt } from "./schedule.js";

test("the factors of each schedule", () => {
  assert.deepEqual(factorsOf("constant", 3), [1, 1, 1]);
  assert.deepEqual(factorsOf("warmup 4", 5), [0.25, 0.5, 0.75, 1, 1]);
  assert.deepEqual(factorsOf("first 2", 4), [1, 1, 0, 0]);
  assert.deepEqual(factorsOf("list 0 0.5 1", 5), [0, 0.5, 1, 1, 1]);
});

test("an unfinished schedule draws no curve", () => {
  for (const text of ["warmup ", "warmup 0", "first x", "list", "list 2", "list 0 -1"]) assert.deepEqual(factorsOf(text, 3), [], text);
});

test("a slider's value follows from the effective one, except where the schedule is 0; no schedule affects beta", () => {
  assert.deepEqual(liveOf({ n: 0, v: { alpha: 0.5, beta: 2 } }, [0.5, 1]), { alpha: 1, beta: 2 });
  assert.ok(Number.isNaN(liveOf({ n: 9, v: { alpha: 0 } }, [1, 0]).alpha));
  assert.equal(factorAt([0.5, 1], 7), 1);
});

test("only moved sliders count as changes, not the schedule", () => {
  const steady = { tokens: [{ n: 0, v: { alpha: 0.5 } }, { n: 1, v: { alpha: 1 } }, { n: 2, v: { alpha: 2 } }] };
  assert.deepEqual(turnsAt(steady, 0, [0.5, 1]), []);
  assert.deepEqual(turnsAt(steady, 1, [0.5, 1]), []);
  assert.deepEqual(turnsAt(steady, 2, [0.5, 1]), [{ name: "alpha", value: 2 }]);
});
