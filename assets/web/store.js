// The page's state, in one place. Others read these variables and change them through the actions below, so that whoever
// wants to know when something changes has few places to look at. Below the line: what follows from the state, and the
// events by which a view says that something happened without knowing who wants to hear of it.

import { controlsOf } from "./lib/counterfactual.js";

export let config = null; // the page line: what the server says once, before the first run

// ---- the stream

export let run = null; // what is shown: a run as lib/runs.js makes it
export let nonce = Date.now(); // the page's number for its current run; lines of older runs are passed over
export let seen = 0; // characters of the current stream already read
export let running = false;
export let lastNews = 0; // when the server spoke last
export let stopWanted = false;
export let askedFormats = {}; // what was asked for of what models are shown
export let asking = null; // what the run under way is, where it begins from another: {kind, parent, panel, position, token, all}
export let lostAt = 0; // since when the server has been looked for; 0: it is there
export let tape = null; // a run that is replayed: {first, frames, end, at, playing, due, last, beat}

export const setConfig = (page) => void (config = page);
export const readTo = (end) => void (seen = end);
export const noteNews = () => void (lastNews = Date.now());
export const wantStop = (now) => void (stopWanted = now);
export const setLost = (at) => void (lostAt = at);
export const setTape = (next) => void (tape = next);

export function passOver() { // whatever still streams is of no interest any more
  nonce += 1;
  seen = 0;
}

export function noteRunning(now) {
  running = now;
  noteNews();
  if (now) told = { ...controls };
}

export function beginFrom(about, formats = askedFormats) {
  asking = about;
  askedFormats = formats;
}

// ---- what is looked at

export let selected = null; // {p, i}: column and token
export let rival = null; // the candidate that a person compares the token with; null: the telling one
export let preview = null; // {p, i} of the token under the mouse
export let asIf = null; // {sliders, first: {column: first token that would change}, counts}; null: as it was written
export let plotted = 0; // which column the bars are of
export let ownView = null; // where a person moved the bars to: a range or "all"; null follows the newest token
export let tab = "bars"; // which plot is seen: bars, odds or strip
export let wide = null; // which column has the page's full width
export let colourBy = "tuning";

export const setRival = (id) => void (rival = id);
export const setPreview = (place) => void (preview = place);
export const setAsIfState = (state) => void (asIf = state);
export const setPlotted = (p) => void (plotted = p);
export const setOwnView = (view) => void (ownView = view);
export const setTab = (name) => void (tab = name);
export const setWide = (p) => void (wide = p);
export const setColourBy = (name) => void (colourBy = name);

export function lookAt(other) { // another run, with nothing chosen in it
  run = other;
  selected = null;
  asIf = null;
}

export function pick(p, i) {
  selected = { p, i };
  rival = null;
}

// ---- what the next run is made of

export let chosen = []; // columns: {name, text, controls, error, and how it introduces itself: kind, recipe, about, pad}
export let told = {}; // what the run under way was last sent of the controls
export const controls = {}; // name -> where its slider stands, kept while it is out of sight
export const ownFormats = {}; // role -> {kind, text}, where a person changed the family's way

export const setChosen = (columns) => void (chosen = columns);
export const moveControls = (values) => void Object.assign(controls, values);
export const noteTold = (values) => void Object.assign(told, values);

export function setFormat(role, own) { // null: as the family has it
  if (own) ownFormats[role] = own;
  else delete ownFormats[role];
}

export function forgetFormats() {
  for (const role of Object.keys(ownFormats)) delete ownFormats[role];
}

// ---- the tree of texts
//
//   node     {id, parent, run, panel, position, token, all, same: Map of column -> run that scored its text}
//   history  as lib/history.js has it, of the nodes' ids

export let nodes = new Map();
export let history = null;
export let samples = []; // branches that are still to be asked for
export let back = null; // the token to return to once it has come: {p, i, focus}
export const stopped = new Set(); // runs already asked to stop

export const setHistory = (next) => void (history = next);
export const setSamples = (list) => void (samples = list);
export const forgetSamples = () => setSamples([]);
export const comeBackTo = (place) => void (back = place);

export function plantTree(planted, itsHistory) {
  nodes = planted;
  history = itsHistory;
}

export function plant(node, itsHistory) {
  nodes.set(node.id, node);
  history = itsHistory;
}

// ---- what follows from the state

export const carded = () => preview || selected; // whose card it is
export const shown = (panel, i) => (asIf && panel.remixed?.[i]) || panel.tokens[i]; // a token as the page shows it
export const currentNode = () => (history ? nodes.get(history.tree.current) : null);
export const runsOf = (node) => [node.run, ...node.same.values()];
export const runOf = (id) => [...nodes.values()].flatMap(runsOf).find((other) => other.id === id) || null;
export const sameOf = (node) => [...node.same].find(([, other]) => other === run)?.[0] ?? null; // whose text is scored; null: free
export const runHears = () => (run ? run.panels.flatMap((panel) => panel.terms.map((term) => term[1])).filter(Boolean) : []);

// Where the sliders stand that these columns listen to.
export function slidersOf(panels) {
  const names = [...new Set(panels.flatMap(controlsOf))];
  return Object.fromEntries(names.map((name) => [name, controls[name]]).filter(([, value]) => Number.isFinite(value)));
}

// ---- events

const listeners = new Map(); // name -> functions, called in the order in which they were added

export function on(name, listener) {
  if (!listeners.has(name)) listeners.set(name, []);
  listeners.get(name).push(listener);
}

export function emit(name, ...facts) {
  for (const listener of listeners.get(name) || []) listener(...facts);
}
