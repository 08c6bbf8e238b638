import assert from "node:assert/strict";
import { test } from "node:test";
import { COLOURS, strengthOf } from "./colours.js";

const up = { terms: [[1, "alpha", 1, 2]] }, alone = { terms: [] };
const token = (more = {}) => ({ i: 1, b: 1, r: 1, e: 0.3, y: [-1, 0, -1], v: { alpha: 1 }, ...more });

test("the colour of tuning: a direction from 0.1 nats, a triangle from 1 nat, a mark where the base chose another token", () => {
  const { classes } = COLOURS.tuning;
  assert.deepEqual(classes(up, token()), []);
  assert.deepEqual(classes(up, token({ y: [-1, 0.2, 0, -0.8] })), ["raised"]);
  assert.deepEqual(classes(up, token({ y: [-1, -3, 0, -4], b: 2 })), ["flip", "lowered", "strong"]);
  assert.deepEqual(classes(alone, token({ b: 2 })), []); // nobody tuned anything
});

test("a column whose terms have no weight is its anchor: no token is marked as another than the anchor's", () => {
  const both = { terms: [[1, "alpha", 1, 2], [1, "beta", 3, 2]] }, fixed = { terms: [[0.5, null, 1, 2]] };
  for (const name of ["tuning", "flip"]) {
    const { classes } = COLOURS[name];
    assert.deepEqual(classes(up, token({ b: 2, v: { alpha: 0 } })), []);
    assert.deepEqual(classes(up, token({ b: 2, v: { alpha: 1e-60 } })), []); // 0 in the engine
    assert.deepEqual(classes(both, token({ b: 2, v: { alpha: 0, beta: 0 } })), []);
    assert.deepEqual(classes(both, token({ b: 2, v: { alpha: 0, beta: 0.5 } })), ["flip"]);
    assert.deepEqual(classes(fixed, token({ b: 2, v: {} })), ["flip"]);
  }
  assert.equal(COLOURS.flip.number(up, token({ b: 2, v: { alpha: 0 } }), new Map([[2, " Rome"]])), "");
});

test("every colour begins at the value that its legend states", () => {
  const grade = (name, more) => COLOURS[name].classes(up, token(more))[0];
  assert.deepEqual([0.95, 0.6, 0.3, 0.1, 0.01].map((p) => grade("probability", { y: [0, Math.log(p)] })), ["grade-0", "grade-1", "grade-2", "grade-3", "grade-4"]);
  assert.deepEqual([1, 2, 10, 11, 101].map((r) => grade("rank", { r })), ["grade-0", "grade-1", "grade-1", "grade-2", "grade-3"]);
  assert.deepEqual([0, 0.1, 0.9, 1, 7].map((e) => grade("entropy", { e })), ["grade-0", "grade-1", "grade-2", "grade-3", "grade-4"]);
});

test("every strength has an entry in the legend, and every colour a title", () => {
  assert.deepEqual(["probability", "rank", "entropy"].map((name) => COLOURS[name].legend.length), [5, 4, 5]);
  assert.ok(Object.values(COLOURS).every(({ title }) => title));
});

test("the number above a token is that of its colouring", () => {
  assert.equal(COLOURS.tuning.number(up, token({ y: [-1, 0, 0.5] }), new Map()), "+1.5");
  assert.equal(COLOURS.flip.number(up, token({ b: 2 }), new Map([[2, " Rome"]])), " Rome");
  assert.equal(COLOURS.flip.number(up, token(), new Map()), "");
});

test("the colour is deepest from four nats on", () => {
  assert.deepEqual([[-1, -1], [-1, 3], [-1, 90]].map((y) => strengthOf(token({ y }))), [8, 48, 48]);
});
