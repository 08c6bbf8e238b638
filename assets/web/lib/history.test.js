import assert from "node:assert/strict";
import { test } from "node:test";
import { grownBy, lookingAt, onlyWith, redone, startHistory, treeOf, undone, without } from "./history.js";

const parents = new Map([[0, null], [1, 0], [2, 1], [3, 0], [4, null], [5, 4]]);
const parentOf = (id) => parents.get(id);
const grown = () => [1, 2, 3].reduce(grownBy, startHistory(0));
const shown = (now) => [now.tree.ids.join(" "), now.tree.current];

test("undo and redo move from text to text, remove none, and stop at the ends", () => {
  const all = grown();
  assert.deepEqual(shown(all), ["0 1 2 3", 3]);
  const back = undone(undone(all));
  assert.deepEqual(shown(back), ["0 1 2 3", 1]);
  assert.deepEqual(redone(redone(back)), all);
  const start = undone(back);
  assert.deepEqual(shown(start), ["0 1 2 3", 0]);
  assert.equal(undone(start), start);
  assert.equal(redone(all), all);
});

test("a branch made after undo leaves the texts that were undone in the tree", () => {
  const forked = grownBy(undone(undone(grown())), 5);
  assert.deepEqual(shown(forked), ["0 1 2 3 5", 5]);
  assert.deepEqual(forked.future, []);
  assert.deepEqual(shown(undone(forked)), ["0 1 2 3 5", 1]);
  assert.equal(lookingAt(forked, 5), forked, "visiting the current text is no step");
});

test("a new run is one more root; undo shows the run before it", () => {
  const two = grownBy(grown(), 4);
  assert.deepEqual(shown(undone(two)), ["0 1 2 3 4", 3]);
  assert.deepEqual(treeOf(two.tree.ids, 0, parentOf), [0, 1, 2, 3]);
});

test("a text is removed with all that grew from it, and undo brings them back", () => {
  const all = grown();
  assert.deepEqual(shown(without(all, 1, parentOf)), ["0 3", 3]);
  const gone = without(lookingAt(all, 2), 1, parentOf);
  assert.deepEqual(shown(gone), ["0 3", 0]);
  assert.deepEqual(shown(undone(gone)), ["0 1 2 3", 2]);
  assert.deepEqual(redone(undone(gone)), gone);
  assert.deepEqual(shown(undone(undone(gone))), ["0 1 2 3", 3]);
});

test("without a run, the one before it is shown; without the only one, none", () => {
  const two = grownBy(grownBy(grown(), 4), 5);
  assert.deepEqual(shown(without(two, 4, parentOf)), ["0 1 2 3", 0]);
  assert.deepEqual(shown(without(lookingAt(two, 2), 0, parentOf)), ["4 5", 4]);
  const none = without(grown(), 0, parentOf);
  assert.deepEqual(shown(none), ["", null]);
  assert.deepEqual(shown(undone(none)), ["0 1 2 3", 3]);
});

test("what no longer fits is forgotten with the steps that need it", () => {
  const all = lookingAt(grownBy(grown(), 4), 2);
  const kept = onlyWith(all, new Set([0, 2, 3, 4]));
  assert.deepEqual(shown(kept), ["0 2 3 4", 2]);
  assert.deepEqual(kept.past.map(({ to }) => to), [3, 4, 2], "the first two steps led to text 1 and from it");
  assert.deepEqual(onlyWith(undone(undone(all)), new Set([0, 1, 3, 4])).future, [{ from: 3, to: 4, gone: [] }]);
  assert.deepEqual(onlyWith(all, new Set([0, 4])), { tree: { ids: [0, 4], current: 4 }, past: [], future: [] });
  assert.equal(onlyWith(all, new Set()), null);
});

test("the number of undo steps is limited", () => {
  const long = Array.from({ length: 500 }, (_, i) => i + 1).reduce(grownBy, startHistory(0));
  assert.equal(long.past.length, 200);
});

test("a step leaves the old history as it was", () => {
  const one = grownBy(startHistory(0), 1), copy = structuredClone(one);
  grownBy(one, 2);
  undone(one);
  without(one, 1, parentOf);
  assert.deepEqual(one, copy);
});
