// Undo and redo over a tree of texts, as immutable data: every step makes a new tree, and undo restores the old one.
//
//   history  {tree: {ids, current}, past: [trees], future: [trees]}

/** @import { History, Tree } from "../types.js" */

const MAX_STEPS = 200; // of undo

/** @type {(id: number) => History} */
export const startHistory = (id) => ({ tree: { ids: [id], current: id }, past: [], future: [] });
/** @type {(now: History, tree: Tree) => History} */
const stepTo = (now, tree) => ({ tree, past: [...now.past, now.tree].slice(-MAX_STEPS), future: [] });
/** @type {(now: History, id: number) => History} */
export const grownBy = (now, id) => stepTo(now, { ids: [...now.tree.ids, id], current: id });
/** @type {(now: History, id: number) => History} */
export const lookingAt = (now, id) => (id === now.tree.current ? now : stepTo(now, { ...now.tree, current: id }));
/** @type {(now: History) => History} */
export const undone = (now) => (now.past.length ? { tree: now.past[now.past.length - 1], past: now.past.slice(0, -1), future: [now.tree, ...now.future] } : now);
/** @type {(now: History) => History} */
export const redone = (now) => (now.future.length ? { tree: now.future[0], past: [...now.past, now.tree], future: now.future.slice(1) } : now);

// The tree without a node and its descendants; `parentOf` maps ids to ids. The first text cannot be removed.
/** @type {(now: History, id: number, parentOf: (id: number) => number | null) => History} */
export function without(now, id, parentOf) {
  const parent = parentOf(id);
  if (parent === null) return now;
  /** @type {(node: number | null) => boolean} */
  const goes = (node) => node !== null && (node === id || goes(parentOf(node)));
  const ids = now.tree.ids.filter((node) => !goes(node));
  return stepTo(now, { ids, current: ids.includes(now.tree.current) ? now.tree.current : parent });
}
