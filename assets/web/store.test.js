import assert from "node:assert/strict";
import { test } from "node:test";
import * as store from "./store.js";

test("lookAt clears the selection and the preview", () => {
  store.pick(0, 3);
  store.setRival(7);
  store.setAsIfState({ sliders: {}, first: {}, counts: {} });
  store.lookAt({ id: "b", columns: [] });
  assert.deepEqual([store.run.id, store.selected, store.asIf], ["b", null, null]);
  store.pick(0, 1);
  assert.equal(store.rival, null);
});

test("lines of an ignored run are skipped", () => {
  const before = store.nonce;
  store.readTo(90);
  store.passOver();
  assert.deepEqual([store.nonce, store.seen], [before + 1, 0]);
});

test("a run starts with the current slider values", () => {
  store.moveControls({ alpha: 0.5 });
  store.noteRunning(true);
  assert.deepEqual(store.sent, { alpha: 0.5 });
  store.moveControls({ alpha: 2 });
  assert.deepEqual(store.sent, { alpha: 0.5 });
  store.noteRunning(false);
});

test("listeners are called in the order of registration", () => {
  const heard = [];
  store.on("test", (x) => heard.push(["first", x]));
  store.on("test", (x) => heard.push(["second", x]));
  store.emit("test", 5);
  store.emit("nobody listens");
  assert.deepEqual(heard, [["first", 5], ["second", 5]]);
});

test("the values of the sliders that the columns use, as far as they are known", () => {
  store.moveControls({ alpha: 1.5 });
  const column = { terms: [[1, "alpha", 1, 2], [1, "alpha_pirate", 1, 2], [1, null, 1, 2]] };
  assert.deepEqual(store.slidersOf([column]), { alpha: 1.5 });
});

test("which column's text is scored, and which run a node belongs to", () => {
  const free = { id: "x", columns: [] }, same = { id: "y", columns: [] };
  store.plantTree(new Map([[0, { id: 0, parent: null, run: free, same: new Map([[1, same]]) }]]), { tree: { ids: [0], current: 0 }, past: [], future: [] });
  store.lookAt(same);
  assert.equal(store.sameOf(store.currentNode()), 1);
  assert.equal(store.runOf("y"), same);
  assert.equal(store.runOf("z"), null);
});
