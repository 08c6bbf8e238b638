// The class room that this page presents: it opens and ends it, sends the phones what is asked, and writes their votes into the
// tally. Only this tab has the room's secret.

import { chipOf, countOf, endedWords, isOnlyHere, roomLink, shownOf, typedAddress } from "../lib/room.js";
import { pause } from "../api.js";
import { copyText, element, part, setShown } from "../dom.js";
import { postToRoom } from "../room-post.js";
import { dropOthers } from "../storage.js";
import { classRoom, emit, entry, noteRoom, on, poll, roomNow, run, setClassRoom, setTally } from "../store.js";
import { askOtherTabs, claim, letGo } from "./copies.js";
import { dialogOf, openDialog } from "./dialogs.js";
import { notice } from "./messages.js";
import { factsOf } from "./poll.js";
import { drawQr } from "./qr.js";
import { addressNow } from "./share.js";

const KEPT = "eft-class-room";
const AGAIN_MS = 2000; // after a failure, or an answer without news that came at once
const SURE_MS = 5000; // between the two presses that end a room
let turn = 0; // of the loops for the tally: only the newest goes on
let waiting = null; // cancels the request for the tally that is under way
let sending = 0; // 1: what is shown is being sent; more: it has changed since
let sureTimer = 0;
const NOT_KEPT = "This browser cannot store the key of this room. If you reload or close this page, you lose the room.";

const keys = () => ({ code: classRoom.code, secret: classRoom.secret });
const link = () => roomLink(new URL("room", document.baseURI).href, classRoom);

function keep() {
  if (classRoom) noteRoom({ kept: store() || (dropOthers(entry) && store()) });
  else forgetKept();
}

function store() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(classRoom));
    return true;
  } catch {
    return false; // refused, or full
  }
}

function forgetKept() {
  try {
    sessionStorage.removeItem(KEPT);
  } catch { /* refused: it was not stored either */ }
}

function kept() {
  try {
    const room = JSON.parse(sessionStorage.getItem(KEPT));
    return [room?.code, room?.secret, room?.invite].every((one) => typeof one === "string") ? room : null;
  } catch {
    return null;
  }
}

async function open() {
  openDialog("room");
  part("room-copy").textContent = "Copy the link";
  if (classRoom) return draw();
  const { status, answer } = await postToRoom("open", {});
  if (status === 200) return present(answer);
  part("room-refusal").textContent = answer.detail || "The server could not be reached. Please try again.";
  part("room-refusal").hidden = false;
}

function present({ code, secret, invite }) {
  setClassRoom({ code, secret, invite });
  claim(code);
  keep();
  drawQr(part("room-qr"), link(), "QR code of the link to the room");
  draw();
  sendShown();
  return follow();
}

function draw() {
  setShown("room-chip", Boolean(classRoom));
  for (const name of ["present-room", "room-box"]) part(name).hidden = !classRoom;
  if (!classRoom) return;
  const { short, full } = chipOf(classRoom.code, roomNow, Boolean(poll));
  for (const chip of [part("room-chip"), part("present-room")]) {
    chip.textContent = short;
    chip.setAttribute("aria-label", full);
    chip.classList.toggle("lost", roomNow.lost);
  }
  part("room-address").textContent = typedAddress(link());
  part("room-local").hidden = !isOnlyHere(location.hostname);
  part("room-code").textContent = classRoom.code;
  part("room-count").textContent = countOf(roomNow);
  const refusal = [roomNow.refusal, roomNow.kept ? "" : NOT_KEPT].filter(Boolean).join(" ");
  part("room-refusal").textContent = refusal;
  part("room-refusal").hidden = !refusal;
}

// Sends the phones what is shown now; what changes meanwhile is sent next.
async function sendShown() {
  sending += 1;
  if (sending > 1) return; // the loop below is at work
  do {
    sending = 1;
    const run_link = await runLink();
    if (!classRoom) break;
    const shown = shownOf(poll, factsOf, run_link);
    const { status, answer } = await postToRoom("show", { ...keys(), ...shown });
    const lost = status === 0 || status >= 500;
    noteRoom({ lost, refusal: status === 200 || lost || status === 404 ? "" : answer.detail || "The server refused the question." });
    draw();
    if (lost) sending += 1, await pause(AGAIN_MS);
  } while (sending > 1 && classRoom && element.isConnected);
  sending = 0;
}

// The end of a link to the shown run, or to the step of the lesson.
const runLink = async () => (run ? ((await addressNow()).split("#")[1] ?? "") : "");

// Follows the tally for as long as the room is open.
async function follow() {
  const mine = (turn += 1);
  let counted = -1;
  while (classRoom && mine === turn && element.isConnected) {
    const before = counted, since = performance.now();
    const { status, answer } = await postToRoom("tally", { ...keys(), counted }, (waiting = new AbortController()));
    if (mine !== turn || !classRoom) return;
    if (answer.error === "no_room") return close(endedWords(Boolean(poll)));
    if (status === 200) counted = take(answer);
    else noteRoom({ lost: true });
    draw();
    if (status !== 200 || (counted === before && performance.now() - since < AGAIN_MS)) await pause(AGAIN_MS);
  }
}

function take({ counted, joined, here, voted, poll: counts_of, counts }) {
  noteRoom({ joined, here, voted, lost: false });
  if (poll && poll.id === counts_of) setTally(counts), emit("tally");
  return counted;
}

// Two presses, because it ends for everybody.
async function end() {
  const button = part("room-end"), said = button.textContent;
  if (!sureTimer) {
    button.textContent = "End it for all phones?";
    sureTimer = setTimeout(() => ((sureTimer = 0), (button.textContent = said)), SURE_MS);
    return;
  }
  clearTimeout(sureTimer);
  sureTimer = 0;
  button.textContent = "End the room";
  turn += 1;
  waiting?.abort();
  const { status, answer } = await postToRoom("end", keys());
  if (status === 200 || answer.error === "no_room") return close("The class room has ended.");
  noteRoom({ refusal: answer.detail || "The server could not be reached, so the room is still open. Please try again." });
  draw();
  return follow();
}

// A copy of the presenter's tab has the room's secret too; from two tabs, each would take the other's question away.
function presentAgain(room) {
  askOtherTabs(room.code, (elsewhere) => {
    if (elsewhere) close("This tab is a copy: the original tab presents the class room.");
    else if (!classRoom) present(room);
  });
}

function close(why) {
  turn += 1;
  waiting?.abort();
  if (classRoom) letGo(classRoom.code);
  setClassRoom(null);
  keep();
  const inside = dialogOf("room").open;
  dialogOf("room").close();
  draw();
  if (inside) part(part("presented").hidden ? "teach-open" : "presented-prompt").focus({ preventScroll: true }); // what had it is hidden
  notice(why);
}

async function copyLink() {
  const button = part("room-copy");
  button.textContent = (await copyText(link(), button)) ? "Copied" : "This browser does not allow it";
  button.focus();
}

export function listen() {
  for (const name of ["room-open", "room-chip", "present-room"]) part(name).addEventListener("click", open);
  part("room-end").addEventListener("click", end);
  part("room-copy").addEventListener("click", copyLink);
  on("poll", () => classRoom && (noteRoom({ voted: 0 }), draw(), sendShown()));
  for (const kind of ["run", "shown", "step"]) on(kind, () => classRoom && sendShown());
  const room = kept();
  if (room) on("page", () => classRoom || presentAgain(room));
}
