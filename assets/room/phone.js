// A phone in a class room: joins by code or by link, shows the open question, votes, and waits for news by long polling. Texts
// of the server are only ever shown as text.

import { postToRoom } from "../web/room-post.js";
import { lateWords, linkWords, NO_ROOM, optionLines, pauseMs, readAddress, readKept, readTyped, statusOf, withRoom, withoutRoom } from "./state.js";

const KEPT = "eft-rooms"; // {last, tokens}: which phone this is in which room, so that its vote stays its own after a reload
const LOST = "The connection is lost. This page keeps trying, and a vote is kept.";
const part = (id) => document.getElementById(id);

let room = null; // {code, token} once joined
let view = null; // what the server sent last
let withdrawn = false; // whether the last question went without its answer
let waiting = null; // cancels the request for news that is under way
let turn = 0; // of the loops for news: only the newest goes on
let wanted = null; // {poll, option}: a vote that the server has not confirmed
let late = null; // number of the poll that was closed before a vote arrived, until the next vote
let sending = false; // whether it is under way
let wake = () => {}; // ends the pause before the next try to send it

function kept() {
  try {
    return readKept(localStorage.getItem(KEPT));
  } catch { // refused: this phone is a new one after a reload
    return readKept(null);
  }
}

function keep(value) {
  try {
    localStorage.setItem(KEPT, JSON.stringify(value));
  } catch { /* as above */ }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const pauseUntilWoken = (ms) => Promise.race([sleep(ms), new Promise((resolve) => (wake = resolve))]);
const say = (text) => void (part("trouble").textContent === text || (part("trouble").textContent = text));

async function join(code, invite) {
  const token = kept().tokens[code] ?? null, mine = (turn += 1);
  for (let failures = 1; ; failures += 1) {
    const { status, answer } = await postToRoom("join", { code, invite, token });
    if (mine !== turn) return null; // another code was entered meanwhile
    if (status === 200) {
      room = { code: answer.code, token: answer.token };
      keep(withRoom(kept(), room));
      part("typed").value = ""; // the next code is another one
      say("");
      show(answer);
      return listenForNews();
    }
    if (answer.error === "no_room") keep(withoutRoom(kept(), code));
    if (status && status < 500) return askForCode(answer.detail || "The server refused this code.");
    say("The server cannot be reached. This page keeps trying.");
    await sleep(pauseMs({ failures, chance: Math.random() }));
  }
}

// The focus stays where a person left it; where that place is gone, it goes to the one given.
function keepFocus(before, next) {
  if (before !== document.body && (!before.isConnected || before.closest("[hidden]"))) part(next).focus({ preventScroll: true });
}

function askForCode(why) {
  const focused = document.activeElement;
  room = view = wanted = late = null;
  withdrawn = false;
  part("enter").hidden = false;
  for (const id of ["poll", "code", "inspect", "another"]) part(id).hidden = true;
  part("status").textContent = "";
  say(why);
  keepFocus(focused, "typed");
}

function endHere() {
  keep(withoutRoom(kept(), room.code));
  goOut(NO_ROOM);
}

// To another room; this phone stays what it is in this one.
function goOut(why) {
  turn += 1;
  waiting?.abort();
  window.history.replaceState(null, "", location.pathname);
  askForCode(why);
}

async function listenForNews() {
  const mine = (turn += 1);
  let failures = 0;
  while (mine === turn && room) {
    const since = performance.now(), before = view.news;
    waiting = new AbortController();
    const { status, answer } = await postToRoom("hear", { ...room, news: before }, waiting);
    if (mine !== turn || !room) return;
    if (answer.error === "no_room") return endHere();
    if (status === 200) {
      if (part("trouble").textContent === LOST) say("");
      failures = 0;
      show(answer);
      wake();
      sendWanted();
    } else if ((failures += 1) > 1) say(LOST);
    await sleep(pauseMs({ failures, changed: status === 200 && answer.news !== before, tookMs: performance.now() - since, chance: Math.random() }));
  }
}

function vote(option) {
  wanted = { poll: view.poll.number, option };
  late = null;
  show({ ...view, mine: option });
  sendWanted();
}

// Sends the vote again until the server has it or refuses it; it counts once however often it is sent. One at a time, so that
// of two quick votes the later one stays.
async function sendWanted() {
  if (sending) return;
  sending = true;
  for (let failures = 1; wanted && room; ) {
    const now = wanted, there = room, { status, answer } = await postToRoom("vote", { ...room, ...now });
    if (room !== there) continue;
    if (answer.error === "no_room") endHere();
    else if (status === 0 || status >= 500) {
      say("Your vote has not arrived yet. This page keeps trying.");
      await pauseUntilWoken(pauseMs({ failures, chance: Math.random() }));
      failures += 1;
    } else if (now === wanted) settle(status, answer);
  }
  sending = false;
}

function settle(status, answer) {
  if (answer.error === "poll_closed") late = wanted.poll;
  wanted = null;
  if (!late) say(status === 200 ? "" : answer.detail || "The vote was refused.");
  if (status === 200) show(answer.news < view.news ? view : answer); // no longer on its way
  else restart(); // which also knows whether an earlier vote counts
}

// Asks for everything again, as after a vote that came too late.
function restart() {
  view = { ...view, news: -1 };
  waiting?.abort();
  listenForNews();
}

function show(next) {
  if (view && next.news < view.news) return; // answered before what is shown
  const isNew = next.poll && next.poll.number !== view?.poll?.number, focused = document.activeElement;
  withdrawn = !next.poll && (withdrawn || Boolean(view?.poll && !view.poll.revealed));
  view = wanted && next.poll?.number === wanted.poll && !next.poll.revealed ? { ...next, mine: wanted.option } : next;
  if (isNew && next.poll.number > late + 1) late = null; // that was long ago
  if (late) say(lateWords(view, late));
  else if (isNew) say("");
  part("enter").hidden = true;
  part("code").hidden = part("another").hidden = false;
  part("code").textContent = room.code;
  part("poll").hidden = !view.poll;
  if (view.poll) drawPoll(isNew);
  part("status").textContent = statusOf(view, { withdrawn, sending: wanted?.poll === view.poll?.number });
  const { label, note } = linkWords(view.link);
  part("inspect").hidden = !view.link;
  part("link").href = "./#" + view.link;
  part("link").textContent = label;
  part("link-note").textContent = note;
  keepFocus(focused, view.poll ? "title" : "status");
}

function drawPoll(isNew) {
  for (const name of ["prompt", "before"]) {
    part(name + "-text").textContent = view.poll[name];
    part(name).hidden = !view.poll[name];
  }
  if (isNew || part("title").textContent !== view.poll.title) part("title").textContent = view.poll.title; // else it would be read aloud again
  const lines = optionLines(view), buttons = [...part("options").children];
  if (isNew || buttons.length !== lines.length) part("options").replaceChildren(...lines.map(makeOption));
  for (const [index, line] of lines.entries()) drawOption(part("options").children[index], line);
}

function makeOption({ id, label }) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(make("b", label), make("span", "", "mark"));
  button.addEventListener("click", () => view.poll.revealed || vote(id));
  return button;
}

function drawOption(button, { mine, right, mark, share, note }) {
  button.className = (mine ? "mine" : "") + (right ? " right" : "");
  button.setAttribute("aria-disabled", String(view.poll.revealed)); // `disabled` would take the focus from it
  button.setAttribute("aria-pressed", String(mine));
  button.querySelector(".mark").textContent = mark;
  if (!view.poll.revealed || button.querySelector(".note")) return;
  const bar = Object.assign(document.createElement("meter"), { min: 0, max: 1, value: share });
  bar.setAttribute("aria-label", "share of the votes");
  button.append(bar, make("span", note, "note"));
}

function make(tag, text, name = "") {
  const node = Object.assign(document.createElement(tag), { className: name, textContent: text });
  node.translate = false;
  return node;
}

function fromAddress() {
  const { code, invite } = readAddress(location.hash);
  if (code && code !== room?.code) turn += 1, waiting?.abort(), (room = view = wanted = late = null), (withdrawn = false), join(code, invite);
  return code;
}

part("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const { code, invite } = readTyped(part("typed").value);
  if (code) join(code, invite || null);
  else if (part("typed").value.trim()) askForCode("This is neither a code nor the address of a room. Please enter the code on the screen.");
});
part("another").addEventListener("click", () => goOut(""));
window.addEventListener("hashchange", fromAddress);
for (const kind of ["online", "pageshow"]) window.addEventListener(kind, () => room && restart());
document.addEventListener("visibilitychange", () => document.hidden || (room && restart())); // a phone that was locked
if (!fromAddress()) kept().last ? join(kept().last, null) : askForCode("");
