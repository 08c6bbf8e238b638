// The page's state, in one place. Others read these variables and change them through the actions below, so that whoever
// wants to know when something changes has few places to look at. Below the line: what follows from the state, and the
// events by which a view says that something happened without knowing who wants to hear of it.

/** @import { AsIf, ChosenColumn, Column, Controls, History, PageLine, Place, Run, Tape, Token, TreeNode } from "./types.js" */

import { controlsOf } from "./lib/counterfactual.js";

/** @type {PageLine} */
export let config = /** @type {any} */ (null); // the page line: what the server says once, before the first run

// ---- the stream

/** @type {Run} */
export let run = /** @type {any} */ (null); // what is shown: a run as lib/runs.js makes it
export let nonce = Date.now(); // the page's number for its current run; lines of older runs are passed over
export let seen = 0; // characters of the current stream already read
export let running = false;
export let lastNews = 0; // when the server spoke last
export let stopWanted = false;
/** @type {Record<string, any>} */
export let askedFormats = {}; // what was asked for of what models are shown
/** @type {any} */
export let asking = null; // what the run under way is, where it begins from another: {kind, parent, column, position, token, all}
export let lostAt = 0; // since when the server has been looked for; 0: it is there
/** @type {Tape | null} */
export let tape = null; // a run that is replayed: {first, frames, end, at, playing, due, last, beat}

/** @type {(page: PageLine) => void} */
export const setConfig = (page) => void (config = page);
/** @type {(end: number) => void} */
export const readTo = (end) => void (seen = end);
export const noteNews = () => void (lastNews = Date.now());
/** @type {(now: boolean) => void} */
export const wantStop = (now) => void (stopWanted = now);
/** @type {(at: number) => void} */
export const setLost = (at) => void (lostAt = at);
/** @type {(next: Tape | null) => void} */
export const setTape = (next) => void (tape = next);

export function passOver() { // whatever still streams is of no interest any more
  nonce += 1;
  seen = 0;
}

/** @type {(now: boolean) => void} */
export function noteRunning(now) {
  running = now;
  noteNews();
  if (now) sent = { ...controls };
}

/** @type {(about: any, formats?: Record<string, any>) => void} */
export function beginFrom(about, formats = askedFormats) {
  asking = about;
  askedFormats = formats;
}

// ---- what is looked at

/** @type {Place | null} */
export let selected = null; // {p, i}: column and token
/** @type {number | null} */
export let rival = null; // the candidate that a person compares the token with; null: the telling one
/** @type {Place | null} */
export let preview = null; // {p, i} of the token under the mouse
/** @type {AsIf | null} */
export let asIf = null; // {sliders, first: {column: first token that would change}, counts}; null: as it was written
export let plotted = 0; // which column the bars are of
/** @type {[number, number] | "all" | null} */
export let ownView = null; // where a person moved the bars to: a range or "all"; null follows the newest token
export let tab = "bars"; // which plot is seen: bars, odds, strip or an added one
/** @type {number | null} */
export let wide = null; // which column has the page's full width
export let colourBy = "tuning";

/** @type {(id: number | null) => void} */
export const setRival = (id) => void (rival = id);
/** @type {(place: Place | null) => void} */
export const setPreview = (place) => void (preview = place);
/** @type {(state: AsIf | null) => void} */
export const setAsIfState = (state) => void (asIf = state);
/** @type {(p: number) => void} */
export const setPlotted = (p) => void (plotted = p);
/** @type {(view: [number, number] | "all" | null) => void} */
export const setOwnView = (view) => void (ownView = view);
/** @type {(name: string) => void} */
export const setTab = (name) => void (tab = name);
/** @type {(p: number | null) => void} */
export const setWide = (p) => void (wide = p);
/** @type {(name: string) => void} */
export const setColourBy = (name) => void (colourBy = name);

/** @type {(other: Run) => void} */
export function lookAt(other) { // another run, with nothing chosen in it
  run = other;
  selected = null;
  asIf = null;
}

/** @type {(p: number, i: number) => void} */
export function pick(p, i) {
  selected = { p, i };
  rival = null;
}

// ---- what the next run is made of

/** @type {ChosenColumn[]} */
export let chosen = []; // columns: {name, text, controls, error, and how it introduces itself: kind, recipe, about, pad}
/** @type {Controls} */
export let sent = {}; // what the run under way was last sent of the controls
/** @type {Controls} */
export const controls = {}; // name -> where its slider stands, kept while it is out of sight
/** @type {Record<string, { kind: string, text: string }>} */
export const ownFormats = {}; // role -> {kind, text}, where a person changed the family's way

/** @type {(columns: ChosenColumn[]) => void} */
export const setChosen = (columns) => void (chosen = columns);
/** @type {(values: Controls) => void} */
export const moveControls = (values) => void Object.assign(controls, values);
/** @type {(values: Controls) => void} */
export const noteSent = (values) => void Object.assign(sent, values);

/** @type {(role: string, own: { kind: string, text: string } | null) => void} */
export function setFormat(role, own) { // null: as the family has it
  if (own) ownFormats[role] = own;
  else delete ownFormats[role];
}

export function forgetFormats() {
  for (const role of Object.keys(ownFormats)) delete ownFormats[role];
}

// ---- the tree of texts
//
//   node     {id, parent, run, column, position, token, all, same: Map of column -> run that scored its text}
//   history  as lib/history.js has it, of the nodes' ids

/** @type {Map<number, TreeNode>} */
export let nodes = new Map();
/** @type {History | null} */
export let history = null;
/** @type {any[]} */
export let samples = []; // branches that are still to be asked for
/** @type {(Place & { focus: boolean }) | null} */
export let back = null; // the token to return to once it has come: {p, i, focus}
/** @type {Set<string>} */
export const stopped = new Set(); // runs already asked to stop

/** @type {(next: History) => void} */
export const setHistory = (next) => void (history = next);
/** @type {(list: any[]) => void} */
export const setSamples = (list) => void (samples = list);
export const forgetSamples = () => setSamples([]);
/** @type {(place: (Place & { focus: boolean }) | null) => void} */
export const comeBackTo = (place) => void (back = place);

/** @type {(planted: Map<number, TreeNode>, itsHistory: History) => void} */
export function plantTree(planted, itsHistory) {
  nodes = planted;
  history = itsHistory;
}

/** @type {(node: TreeNode, itsHistory: History) => void} */
export function plant(node, itsHistory) {
  nodes.set(node.id, node);
  history = itsHistory;
}

// ---- what follows from the state

export const carded = () => preview || selected; // whose card it is
/** @type {(column: Column, i: number) => Token} */
export const shown = (column, i) => (asIf && column.remixed?.[i]) || column.tokens[i]; // a token as the page shows it
/** @type {() => TreeNode | null} */
export const currentNode = () => (history ? nodes.get(history.tree.current) ?? null : null);
/** @type {(node: TreeNode) => Run[]} */
export const runsOf = (node) => [node.run, ...node.same.values()];
/** @type {(id: string) => Run | null} */
export const runOf = (id) => [...nodes.values()].flatMap(runsOf).find((other) => other.id === id) || null;
/** @type {(node: TreeNode) => number | null} */
export const sameOf = (node) => [...node.same].find(([, other]) => other === run)?.[0] ?? null; // whose text is scored; null: free
/** @type {() => string[]} */
export const runHears = () => (run ? run.columns.flatMap((column) => column.terms.map((term) => term[1])).filter((name) => name !== null) : []);

// Where the sliders stand that these columns listen to.
/** @type {(columns: Column[]) => Controls} */
export function slidersOf(columns) {
  const names = [...new Set(columns.flatMap(controlsOf))];
  return Object.fromEntries(names.map((name) => [name, controls[name]]).filter(([, value]) => Number.isFinite(value)));
}

// ---- events

/** @type {Map<string, ((...facts: any[]) => void)[]>} */
const listeners = new Map(); // name -> functions, called in the order in which they were added

/** @type {(name: string, listener: (...facts: any[]) => void) => void} */
export function on(name, listener) {
  listeners.set(name, [...(listeners.get(name) || []), listener]);
}

/** @type {(name: string, ...facts: any[]) => void} */
export function emit(name, ...facts) {
  for (const listener of listeners.get(name) || []) listener(...facts);
}
