import assert from "node:assert/strict";
import { test } from "node:test";
import { HELD_ON, keyOf, placeAfter } from "./keys.js";

const press = (key, more = {}) => keyOf({ key, code: "", ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, keyCode: 0, isComposing: false, getModifierState: () => false, ...more });

test("keys are named by letter or function", () => {
  assert.equal(press("r"), "r");
  assert.equal(press("R", { shiftKey: true }), "Shift+r");
  assert.equal(press("Enter", { metaKey: true }), "Ctrl+Enter");
  assert.equal(press("?", { shiftKey: true }), "?"); // Shift only makes the sign
  assert.equal(press(" ", { shiftKey: true }), "Shift+ ");
  assert.equal(press("z", { ctrlKey: true, shiftKey: true }), "Ctrl+Shift+z");
});

test("in another script a letter is matched by its key's position", () => {
  assert.equal(press("к", { code: "KeyR" }), "r");
  assert.equal(press("я", { code: "KeyZ", ctrlKey: true }), "Ctrl+z");
});

test("a digit is matched by its key's position where the layout has another sign there", () => {
  const typed = [["&", "Digit1"], ["é", "Digit2"], ["_", "Digit8"], ["ě", "Digit2"], ["۳", "Digit3"], ["٤", "Numpad4"], ["１", "Digit1"], ["1", "Digit1"]];
  assert.deepEqual(typed.map(([key, code]) => press(key, { code })), ["1", "2", "8", "2", "3", "4", "1", "1"]);
  assert.equal(press("1", { code: "Digit1", shiftKey: true }), "1"); // as in France
  assert.deepEqual([press("!", { code: "Digit1", shiftKey: true }), press("z", { code: "Digit1" }), press("?", { code: "Digit7" })], ["!", "z", "?"]);
  assert.deepEqual([press("End", { code: "Numpad1" }), press("Home", { code: "Numpad7" })], ["End", "Home"]);
});

test("keys of an input method and dead keys are ignored", () => {
  for (const key of ["Dead", "Process", "Unidentified", undefined]) assert.equal(press(key), "");
  assert.equal(press("Enter", { isComposing: true }), "");
  assert.equal(press("Enter", { keyCode: 229 }), "");
});

test("a character typed with AltGr is not a shortcut", () => {
  assert.equal(press("@", { getModifierState: (name) => name === "AltGraph" }), "Alt+@");
});

test("only walking, undo and redo go on while a key is held", () => {
  for (const key of ["ArrowLeft", "Shift+ArrowLeft", "Home", "Tab", "Ctrl+z"]) assert.match(key, HELD_ON);
  for (const key of ["Enter", "Ctrl+Enter", "r", "Escape", " "]) assert.doesNotMatch(key, HELD_ON);
});

test("the token that a key leads to", () => {
  const counts = [4, 2, 0];
  const from = (key, p, i) => { const to = placeAfter(key, { p, i }, counts); return to && [to.p, to.i]; };
  assert.deepEqual(["ArrowRight", "ArrowLeft", "Home", "End"].map((key) => from(key, 0, 1)), [[0, 2], [0, 0], [0, 0], [0, 3]]);
  assert.deepEqual([from("ArrowRight", 0, 3), from("ArrowLeft", 0, 0)], [[0, 3], [0, 0]]);
  assert.deepEqual([from("ArrowDown", 0, 3), from("ArrowUp", 1, 1), from("ArrowDown", 1, 1), from("ArrowUp", 0, 2)], [[1, 1], [0, 1], [1, 1], [0, 2]]);
  assert.equal(from("Enter", 0, 1), null);
});
