import assert from "node:assert/strict";
import { test } from "node:test";
import { sharedWords, wordDiff } from "./diff.js";

const joined = (pieces, kinds) => pieces.filter(([kind]) => kinds.includes(kind)).map(([, text]) => text).join("");

test("a replaced word is one removed and one added piece", () => {
  assert.deepEqual(wordDiff("Happy Lima is it.", "Happy Quito is it."), [["same", "Happy"], ["gone", " Lima"], ["new", " Quito"], ["same", " is it."]]);
  assert.deepEqual(wordDiff("", "a"), [["new", "a"]]);
  assert.deepEqual(wordDiff("a", ""), [["gone", "a"]]);
  assert.deepEqual(wordDiff("", ""), []);
});

test("the pieces without the removed ones are the whole right text with its white space", () => {
  for (const [a, b] of [["a  b\nc", "b c  d "], ["é 東京", "e\u0301 東 京"], ["🙂 x", "x 🙂"]]) {
    const pieces = wordDiff(a, b);
    assert.equal(joined(pieces, ["same", "new"]), b);
    assert.equal(joined(pieces, ["same", "gone"]).replace(/\s/g, ""), a.replace(/\s/g, ""));
  }
});

test("texts too long to compare are refused, not waited for", () => {
  const words = (from) => Array.from({ length: 4000 }, (_, i) => "w" + (from + i)).join(" ");
  assert.equal(wordDiff(words(0), words(9000)), null);
  assert.equal(sharedWords([words(0), words(9000)]), null);
});

test("a word is shared if all other texts have it", () => {
  const [first] = sharedWords(["a b c", "b c", "c b c"]);
  assert.deepEqual(first.map(({ word, shared }) => [word.trim(), shared]), [["a", false], ["b", true], ["c", true]]);
});
