import assert from "node:assert/strict";
import { test } from "node:test";

import { askedColumn, blindOrder, blindPoll, canBeBlind, inDisguise } from "./blind.js";

const column = (name, kind, text) => ({ name, kind, recipe: "recipe of " + name, about: "about " + name, roles: ["large_base"], terms: [[1, "alpha", 0, 0]], drafter: "draft of " + name,
  tokens: text ? [{ i: 1, s: text, c: [[1, 0, 0]] }] : [], ended: { why: "stop", tps: 9 }, bars: [{ name: "bar of " + name, x: [], y: [] }], sampling: {}, turns: [] });
const makeRun = (...columns) => /** @type {any} */ ({ prompt: "Why?", labels: new Map(), columns, attributed: columns.length - 1 });
const run = makeRun(column("Base", "base", "b"), column("Tuned", "tuned", "t"), column("Mine", "up", "u"));

test("a blind column shows its letter and its text, nothing else", () => {
  const order = blindOrder(run), seen = inDisguise(run, order);
  assert.deepEqual([...order].sort(), [0, 1, 2]);
  assert.deepEqual(seen.columns.map(({ name }) => name), ["Column A", "Column B", "Column C"]);
  assert.doesNotMatch(JSON.stringify(seen), /Base|Tuned|Mine|_base|alpha/);
  for (const one of seen.columns) assert.deepEqual({ ...one, name: "", v: {} }, { ...seen.columns[0], name: "", v: {} }); // no two differ in anything else
  assert.equal(run.columns[0].name, "Base");
});

test("the question is for the up-scaled column, and its answer is that column's letter", () => {
  const poll = blindPoll(run, [1, 2, 0], "a");
  assert.deepEqual([poll.title, poll.answer, poll.options.length], ["Which column is the up-scaled one?", "B", 3]);
});

test("of several up-scaled columns, or of none, the plotted one is asked for by its name", () => {
  const two = makeRun(column("Half", "up", "h"), column("Full", "up", "f"));
  assert.equal(askedColumn(two), 1);
  assert.equal(blindPoll({ ...two, attributed: 0 }, [0, 1], "a").title, "Which column is Half?");
  assert.equal(askedColumn(makeRun(column("Base", "base", "b"), column("Tuned", "tuned", "t"))), 1);
});

test("columns with the same text are not asked about", () => {
  assert.equal(canBeBlind(run), true);
  assert.equal(canBeBlind(makeRun(column("Base", "base", "same"), column("Up", "up", "same"))), false);
  assert.equal(canBeBlind(makeRun(column("Base", "base", "b"), column("Up", "up", ""))), false);
});

test("the order is the same every time, and differs from run to run", () => {
  assert.deepEqual(blindOrder(run), blindOrder(structuredClone(run)));
  const orders = new Set(Array.from({ length: 40 }, (_, n) => blindOrder({ ...run, prompt: "Why " + n }).join("")));
  assert.equal(orders.size, 6);
});
