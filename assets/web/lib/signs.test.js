import assert from "node:assert/strict";
import { test } from "node:test";
import { HIDDEN, joins, TURNING } from "./signs.js";

const hidden = (text) => [...text.matchAll(HIDDEN)].map(([character]) => character.codePointAt(0).toString(16));

test("invisible characters get a visible sign", () => {
  assert.deepEqual(hidden("a\u0007b\u202e\u200b\u2028\ufeff\u{e0041}"), ["7", "202e", "200b", "2028", "feff", "e0041"]);
});

test("tabs, line feeds, joiners and the tags of a flag stay as they are", () => {
  assert.deepEqual(hidden("a\t\nم\u200cن 👩\u200d🚀 🏴\u{e0067}\u{e0062}\u{e007f}"), []);
});

test("characters that reverse text differ from those that are only invisible", () => {
  assert.match("\u202e", TURNING);
  assert.doesNotMatch("\u200e", TURNING);
});

test("letters join across tokens only in scripts that join", () => {
  assert.ok(["م", "क", "\u0301", "\u{1f3fd}", "ᄒ"].every((text) => joins("", text)));
  assert.ok(joins("👩\u200d", "🚀"));
  assert.ok(["a", "東", "あ", "한", "ไ", " ", "🙂", ""].every((text) => !joins("", text)));
});
