// Branches and moving between texts. A branch keeps the first tokens of its parent; every node of the tree is a run that
// stays in the page, so going back to it needs no model.

import { grownBy, lookingAt, redone, startHistory, undone, without } from "../lib/history.js";
import { restoreRun } from "../api.js";
import { element, isOurs, isTyping, onKeys, part } from "../dom.js";
import {
  asIf, asking, back, beginFrom, comeBackTo, config, currentNode, emit, forgetSamples, history, lookAt, nodes, noteSame, plant,
  plantTree, plotted, poll, run, running, sameOf, samples, selected, setHistory, setSamples, slidersOf, takeSample,
} from "../store.js";
import { setSliders, steeredColumn, describeAsIf } from "./as-if.js";
import { startPlot } from "./bars.js";
import { emptyCard } from "./card.js";
import { endText } from "./column-pane.js";
import { select, startColumns } from "./columns.js";
import { dialogIsOpen } from "./dialogs.js";
import { say, showError } from "./messages.js";
import { drawModes } from "./modes.js";
import { endTape } from "./replay.js";
import { ask, leave, setRunning } from "./running.js";
import { childrenOf, drawTree } from "./tree.js";

const MAX_BRANCHES = 500; // more than anybody needs

// Places a run whose first line has arrived: as a new tree, a new node, or a shared text of its parent node.
export function placeRun() {
  if (run.recorded) beginFrom(null), forgetSamples();
  const parent = asking && nodes.get(asking.parent);
  if (parent && asking.kind === "same") noteSame(parent, asking.column, run);
  else {
    const { column = null, position = 0, token = null, all = false } = parent ? asking : {};
    const node = { id: Math.max(-1, ...nodes.keys()) + 1, parent: parent ? parent.id : null, run, column, position, token, all, same: new Map() };
    if (parent) plant(node, grownBy(history, node.id));
    else plantTree(new Map([[0, { ...node, id: 0 }]]), startHistory(0));
  }
  drawTree();
  drawModes();
}

// Continue column `p` from `position`, with `token` there or with a sampled one; `all`: every column continues from there.
// Requests as many samples as the card says, each with its own seed.
function writeOn(p, position, { token = null, all = part("branch-scope").value === "all", fresh = false } = {}) {
  const node = currentNode(), column = run.columns[p];
  if (!node || poll) return; // a question shows a part of the run only
  endTape();
  if (nodes.size + samples.length >= MAX_BRANCHES) return showError("branch", "There are " + MAX_BRANCHES + " branches, the maximum. Press Run to start over.");
  const seeds = [...nodes.values()].flatMap((other) => other.run.columns.map(({ sampling }) => sampling.seed));
  const first = fresh ? Math.max(...seeds) + 1 : column.sampling.seed;
  const every = all || sameOf(node) !== null; // a shared text continues in all columns
  const request = { column: p, position, all: every, controls: slidersOf(run.columns) };
  if (token !== null) request.token = token;
  if (Number(part("samples").value) > 1) request.pace = 0; // several samples are for comparing, not for watching
  const about = { kind: "branch", parent: node.id, column: p, position, token, all: every };
  const focus = element.querySelector(".candidates, .text, .as-if, .tree")?.contains(document.activeElement) || document.activeElement?.matches(".t, .cand, .node");
  setSamples(Array.from({ length: Number(part("samples").value) }, (_, k) => ({ origin: run, request: { ...request, seed: (first + k) % 2 ** 32 }, about, focus })));
  if (running) forgetStream();
  nextSample();
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

// Selects the first new token of a branch again.
export function comeBack(token) {
  if (!back || token.p !== back.p || token.n !== back.i) return;
  const { p, i, focus } = back;
  comeBackTo(null);
  select(p, i, focus);
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
  if (asIf) return say("No token of " + run.columns[p].name + " would change at these slider values.");
  if (selected) writeOn(selected.p, selected.i, { ...options, fresh: true });
}

function go(next) {
  if (!history || next === history) return;
  forgetSamples();
  setHistory(next);
  show(currentNode().run);
}

// Show a run that is in the page.
export function show(other) {
  if (running) forgetStream();
  const at = selected, p = plotted;
  lookAt(other);
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
  else if (key === "Delete") go(without(history, id, (other) => nodes.get(other).parent));
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

async function showSame(p) {
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
  part("delete-branch").addEventListener("click", () => go(without(history, currentNode().id, (other) => nodes.get(other).parent)));
  part("undo").addEventListener("click", () => go(undone(history)));
  part("redo").addEventListener("click", () => go(redone(history)));
  part("write-on").addEventListener("click", () => rewrite(false));
  part("as-written").addEventListener("click", () => setSliders());
  onKeys(document, onBranchKey, () => element.isConnected);
}
