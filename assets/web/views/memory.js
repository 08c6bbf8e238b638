// Memory: the contents of this tab (settings, half-typed text, texts and their tree) are kept in the browser's session
// storage, so that a reload, Back, a restarted server or a discarded tab loses nothing. Nothing is sent anywhere, the
// browser deletes it with the tab, and the page works without storage too. storage.js knows how it is stored.

import { withoutSettings } from "../lib/address.js";
import { onlyWith } from "../lib/history.js";
import { addLabels, grow, makeRun, record } from "../lib/runs.js";
import { checkedToken, madeOtherwise, storedText } from "../lib/stored.js";
import { element, part } from "../dom.js";
import * as storage from "../storage.js";
import {
  config, controls, conversation, currentNode, entry, history, home, keeping, keepLesson, keyFor, leavePlace, lesson, nodes, nonce, noteKeys, on, ownAddress, ownFormats, place, placeAddress,
  plantTree, plotted, poll, run, running, runsOf, sameOf, selected, setEntry, setHome, setOwnAddress, setPlace, setPlaces, setPlotted, settingsAt,
  setUntouched, stopKeeping, tape, untouched,
} from "../store.js";
import { show } from "./branching.js";
import { select } from "./columns.js";
import { askOtherTabs } from "./copies.js";
import { fieldInputs, setField } from "./fields.js";
import { notice, openDrawer, openers, PRESS_RUN } from "./messages.js";
import { chooseColour } from "./painting.js";
import { choosePace } from "./player.js";
import { runSettings, fillIn } from "./settings.js";
import { setControls } from "./sliders.js";
import { drawTree } from "./tree.js";

const MEMORY_VERSION = 4; // 1 had other names for columns, 2 no ranks where they could be counted, 3 another history
const SAVE_MS = 400; // after the last change
const RUNNING_SAVE_MS = 4000; // while text streams: each save writes its columns whole
const CLOCK_MS = 1000; // some browsers round times, so that pages can measure less
const MADE_OTHERWISE = " Other models or versions wrote these texts than those loaded now, so a new run may differ.";
const wholes = new WeakMap(); // tape -> its whole run
const MAX_PLACES = 50; // stored per page
let saveTimer = 0, lateTimer = 0; // a save soon, and one delayed for a run

export function saveSoon() {
  if (saveTimer || (lateTimer && running)) return;
  clearTimeout(lateTimer); // saves delayed for a run happen when it has ended
  lateTimer = 0;
  if (running) lateTimer = setTimeout(saveNow, RUNNING_SAVE_MS);
  else saveTimer = setTimeout(saveNow, SAVE_MS);
}

function saveNow(word = "") {
  for (const timer of [saveTimer, lateTimer]) clearTimeout(timer);
  saveTimer = lateTimer = 0;
  if (!storage.isOpen() || !keeping || !config || !element.isConnected) return;
  if (isRead()) markEntry();
  let left = keptNodes().map((node) => ({ ...node })), stored = writeNodes(left, word);
  while (!stored && left.length) stored = writeNodes((left = withoutOldest(left)), word);
  if (!stored) storage.drop(entry); // an older page would come back in place of the address, which is newer
  showMemory(left, stored);
}

// The run that a new page begins with comes back without being stored.
function keptNodes() {
  const parents = new Set([...nodes.values()].map(({ parent }) => parent));
  return history ? [...nodes.values()].filter(({ id, run: own }) => !own.welcome || parents.has(id)) : [];
}

const addressHere = () => location.search + location.hash;

const newName = () => Date.now().toString(36) + Math.random().toString(36).slice(2, 8); // unique, also among earlier loads

// The history entry stores the name of its memory, so that Back finds the page that was left, and the name of the address
// within it, so that Back from a link opened over this page finds the earlier settings.
function markEntry() {
  const now = window.history.state;
  if (now?.eft === entry && now.place) return setPlace(now.place, addressHere());
  setPlace(newName(), addressHere());
  try {
    window.history.replaceState({ ...now, eft: entry, place }, "");
  } catch { /* a browser that forbids it, or has had too much of it: then Back finds the page by its address */ }
}

// Whether the address is one that was read or written here. A new one is marked when it is read, at its hashchange: marked
// earlier, it would look like an entry that was left and come back to, and one that Back leads to would get the settings of
// the one that was left.
function isRead() {
  const now = window.history.state;
  return now?.eft === entry ? !now.place || now.place === place : [placeAddress, ownAddress].includes(addressHere());
}

// The address of this page has changed. Returns whether its settings there were restored.
export function settingsBack() {
  if (!entry) return false; // where storage is refused
  leavePlace({ family: config.chips[0], settings: settingsNow() });
  const { eft, place: now } = window.history.state || {};
  const kept = eft === entry && settingsAt.get(now);
  if (!kept) return markEntry(), saveSoon(), false;
  setPlace(now, addressHere());
  putSettings(kept.settings, kept.family === config.chips[0]);
  saveSoon();
  return true;
}

// Stores these nodes. Returns whether there was room for all.
function writeNodes(left, word) {
  const runs = new Map(), texts = new Map(); // key -> [sign, () => text]
  for (const one of left.flatMap(runsOf)) {
    const kept = wholeOf(one);
    for (const column of kept.columns) texts.set(keyFor(column.tokens), [column.tokens.length + " " + column.ended?.why, () => storedText(kept, column)]);
    runs.set(keyFor(one), [one.id, () => storedHead(kept)]);
  }
  return storage.writeMemory(entry, () => recordOf(left, word), runs, texts);
}

// Drops one node: the oldest leaf that is not shown; in a mere chain, its first node.
function withoutOldest(left) {
  const parents = new Set(left.map(({ parent }) => parent)), now = history.tree;
  const ends = left.filter(({ id }) => !parents.has(id) && id !== now.current);
  const goes = ends.find(({ id }) => !now.ids.includes(id)) || ends[0] || left[0];
  return left.filter((node) => node !== goes).map((node) => (node.parent === goes.id ? { ...node, parent: null, column: null, position: 0 } : node));
}

// What the page has filled in itself needs no notice after a reload.
export function settle() {
  setUntouched(JSON.stringify(settingsNow()));
  saveSoon();
}

function recordOf(left, word) {
  return {
    version: MEMORY_VERSION, at: Date.now(), address: home, written: ownAddress, family: config.chips[0], word, running, nonce, lost: keptNodes().length - left.length, places: [...settingsAt].slice(-MAX_PLACES),
    settings: settingsNow(), view: viewNow(),
    nodes: left.map(({ same, run: own, ...node }) => ({ ...node, run: own.key, same: [...same].map(([p, other]) => [p, other.key]) })),
    history: history && onlyWith(history, new Set(left.map(({ id }) => id))),
  };
}

function settingsNow() {
  const { columns, ...asked } = runSettings();
  const fields = Object.fromEntries(fieldInputs().map((input) => [input.dataset.field, input.value])); // as typed, even if it is not a number
  return { ...asked, fields, columns, controls: { ...controls }, formats: { ...ownFormats }, conversation };
}

function viewNow() {
  const prompt = part("prompt"), caret = document.activeElement === prompt ? [prompt.selectionStart, prompt.selectionEnd] : null;
  const drawer = [...openers()].find((button) => button.getAttribute("aria-expanded") === "true")?.getAttribute("aria-controls");
  return {
    selected, plotted, of: run && currentNode() ? sameOf(currentNode()) : null,
    colour: part("colour").value, numbers: part("numbers").checked, pace: part("pace").value,
    lesson: lesson && !lesson.broken ? { name: lesson.name, at: lesson.at } : null, asking: Boolean(poll && !poll.revealed),
    drawer, caret, scroll: window.scrollY,
  };
}

// A run that is still being replayed is stored whole.
function wholeOf(one) {
  if (!tape || one !== run || !one.recorded) return one;
  if (!wholes.has(tape)) wholes.set(tape, revive(tape.first, tape.frames.flatMap(({ lines }) => lines)));
  return wholes.get(tape);
}

function storedHead({ labels, bytes, columns, ...first }) {
  const heads = columns.map(({ tokens, spans, view, remixed, scored, ended, v, entry: _, turns, unfolded, drafted, bars, rules, ...head }) => ({ ...head, bars, text: keyFor(tokens) }));
  return JSON.stringify({ ...first, columns: heads });
}

// Returns whether anything was restored. Settings in the address win, unless this history entry has been here before.
export function bringBack() {
  setUntouched(JSON.stringify(settingsNow()));
  if (!storage.openStorage()) return showMemory([]), false;
  const id = ownMemory();
  setHome(location.search + location.hash);
  setEntry(id || newName());
  markEntry(); // a closing page can no longer do this
  try {
    return Boolean(id) && restore(id);
  } catch { // damaged or of another version: start without it
    storage.drop(id);
    stopKeeping();
    location.reload(); // half of it may already be on the page
    return true;
  } finally {
    saveSoon();
  }
}

function ownMemory() {
  const own = window.history.state?.eft;
  if (typeof own === "string" && storage.hasTab(own)) return own;
  const here = location.search + location.hash, pages = storage.tabs(), newest = (fits) => pages.filter(([saved]) => fits(saved)).sort(([one], [other]) => other.at - one.at)[0]?.[1];
  // A reload of a page that was just changing its address: browsers may then come back to an earlier one, without the entry's
  // state. The page stored itself when it was left, after this one had been asked for.
  const [came] = /** @type {any} */ (performance.getEntriesByType("navigation"));
  const reloaded = came?.type === "reload" && newest(({ at }) => at > performance.timeOrigin - CLOCK_MS);
  if (reloaded) return reloaded;
  const copied = newest(({ written: address }) => address === here); // a copy of this tab, opened at the address that the page had
  return copied || (/[?&#]v=/.test(here) ? "" : newest(({ address }) => address === here)) || "";
}

function restore(id) {
  const saved = storage.stored("tab", id);
  if (saved.version !== MEMORY_VERSION) throw new Error("another version");
  const runs = new Map(saved.nodes.flatMap((node) => [node.run, ...node.same.map(([, key]) => key)]).map((key) => [key, runFrom(id, key)]));
  const found = saved.nodes.filter((node) => runs.get(node.run));
  const cut = [...runs.values()].some((one) => one?.columns.some((column) => column.ended?.why === "cut" && column.fresh));
  const same = saved.family === config.chips[0];
  setHome(saved.address);
  if (saved.written === location.search + location.hash) setOwnAddress(saved.written);
  putSettings(saved.settings, same);
  if (found.length && saved.history) {
    const planted = new Map(found.map((node) => [node.id, { ...node, run: runs.get(node.run), same: new Map(node.same.filter(([, key]) => runs.get(key)).map(([p, key]) => [p, runs.get(key)])) }]));
    noteKeys([...runs.values()].filter(Boolean).flatMap((one) => [one.key, ...one.columns.map(({ tokens }) => tokens.key)]));
    plantTree(planted, onlyWith(saved.history, new Set(planted.keys())));
    const node = currentNode();
    setPlotted(saved.view.plotted || 0);
    if (node) show(node.same.get(saved.view.of) || node.run);
    else drawTree();
    setControls(saved.settings.controls);
  }
  putView(saved.view);
  const own = saved.settings.prompt !== config.welcome?.prompt; // not the question that a new page begins with
  const changed = JSON.stringify(own ? saved.settings : { ...saved.settings, prompt: "" }) !== untouched;
  setPlaces(saved.places);
  const closed = saved.view.asking ? " The question to the class was closed; Predict or Blind asks it again." : "";
  const tellBack = (ending) => notice((saved.word || wordFor(same, found.length, ending)) + lostWords(saved.lost) + closed + (!saved.word && same && [...runs.values()].some((one) => one && madeOtherwise(one.record?.made_with, config.made_with)) ? MADE_OTHERWISE : ""));
  if (saved.running && !saved.word) askOtherTabs(saved.nonce, (elsewhere) => tellBack(endingFor(cut, elsewhere, saved.lost)));
  else if (found.length || changed || saved.word || closed || saved.lost) tellBack(cut ? endingFor(cut, false) : ".");
  return true;
}

// What happened to the run that was active when this was stored.
function endingFor(cut, elsewhere, lost = 0) {
  if (elsewhere) return ". This tab is a copy: the run continues in the original tab, and this one shows what it had " + (cut ? "written by then." : "then.");
  return cut || lost ? ". The run stopped when you left the page. " + PRESS_RUN : ". The run you asked for did not start. " + PRESS_RUN;
}

const lostWords = (lost) => (lost ? (lost === 1 ? " A text" : " " + lost + " texts") + " did not fit into this browser's storage." : "");

function wordFor(same, texts, ending) {
  const what = texts ? "Your texts and settings are back" : "Your settings are back";
  const models = same ? "" : "The model family is now " + config.chips[0] + ". ";
  return models + what + ending;
}

// A stored run, or null if it is incomplete.
function runFrom(id, key) {
  const first = storage.stored("run", id, key);
  const texts = first?.columns.map((column) => storage.stored("text", id, column.text));
  if (!texts || !texts.every(Boolean)) return null;
  const made = makeRun({ ...first, of: undefined, copied: [] }, config.rules);
  Object.assign(made, { key, of: first.of, copied: first.copied, n: 0 });
  made.columns.forEach((column, p) => {
    const { w, t, end } = texts[p];
    addLabels(made, w);
    for (const token of t) record(column, checkedToken(token, column));
    column.tokens.key = column.text;
    Object.assign(column, { sampling: first.columns[p].sampling, given: first.columns[p].given, ended: end || { why: "cut", error: null }, fresh: !end });
  });
  return made;
}

function revive(first, lines) {
  const made = Object.assign(makeRun(first, config.rules), { key: run.key });
  for (const { ...line } of lines) grow(made, line);
  return made;
}

function putSettings(settings, same) {
  const { columns, behaviour, formats, controls: stood, fields, ...rest } = settings;
  const offered = [...part("behaviour").options].some(({ value }) => value === behaviour);
  fillIn({ ...rest, ...(same ? { columns, formats } : {}), ...(offered ? { behaviour } : {}), controls: stood });
  for (const input of fieldInputs()) if (typeof fields[input.dataset.field] === "string") setField(input, fields[input.dataset.field]);
}

function putView(view) {
  if (view.selected && run) select(view.selected.p, view.selected.i, false);
  part("colour").value = view.colour;
  chooseColour(part("colour").value);
  if (view.numbers !== part("numbers").checked) part("numbers").click();
  if (view.pace) choosePace(view.pace);
  if (view.lesson) keepLesson(view.lesson);
  if (view.drawer) openDrawer(view.drawer);
  if (view.caret) part("prompt").focus({ preventScroll: true }), part("prompt").setSelectionRange(...view.caret);
  if (Number.isFinite(view.scroll)) requestAnimationFrame(() => window.scrollTo(0, view.scroll));
}

// Reload the page with its contents and a notice of the reason.
export function reloadPage(word) {
  saveNow(word);
  stopKeeping();
  location.reload();
}

function showMemory(left, stored = true) {
  const size = storage.charsWritten(), lost = keptNodes().length - left.length;
  const gone = lost ? " The oldest " + (lost === 1 ? "text no longer fits." : lost + " texts no longer fit.") : "";
  if (storage.isOpen() && !stored) part("memory-note").textContent = "This browser's storage for this page is full, so reloading it loses your texts.";
  else part("memory-note").textContent = storage.isOpen()
    ? "Your texts and settings are stored in this browser only, until you close this tab (" + Math.ceil(size / 1000) + " kB)." + gone
    : "This browser does not let the page store anything, so reloading it loses your texts.";
  part("forget").hidden = !storage.isOpen();
}

function forget() {
  const button = part("forget");
  if (!button.dataset.sure) {
    button.dataset.sure = "yes";
    return void (button.textContent = "Press again to delete all texts and settings");
  }
  stopKeeping();
  storage.drop();
  try {
    window.history.replaceState(null, "", location.pathname + withoutSettings(location.search)); // the address holds settings too
  } catch { /* then it stays */ }
  location.reload();
}

const saveIfHere = () => (element.isConnected ? saveNow() : window.removeEventListener("pagehide", saveIfHere));

export function listen() {
  on("changed", saveSoon);
  part("forget").addEventListener("click", forget);
  part("forget").addEventListener("blur", () => (delete part("forget").dataset.sure, (part("forget").textContent = "Delete them")));
  for (const kind of ["input", "change", "click", "focusin"]) element.addEventListener(kind, saveSoon);
  window.addEventListener("pagehide", saveIfHere);
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && saveNow());
}
