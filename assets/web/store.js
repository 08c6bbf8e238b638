// The page's state, in one place. Other modules read these variables and change them only through the actions below, so
// every change can be found. At the end: values derived from the state, and events by which a view reports what happened
// without knowing who listens.

/** @import { AsIf, ChosenColumn, Column, Controls, History, PageLine, Place, Run, Tape, Token, TreeNode } from "./types.js" */

import { controlsOf } from "./lib/counterfactual.js";

/** @type {PageLine} */
export let config = /** @type {any} */ (null); // the page line, sent once before the first run

// ---- the stream

/** @type {Run} */
export let run = /** @type {any} */ (null); // the run shown, as made by lib/runs.js
export let nonce = Date.now(); // the page's number for its current run; lines of older runs are ignored
export let seen = 0; // characters of the current stream already read
export let running = false;
export let lastNews = 0; // when the server last sent something
export let stopWanted = false;
/** @type {Record<string, any>} */
export let askedFormats = {}; // the prompt formats of the run requested last
/** @type {any} */
export let asking = null; // how the requested run starts from another: {kind, parent, column, position, token, all}
export let lostAt = 0; // when the server was lost; 0: it is there
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

export function passOver() { // ignore whatever still streams
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

// ---- what is shown

/** @type {Place | null} */
export let selected = null; // {p, i}: column and token
/** @type {number | null} */
export let rival = null; // the candidate chosen for comparison with the token; null: the most telling one
/** @type {Place | null} */
export let preview = null; // {p, i} of the token under the mouse
/** @type {AsIf | null} */
export let asIf = null; // {sliders, first: {column: first token that would change}, counts}; null: as it was written
export let plotted = 0; // the column in the attribution plot
/** @type {[number, number] | "all" | null} */
export let ownView = null; // the range of the bars that a person chose, or "all"; null follows the newest token
export let tab = "bars"; // the open plot: bars, odds, strip or an added one
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
export function lookAt(other) { // another run, with nothing selected
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
export let chosen = []; // columns: {name, text, controls, error, and its header: kind, recipe, about, pad}
/** @type {Controls} */
export let sent = {}; // the control values last sent to the active run
/** @type {Controls} */
export const controls = {}; // name -> slider position, kept while the slider is hidden
/** @type {Record<string, { kind: string, text: string }>} */
export const ownFormats = {}; // role -> {kind, text}, where a person changed the prompt format

/** @type {(columns: ChosenColumn[]) => void} */
export const setChosen = (columns) => void (chosen = columns);
/** @type {(values: Controls) => void} */
export const moveControls = (values) => void Object.assign(controls, values);
/** @type {(values: Controls) => void} */
export const noteSent = (values) => void Object.assign(sent, values);

/** @type {(role: string, own: { kind: string, text: string } | null) => void} */
export function setFormat(role, own) { // null: the family's default
  if (own) ownFormats[role] = own;
  else delete ownFormats[role];
}

export function forgetFormats() {
  for (const role of Object.keys(ownFormats)) delete ownFormats[role];
}

// ---- the tree of texts
//
//   node     {id, parent, run, column, position, token, all, same: Map of column -> run that scored its text}
//   history  of the nodes' ids, as in lib/history.js

/** @type {Map<number, TreeNode>} */
export let nodes = new Map();
/** @type {History | null} */
export let history = null;
/** @type {any[]} */
export let samples = []; // branches still to be requested
/** @type {(Place & { focus: boolean }) | null} */
export let back = null; // the token to select again once it arrives: {p, i, focus}
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

// ---- derived values

export const carded = () => preview || selected; // whose card it is
/** @type {(column: Column, i: number) => Token} */
export const shown = (column, i) => (asIf && column.remixed?.[i]) || column.tokens[i]; // a token as shown
/** @type {() => TreeNode | null} */
export const currentNode = () => (history ? nodes.get(history.tree.current) ?? null : null);
/** @type {(node: TreeNode) => Run[]} */
export const runsOf = (node) => [node.run, ...node.same.values()];
/** @type {(id: string) => Run | null} */
export const runOf = (id) => [...nodes.values()].flatMap(runsOf).find((other) => other.id === id) || null;
/** @type {(node: TreeNode) => number | null} */
export const sameOf = (node) => [...node.same].find(([, other]) => other === run)?.[0] ?? null; // whose text is scored; null: own text
/** @type {() => string[]} */
export const runHears = () => (run ? run.columns.flatMap((column) => column.terms.map((term) => term[1])).filter((name) => name !== null) : []);

// The positions of the sliders that affect these columns.
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
