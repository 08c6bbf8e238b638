import assert from "node:assert/strict";
import test from "node:test";

import { before, followUp, hasChoice, NO_CONVERSATION, seenBy, turnsFor } from "./conversation.js";

const column = (name, ...pieces) => ({ name, tokens: pieces.map((s) => ({ s })), ended: { s: "!" } });
const first = { prompt: "Hi", columns: [column("Base", "a", "b"), column("Tuned", "c")] };
const SHARED = [{ question: "Q", answers: ["A"] }];

test("a follow-up goes on after the question and the texts of a run", () => {
  const now = followUp(first, NO_CONVERSATION);
  assert.deepEqual(now, { turns: [{ question: "Hi", answers: ["ab!", "c!"] }], names: ["Base", "Tuned"], from: null });
  const later = followUp({ ...first, prompt: "And?", turns: SHARED }, NO_CONVERSATION);
  assert.deepEqual(later.turns, [...SHARED, { question: "And?", answers: ["ab!", "c!"] }]);
});

test("the choice of a column stays as long as there is one of that name", () => {
  const chosen = { turns: [], names: ["Tuned", "Base"], from: 0 };
  assert.equal(followUp(first, chosen).from, 1);
  assert.equal(followUp(first, { ...chosen, names: ["Gone"] }).from, null);
});

test("every column goes on from its own answers, or all from one", () => {
  const now = followUp(first, NO_CONVERSATION);
  assert.deepEqual(turnsFor(now, ["Base", "Tuned"]), now.turns);
  assert.deepEqual(turnsFor({ ...now, from: 1 }, ["Base", "Tuned"])[0].answers, ["c!"]);
  assert.deepEqual(turnsFor({ ...now, turns: SHARED }, ["Base", "Tuned"]), SHARED);
});

test("a column goes on from the answers of its name; a new one from the last column's", () => {
  const now = followUp(first, NO_CONVERSATION);
  assert.deepEqual(turnsFor(now, ["Tuned", "Base", "New"])[0].answers, ["c!", "ab!", "c!"]);
  assert.deepEqual(turnsFor(now, ["New"])[0].answers, ["c!"]);
  assert.deepEqual(turnsFor({ ...now, names: ["Same", "Same"] }, ["Same", "Same"])[0].answers, ["ab!", "c!"]);
});

test("a turn is asked again without what followed it", () => {
  const now = { ...NO_CONVERSATION, turns: [...SHARED, ...SHARED, ...SHARED] };
  assert.equal(before(now, 1).turns.length, 1);
  assert.equal(before(now, 0).turns.length, 0);
  assert.equal(hasChoice(now), false);
  assert.equal(hasChoice(followUp(first, NO_CONVERSATION)), true);
});

test("a column is shown its own turns and the question it answers", () => {
  const turns = [{ question: "Q", answers: ["a", "b"] }, ...SHARED];
  assert.deepEqual(seenBy(turns, "And?", 1), [{ question: "Q", answer: "b" }, { question: "Q", answer: "A" }, { question: "And?", answer: null }]);
  assert.deepEqual(seenBy(undefined, "Hi", 0), []);
});
