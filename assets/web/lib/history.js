// The texts of this page, and undo over them, as immutable data. Every run is the root of a tree of its branches. A step looks
// at another text, or removes some; undo looks at the text before the step again, and brings back what it removed. Undo
// itself never removes a text.
//
//   history  {tree: {ids, current}, past: [steps], future: [steps]}; `current` is null where no text is shown
//   step     {from, to, gone}: the texts shown before and after it, and the ids that it removed

/** @import { History, Step, Tree } from "../types.js" */

const MAX_STEPS = 200; // of undo

/** @type {(id: number) => History} */
export const startHistory = (id) => ({ tree: { ids: [id], current: id }, past: [], future: [] });

/** @type {(now: History, tree: Tree) => History} */
function stepTo(now, tree) {
  const step = { from: now.tree.current, to: tree.current, gone: now.tree.ids.filter((id) => !tree.ids.includes(id)) };
  return { tree, past: [...now.past, step].slice(-MAX_STEPS), future: [] };
}

/** @type {(now: History, id: number) => History} */
export const grownBy = (now, id) => stepTo(now, { ids: [...now.tree.ids, id], current: id });
/** @type {(now: History, id: number | null) => History} */
export const lookingAt = (now, id) => (id === now.tree.current ? now : stepTo(now, { ...now.tree, current: id }));

/** @type {(now: History) => History} */
export function undone(now) {
  const step = now.past.at(-1);
  if (!step) return now;
  const ids = [...now.tree.ids, ...step.gone].sort((one, other) => one - other); // in the order in which they came
  return { tree: { ids, current: step.from }, past: now.past.slice(0, -1), future: [step, ...now.future] };
}

/** @type {(now: History) => History} */
export function redone(now) {
  const [step, ...future] = now.future;
  if (!step) return now;
  return { tree: { ids: now.tree.ids.filter((id) => !step.gone.includes(id)), current: step.to }, past: [...now.past, step], future };
}

// The ids of a text and of all that grew from it, among `ids`.
/** @type {(ids: number[], id: number, parentOf: (id: number) => number | null) => number[]} */
export function treeOf(ids, id, parentOf) {
  /** @type {(node: number | null) => boolean} */
  const within = (node) => node !== null && (node === id || within(parentOf(node)));
  return ids.filter(within);
}

// Without a text and its descendants. If the shown one goes, its parent is shown, or the run before it, or none.
/** @type {(now: History, id: number, parentOf: (id: number) => number | null) => History} */
export function without(now, id, parentOf) {
  const gone = treeOf(now.tree.ids, id, parentOf), ids = now.tree.ids.filter((one) => !gone.includes(one));
  const roots = ids.filter((one) => parentOf(one) === null);
  const next = parentOf(id) ?? roots.filter((one) => one < id).at(-1) ?? roots[0] ?? null;
  const stays = now.tree.current === null || ids.includes(now.tree.current);
  return stepTo(now, { ids, current: stays ? now.tree.current : next });
}

// As if only these texts had ever been there; null without any.
/** @type {(now: History, kept: Set<number>) => History | null} */
export function onlyWith(now, kept) {
  /** @type {(id: number | null) => boolean} */
  const has = (id) => id === null || kept.has(id);
  const ids = now.tree.ids.filter(has);
  if (!ids.length) return null;
  if (!has(now.tree.current)) return { tree: { ids, current: ids[ids.length - 1] }, past: [], future: [] };
  /** @type {(step: Step) => boolean} */
  const whole = ({ from, to, gone }) => has(from) && has(to) && gone.every(has);
  const lost = now.past.findLastIndex((step) => !whole(step)), firstLost = now.future.findIndex((step) => !whole(step));
  return { tree: { ids, current: now.tree.current }, past: now.past.slice(lost + 1), future: firstLost < 0 ? now.future : now.future.slice(0, firstLost) };
}
