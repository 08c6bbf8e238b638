// Present: one screen in large type with the columns, α and one small plot, and with a lesson or a question to the class if
// one is open. The style sheet does it; here are its keys, and the QR code of the page's address.

import { isOnlyHere } from "../lib/room.js";
import { el, element, isOurs, isTyping, onKeys, part, showText } from "../dom.js";
import { emit, lesson, on, poll, run, running } from "../store.js";
import { goBlind } from "./blind.js";
import { walk, widen } from "./columns.js";
import { dialogIsOpen, openDialog } from "./dialogs.js";
import { notice, say } from "./messages.js";
import { drawSoon } from "./plotting.js";
import { beginToPredict } from "./predict.js";
import { drawQr } from "./qr.js";
import { stepOn } from "./replay.js";
import { addressNow } from "./share.js";
import { openTab } from "./tabs.js";
import { allow } from "./teach.js";

const SHORT_CHARS = 60; // a longer address is not for copying by hand
const KEPT = "eft-presenting"; // in this tab, so that a reload comes back to it

const root = () => part("page").classList;
export const isPresenting = () => root().contains("presenting");

// The lesson's text and question, in place of the plot; without them, the columns have most of the screen.
function unfoldLesson(now) {
  root().toggle("telling", now);
  part("lesson-fold").setAttribute("aria-expanded", String(now));
  part("lesson-body").scrollTop = 0;
  drawSoon();
}

const isTelling = () => root().contains("telling");

function turn(now) {
  try {
    if (now) sessionStorage.setItem(KEPT, "yes");
    else sessionStorage.removeItem(KEPT);
  } catch { /* refused: a reload leaves */ }
  root().toggle("presenting", now);
  document.documentElement.classList.toggle("presenting", now); // nothing scrolls behind it
  part("presented").hidden = !now;
  unfoldLesson(false);
  emit("presenting");
  drawSoon();
}

function startPresenting() {
  widen(null);
  openTab("bars");
  turn(true);
  showPrompt();
  part("presented-prompt").focus({ preventScroll: true });
  say("Presenting. Page Down and Page Up go through a lesson, the arrow keys through the tokens." + (lesson ? " T shows the lesson's text and question." : "") + " Escape leaves.");
}

function wasPresenting() {
  try {
    return sessionStorage.getItem(KEPT) === "yes";
  } catch {
    return false;
  }
}

export function leavePresenting() { // returns whether it was on
  if (!isPresenting()) return false;
  turn(false);
  part("teach-open").focus({ preventScroll: true });
  return true;
}

// The question, after those that a follow-up refers to.
function showPrompt() {
  const earlier = (run?.turns || []).map(({ question }) => showText(el("span", "earlier"), question));
  part("presented-prompt").replaceChildren(...earlier, showText(el("span"), run?.prompt));
}

async function showCode() {
  openDialog("qr");
  const address = await addressNow(), page = address.split("#")[0], fits = await drawQr(part("qr-box"), address, "QR code of this page's address");
  if (!fits) await drawQr(part("qr-box"), page, "QR code of this page's address");
  const isShort = address.length <= SHORT_CHARS;
  part("qr-link").textContent = (isShort ? address : page).replace(/^https?:\/\//, "");
  const more = isShort ? "" : fits ? "The code also holds the settings of this page. " : "The settings of this page are too long for a code. ";
  part("qr-note").textContent = more + (isOnlyHere(location.hostname) ? "Phones cannot open this address: it means the machine that shows this page." : "");
}

// The next token of what is there: of a live run, of a replay, or of the selection.
function goTo(key) {
  if (key === "ArrowRight" && running) return part("step").click(), true;
  return (key === "ArrowRight" && stepOn()) || walk(key);
}

function onKey(key, { target }) {
  if (!isPresenting() || !isOurs(target) || isTyping(target) || dialogIsOpen()) return false;
  if (key === "q") return showCode(), true;
  if (key === "p") return beginToPredict(), true;
  if (key === "b") return goBlind(), true;
  if (key === "t" && lesson && !poll) return unfoldLesson(!isTelling()), true;
  if (!/^Arrow(Left|Right)$/.test(key) || poll || target.closest(".text, .plot, input, [role=tablist]")) return false;
  return goTo(key);
}

export function listen() {
  on("teach", () => allow(part("present-open"), run ? "" : "There is nothing to present yet"));
  document.documentElement.classList.remove("presenting"); // of a page that this one has replaced
  let again = wasPresenting();
  const onRun = () => {
    if (again && run) again = false, startPresenting();
    else if (isPresenting()) showPrompt();
  };
  for (const kind of ["run", "shown"]) on(kind, onRun);
  part("present-open").addEventListener("click", () => (notice(""), startPresenting())); // it has been read
  part("present-leave").addEventListener("click", leavePresenting);
  part("present-qr").addEventListener("click", showCode);
  part("present-predict").addEventListener("click", beginToPredict);
  part("present-blind").addEventListener("click", goBlind);
  part("lesson-fold").addEventListener("click", () => unfoldLesson(!isTelling()));
  onKeys(document, onKey, () => element.isConnected);
}
