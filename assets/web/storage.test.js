import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import * as storage from "./storage.js";

// As a browser's, with room for so many characters.
class FakeStorage {
  constructor(room) {
    Object.defineProperty(this, "room", { value: room, writable: true });
    Object.defineProperty(this, "writes", { value: [] });
  }
  getItem(key) {
    return this[key] ?? null;
  }
  setItem(key, text) {
    const taken = Object.entries(this).reduce((sum, [name, value]) => sum + (name === key ? 0 : value.length), 0);
    if (taken + text.length > this.room) throw new Error("full");
    this[key] = text;
    this.writes.push(key);
  }
  removeItem(key) {
    delete this[key];
  }
}

let kept;

beforeEach(() => {
  globalThis.window = { sessionStorage: (kept = new FakeStorage(1000)) };
  assert.equal(storage.openStorage(), true);
});

const write = (id, texts, page = {}) => storage.writeMemory(id, () => page, new Map([["r", ["one", () => '"run"']]]), new Map(texts.map(([key, sign, text]) => [key, [sign, () => JSON.stringify(text)]])));

test("a memory is read as it was written, and only what changed is written again", () => {
  assert.equal(write("a", [["x", "1", "first"], ["y", "1", "second"]], { at: 1 }), true);
  assert.deepEqual([storage.stored("tab", "a"), storage.stored("run", "a", "r"), storage.stored("text", "a", "y")], [{ at: 1 }, "run", "second"]);
  kept.writes.length = 0;
  assert.equal(write("a", [["x", "1", "first"], ["z", "1", "third"]], { at: 2 }), true);
  assert.deepEqual(kept.writes, ["eft-text:a:z", "eft-tab:a"]);
  assert.equal(storage.stored("text", "a", "y"), null); // nothing refers to it any more
  assert.deepEqual(storage.tabs(), [[{ at: 2 }, "a"]]);
  assert.equal(storage.charsWritten(), Object.values(kept).join("").length);
});

test("other memories make room for this one, and it says when even that is not enough", () => {
  write("b", [["x", "1", "y".repeat(600)]]);
  assert.equal(write("a", [["x", "1", "z".repeat(600)]]), true);
  assert.deepEqual([storage.hasTab("b"), storage.hasTab("a")], [false, true]);
  assert.equal(write("a", [["x", "2", "z".repeat(1100)]]), false);
  assert.equal(storage.dropOthers("a"), false);
});

test("a memory beyond the limit is not begun", () => {
  kept.room = 1e9;
  write("a", [["x", "1", "first"]]);
  assert.equal(write("a", [["x", "2", "z".repeat(2_000_000)]]), false);
  assert.equal(storage.stored("text", "a", "x"), "first");
});

test("a page that cannot be read is dropped, and entries of others stay", () => {
  kept["eft-tab:a"] = "{";
  kept["eft-class-room"] = "{}";
  assert.deepEqual(storage.tabs(), []);
  storage.drop();
  assert.deepEqual(Object.keys(kept), ["eft-class-room"]);
});

test("where the browser refuses storage, nothing is stored and nothing fails", () => {
  globalThis.window = Object.defineProperty({}, "sessionStorage", { get: () => assert.fail("refused") });
  assert.deepEqual([storage.openStorage(), storage.isOpen(), write("a", [])], [false, false, false]);
  assert.deepEqual([storage.tabs(), storage.stored("tab", "a"), storage.hasTab("a")], [[], null, false]);
});
