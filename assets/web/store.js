// The page's state, in one place. Other modules read these variables and change them only through the actions below, so
// every change can be found; eslint holds the views to it. At the end: values derived from the state, and events by which a
// view reports what happened without knowing who listens.

/** @import { AsIf, Askable, ChosenColumn, ClassRoom, Column, Controls, Conversation, Cover, FamilyMenu, Frame, History, Line, LinkedView, OpenLesson, PageLine, Place, Poll, RoomNow, Run, Scored, Tape, Token, TreeNode, View, Votes } from "./types.js" */

import { NO_CONVERSATION } from "./lib/conversation.js";
import { controlsOf } from "./lib/counterfactual.js";

/** @type {PageLine} */
export let config = /** @type {any} */ (null); // the page line, sent once before the first run

/** @type {Askable | null} */
export let askable = null; // what can be asked of the bundled family, once it is loaded; null: unknown

/** @type {(table: Askable) => void} */
export const setAskable = (table) => void (askable = table);

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
export let askedSettings = null; // all settings of the run requested last
/** @type {any} */
export let asking = null; // how the requested run starts from another: {kind, parent, column, position, token, all}
/** @type {Set<string>} */
export const stopped = new Set(); // runs already asked to stop

/** @type {(page: PageLine) => void} */
export const setConfig = (page) => void (config = page);
/** @type {(end: number) => void} */
export const readTo = (end) => void (seen = end);
export const noteNews = () => void (lastNews = Date.now());
/** @type {(now: boolean) => void} */
export const wantStop = (now) => void (stopWanted = now);
/** @type {(id: string) => void} */
export const noteStopped = (id) => void stopped.add(id);

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

/** @type {(settings: any) => void} */
export const noteAsked = (settings) => void (askedSettings = settings);

/** @type {(about: any, formats?: Record<string, any>) => void} */
export function beginFrom(about, formats = askedFormats) {
  asking = about;
  askedFormats = formats;
}

/** @type {(column: Column) => void} */
export function noteDrafted(column) { // a token of it was proposed by a draft
  column.drafted = true;
  run.drafted = true;
}

// What the server scored of a column; null: it was asked, and has not answered or has refused.
/** @type {(column: Column, scored: Scored | null) => void} */
export const noteScored = (column, scored) => void (column.scored = scored);

export let paused = false; // the live run waits for a person

/** @type {(now: boolean) => void} */
export const setPaused = (now) => void (paused = now);

// ---- the connection

export let lostAt = 0; // when the server was lost; 0: it is there
export let cutRun = ""; // what was cut: "streaming", "asked" (requested) or nothing
export let serverStart = ""; // which start of the server this page belongs to, as Gradio names it

/** @type {(start: string) => void} */
export const setServerStart = (start) => void (serverStart = start);
/** @type {(what: string) => void} */
export const noteCut = (what) => void (cutRun ||= what);
/** @type {(at: number) => void} */
export const setLost = (at) => void (lostAt = at);

/** @type {(start: string) => void} */
export function foundAgain(start) {
  lostAt = 0;
  cutRun = "";
  serverStart = start;
}

// ---- a run that is replayed

/** @type {Tape | null} */
export let tape = null; // {first, frames, end, at, playing, due, last}

/** @type {(next: Tape | null) => void} */
export const setTape = (next) => void (tape = next);

/** @type {(playing: boolean) => void} */
export function playTape(playing) {
  if (tape) Object.assign(tape, { playing, due: 0 });
}

/** @type {any} */
export let settingsBefore = null; // the page's own, in place of those that an opened run filled in
/** @type {(settings: any) => void} */
export const keepSettings = (settings) => void (settingsBefore = settings);

export function rewindTape() {
  if (tape) Object.assign(tape, { at: 0, due: 0, playing: true });
}

// Advances to the time `now`, where `pace` says how long a frame lasts. Returns the lines that are due.
/** @type {(now: number, pace: (frame: Frame, before: number) => number) => Line[]} */
export function rollTape(now, pace) {
  /** @type {Line[]} */
  const lines = [];
  if (!tape) return lines;
  if (tape.playing) tape.due += now - tape.last;
  tape.last = now;
  while (tape.playing && tape.at < tape.frames.length) {
    const wait = pace(tape.frames[tape.at], tape.at ? tape.frames[tape.at - 1].ms : 0);
    if (tape.due < wait) break;
    tape.due -= wait;
    lines.push(...tape.frames[tape.at].lines);
    tape.at += 1;
  }
  return lines;
}

// Advances by that many frames. Returns their lines.
/** @type {(count: number) => Line[]} */
export function advanceTape(count) {
  if (!tape) return [];
  const frames = tape.frames.slice(tape.at, tape.at + count);
  tape.at += frames.length;
  return frames.flatMap(({ lines }) => lines);
}

// ---- what is shown

/** @type {Place | null} */
export let selected = null; // {p, i}: column and token
/** @type {number | null} */
export let rival = null; // the candidate chosen for comparison with the token; null: the most telling one
/** @type {Place | null} */
export let preview = null; // {p, i} of the token under the mouse
/** @type {AsIf | null} */
export let asIf = null; // {sliders, first: {column: first token that would change}, counts, unsure: how many tokens are uncertain}; null: as it was written
export let plotted = 0; // the column in the attribution plot
/** @type {Record<string, View>} */
export const ownViews = {}; // by plot: the range that a person chose, or "all"; without one, it follows the newest token
export let tab = "bars"; // the open plot
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
/** @type {(name: string, view: View) => void} */
export const setOwnView = (name, view) => void (ownViews[name] = view);
/** @type {(name: string) => void} */
export const setTab = (name) => void (tab = name);
/** @type {(p: number | null) => void} */
export const setWide = (p) => void (wide = p);
/** @type {(name: string) => void} */
export const setColourBy = (name) => void (colourBy = name);

/** @type {(other: Run | null) => void} */
export function lookAt(other) { // another run, with nothing selected; null: none
  for (const column of other && run && run !== other ? run.columns : []) Object.assign(column, { spans: [], view: undefined }); // what drew the old one is free
  run = /** @type {any} */ (other);
  selected = null;
  preview = null;
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
/** @type {Conversation} */
export let conversation = NO_CONVERSATION; // the turns before the next question

/** @type {(next: Conversation) => void} */
export const setConversation = (next) => void (conversation = next);
/** @type {(columns: ChosenColumn[]) => void} */
export const setChosen = (columns) => void (chosen = columns);
/** @type {(index: number, column: ChosenColumn) => void} */
export const changeColumn = (index, column) => void (chosen = chosen.with(index, column));
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

// ---- the lesson

/** @type {OpenLesson | null} */
export let lesson = null; // the open one and its current step
/** @type {{ name: string, at: number } | null} */
export let keptLesson = null; // the one that was open before a reload
/** @type {(next: OpenLesson | null) => void} */
export const setLesson = (next) => void (lesson = next);
/** @type {(kept: { name: string, at: number } | null) => void} */
export const keepLesson = (kept) => void (keptLesson = kept);

// ---- a question to the class; a caller of these actions emits "poll", or "tally" if only votes have changed

/** @type {Poll | null} */
export let poll = null; // the open one
/** @type {Votes} */
export let tally = {}; // what a class room has counted
/** @type {string[]} */
export let guesses = []; // options chosen on this page, in order
/** @type {Cover | null} */
export let cover = null; // what the open question hides, while `run` is what may be seen
export let polls = 0; // questions so far
export let keptPoll = ""; // the question that one press has kept, because votes would be lost

/** @type {(next: Poll) => void} */
export function openPoll(next) {
  poll = next;
  polls += 1;
  tally = {};
  guesses = [];
}

export const keepPoll = () => void (keptPoll = poll?.id ?? "");
export const revealPoll = () => void (poll = poll && { ...poll, revealed: true });
export const closePoll = () => void (poll = null);
/** @type {(counts: Votes) => void} */
export const setTally = (counts) => void (tally = counts);
/** @type {(next: Cover | null) => void} */
export const setCover = (next) => void (cover = next);

/** @type {(id: string) => void} */
export function addGuess(id) {
  if (poll && !poll.revealed && poll.options.some((option) => option.id === id)) guesses = [...guesses, id];
}

export function takeGuessBack() {
  if (poll && !poll.revealed) guesses = guesses.slice(0, -1);
}

// ---- the class room that this page presents

/** @type {ClassRoom | null} */
export let classRoom = null; // null: none is open
/** @type {RoomNow} */
export let roomNow = { joined: 0, here: 0, voted: 0, lost: false, refusal: "", kept: true }; // what the server said of it last

/** @type {(next: ClassRoom | null) => void} */
export function setClassRoom(next) {
  classRoom = next;
  roomNow = { joined: 0, here: 0, voted: 0, lost: false, refusal: "", kept: true };
}
/** @type {(news: Partial<RoomNow>) => void} */
export const noteRoom = (news) => void (roomNow = { ...roomNow, ...news });

// ---- the tree of texts
//
//   node     {id, parent, run, column, position, token, all, same: Map of column -> run that scored its text}; a run that a
//            person asked for has no parent, and its branches have
//   history  of the nodes' ids, as in lib/history.js

/** @type {Map<number, TreeNode>} */
export let nodes = new Map();
/** @type {History | null} */
export let history = null;
/** @type {any[]} */
export let samples = []; // branches still to be requested
/** @type {(Place & { focus: boolean }) | null} */
export let back = null; // the token to select again once it arrives: {p, i, focus}

/** @type {(next: History) => void} */
export const setHistory = (next) => void (history = next);
/** @type {(list: any[]) => void} */
export const setSamples = (list) => void (samples = list);
export const forgetSamples = () => setSamples([]);
export const takeSample = () => void (samples = samples.slice(1)); // the first one is requested now
/** @type {(node: TreeNode, column: number, scored: Run) => void} */
export const noteSame = (node, column, scored) => void node.same.set(column, scored);
/** @type {(node: TreeNode, again: Run) => void} */
export const noteRun = (node, again) => void Object.assign(node, { run: again }); // the same run, replayed from its beginning
/** @type {(place: (Place & { focus: boolean }) | null) => void} */
export const comeBackTo = (place) => void (back = place);

/** @type {(planted: Map<number, TreeNode>, itsHistory: History | null) => void} */
export function plantTree(planted, itsHistory) {
  nodes = planted;
  history = itsHistory;
}

/** @type {(node: TreeNode, itsHistory: History) => void} */
export function plant(node, itsHistory) {
  nodes.set(node.id, node);
  history = itsHistory;
}

// ---- the family menu

/** @type {FamilyMenu | null} */
export let familyMenu = null; // what the server sent last
export let menuFailed = false; // the message says that the server could not be reached
export let loadedHere = false; // this page pressed Load, so it reloads when the new family is ready
/** @type {string | undefined} */
export let keyInPage; // the right to load models, where the browser refuses storage: kept until the page is closed

/** @type {(menu: FamilyMenu) => void} */
export function setFamilyMenu(menu) {
  familyMenu = menu;
  menuFailed = false;
}

/** @type {(progress: any) => void} */
export function setProgress(progress) {
  if (familyMenu) familyMenu.progress = progress;
}

export const noteMenuFailed = () => void (menuFailed = true);
/** @type {(now: boolean) => void} */
export const noteLoadedHere = (now) => void (loadedHere = now);
/** @type {(key: string) => void} */
export const keepKey = (key) => void (keyInPage = key);

// ---- what a reload and Back restore (views/memory.js)

export let keeping = true; // false: the page is about to reload, and its contents are not stored again
export let entry = ""; // the history entry of this page; "" where storage is refused
export let place = ""; // the current one of this page's addresses
export let placeAddress = ""; // what the address bar held when it became the current one
/** @type {Map<string, any>} */
export let settingsAt = new Map(); // place -> {family, settings} when it was left, in the order of leaving
export let untouched = ""; // the initial settings, which need no notice
let lastKey = 0;

export let home = ""; // the address at which the page was opened
export let ownAddress = ""; // the one that the page has written since; "" if it has not
/** @type {(address: string) => void} */
export const setHome = (address) => void (home = address);
/** @type {(address: string) => void} */
export const setOwnAddress = (address) => void (ownAddress = address);

/** @type {(LinkedView & { settings: any, begun?: boolean }) | null} */
export let wanted = null; // what a link wants to be shown after a run with its settings
/** @type {(next: (LinkedView & { settings: any, begun?: boolean }) | null) => void} */
export const want = (next) => void (wanted = next);

export const stopKeeping = () => void (keeping = false);
/** @type {(name: string) => void} */
export const setEntry = (name) => void (entry = name);
/** @type {(name: string, address: string) => void} */
export const setPlace = (name, address) => void ([place, placeAddress] = [name, address]);
/** @type {(settings: string) => void} */
export const setUntouched = (settings) => void (untouched = settings);
/** @type {(places: [string, any][]) => void} */
export const setPlaces = (places) => void (settingsAt = new Map(places));

/** @type {(left: any) => void} */
export function leavePlace(left) {
  settingsAt.delete(place); // moved to the end: the oldest one is dropped
  settingsAt.set(place, left);
}

// The key under which a run or a column's tokens are stored.
/** @type {(thing: { key?: string }) => string} */
export const keyFor = (thing) => (thing.key ??= String((lastKey += 1)));
/** @type {(keys: (string | undefined)[]) => void} */
export const noteKeys = (keys) => void (lastKey = Math.max(lastKey, ...keys.map(Number)));

// ---- derived values

export const wholeRun = () => (cover && [cover.seen, cover.after].includes(run) ? cover.whole : run); // also what a question hides of it
export const carded = () => preview || selected; // whose card it is
/** @type {(column: Column, i: number) => Token} */
export const shown = (column, i) => (asIf && column.remixed?.[i]) || column.tokens[i]; // a token as shown
/** @type {() => TreeNode | null} */
export const currentNode = () => nodes.get(history?.tree.current ?? -1) ?? null;
/** @type {(id: number) => number | null} */
export const parentOf = (id) => nodes.get(id)?.parent ?? null;
/** @type {(node: TreeNode | null) => TreeNode | null} */
export const rootOf = (node) => (node && node.parent !== null ? rootOf(nodes.get(node.parent) ?? null) : node); // the run that it is a branch of
/** @type {(node: TreeNode) => Run[]} */
export const runsOf = (node) => [node.run, ...node.same.values()];
/** @type {(id: string) => Run | null} */
export const runOf = (id) => [...nodes.values()].flatMap(runsOf).find((other) => other.id === id) || null;
/** @type {(node: TreeNode) => number | null} */
export const sameOf = (node) => [...node.same].find(([, other]) => other === wholeRun())?.[0] ?? null; // whose text is scored; null: own text
/** @type {(columns: Column[]) => string[]} */
const usedBy = (columns) => [...new Set(columns.flatMap(controlsOf))]; // the controls of these columns
/** @type {() => string[]} */
export const runControls = () => (run ? usedBy(run.columns) : []); // those of the shown run

// The positions of the sliders that affect these columns.
/** @type {(columns: Column[]) => Controls} */
export function slidersOf(columns) {
  return Object.fromEntries(usedBy(columns).map((name) => [name, controls[name]]).filter(([, value]) => Number.isFinite(value)));
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
