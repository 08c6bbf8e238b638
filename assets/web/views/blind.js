// Blind: the columns without names, colours, recipes and tokens, in another order; the class says which one is which.

import { blindOrder, blindPoll, canBeBlind, inDisguise, wholeText } from "../lib/blind.js";
import { part, showText } from "../dom.js";
import { cover, on, poll, polls, run, running, selected, wholeRun } from "../store.js";
import { paneOf } from "./columns.js";
import { askClass, mayAskAnother } from "./poll.js";
import { endTape } from "./replay.js";
import { allow } from "./teach.js";

function refusal() {
  if (running) return "The run is not over yet";
  if (!run || wholeRun().columns.length < 2) return "This needs a run with two columns or more";
  return canBeBlind(wholeRun()) ? "" : "These columns have the same text";
}

export function goBlind() {
  endTape();
  if (refusal() || !mayAskAnother()) return;
  const whole = wholeRun(), order = blindOrder(whole);
  askClass(blindPoll(whole, order, "column-" + Date.now().toString(36) + "-" + polls), { whole, seen: inDisguise(whole, order), after: whole, order, at: selected });
}

// The texts as mere texts: no token can be pressed or hovered.
function writeTexts() {
  if (!poll || poll.revealed || !cover?.order) return;
  cover.order.forEach((p, k) => {
    const pane = paneOf(k), box = pane.querySelector(".text"), text = wholeText(cover.whole.columns[p]);
    showText(box, text);
    box.classList.toggle("empty", !text);
    box.tabIndex = 0; // a long one must be scrolled
    for (const piece of pane.querySelector(".foot").children) piece.textContent = "";
  });
}

export function listen() {
  on("teach", () => allow(part("blind-open"), refusal()));
  on("poll", writeTexts);
  for (const kind of ["run", "shown", "done", "running"]) on(kind, () => (part("present-blind").disabled = refusal() !== ""));
  part("blind-open").addEventListener("click", goBlind);
}
