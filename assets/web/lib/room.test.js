import assert from "node:assert/strict";
import { test } from "node:test";

import { chipOf, countOf, endedWords, isOnlyHere, roomLink, shownOf, typedAddress } from "./room.js";

const poll = { id: "a", kind: /** @type {const} */ ("token"), title: "What comes after “x”?", prompt: "Why?", before: "", options: [{ id: "7", label: " Lima" }, { id: "9", label: "a\u200bb" }], answer: "7", revealed: false };
const now = { joined: 23, here: 21, voted: 17, lost: false, refusal: "" };
const room = { code: "BCDFGH", secret: "s", invite: "x7_-Qk2p" };

test("phones get nothing of the answer before it is revealed, and the facts of each option after", () => {
  const before = JSON.stringify(shownOf(poll, () => "base 9 %", "v=1"));
  assert.ok(!/answer|notes|base 9/.test(before), before);
  const { poll: after } = shownOf({ ...poll, revealed: true }, (id) => "facts of " + id, "v=1");
  assert.deepEqual([/** @type {any} */ (after).answer, /** @type {any} */ (after).notes], ["7", { 7: "facts of 7", 9: "facts of 9" }]);
  assert.deepEqual(shownOf(null, () => "", ""), { poll: null, link: "" });
});

test("what phones show fits the server, and hides no character", () => {
  const long = shownOf({ ...poll, title: "🎈".repeat(500), options: [{ id: "7", label: "x".repeat(300) }, poll.options[1]] }, () => "", "v".repeat(16_001));
  const { title, options } = /** @type {any} */ (long.poll);
  const { prompt, before } = /** @type {any} */ (shownOf({ ...poll, prompt: "why ".repeat(200), before: "🎈".repeat(500) + "\u200bend" }, () => "", "").poll);
  assert.deepEqual([[...prompt].length, prompt.slice(0, 4), [...before].length, before.slice(0, 1), before.slice(-9)], [200, "why ", 400, "…", "⟨200B⟩end"]);
  assert.equal(/** @type {any} */ (shownOf(poll, () => "", "").poll).prompt, "Why?");
  assert.deepEqual([[...title].length, options[0].label.length, options[1].label, long.link], [400, 200, "a⟨200B⟩b", ""]);
});

test("the link holds code and invitation after the #, under any address", () => {
  assert.equal(roomLink("https://example.org/tools/eft/room", room), "https://example.org/tools/eft/room#BCDFGH.x7_-Qk2p");
  assert.equal(typedAddress(roomLink("https://example.org/tools/eft/room", room)), "example.org/tools/eft/room");
  assert.deepEqual(["localhost", "a.localhost", "127.0.0.1", "[::1]", "10.0.0.5", "localhost.example.org"].map(isOnlyHere), [true, true, true, true, false, false]);
});

test("the state of the room in words", () => {
  assert.match(endedWords(false), /restarted.*new room/);
  assert.match(endedWords(true), /stays open here/);
  assert.equal(chipOf("BCDFGH", now, true).short, "BCDFGH · 17 of 23 voted");
  assert.equal(chipOf("BCDFGH", { ...now, joined: 1 }, false).full, "Class room BCDFGH: 1 phone joined");
  assert.match(chipOf("BCDFGH", { ...now, lost: true }, true).short, /no connection/);
  assert.deepEqual([countOf(now), countOf({ ...now, here: 23 }), countOf({ ...now, joined: 0 })], ["23 phones joined, 21 of them here now", "23 phones joined", "Nobody has joined yet."]);
});
