import assert from "node:assert/strict";
import { test } from "node:test";

import { branchText, linkedPath, movedWhileWritten } from "./linked.js";

const token = (n, alpha) => ({ i: n, n, v: { alpha } });
const column = (alphas, seed = 0) => {
  const all = [...new Set(alphas)].map((alpha) => [alpha, { alpha }]), values = new Map(/** @type {any} */ (all));
  return { tokens: alphas.map((alpha, n) => ({ ...token(n, alpha), v: values.get(alpha) })), sampling: { seed } };
};
const run = (id, columns, more = {}) => ({ id, columns, factors: [1], ...more });
const node = (id, own, more = {}) => /** @type {any} */ ({ id, parent: id - 1, run: own, column: 1, position: 2, token: null, all: false, same: new Map(), ...more });
const root = node(0, run("r", [column([1, 1, 1]), column([1, 1, 1, 1])], { asked: { controls: { alpha: 9, beta: 0.5 } } }));
const branch = node(1, run("b", [column([1, 1, 1]), column([1, 1, 2, 2], 7)], { of: "r" }), { token: 42 });

test("a run alone has no branches, and none is lost", () => {
  assert.deepEqual(linkedPath([root]), { branches: [], controls: {}, lost: "" });
});

test("each branch has its place from 1, its token, seed and sliders; the run has its own sliders", () => {
  const again = node(2, run("c", [column([3, 3]), column([3, 3], 8)], { of: "b" }), { column: 0, position: 0, all: true });
  assert.deepEqual(linkedPath([root, branch, again]), { lost: "", controls: { alpha: 1, beta: 0.5 }, branches: [
    { column: 2, place: 3, token: 42, seed: 7, all: false, controls: { alpha: 2 } },
    { column: 1, place: 1, token: null, seed: 0, all: true, controls: { alpha: 3 } },
  ] });
  assert.equal(branchText(linkedPath([root, branch]).branches[0]), '[2,3,42,7,0,{"alpha":2}]');
});

test("a run is known to have had a slider moved while it was written", () => {
  assert.equal(movedWhileWritten(root.run), false);
  assert.equal(movedWhileWritten(run("r", [column([1, 1]), column([1, 1, 2])])), true);
});

test("what a link cannot carry is said", () => {
  const moved = node(1, run("b", [column([1, 1, 1]), column([1, 1, 2, 3])], { of: "r" }));
  const early = node(0, run("r", [column([1, 2, 2]), column([1, 1, 1, 1])]));
  const shared = node(0, root.run, { same: new Map([[0, { id: "s" }]]) });
  assert.match(linkedPath([root, moved]).lost, /slider was moved while it/);
  assert.match(linkedPath([early, branch]).lost, /slider was moved while its run/);
  assert.match(linkedPath([shared, node(1, { ...branch.run, of: "s" })]).lost, /shared text/);
  assert.match(linkedPath([root, ...Array(21).fill(branch)]).lost, /at most 20/);
  assert.deepEqual(linkedPath([root, moved]).branches, []);
});
