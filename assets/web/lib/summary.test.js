import assert from "node:assert/strict";
import test from "node:test";
import { summaryText } from "./summary.js";

const token = (first, base, p) => ({ b: base, c: [[first, -0.1, Math.log(first === base ? p : 0.01)], ...(first === base ? [] : [[base, -3, Math.log(p)]])] });
const column = (...tokens) => ({ roles: ["large_base", "small_tuned", "small_base"], terms: [[1, "alpha", 1, 2]], tokens });

test("how many places, and how sure the base was there and elsewhere", () => {
  assert.equal(summaryText(column(token(1, 2, 0.3), token(3, 4, 0.4), token(5, 5, 0.9))),
    "Tuning changed the likeliest token at 2 of 3 places; the base was less confident there: 35\u00a0% for its first choice, 90\u00a0% elsewhere.");
});

test("what is not so is not said", () => {
  assert.match(summaryText(column(token(1, 2, 0.9), token(5, 5, 0.92))), /as confident there as elsewhere/);
  assert.match(summaryText(column(token(1, 2, 0.9), token(5, 5, 0.3))), /more confident there/);
  assert.equal(summaryText(column(token(5, 5, 0.3))), "Tuning changes no likeliest token here: the large base alone prefers the same 1.");
  assert.equal(summaryText(column(token(1, 2, 0.3))), "Tuning changed the likeliest token at 1 of 1 place.");
  assert.equal(summaryText(column()), "");
  assert.equal(summaryText({ ...column(token(1, 2, 0.3)), terms: [] }), "");
});
