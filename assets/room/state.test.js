import assert from "node:assert/strict";
import { test } from "node:test";

import { lateWords, linkWords, optionLines, pauseMs, readAddress, readKept, readTyped, statusOf, withRoom, withoutRoom } from "./state.js";

const options = [{ id: "7", label: " Lima" }, { id: "9", label: " Peru" }];
const open = { news: 3, poll: { number: 1, kind: "token", title: "Which?", options, revealed: false }, mine: null, link: "" };
const revealed = { ...open, mine: "9", poll: { ...open.poll, revealed: true, answer: "7", counts: { 7: 30, 9: 10 }, notes: { 7: "large base 91 % · mix 98 %" } } };

test("an address has a code, with or without an invitation; anything else is none", () => {
  assert.deepEqual(readAddress("#BCDFGH"), { code: "BCDFGH", invite: "" });
  assert.deepEqual(readAddress("#bcdfgh.x_7-k2pQ"), { code: "BCDFGH", invite: "x_7-k2pQ" });
  for (const hash of ["", "#", "#BCDFG", "#BCDFGHJ", "#BCDFGH.", "#BCDFGH.<b>", "#v=1&prompt=x"]) assert.deepEqual(readAddress(hash), { code: "", invite: "" });
});

test("what is entered may be a code or the whole address", () => {
  for (const typed of ["bcd fgh", " BCD-FGH "]) assert.deepEqual(readTyped(typed), { code: "BCDFGH", invite: "" });
  for (const typed of ["http://192.168.0.7:7860/room#bcdfgh.x_7-k2pQ", "Join: https://example.org/room#BCDFGH.x_7-k2pQ\n"]) assert.deepEqual(readTyped(typed), { code: "BCDFGH", invite: "x_7-k2pQ" });
  for (const typed of ["", " - ", "http://192.168.0.7:7860/#v=1"]) assert.deepEqual(readTyped(typed), { code: "", invite: "" });
});

test("an open question shows the vote and nothing of the answer", () => {
  assert.deepEqual(optionLines({ ...open, mine: "7" }).map(({ mine, right, mark, share, note }) => [mine, right, mark, share, note]), [
    [true, false, "your vote", 0, ""],
    [false, false, "", 0, ""],
  ]);
  assert.match(statusOf(open), /Choose/);
  assert.match(statusOf({ ...open, mine: "7" }), /counts/);
  assert.doesNotMatch(statusOf({ ...open, mine: "7" }, { sending: true }), /counts/);
  assert.match(statusOf({ ...open, poll: null }), /You are in.*next question/);
  assert.match(statusOf({ ...open, poll: null }, { withdrawn: true }), /closed without.*next question/);
});

test("a revealed question shows the answer, the votes, and the probabilities under base and mix", () => {
  const [lima, peru] = optionLines(revealed);
  assert.deepEqual([lima.right, lima.mark, lima.share, lima.note], [true, "✓ the answer", 0.75, "30 votes · large base 91 % · mix 98 %"]);
  assert.deepEqual([peru.mine, peru.mark, peru.note], [true, "your vote", "10 votes"]);
  assert.equal(optionLines({ ...revealed, poll: { ...revealed.poll, notes: {}, counts: { 7: 1, 9: 0 } } })[0].note, "1 vote");
  assert.equal(optionLines({ ...revealed, poll: { ...revealed.poll, counts: { 7: 0, 9: 0 } } })[0].share, 0);
  assert.match(statusOf({ ...revealed, mine: "7" }), /right/);
  assert.match(statusOf(revealed), /marked/);
  assert.match(statusOf({ ...revealed, poll: { ...revealed.poll, answer: null } }), /closed/);
});

test("a vote that came too late is never passed over: whether an earlier one counts, and of which question it was", () => {
  assert.match(lateWords({ ...revealed, mine: null }, 1), /^The question was closed.*did not count/);
  assert.match(lateWords(revealed, 1), /the one before it counts/);
  for (const later of [{ ...open, poll: { ...open.poll, number: 2 } }, { ...open, poll: null }]) assert.match(lateWords(later, 1), /^The last question.*did not count/);
});

test("the link says what it opens: a step of a lesson, or settings that Run writes again", () => {
  assert.match(linkWords("lesson=ten-steps&step=3").label, /step of the lesson/);
  assert.doesNotMatch(linkWords("lesson=ten-steps&step=3").note, /Run/);
  assert.match(linkWords("v=1&prompt=lesson%3Dx").note, /Run/);
});

test("a phone asks again at once after news, later after a failure, and never all phones together", () => {
  assert.equal(pauseMs({ failures: 0, changed: true, tookMs: 5, chance: 0.5 }), 0);
  assert.equal(pauseMs({ failures: 0, changed: false, tookMs: 20_000, chance: 0.5 }), 0);
  assert.ok(pauseMs({ failures: 0, changed: false, tookMs: 5, chance: 0 }) >= 2000); // a busy server does not hold the request
  const waits = [1, 2, 3, 9].map((failures) => pauseMs({ failures, changed: false, tookMs: 5, chance: 0.5 }));
  assert.deepEqual(waits, [500, 1000, 2000, 10_000]);
  assert.notEqual(pauseMs({ failures: 3, chance: 0.1 }), pauseMs({ failures: 3, chance: 0.9 }));
});

test("a phone stays the same in each of its last rooms, and ignores what is stored wrongly", () => {
  let kept = readKept(null);
  for (const code of [..."BCDFGHJKM"].map((letter) => letter.repeat(6))) kept = readKept(JSON.stringify(withRoom(kept, { code, token: "t" + code })));
  assert.equal(kept.last, "MMMMMM");
  assert.equal(Object.keys(kept.tokens).length, 8);
  assert.equal(withRoom(kept, { code: "CCCCCC", token: "tCCCCCC" }).tokens.CCCCCC, "tCCCCCC");
  assert.deepEqual(withoutRoom(kept, "MMMMMM").last, "");
  assert.deepEqual(withoutRoom(kept, "KKKKKK").last, "MMMMMM");
  for (const wrong of ["null", "5", '"x"', '{"last": "MMMMMM"}', '{"last": 3, "tokens": {"x": "y", "BCDFGH": 4}}']) assert.deepEqual(readKept(wrong), { last: "", tokens: {} });
});
