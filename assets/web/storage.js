// The browser's session storage: one memory for each history entry of this tab, whole or not at all. What a memory contains is
// decided in views/memory.js.
//
//   eft-tab:ID       {version, address, family, word, settings, places, view, nodes, history}: the page of one history entry
//   eft-run:ID:KEY   the first line of a run, and the keys of its columns' texts
//   eft-text:ID:KEY  {w: labels, t: tokens, end}: the lines of one column; a branch shares unchanged columns

const MAX_CHARS = 2_000_000; // of one memory. Browsers allow at least 2.5 million; about 15 runs of three columns
/** @type {Storage | null} */
let storage = null; // null: refused, such as in another site's frame
/** @type {Map<string, {sign: string, size: number}>} */
const written = new Map(); // key -> what was written under it: a sign that changes with its text, and its length

// Whether the browser lets the page store anything.
export function openStorage() {
  written.clear();
  try {
    window.sessionStorage.getItem("eft");
    storage = window.sessionStorage;
  } catch {
    storage = null;
  }
  return isOpen();
}

export const isOpen = () => storage !== null;

/** @type {(kind: "tab" | "run" | "text", ...names: string[]) => string} */
const keyOf = (kind, ...names) => ["eft-" + kind, ...names].join(":");
/** @type {(kind: "tab" | "run" | "text", ...names: string[]) => any} */
export const stored = (kind, ...names) => JSON.parse(storage?.getItem(keyOf(kind, ...names)) || "null");
/** @type {(id: string) => boolean} */
export const hasTab = (id) => Boolean(storage?.getItem(keyOf("tab", id)));

/** @type {(id?: string) => string[]} */
const keys = (id) => Object.keys(storage || {}).filter((key) => /^eft-(tab|run|text):/.test(key) && (!id || key.split(":")[1] === id));

// The pages of this tab that can be read, each with its history entry. Others are dropped.
/** @type {() => [any, string][]} */
export function tabs() {
  return keys().filter((key) => key.startsWith("eft-tab:")).flatMap((key) => {
    const id = key.slice(8);
    try {
      return /** @type {[any, string][]} */ ([[stored("tab", id) || {}, id]]);
    } catch {
      storage?.removeItem(key);
      return [];
    }
  });
}

// Stores the memory of a history entry: its page, and its runs and texts by key, each with a sign and a function that makes it
// if the sign is new. All is stored or, if there is no room, the rest of what was there stays. Returns whether there was room.
/** @type {(id: string, page: () => any, runs: Map<string, [string, () => string]>, texts: Map<string, [string, () => string]>) => boolean} */
export function writeMemory(id, page, runs, texts) {
  const parts = [...[...texts].map(([key, made]) => /** @type {const} */ ([keyOf("text", id, key), ...made])), ...[...runs].map(([key, made]) => /** @type {const} */ ([keyOf("run", id, key), ...made]))];
  const fresh = parts.filter(([key, sign]) => written.get(key)?.sign !== sign).map(([key, sign, make]) => ({ key, sign, text: make() }));
  const changed = new Set(fresh.map(({ key }) => key)), now = new Set(parts.map(([key]) => key));
  const size = [...fresh.map(({ text }) => text.length), ...[...now].filter((key) => !changed.has(key)).map((key) => written.get(key)?.size || 0)];
  if (size.reduce((sum, one) => sum + one, 0) > MAX_CHARS) return false;
  for (const key of keys(id)) if (!key.startsWith("eft-tab:") && !now.has(key)) remove(key);
  for (const { key, sign, text } of [...fresh, { key: keyOf("tab", id), sign: "", text: JSON.stringify(page()) }]) {
    if (!put(key, text) && !(dropOthers(id) && put(key, text))) return false;
    written.set(key, { sign, size: text.length });
  }
  return true;
}

/** @type {(key: string, text: string) => boolean} */
function put(key, text) {
  try {
    storage?.setItem(key, text);
    return storage !== null;
  } catch {
    return false; // full
  }
}

/** @type {(key: string) => void} */
function remove(key) {
  storage?.removeItem(key);
  written.delete(key);
}

// Drops the memory of a history entry, or all of them.
/** @type {(id?: string) => void} */
export const drop = (id) => keys(id).forEach(remove);

// Drops the memories of the other history entries of this tab. Returns whether there were any.
/** @type {(id: string) => boolean} */
export function dropOthers(id) {
  const others = keys().filter((key) => key.split(":")[1] !== id);
  others.forEach(remove);
  return others.length > 0;
}

export const charsWritten = () => [...written.values()].reduce((sum, { size }) => sum + size, 0);
