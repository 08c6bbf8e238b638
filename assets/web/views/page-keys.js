// Keys that work wherever the focus is.

import { element, isOurs, isSheet, isTyping, onKeys } from "../dom.js";
import { poll, running, selected, wide } from "../store.js";
import { focusCandidates } from "./card.js";
import { selectSpan, walk, widen } from "./columns.js";
import { dialogIsOpen } from "./dialogs.js";
import { openHelp } from "./help.js";
import { startRun, stopRun } from "./ask.js";
import { endPoll } from "./poll.js";
import { isPresenting, leavePresenting } from "./present.js";
import { pauseReplay } from "./replay.js";
import { closeSide } from "./side.js";

function onKey(key, { target }) {
  if (!isOurs(target) || dialogIsOpen()) return false; // an open dialog gets all keys
  if ((key === "?" || key === "؟") && !isTyping(target)) return openHelp(), true;
  if (key === "Ctrl+Enter") return startRun(), true;
  if (key === "Escape") return stopOrStepBack();
  const span = target.closest(".t");
  if (span && (key === "Enter" || key === " ")) {
    selectSpan(span, true);
    if (key === "Enter") focusCandidates();
    return true;
  }
  return walksFrom(key, target) && walk(key);
}

// Texts and plots take all keys that move between tokens. From the lesson, and where nothing has the focus, ← and → go on from
// the selected token, as a step of the lesson asks for; a question to the class and presenting have them for themselves.
function walksFrom(key, target) {
  if (target.closest(".plot, .text")) return true;
  if (!/^Arrow(Left|Right)$/.test(key) || !selected || poll || isPresenting() || isTyping(target)) return false;
  return target === document.body || Boolean(target.closest("[data-part=lesson]"));
}

function stopOrStepBack() { // returns whether there was anything to stop, pause or leave
  const wasWide = wide !== null;
  if (running) stopRun();
  else if (!pauseReplay()) return endPoll() || leavePresenting() || (isSheet() && closeSide()) || (widen(null), wasWide);
  return true;
}

export function listen() {
  onKeys(document, onKey, () => element.isConnected);
}
