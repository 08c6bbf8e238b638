import assert from "node:assert/strict";
import test from "node:test";

import { endedThinking, thinkingPieces } from "./thinking.js";

const shown = (text) => thinkingPieces(text).map(({ thinking, text: piece }) => (thinking ? "[" + piece + "]" : piece)).join("|");

test("thinking is separated from the answer around it", () => {
  assert.equal(shown("<think>Hm.</think>\n\nYes."), "[<think>Hm.</think>\n\n]|Yes.");
  assert.equal(shown("Well. <thinking>Hm.</thinking> Yes. <think>x</think>"), "Well. |[<thinking>Hm.</thinking> ]|Yes. |[<think>x</think>]");
  assert.equal(shown("Hm.</think>Yes."), "[Hm.</think>]|Yes.");
  assert.equal(shown("<think>It goes on"), "<think>It goes on");
  assert.equal(shown("<tool_call>{}</tool_call>"), "<tool_call>{}</tool_call>");
  assert.equal(shown(""), "");
});

// The range found at each token, as the tokens arrive.
function ranges(texts) {
  const found = [];
  let from = 0;
  texts.forEach((_, i) => {
    const range = endedThinking(texts.slice(0, i + 1), from);
    if (range) found.push(range), (from = range[1] + 1);
  });
  return found;
}

test("the tokens of ended thinking are found as they arrive, however the tags are split", () => {
  assert.deepEqual(ranges(["<think>", "\n", "Hm", "</think>", "Yes"]), [[0, 3]]);
  assert.deepEqual(ranges(["So", " <", "think", ">", "Hm", "</", "think", ">\n", "Yes", ">"]), [[1, 7]]);
  assert.deepEqual(ranges(["Hm", "</think>", "Yes"]), [[0, 1]]);
  assert.deepEqual(ranges(["<think>", "a", "</think>", "b", "<think>", "c", "</think>"]), [[0, 2], [4, 6]]);
  assert.deepEqual(ranges(["a", "->", "b", "</tool_call>"]), []);
  assert.deepEqual(ranges([]), []);
});
