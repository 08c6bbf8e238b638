import assert from "node:assert/strict";
import { test } from "node:test";
import * as store from "./store.js";

test("lookAt clears the selection and the preview", () => {
  store.pick(0, 3);
  store.setRival(7);
  store.setPreview({ p: 1, i: 2 });
  store.setAsIfState({ sliders: {}, first: {}, counts: {} });
  store.lookAt({ id: "b", columns: [] });
  assert.deepEqual([store.run.id, store.selected, store.preview, store.asIf], ["b", null, null, null]);
  store.pick(0, 1);
  assert.equal(store.rival, null);
});

test("lines of an ignored run are skipped", () => {
  const before = store.nonce;
  store.readTo(90);
  store.passOver();
  assert.deepEqual([store.nonce, store.seen], [before + 1, 0]);
});

test("a run starts with the current slider values", () => {
  store.moveControls({ alpha: 0.5 });
  store.noteRunning(true);
  assert.deepEqual(store.sent, { alpha: 0.5 });
  store.moveControls({ alpha: 2 });
  assert.deepEqual(store.sent, { alpha: 0.5 });
  store.noteRunning(false);
});

test("listeners are called in the order of registration", () => {
  const heard = [];
  store.on("test", (x) => heard.push(["first", x]));
  store.on("test", (x) => heard.push(["second", x]));
  store.emit("test", 5);
  store.emit("nobody listens");
  assert.deepEqual(heard, [["first", 5], ["second", 5]]);
});

test("the values of the sliders that the columns use, as far as they are known", () => {
  store.moveControls({ alpha: 1.5 });
  const column = { terms: [[1, "alpha", 1, 2], [1, "alpha_pirate", 1, 2], [1, null, 1, 2]] };
  assert.deepEqual(store.slidersOf([column]), { alpha: 1.5 });
});

test("which column's text is scored, and which run a node belongs to", () => {
  const free = { id: "x", columns: [] }, same = { id: "y", columns: [] };
  store.plantTree(new Map([[0, { id: 0, parent: null, run: free, same: new Map([[1, same]]) }]]), { tree: { ids: [0], current: 0 }, past: [], future: [] });
  store.lookAt(same);
  assert.equal(store.sameOf(store.currentNode()), 1);
  assert.equal(store.runOf("y"), same);
  assert.equal(store.runOf("z"), null);
});

test("a tape rolls by its clock, stops where it is paused, and can be stepped, ended and rewound", () => {
  const frames = ["a", "b", "c", "d"].map((k, n) => ({ lines: [{ k }], ms: 10 * (n + 1) }));
  const keys = (lines) => lines.map(({ k }) => k).join("");
  store.setTape({ first: { k: "run" }, frames, end: { k: "end" }, at: 0, playing: true, due: 0, last: 100 });
  const pace = () => 50;
  assert.equal(keys(store.rollTape(149, pace)), "");
  assert.equal(keys(store.rollTape(210, pace)), "ab"); // 110 ms: two frames, 10 ms are left over
  store.playTape(false);
  assert.equal(keys(store.rollTape(999, pace)), "");
  assert.equal(keys(store.advanceTape(1)), "c");
  assert.equal(keys(store.advanceTape(Infinity)), "d");
  assert.equal(store.tape.at, 4);
  store.rewindTape();
  assert.deepEqual([store.tape.at, store.tape.playing], [0, true]);
  assert.equal(keys(store.rollTape(1049, pace)), "a"); // the time of the pause does not count
  store.setTape(null);
  assert.deepEqual([store.rollTape(9999, pace), store.advanceTape(1)], [[], []]);
  store.playTape(true);
  store.rewindTape();
  assert.equal(store.tape, null);
});

test("the pace of a tape sees the frame and the time of the one before", () => {
  const seen = [], frames = [{ lines: [], ms: 5 }, { lines: [], ms: 9 }];
  store.setTape({ first: {}, frames, end: {}, at: 0, playing: true, due: 0, last: 0 });
  store.rollTape(1, (frame, before) => (seen.push([frame.ms, before]), 0));
  assert.deepEqual(seen, [[5, 0], [9, 5]]);
  store.setTape(null);
});

test("what was cut first is what the page reports, until the server is found again", () => {
  store.setServerStart("one");
  store.noteCut("");
  store.noteCut("streaming");
  store.noteCut("asked");
  store.setLost(5);
  assert.deepEqual([store.cutRun, store.lostAt, store.serverStart], ["streaming", 5, "one"]);
  store.foundAgain("two");
  assert.deepEqual([store.cutRun, store.lostAt, store.serverStart], ["", 0, "two"]);
});

test("each plot has its own range", () => {
  store.setOwnView("bars", "all");
  store.setOwnView("strip", [1, 3]);
  store.setOwnView("bars", null);
  assert.deepEqual([store.ownViews.bars, store.ownViews.strip], [null, [1, 3]]);
});

test("a changed column replaces one and leaves the others", () => {
  store.setChosen([{ name: "a" }, { name: "b" }]);
  const before = store.chosen;
  store.changeColumn(1, { name: "c" });
  assert.deepEqual([store.chosen.map(({ name }) => name), before[1].name], [["a", "c"], "b"]);
});

test("samples are taken in order, and a scored text belongs to its node", () => {
  store.setSamples(["one", "two"]);
  store.takeSample();
  assert.deepEqual(store.samples, ["two"]);
  store.forgetSamples();
  assert.deepEqual(store.samples, []);
  const node = { id: 0, run: { id: "x" }, same: new Map() }, scored = { id: "y" };
  store.noteSame(node, 2, scored);
  assert.deepEqual(store.runsOf(node).map(({ id }) => id), ["x", "y"]);
});

test("a draft is noted of its column and its run; a stopped run once", () => {
  const column = {};
  store.lookAt({ id: "z", columns: [column] });
  store.noteDrafted(column);
  store.noteStopped("z");
  assert.deepEqual([column.drafted, store.run.drafted, store.stopped.has("z")], [true, true, true]);
});

test("the family menu is as the server sent it last", () => {
  store.setProgress({ state: "loading" });
  assert.equal(store.familyMenu, null);
  store.noteMenuFailed();
  store.setFamilyMenu({ title: "Atlas", progress: { state: "idle" } });
  assert.equal(store.menuFailed, false);
  store.setProgress({ state: "loading" });
  store.noteLoadedHere(true);
  store.keepKey("k");
  assert.deepEqual([store.familyMenu.progress.state, store.loadedHere, store.keyInPage], ["loading", true, "k"]);
});

test("settings are kept by the place that was left, the last one last", () => {
  store.setPlaces([["a", 1], ["b", 2]]);
  store.setPlace("a");
  store.leavePlace(3);
  assert.deepEqual([...store.settingsAt], [["b", 2], ["a", 3]]);
  store.setEntry("e");
  store.setUntouched("{}");
  store.stopKeeping();
  assert.deepEqual([store.entry, store.place, store.untouched, store.keeping], ["e", "a", "{}", false]);
});

test("keys of stored things are given once and never twice", () => {
  store.noteKeys(["7", "3"]);
  const one = {}, other = {};
  assert.deepEqual([store.keyFor(one), store.keyFor(other), store.keyFor(one)], ["8", "9", "8"]);
  store.noteKeys([]);
  assert.equal(store.keyFor({}), "10");
});

test("what a run starts from, and the formats that it was asked with", () => {
  store.beginFrom({ kind: "branch", parent: 0 }, { brief: { kind: "plain", text: "{prompt}" } });
  store.beginFrom(null); // the formats of the last request stay
  assert.deepEqual([store.asking, Object.keys(store.askedFormats)], [null, ["brief"]]);
});

test("own prompt formats, one or all of them taken back", () => {
  store.setFormat("brief", { kind: "plain", text: "{prompt}" });
  store.setFormat("pirate", { kind: "chat", text: "" });
  store.setFormat("brief", null);
  assert.deepEqual(Object.keys(store.ownFormats), ["pirate"]);
  store.forgetFormats();
  assert.deepEqual(store.ownFormats, {});
});

test("a branch joins the tree and is the current text", () => {
  const node = (id) => ({ id, parent: id ? 0 : null, run: { id: "run " + id }, same: new Map() });
  const historyAt = (id) => ({ tree: { ids: [0, 1].slice(0, id + 1), current: id }, past: [], future: [] });
  store.plantTree(new Map([[0, node(0)]]), historyAt(0));
  store.plant(node(1), historyAt(1));
  assert.deepEqual([store.nodes.size, store.currentNode().run.id, store.runOf("run 0").id], [2, "run 1", "run 0"]);
});

test("a question takes guesses until it is revealed, and each one starts without", () => {
  const poll = { id: "a", kind: /** @type {const} */ ("token"), title: "Which?", options: [{ id: "7", label: "Lima" }], answer: "7", revealed: false };
  store.openPoll(poll);
  for (const id of ["7", "7", "8", "7"]) store.addGuess(id);
  store.takeGuessBack();
  store.setTally({ 7: 20 });
  assert.deepEqual([store.guesses, store.tally], [["7", "7"], { 7: 20 }]);
  store.revealPoll();
  store.addGuess("7");
  store.takeGuessBack();
  assert.deepEqual([store.poll?.revealed, poll.revealed, store.guesses], [true, false, ["7", "7"]]);
  store.openPoll({ ...poll, id: "b" });
  assert.deepEqual([store.poll?.revealed, store.guesses, store.tally], [false, [], {}]);
  store.closePoll();
  store.revealPoll();
  store.addGuess("7");
  assert.deepEqual([store.poll, store.guesses], [null, []]);
});

test("a covered run is still the one that the tree knows", () => {
  const whole = { id: "x", columns: [] }, seen = { ...whole }, after = { ...whole }, other = { id: "z", columns: [] };
  store.plantTree(new Map([[0, { id: 0, parent: null, run: other, same: new Map([[2, whole]]) }]]), { tree: { ids: [0], current: 0 }, past: [], future: [] });
  store.setCover({ whole, seen, after });
  store.lookAt(seen);
  assert.equal(store.sameOf(store.currentNode()), 2);
  store.lookAt(other);
  assert.equal(store.sameOf(store.currentNode()), null);
  store.setCover(null);
});
