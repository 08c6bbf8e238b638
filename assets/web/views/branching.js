// Runs, their branches, and moving between them. A branch keeps the first tokens of its parent. Every run and branch stays in
// the page, so going back to it needs no model.

import { grownBy, lookingAt, onlyWith, redone, startHistory, treeOf, undone, without } from "../lib/history.js";
import { changesFrom, isSameQuestion } from "../lib/changed.js";
import { isGreedy } from "../lib/sampling.js";
import { restoreRun } from "../api.js";
import { element, isOurs, isTyping, onKeys, part } from "../dom.js";
import {
  asIf, asking, back, beginFrom, comeBackTo, config, currentNode, emit, forgetSamples, history, keepSettings, lesson, lookAt,
  nodes, noteRun, noteSame, parentOf, plant, plantTree, plotted, poll, rootOf, run, running, sameOf, samples, selected,
  setHistory, setSamples, settingsBefore, slidersOf, takeSample,
} from "../store.js";
import { setSliders, steeredColumn, describeAsIf } from "./as-if.js";
import { clearPlot, startPlot } from "./bars.js";
import { emptyCard } from "./card.js";
import { endText } from "./column-pane.js";
import { select, startColumns } from "./columns.js";
import { dialogIsOpen } from "./dialogs.js";
import { say, showError } from "./messages.js";
import { drawModes } from "./modes.js";
import { showWaiting } from "./recipes.js";
import { endTape } from "./replay.js";
import { ask, leave, setRunning } from "./running.js";
import { allSettings, fillIn } from "./settings.js";
import { setControls } from "./sliders.js";
import { childrenOf, drawTree, isRemovable, nameOf } from "./tree.js";

const MAX_TEXTS = 500; // of all runs and branches: more than anybody needs
const MAX_RUNS = 50; // then the oldest one goes, because each takes memory

// Places a run whose first line has arrived: as one more run, a branch, or a shared text of its parent node.
export function placeRun() {
  if (run.recorded) beginFrom(null), forgetSamples();
  const parent = asking && nodes.get(asking.parent);
  if (parent && asking.kind === "same") noteSame(parent, asking.column, run);
  else {
    const known = [...nodes.values()].find((one) => run.recorded && one.run.id === run.id); // replayed again
    if (!parent && !known) makeRoom();
    const { column = null, position = 0, token = null, all = false } = parent ? asking : {};
    const node = { id: Math.max(-1, ...nodes.keys()) + 1, parent: parent ? parent.id : null, run, column, position, token, all, same: new Map() };
    if (known) noteRun(known, run);
    else plant(node, history ? grownBy(history, node.id) : startHistory(node.id));
  }
  drawTree();
  drawModes();
}

// For one more run: the page's own example goes when a person asks for a run, and the oldest run goes if there are too many.
function makeRoom() {
  const ids = [...nodes.keys()], roots = ids.filter((id) => parentOf(id) === null);
  const examples = roots.filter((id) => nodes.get(id).run.welcome && (run.welcome || !run.recorded) && treeOf(ids, id, parentOf).length === 1);
  const oldest = roots.length < MAX_RUNS ? [] : treeOf(ids, roots[0], parentOf), left = ids.filter((id) => !examples.includes(id) && !oldest.includes(id));
  if (left.length < ids.length) plantTree(new Map(left.map((id) => [id, nodes.get(id)])), onlyWith(history, new Set(left)));
}

// Continue column `p` from `position`, with `token` there or with a sampled one; `all`: every column continues from there.
// Requests as many samples as the card says, each with its own seed.
function writeOn(p, position, { token = null, all = part("branch-scope").value === "all", fresh = false } = {}) {
  const node = currentNode(), column = run.columns[p];
  if (!node || poll) return; // a question shows a part of the run only
  endTape();
  if (history.tree.ids.length + samples.length >= MAX_TEXTS) return showError("branch", "There are " + MAX_TEXTS + " texts, the maximum. Please delete a run or a branch first.");
  const seeds = [...nodes.values()].flatMap((other) => other.run.columns.map(({ sampling }) => sampling.seed));
  const first = fresh ? Math.max(...seeds) + 1 : column.sampling.seed;
  const every = all || sameOf(node) !== null; // a shared text continues in all columns
  const request = { column: p, position, all: every, controls: slidersOf(run.columns) };
  if (token !== null) request.token = token;
  const count = isGreedy(column) ? 1 : Number(part("samples").value);
  if (count > 1) request.pace = 0; // several samples are for comparing, not for watching
  const about = { kind: "branch", parent: node.id, column: p, position, token, all: every };
  const focus = element.querySelector(".candidates, .text, .as-if, .tree")?.contains(document.activeElement) || document.activeElement?.matches(".t, .cand, .node");
  setSamples(Array.from({ length: count }, (_, k) => ({ origin: run, request: { ...request, seed: (first + k) % 2 ** 32 }, about, focus })));
  if (running) forgetStream();
  nextSample();
}

// A branch of a link, from the shown text. The sliders move to the values that it is written with.
export function writeLinked({ column, place, token, seed, all, controls }) {
  setControls(controls);
  const [p, position] = [column - 1, place - 1], about = { kind: "branch", parent: currentNode().id, column: p, position, token, all };
  setSamples([{ origin: run, request: { column: p, position, all, seed, controls, ...(token === null ? {} : { token }) }, about, focus: false }]);
}

export async function nextSample() {
  if (running || !samples.length) return;
  const [sample] = samples, { origin, request, about, focus } = sample;
  const refusal = await restoreRun(origin);
  if (running || samples[0] !== sample) return; // something else was requested meanwhile
  takeSample();
  if (refusal) return forgetSamples(), showError("branch", refusal);
  comeBackTo({ p: about.column, i: about.position, focus });
  ask({ kind: "branch", run: origin.id, serial: config.serial, ...request }, about);
}

// Selects the first new token of a branch again. Nobody touched that token, so a card that was closed stays closed.
export function comeBack(token) {
  if (!back || token.p !== back.p || token.n !== back.i) return;
  const { p, i, focus } = back;
  comeBackTo(null);
  select(p, i, focus, false);
}

function forgetStream() { // its text so far stays
  leave();
  setRunning(false);
  for (const column of run.columns)
    if (!column.ended) column.ended = { why: "cancelled", error: null }, endText(column, column.ended);
}

// R: regenerate from the first token that the sliders would change, else from the selected token with another seed.
function rewrite(all) {
  if (!run || !run.columns.some((column) => column.tokens.length)) return;
  const options = all ? { all: true } : {};
  const p = asIf ? steeredColumn() : selected?.p;
  if (asIf && asIf.first[p] !== undefined) return writeOn(p, asIf.first[p], options);
  if (asIf) return say("No token of " + run.columns[p].name + (asIf.unsure[p] ? " is known to change" : " would change") + " at these slider values.");
  if (selected) writeOn(selected.p, selected.i, { ...options, fresh: true });
}

function go(next, done = "") { // a screen reader reads `done` first
  if (!history || next === history) return;
  forgetSamples();
  endTape();
  const focused = element.contains(document.activeElement), before = run?.asked, follows = isSameQuestion(before, allSettings());
  setHistory(next);
  const node = currentNode(), asked = node?.run.asked;
  if (follows && asked && !isSameQuestion(before, asked)) fillIn(asked);
  if (node) show(node.run);
  else showNone();
  say(done + (node ? (done && "Now shown: ") + nameOf(node) : "No run is shown."));
  if (focused) keepFocus();
}

// What had the focus may have gone with the text, or be of no use now.
function keepFocus() {
  const now = /** @type {HTMLElement} */ (document.activeElement);
  if (now === document.body || !now.checkVisibility() || now.matches(":disabled")) part(history.past.length ? "undo" : "redo").focus({ preventScroll: true });
}

export const lookAway = () => go(lookingAt(history, null));
const remove = (id) => go(without(history, id, parentOf), "Removed: " + nameOf(nodes.get(id)) + ". ");

// Show a run that is in the page.
export function show(other) {
  if (running) forgetStream();
  const at = selected, p = plotted;
  lookAt(other);
  if (!other.welcome) part("page").classList.add("has-run");
  setSliders();
  describeAsIf();
  startColumns();
  startPlot(Math.min(p, run.columns.length - 1));
  if (at && run.columns[at.p]?.tokens.length) select(at.p, Math.min(at.i, run.columns[at.p].tokens.length - 1), false);
  else emptyCard();
  drawTree();
  drawModes();
  emit("shown");
}

// As before the first run: the columns wait for Run. The texts stay in the list.
function showNone() {
  if (running) forgetStream();
  lookAt(null);
  part("page").classList.toggle("has-run", lesson !== null);
  describeAsIf();
  showWaiting();
  clearPlot();
  emptyCard();
  drawTree();
  drawModes();
  emit("shown");
}

// Closes an opened run: it leaves the list, where undo brings it back, and the page's own settings return.
function closeReplay() {
  const { id, run: opened } = rootOf(currentNode()), mine = settingsBefore;
  endTape();
  const untouched = mine && !changesFrom(opened.asked, allSettings()).length && part("prompt").value === opened.asked.prompt;
  if (untouched) fillIn(mine);
  keepSettings(null);
  remove(id);
  if (untouched) setControls(mine.controls); // the run shown now has set the sliders to its own values
  part("open").focus();
}

function walkTree(key, event) {
  const item = event.target.closest(".node");
  if (!item) return false;
  const items = [...part("tree").children], id = Number(item.dataset.id), at = items.indexOf(item);
  const itemOf = (other) => items.find((one) => Number(one.dataset.id) === other);
  const goal = {
    ArrowDown: () => items[at + 1], ArrowUp: () => items[at - 1], Home: () => items[0], End: () => items.at(-1),
    ArrowLeft: () => itemOf(nodes.get(id).parent), ArrowRight: () => itemOf(childrenOf(id)[0]),
  }[key];
  if (goal) {
    const next = goal();
    if (next) for (const one of items) one.tabIndex = one === next ? 0 : -1;
    next?.focus();
  } else if (key === "Enter" || key === " ") go(lookingAt(history, id));
  else if (key === "Delete") isRemovable(id) && remove(id);
  else return false;
  return true;
}

function onBranchKey(key, event) {
  if (!isOurs(event.target) || isTyping(event.target) || dialogIsOpen()) return false;
  if (history && key === "Ctrl+z") go(undone(history));
  else if (history && (key === "Ctrl+y" || key === "Ctrl+Shift+z")) go(redone(history));
  else if (key === "r" || key === "Shift+r") rewrite(key === "Shift+r");
  else return false;
  return true;
}

export async function showSame(p) {
  const node = currentNode(), there = node.same.get(p);
  if (there) return show(there);
  if (running) forgetStream();
  endTape();
  if (!node.run.columns[p].tokens.length) return showError("branch", "That column has no text to score. Please choose another.");
  const refusal = await restoreRun(node.run);
  if (running || node !== currentNode()) return;
  if (refusal) return showError("branch", refusal), drawModes();
  ask({ kind: "same", run: node.run.id, serial: config.serial, column: p, controls: slidersOf(node.run.columns) }, { kind: "same", parent: node.id, column: p });
}

export function listen() {
  part("card-table").addEventListener("click", (event) => {
    const candidate = event.target.closest(".cand");
    if (candidate && selected) writeOn(selected.p, selected.i, { token: Number(candidate.dataset.id) });
  });
  part("mode-free").addEventListener("change", () => show(currentNode().run));
  part("mode-same").addEventListener("change", () => showSame(Number(part("same-of").value)));
  part("same-of").addEventListener("change", () => part("mode-same").checked && showSame(Number(part("same-of").value)));
  onKeys(part("tree"), walkTree);
  part("tree").addEventListener("click", (event) => {
    const item = event.target.closest(".node");
    if (item) go(lookingAt(history, Number(item.dataset.id))), part("tree").querySelector("[aria-selected=true]")?.focus();
  });
  part("delete-branch").addEventListener("click", () => remove(currentNode().id));
  part("replay-close").addEventListener("click", closeReplay);
  part("undo").addEventListener("click", () => go(undone(history)));
  part("redo").addEventListener("click", () => go(redone(history)));
  part("write-on").addEventListener("click", () => rewrite(false));
  part("as-written").addEventListener("click", () => setSliders());
  onKeys(document, onBranchKey, () => element.isConnected);
}
