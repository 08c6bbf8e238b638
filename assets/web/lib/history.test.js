import assert from "node:assert/strict";
import { test } from "node:test";
import { grownBy, lookingAt, redone, startHistory, undone, without } from "./history.js";

const parents = new Map([[0, null], [1, 0], [2, 1], [3, 0]]);
const grown = () => [1, 2, 3].reduce(grownBy, startHistory(0));

test("undo and redo go back and forth over every step, and stop at the ends", () => {
  const all = grown();
  assert.deepEqual(all.tree, { ids: [0, 1, 2, 3], current: 3 });
  const back = undone(undone(all));
  assert.deepEqual(back.tree, { ids: [0, 1], current: 1 });
  assert.deepEqual(redone(redone(back)), all);
  const start = undone(undone(undone(all)));
  assert.equal(undone(start), start);
  assert.equal(redone(all), all);
});

test("a new step forgets what was undone; visiting the current node adds no undo step", () => {
  const turned = lookingAt(undone(grown()), 0);
  assert.deepEqual(turned.future, []);
  assert.equal(lookingAt(turned, 0), turned);
});

test("a node goes with all that grew from it; the first text stays", () => {
  const all = grown(), parentOf = (id) => parents.get(id);
  assert.deepEqual(without(all, 1, parentOf).tree, { ids: [0, 3], current: 3 });
  assert.deepEqual(without(lookingAt(all, 2), 1, parentOf).tree, { ids: [0, 3], current: 0 });
  assert.equal(without(all, 0, parentOf), all);
  assert.deepEqual(undone(without(all, 1, parentOf)).tree, all.tree);
});

test("the number of undo steps is limited", () => {
  const long = Array.from({ length: 500 }, (_, i) => i + 1).reduce(grownBy, startHistory(0));
  assert.equal(long.past.length, 200);
});

test("a step leaves the old one as it was", () => {
  const one = grownBy(startHistory(0), 1), copy = structuredClone(one);
  grownBy(one, 2);
  undone(one);
  assert.deepEqual(one, copy);
});
