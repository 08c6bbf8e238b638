import assert from "node:assert/strict";
import test from "node:test";
import { endedText, steppedText } from "./spoken.js";

const column = (...texts) => /** @type {any} */ ({ name: "Base", tokens: texts.map((s) => ({ s })), ended: { why: "stop" } });

test("the announcement of a column that has ended carries its text, in one line", () => {
  const spoken = endedText(column("Lima", " is\n", "the capital."));
  assert.match(spoken, /^Base, 3 tokens, .*: Lima is the capital\.$/);
  assert.match(endedText(column("Lima")), /1 token,/);
});

test("a long text is cut between characters, and an empty one is only counted", () => {
  assert.match(endedText(column("🜚".repeat(400))), /: (🜚){300} …$/u);
  assert.match(endedText(column()), /^Base, 0 tokens, finished\.$/);
});

test("the tokens of a step are named by column", () => {
  assert.equal(steppedText(new Map([["Base", " of"], ["Up-scaled", " you"]])), "Base: of. Up-scaled: you.");
  assert.equal(steppedText(new Map()), "");
});
