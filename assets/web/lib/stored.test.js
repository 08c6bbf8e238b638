import assert from "node:assert/strict";
import { test } from "node:test";

import { madeOtherwise } from "./stored.js";

const model = (quantisation, revision = "abc") => ({ dtype: "bf16", quantisation, device: "cpu", source: "", revision });
const made = (changes = {}) => ({ eft_demo: "0.1.0", torch: "2.13", transformers: "5.23", models: { large_base: model("none"), small_base: model("none") }, ...changes });

test("a run of the same versions and models is not made otherwise", () => {
  assert.equal(madeOtherwise(made(), made()), false);
  assert.equal(madeOtherwise(made({ models: { large_base: model("none") } }), made()), false);
});

test("another quantisation, another checkpoint or another version is", () => {
  assert.equal(madeOtherwise(made(), made({ models: { large_base: model("nf4"), small_base: model("none") } })), true);
  assert.equal(madeOtherwise(made(), made({ models: { large_base: model("none", "def") } })), true);
  assert.equal(madeOtherwise(made(), made({ torch: "2.14" })), true);
});

test("what is unknown on either side does not count", () => {
  assert.equal(madeOtherwise(null, made()), false);
  assert.equal(madeOtherwise(made(), undefined), false);
  assert.equal(madeOtherwise(made({ models: { large_base: model("none", "") } }), made()), false);
  assert.equal(madeOtherwise(made({ models: { gone: model("nf4") } }), made()), false);
});
