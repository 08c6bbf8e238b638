// Duplicated tabs: a copy also gets what the original has stored, so it may find a run that continues in the original tab, or
// a class room that is presented there. Tabs of this page ask each other who has it; nothing leaves the browser.

import { element } from "../dom.js";
import { classRoom, nonce, on, running } from "../store.js";

const ANSWER_MS = 300; // an open tab answers within a few
const SURE_MS = 5000; // where a tab that has it is known to be there: it may be busy, or slowed down in the background
let channel = null; // to the other tabs
const waiting = new Map(); // what was asked, until a tab answers -> what to do then
const claims = new Map(); // what this tab has -> lets go of the lock that says so

const lockOf = (name) => "eft has " + name;

// Notes that this tab has the run of that number, or the class room of that code, until `letGo` or until the tab is gone.
export function claim(name) {
  if (!navigator.locks || claims.has(name)) return; // plain http, or an old browser
  const held = new Promise((resolve) => claims.set(name, resolve));
  navigator.locks.request(lockOf(name), { mode: "shared" }, () => held).catch(() => {}); // a restricted frame
}

export function letGo(name) {
  claims.get(name)?.();
  claims.delete(name);
}

// How many runs and class rooms other tabs have, each with a connection to the server of its own; 0 where nobody can tell.
export async function heldElsewhere() {
  try {
    const own = [...claims.keys()].map(lockOf), { held } = await navigator.locks.query();
    return held.filter(({ name }) => name.startsWith(lockOf("")) && !own.includes(name)).length;
  } catch {
    return 0; // as in `claim`
  }
}

// How long to wait for another tab that has it; 0 if there is none.
async function patience(name) {
  if (!channel) return 0;
  try {
    const { held } = await navigator.locks.query();
    return held.some((lock) => lock.name === lockOf(name)) ? SURE_MS : 0;
  } catch {
    return ANSWER_MS; // the browser does not tell
  }
}

// Whether the run of that number, or the class room of that code, is in another tab: calls `say`, and once more if an answer
// comes late.
export async function askOtherTabs(name, say) {
  const ms = await patience(name);
  if (!ms) return say(false);
  const asked = String(name), late = setTimeout(() => say(false), ms);
  waiting.set(asked, () => (clearTimeout(late), waiting.delete(asked), say(true)));
  channel.postMessage({ asks: asked });
}

const isHere = (asked) => (running && asked === String(nonce)) || asked === classRoom?.code;

function onMessage({ data }) {
  if (!element.isConnected) return void channel.close();
  if (data.asks && isHere(data.asks)) channel.postMessage({ has: data.asks });
  waiting.get(data.has)?.();
}

function onRunning() {
  for (const name of claims.keys()) if (typeof name === "number") letGo(name); // the run that ended, or that another one follows
  if (running) claim(nonce);
}

export function listen() {
  on("running", onRunning);
  try {
    channel = new BroadcastChannel("eft");
  } catch {
    return; // an old browser, or a restricted frame
  }
  channel.addEventListener("message", onMessage);
}
