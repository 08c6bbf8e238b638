import assert from "node:assert/strict";
import { test } from "node:test";
import { changesFrom, isSameQuestion, runDifferences, settingName } from "./changed.js";

const asked = { prompt: "Hi", behaviour: "assistant", columns: [{ name: "Base", recipe: "large_base" }], controls: { alpha: 1 }, seed: 0, top_p: 0.95, schedule: "constant" };

test("only what concerns the next run alone counts as changed", () => {
  assert.deepEqual(changesFrom(asked, structuredClone(asked)), []);
  assert.deepEqual(changesFrom(asked, { ...asked, prompt: "Ho", controls: { alpha: 2 }, turns: [{}], serial: 3 }), []);
  assert.deepEqual(changesFrom(asked, { ...asked, behaviour: "pirate", top_p: 0.5 }), ["behaviour", "top_p"]);
  assert.deepEqual(changesFrom(asked, { ...asked, columns: [{ name: "Base", recipe: "small_base" }] }), ["columns"]);
  assert.deepEqual(changesFrom({ ...asked, formats: {}, system: "" }, asked), [], "none is none");
  assert.deepEqual(changesFrom({ ...asked, system: "Be brief." }, asked), ["system"]);
  assert.deepEqual(changesFrom(undefined, asked), []);
  assert.equal(settingName("top_p"), "top-p");
});

test("another choice of earlier answers concerns the next run, more turns are another question", () => {
  const talk = (from, turns = 1) => ({ ...asked, conversation: { turns: Array(turns).fill({ question: "Hm?" }), names: ["Base"], from } });
  assert.deepEqual(changesFrom(talk(null), talk(0)).map(settingName), ["continue from"]);
  assert.deepEqual(changesFrom(talk(null), talk(null)), []);
  assert.deepEqual([changesFrom(talk(null), talk(0, 2)), changesFrom(talk(null, 0), talk(0, 0)), changesFrom(asked, talk(0)), changesFrom(talk(0), asked)].flat(), []);
  const [before, run] = [null, 0].map((from) => ({ asked: talk(from), columns: [] }));
  assert.deepEqual(runDifferences(before, run), ["other earlier answers"]);
});

test("settings ask the same question until something but a slider changes", () => {
  const talk = { turns: [{ question: "Hm?" }] };
  assert.ok(isSameQuestion(asked, structuredClone({ ...asked, controls: { alpha: 2 } })));
  for (const more of [{ prompt: "Ho" }, { seed: 1 }, { conversation: talk }]) assert.ok(!isSameQuestion(asked, { ...asked, ...more }), JSON.stringify(more));
  assert.ok(isSameQuestion({ ...asked, conversation: talk }, { ...asked, conversation: structuredClone(talk) }));
  const [none, left] = [[], ["Base"]].map((names) => ({ ...asked, conversation: { turns: [], names, from: null } }));
  assert.ok(isSameQuestion(none, left) && isSameQuestion(asked, left), "a conversation that was left leaves nothing");
  assert.ok(!isSameQuestion(undefined, asked), "nobody knows");
});

test("the facts of a run name what differs from the run before it", () => {
  const run = (more, alpha) => ({ asked: { ...asked, ...more }, columns: [{ tokens: [] }, { tokens: [{ v: { alpha } }] }] });
  assert.deepEqual(runDifferences(run({}, 1), run({}, 1)), []);
  assert.deepEqual(runDifferences(run({}, 1), run({ behaviour: "pirate", seed: 3, columns: [{ name: "Mine" }], formats: { x: {} } }, 2)),
    ["behaviour pirate", "Mine", "seed 3", "other prompt formats", "α 2.00"]);
  assert.deepEqual(runDifferences(undefined, run({}, 1)), []);
  assert.deepEqual(runDifferences({ columns: [] }, { columns: [] }), []);
});
