import assert from "node:assert/strict";
import { test } from "node:test";

import { lackOf, lessonHash, lessonIn, placeOf, withinSteps } from "./lesson.js";

test("an address names a lesson and a step, which counts from 1", () => {
  assert.deepEqual(lessonIn("#lesson=ten-steps&step=3"), { name: "ten-steps", at: 2 });
  assert.deepEqual(lessonIn(lessonHash("my lesson & more", 4)), { name: "my lesson & more", at: 4 });
});

test("a missing or odd step is the first one, and an address without a lesson is none", () => {
  for (const step of ["", "&step=", "&step=0", "&step=-2", "&step=x", "&step=1.5", "&step=1e999"]) assert.equal(lessonIn("#lesson=a" + step)?.at, 0);
  for (const hash of ["", "#", "#lesson=", "#lesson=%ff", "#v=1&prompt=lesson", "#step=2"]) assert.equal(lessonIn(hash), null);
});

test("a step outside the lesson is the nearest one", () => {
  assert.deepEqual([-1, 0, 9, 10, 99].map((at) => withinSteps(at, 10)), [0, 0, 9, 9, 9]);
});

const columns = /** @type {any} */ ([
  { name: "Base", tokens: [" The", " L", "ima", ".", " L", "ima", ""].map((s) => ({ s })) },
  { name: "Empty", tokens: [] },
]);

test("a token is found by its number or by a text, of which it is the first token", () => {
  assert.deepEqual(placeOf(columns, { column: "Base", token: 2, nth: 1 }), { p: 0, i: 1 });
  assert.deepEqual(placeOf(columns, { column: "Base", token: "Lima", nth: 1 }), { p: 0, i: 1 });
  assert.deepEqual(placeOf(columns, { column: "Base", token: "Lima", nth: 2 }), { p: 0, i: 4 });
  assert.deepEqual(placeOf(columns, { column: "Base", token: "ima", nth: 1 }), { p: 0, i: 2 });
});

test("a mistaken column or token is named", () => {
  assert.match(lackOf(columns, { column: "Tuend", token: "Lima", nth: 1 }), /Tuend.*Base.*Empty/);
  assert.match(lackOf(columns, { column: "Base", token: "Oslo", nth: 1 }), /Base.*Oslo/);
  assert.match(lackOf(columns, { column: "Base", token: 40, nth: 1 }), /Base.*token 40/);
});

test("a token that is not there is none", () => {
  assert.equal(placeOf(columns, { column: "Base", token: 8, nth: 1 }), null);
  assert.equal(placeOf(columns, { column: "Base", token: "Lima", nth: 3 }), null);
  assert.equal(placeOf(columns, { column: "Base", token: "Oslo", nth: 1 }), null);
  for (const column of ["Empty", "Tuned"]) for (const token of [1, "Lima"]) assert.equal(placeOf(columns, { column, token, nth: 1 }), null);
});
