// The browser's session storage: one memory for each history entry of this tab, and what fits. What a memory contains is decided
// in views/memory.js.
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
      remove(key);
      return [];
    }
  });
}

/** @typedef {Map<string, [sign: string, make: () => string]>} Parts key -> a sign that changes with the text, and what makes it */

// Stores the memory of a history entry: its page, its runs and its texts. Only what has a new sign is made and written. Returns
// whether there was room. If there was not, part of it may be written: the caller tries again with less, or drops it.
/** @type {(id: string, page: () => any, runs: Parts, texts: Parts) => boolean} */
export function writeMemory(id, page, runs, texts) {
  /** @type {(kind: "run" | "text", parts: Parts) => {key: string, sign: string, make: () => string}[]} */
  const named = (kind, parts) => [...parts].map(([key, [sign, make]]) => ({ key: keyOf(kind, id, key), sign, make }));
  const parts = [...named("text", texts), ...named("run", runs)], sizes = new Map(parts.map(({ key }) => [key, written.get(key)?.size || 0]));
  const fresh = parts.filter(({ key, sign }) => written.get(key)?.sign !== sign).map(({ key, sign, make }) => ({ key, sign, text: make() }));
  for (const { key, text } of fresh) sizes.set(key, text.length);
  if (sum(sizes.values()) > MAX_CHARS) return false;
  for (const key of keys(id)) if (!key.startsWith("eft-tab:") && !sizes.has(key)) remove(key);
  for (const { key, sign, text } of [...fresh, { key: keyOf("tab", id), sign: "", text: JSON.stringify(page()) }]) {
    if (!put(key, text) && !(dropOthers(id) && put(key, text))) return false;
    written.set(key, { sign, size: text.length });
  }
  return true;
}

/** @type {(numbers: Iterable<number>) => number} */
const sum = (numbers) => [...numbers].reduce((total, one) => total + one, 0);

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

export const charsWritten = () => sum([...written.values()].map(({ size }) => size));
