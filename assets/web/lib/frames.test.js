import assert from "node:assert/strict";
import { test } from "node:test";
import { framesOf, PACES } from "./frames.js";

test("the tokens at one place make one frame; a column ends with its last token", () => {
  const lines = [{ k: "run" }, { k: "t", p: 0, ms: 5 }, { k: "t", p: 1, ms: 8 }, { k: "t", p: 0, ms: 20 }, { k: "end", p: 1 }, { k: "end", p: 0 }, { k: "done" }];
  const { frames, end } = framesOf(lines);
  assert.deepEqual(frames.map(({ ms, lines: own }) => [ms, own.map(({ k, p }) => k + p)]), [[8, ["t0", "t1", "end1"]], [20, ["t0", "end0"]]]);
  assert.equal(end.k, "done");
});

test("an empty column ends in the first frame", () => {
  const { frames } = framesOf([{ k: "run" }, { k: "end", p: 0 }, { k: "done" }]);
  assert.equal(frames.length, 1);
});

test("the replay speeds set the time of each frame", () => {
  assert.equal(PACES["original speed"]({ ms: 50 }, 20), 30);
  assert.equal(PACES["original speed"]({ ms: 10 }, 20), 0); // never back in time
  assert.equal(PACES["instant"](), 0);
});
