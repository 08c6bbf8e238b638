import assert from "node:assert/strict";
import { test } from "node:test";
import { counted, decimal, draftsText, endedSpeed, ending, estimated, gigabytes, lateText, millions, percent, plainSigned, readable, readingText, shortName, signed, spanOf, speedText, symbolOf, tickLabel, turnText } from "./formats.js";

test("probabilities as percentages", () => {
  assert.deepEqual([null, Math.log(0.001), Math.log(0.97), Math.log(0.996), 0].map(decimal), ["0", "<.01", ".97", ">.99", "1"]);
  assert.deepEqual([Math.log(0.001), Math.log(0.97), Math.log(0.996)].map(estimated), ["<.01", "about .97", ">.99"]);
  assert.equal(percent(Math.log(0.5)), "50 percent");
  assert.equal(percent(null), "0 percent");
  // where the card has >.99 and <.01
  assert.equal(percent(Math.log(0.997)), "more than 99 percent");
  assert.equal(percent(Math.log(0.004), "%"), "less than 1 %");
  assert.equal(percent(Math.log(0.99995)), "100 percent");
  assert.equal(percent(Math.log(0.5), "%"), "50 %");
});

test("numbers get typographic signs, and tiny ones are zero", () => {
  assert.deepEqual([0.04, -1.25, 2].map(signed), ["", "−1.3", "+2.0"]);
  assert.deepEqual([null, Infinity, -Infinity, 0.001, -0.5].map(plainSigned), ["−∞", "+∞", "−∞", "0.00", "−0.50"]);
});

test("recipes and controls as people write them", () => {
  assert.equal(readable("large_base + alpha*(small_tuned - small_base)"), "large_base + α·(small_tuned − small_base)");
  assert.equal(readable("a + alpha_pirate*(b - c)"), "a + α·(b − c)");
  assert.deepEqual(["alpha", "beta", "alpha_brief_pirate"].map(symbolOf), ["α", "β", "α brief pirate"]);
  assert.equal(shortName("α · (small_tuned − small_base)"), "α·Δsmall_tuned");
});

test("a label of an axis is never markup, never invisible, never long", () => {
  assert.equal(tickLabel(" <b>&"), "&lt;b&gt;&amp;");
  assert.equal(tickLabel("\n\t\u202e"), "↵⇥�");
  assert.equal(tickLabel("   "), "␣");
  assert.equal(tickLabel("0123456789abcdef"), "0123456789a…");
  assert.equal([...tickLabel("🙂".repeat(20))].length, 12); // no half of a character
});

test("sizes, parameter counts and token counts as people write them", () => {
  assert.deepEqual([5e5, 2.34e9, 7e10].map(gigabytes), ["0.5 MB", "2.3 GB", "70 GB"]);
  assert.deepEqual([12345, 1.1e6, 4.9e8, 7.2e9].map(millions), ["12 k", "1.1 M", "490 M", "7.2 B"]);
  assert.deepEqual([1, 8, NaN].map(counted), ["one token", "8 tokens", "… tokens"]);
});

test("the line below a column says how much of the prompt was reused", () => {
  assert.equal(endedSpeed({ why: "stop", tps: 12.4, ttft_ms: 300 }), "12 tok/s · first 300 ms");
  assert.equal(endedSpeed({ why: "stop", tps: 12.4, reused: [398, 430] }), "12 tok/s · first 0 ms · 398 of 430 prompt tokens reused");
  assert.equal(endedSpeed({ why: "error" }), "");
});

test("the line below a column says how much of the prompt was read", () => {
  assert.equal(readingText(372, 860), "reading the prompt: 43 %");
  assert.equal(readingText(859, 860), "reading the prompt: 99 %");
});

test("a run that waits for a turn says how many are ahead and how long it may take", () => {
  assert.equal(lateText("large_base", 0), "the server of the large base has not answered for 1 s");
  assert.equal(turnText(1), "waiting for a turn: you are next");
  assert.equal(turnText(2, 0.2), "waiting for a turn: 1 other is ahead, about 1 s");
  assert.equal(turnText(9, 31.6), "waiting for a turn: 8 others are ahead, about 32 s");
});

test("the line below a column gives drafts, speed and ending", () => {
  const tokens = [0, 10, 20, 30, 40, 50].map((ms, n) => ({ ms, i: n, ...(n % 2 ? { d: [n === 3 ? 9 : n, 1] } : {}) }));
  assert.equal(speedText({ tokens }), "100 tok/s · first 0 ms");
  assert.equal(speedText({ tokens: tokens.slice(0, 2) }), "first 0 ms");
  assert.equal(draftsText({ tokens }), "67 % of drafts accepted");
  assert.equal(draftsText({ tokens: [] }), "");
  assert.equal(draftsText({ tokens }, 0.5, 1.84), "50 % of drafts accepted · speedup 1.8×");
  assert.equal(ending({ ended: { why: "stop" } }), "finished");
  assert.equal(ending({ ended: null }), "");
});

test("bars of a waterfall are long only for numbers that can be read", () => {
  assert.equal(spanOf([0, -4, -1.5, -1.7]), 4);
  assert.ok(0.004 / spanOf([0, 0.004, 0.001]) < 0.05);
});
