import assert from "node:assert/strict";
import { test } from "node:test";
import { listedRows, shiftOf, notablePlace, wordAround } from "./tokens.js";

const spelled = (...texts) => texts.map((s) => ({ s }));

test("the word that a token is a part of", () => {
  assert.equal(wordAround(spelled("In", " L", "ima", "."), 2), "Lima");
  assert.equal(wordAround(spelled("In", " L", "ima", "."), 1), "Lima");
  assert.equal(wordAround(spelled("In", " L", "ima", "."), 3), "");
  assert.equal(wordAround(spelled("é", "té"), 0), "été");
});

test("how far the terms moved a token", () => {
  assert.equal(shiftOf({ y: [-3, 2, 0, -1] }), 2);
  assert.equal(shiftOf({ y: [null, 0, 0, -1] }), 0);
});

test("the notable token is the one that tuning changed most, else the one that it moved most", () => {
  const moved = (by, b = 1) => ({ i: 1, b, y: [-1, by, 0, by - 1] });
  assert.equal(notablePlace([moved(0.2, 2), moved(-3, 2), moved(5)]), 1);
  assert.equal(notablePlace([moved(0.2), moved(-3), moved(1)]), 1);
  assert.equal(notablePlace([]), -1);
});

test("the card lists the token, its rival and its draft before other likely tokens", () => {
  const c = Array.from({ length: 20 }, (_, i) => [i, -i, -i]);
  const ids = listedRows({ roles: ["large_base"], terms: [] }, { i: 19, b: 18, d: [17, 0.5], c }).map(([id]) => id);
  assert.equal(ids.length, 8);
  assert.deepEqual(ids.slice(-3), [17, 18, 19]);
});
