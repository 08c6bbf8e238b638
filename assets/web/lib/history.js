// Undo and redo over a tree of texts, as immutable data: every step is a new tree, and undo is the old one.
//
//   history  {tree: {ids, current}, past: [trees], future: [trees]}

const MAX_STEPS = 200; // of undo

export const startHistory = (id) => ({ tree: { ids: [id], current: id }, past: [], future: [] });
const stepTo = (now, tree) => ({ tree, past: [...now.past, now.tree].slice(-MAX_STEPS), future: [] });
export const grownBy = (now, id) => stepTo(now, { ids: [...now.tree.ids, id], current: id });
export const lookingAt = (now, id) => (id === now.tree.current ? now : stepTo(now, { ...now.tree, current: id }));
export const undone = (now) => (now.past.length ? { tree: now.past.at(-1), past: now.past.slice(0, -1), future: [now.tree, ...now.future] } : now);
export const redone = (now) => (now.future.length ? { tree: now.future[0], past: [...now.past, now.tree], future: now.future.slice(1) } : now);

// The tree without a node and all that grew from it; `parentOf` maps ids to ids. The first text cannot go.
export function without(now, id, parentOf) {
  if (parentOf(id) === null) return now;
  const goes = (node) => node !== null && (node === id || goes(parentOf(node)));
  const ids = now.tree.ids.filter((node) => !goes(node));
  return stepTo(now, { ids, current: ids.includes(now.tree.current) ? now.tree.current : parentOf(id) });
}
