// The way from a run to the branch that is shown, as a link carries it: the branches are written again after the run.

/** @import { Controls, LinkedBranch, Run, TreeNode } from "../types.js" */

import { liveOf, turnsAt } from "./schedule.js";

const MAX_BRANCHES = 20; // as in eft_demo/runs/link.py

// The sliders at the end of these columns.
/** @type {(run: Run, places: number[]) => Controls} */
export function slidersAtEnd({ columns, factors }, places) {
  const last = places.flatMap((p) => columns[p].tokens.slice(-1));
  return Object.fromEntries(last.flatMap((token) => Object.entries(liveOf(token, factors))).filter(([, value]) => Number.isFinite(value)));
}

/** @type {(run: Run) => number[]} */
const everyPlace = ({ columns }) => columns.map((_, p) => p);

// Whether a slider was moved while these columns were written, after their token `from`.
/** @type {(run: Run, places: number[], from: number) => boolean} */
const movedAfter = (run, places, from) => places.some((p) => run.columns[p].tokens.some((_, i) => i > from && turnsAt(run.columns[p], i, run.factors).length > 0));

// Whether a slider was moved while a run was written: a link has its last value only.
/** @type {(run: Run) => boolean} */
export const movedWhileWritten = (run) => movedAfter(run, everyPlace(run), 0);

/** @type {(node: TreeNode, parent: TreeNode) => string} */
function whyNot({ run, column, position, all }, parent) {
  if ([...parent.same.values()].some(({ id }) => id === run.of)) return "it continues a shared text";
  return movedAfter(run, all ? everyPlace(run) : [Number(column)], position) ? "a slider was moved while it was written" : "";
}

/** @type {(node: TreeNode) => LinkedBranch} */
function branchOf({ run, column, position, token, all }) {
  const p = Number(column);
  return { column: p + 1, place: position + 1, token, seed: run.columns[p].sampling.seed, all, controls: slidersAtEnd(run, all ? everyPlace(run) : [p]) };
}

// `path` leads from a run to the text that is shown. `lost` says why its branches are not in a link, as the end of a sentence.
/** @type {(path: TreeNode[]) => { branches: LinkedBranch[], controls: Controls, lost: string }} */
export function linkedPath([root, ...rest]) {
  if (!rest.length) return { branches: [], controls: {}, lost: "" };
  const early = movedWhileWritten(root.run) ? "a slider was moved while its run was written" : "";
  const lost = early || (rest.length > MAX_BRANCHES ? "a link holds at most " + MAX_BRANCHES + " branches" : rest.map((node, k) => whyNot(node, k ? rest[k - 1] : root)).find(Boolean)) || "";
  return { branches: lost ? [] : rest.map(branchOf), controls: { ...root.run.asked?.controls, ...slidersAtEnd(root.run, everyPlace(root.run)) }, lost };
}

// As the link has them: a list per branch.
/** @type {(branch: LinkedBranch) => string} */
export const branchText = ({ column, place, token, seed, all, controls }) => JSON.stringify([column, place, token, seed, Number(all), controls]);
