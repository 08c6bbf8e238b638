import assert from "node:assert/strict";
import { test } from "node:test";
import { addLabels, grow, makeRun, record } from "./runs.js";
import { checkedToken, storedText } from "./stored.js";

const line = (more = {}) => ({ id: "a", sampling: { seed: 1 }, filter: { kind: "off", value: 1 }, columns: [{ name: "A", roles: ["large_base"], terms: [] }, { name: "B", roles: ["large_base"], terms: [] }], ...more });
const RULES = { lowest: 0, highest: 3, support_nats: 30, greedy_below: 1e-4 };
const said = (i, s, more = {}) => ({ i, s, y: [-1, 0, -1], c: [[i, -1, -1]], ms: 1, ...more });

function grown() {
  const run = makeRun(line(), RULES);
  addLabels(run, { 7: "Lima", 8: [" is", "20 69 73"] });
  record(run.columns[0], said(7, "Lima", { v: { alpha: 1 } }));
  record(run.columns[0], said(8, " is"));
  return run;
}

test("omitted fields of a token line get their defaults", () => {
  const [first, second] = grown().columns[0].tokens;
  assert.deepEqual([second.n, second.r, second.b, second.q], [1, 1, 8, [1]]);
  assert.equal(second.v, first.v); // the same object: nobody moved anything
});

test("labels with and without bytes", () => {
  const run = grown();
  assert.deepEqual([...run.labels], [[7, "Lima"], [8, " is"]]);
  assert.deepEqual([...run.bytes], [[8, "20 69 73"]]);
});

test("a column of an opened run has its own seed", () => {
  const run = makeRun(line({ seeds: [7, 1] }), RULES);
  assert.deepEqual(run.columns.map(({ sampling }) => sampling.seed), [7, 1]);
  assert.deepEqual(makeRun(line(), RULES).columns.map(({ sampling }) => sampling.seed), [1, 1]);
});

test("a branch takes over its parent's columns and labels", () => {
  const parent = grown(), branch = makeRun(line({ id: "b", copied: [0] }), RULES, parent);
  assert.equal(branch.columns[0].tokens, parent.columns[0].tokens);
  assert.deepEqual(branch.columns[1].tokens, []);
  assert.equal(branch.labels.get(7), "Lima");
});

test("a column survives the browser's storage", () => {
  const run = grown(), [column] = run.columns;
  column.tokens[0].noise = new Map([[7, 1]]);
  const { w, t, end } = JSON.parse(storedText(run, column));
  const again = makeRun(line(), RULES);
  addLabels(again, w);
  for (const token of t) record(again.columns[0], checkedToken(token, again.columns[0]));
  delete column.tokens[0].noise;
  assert.deepEqual(again.columns[0].tokens.map((token) => ({ ...token })), column.tokens.map(({ noise: _, ...token }) => token));
  assert.deepEqual(again.labels, run.labels);
  assert.equal(end, null);
});

test("damaged stored tokens are refused", () => {
  const [column] = makeRun(line(), RULES).columns;
  for (const bad of [{ i: "7" }, { s: 5 }, { y: [1] }, { y: [NaN, 0, 0] }, { c: [[1]] }, { c: "x" }, { q: "x" }]) assert.throws(() => checkedToken({ ...said(7, "x"), ...bad }, column), JSON.stringify(bad));
});

test("a run grows by the lines of its columns, and no other line does anything", () => {
  const run = makeRun(line(), RULES);
  for (const next of [{ k: "t", p: 1, w: { 7: "Lima" }, ...said(7, "Lima") }, { k: "end", p: 1, why: "stop" }, { k: "done" }]) grow(run, next);
  assert.deepEqual(run.columns.map(({ tokens, ended }) => [tokens.length, ended?.why]), [[0, undefined], [1, "stop"]]);
  assert.equal(run.labels.get(7), "Lima");
});
