// That it equals the real mixture and the real noise is held by tests/ui/test_counterfactual.py.
import assert from "node:assert/strict";
import { test } from "node:test";
import { choiceAt, choiceOf, coefficientsAt, controlsOf, deltasOf, flipsOf, insideOf, mixedAt, nat, remix } from "./counterfactual.js";

const column = (more = {}) => ({
  roles: ["large_base", "small_tuned", "small_base"], terms: [[1, "alpha", 1, 2]], given: 0,
  sampling: { temperature: 0, top_p: 1, top_k: 0, min_p: 0, seed: 1 }, filter: { kind: "off", value: 1 },
  rules: { support_nats: 30, greedy_below: 1e-4, lowest: 0, highest: 3 }, ...more,
});
// Two candidates: the base prefers 1 by 2 nats, tuning pushes 2 by 3.
const token = (more = {}) => ({ i: 2, n: 0, s: "x", v: { alpha: 1 }, y: [-2.5, 3, -0.5, -0.1], c: [[2, -0.1, -2.5, -1, -4], [1, -1.1, -0.5, -3, -3]], r: 1, b: 1, ...more });

test("null is minus infinity, and a token that a model rules out has a bounded weight", () => {
  assert.equal(nat(null), -Infinity);
  assert.deepEqual(deltasOf(column(), [7, 0, -1, null, -2]), [-30]);
  assert.deepEqual(deltasOf(column(), [7, 0, -1, -2, null]), [30]);
  assert.deepEqual(deltasOf(column(), [7, 0, null, -2, -1]), [0]);
});

test("at alpha 0 the mixture equals the anchor", () => {
  assert.deepEqual([...mixedAt(column(), token(), { alpha: 0 })], [[2, -2.5], [1, -0.5]]);
  assert.deepEqual(coefficientsAt(column(), { alpha: 0.5 }), [0.5]);
});

test("the flip is the alpha at which both tokens are equally likely", () => {
  const [[rival, value]] = flipsOf(column(), token(), "alpha");
  assert.equal(rival, 1);
  assert.ok(Math.abs(value - 2 / 3) < 1e-12);
  const level = mixedAt(column(), token(), { alpha: value });
  assert.ok(Math.abs(level.get(1) - level.get(2)) < 1e-12);
  assert.deepEqual(flipsOf(column(), token(), "beta"), []);
});

test("the counterfactual is the recorded token at its alpha, and another one below the flip", () => {
  const own = token();
  assert.equal(remix(column(), own, { alpha: 1 }, [1]), own);
  assert.equal(remix(column(), own, { alpha: 0.8 }, [1]).would, 2);
  const below = remix(column(), own, { alpha: 0.5 }, [1]);
  assert.equal(below.would, 1);
  assert.equal(below.c[0][0], 1);
  assert.ok(Math.abs(below.y[0] + below.y[1] + below.y[2] - below.y[3]) < 1e-9); // the bars add up
  assert.equal(remix(column(), own, { alpha: 1 }, [0]).would, 1); // a schedule that silences alpha
});

test("a mask rules out, top-p leaves alone", () => {
  assert.equal(mixedAt(column({ filter: { kind: "mask", value: 0.5 } }), token(), { alpha: 1 }).get(2), -Infinity);
  assert.deepEqual(insideOf(column({ filter: { kind: "mask", value: 0.5 } }), token()), new Set([1]));
});

test("each control of a recipe is listed once", () => {
  assert.deepEqual(controlsOf(column({ terms: [[1, "alpha", 1, 2], [1, null, 0, 2], [0.5, "alpha", 1, 0]] })), ["alpha"]);
});

test("with a warper that only Python knows, the token stays and the choice counts as unknown", () => {
  const unknown = column({ unreplayed: ["Epsilon"] });
  assert.equal(choiceAt(column(), token(), { alpha: 0 }).id, 1);
  assert.deepEqual(choiceAt(unknown, token(), { alpha: 0 }), { id: 2, sure: false, unrecorded: null });
  assert.deepEqual(choiceAt(unknown, token(), { alpha: 1 }), { id: 2, sure: true, unrecorded: 0 });
  const { would, sure } = remix(unknown, token(), { alpha: 0 }, [1], 0.05);
  assert.deepEqual([would, sure], [2, false]);
});

test("what the server scored replaces the estimate, unless another slider has moved too", () => {
  const twice = { ...column(), terms: [[1, "alpha", 1, 2], [1, "beta", 1, 2]], scored: { control: "alpha", changes: new Map([["0.500000", new Map([[0, 9]])], ["2.000000", new Map()]]) } };
  const here = { ...token(), v: { alpha: 1, beta: 1 } };
  assert.deepEqual(choiceOf(twice, here, { alpha: 0.5 }, [1]), { id: 9, sure: true, unrecorded: 0, exact: true });
  assert.deepEqual(choiceOf(twice, here, { alpha: 2, beta: 1 }, [1]), { id: here.i, sure: true, unrecorded: 0, exact: true });
  assert.equal(choiceOf(twice, here, { alpha: 0.5, beta: 2 }, [1]).exact, undefined);
  assert.equal(choiceOf(twice, here, { alpha: 0.55 }, [1]).exact, undefined);
  assert.deepEqual([remix(twice, here, { alpha: 0.5, beta: 1 }, [1]).would, remix(twice, here, { alpha: 0.5, beta: 1 }, [1]).exact], [9, true]);
});

test("beyond the recorded alpha, a rest that is made of rounding does not outgrow the tokens", () => {
  // From a run: the end of a text, which tuning makes certain. The rest is 0.0004 after rounding, and none under the base.
  const rows = [[2, -0.001, -1.29, 0, -0.988], [1, -7.401, -0.322, -7.848, -0.468]];
  const shown = remix(column(), token({ y: [-1.29, 0.988, 0.301, -0.001], c: rows }), { alpha: 3 }, [1]);
  assert.ok(shown.y[shown.y.length - 1] > -0.01, "p of the token is " + Math.exp(shown.y[shown.y.length - 1]));
  assert.ok(shown.y[shown.y.length - 1] <= 0);
});

test("a token seen at other values says what the tokens that were not recorded have, and how well that is known", () => {
  const hiddenAt = (/** @type {number} */ alpha) => /** @type {any} */ (remix(column(), token(), { alpha }, [1])).hidden;
  const none = 1 - Math.exp(-2.5) - Math.exp(-0.5); // of the base: what its two recorded tokens leave
  assert.equal(hiddenAt(0).how, "exact");
  assert.ok(Math.abs(hiddenAt(0).share - none) < 1e-9);
  assert.equal(hiddenAt(0.5).how, "bound");
  assert.equal(hiddenAt(2).how, "unknown"); // beyond the recorded value
  assert.equal(remix(column(), token(), { alpha: 1 }, [1]).hidden, undefined); // recorded, not estimated
});
