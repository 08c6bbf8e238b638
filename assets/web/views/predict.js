// Predict before reveal: the text of a column stops before a token, and the class guesses how it goes on.

import { firstGuess, nextGuess, predictionOf, upTo } from "../lib/predict.js";
import { element, isOurs, isTyping, menuOption, onKeys, part } from "../dom.js";
import { cover, on, plotted, poll, polls, run, running, wholeRun } from "../store.js";
import { paneOf, select } from "./columns.js";
import { dialogIsOpen } from "./dialogs.js";
import { askClass, mayAskAnother } from "./poll.js";
import { endTape } from "./replay.js";
import { openTab } from "./tabs.js";
import { allow } from "./teach.js";

const asked = () => poll && cover?.place;

function refusal() {
  if (running) return "The run is not over yet";
  return columnsToGuess().length ? "" : "There is no text to guess in yet";
}

const columnsToGuess = () => (run ? wholeRun().columns.flatMap((_, p) => (firstGuess(wholeRun(), p) === null ? [] : [p])) : []);

function askFor(p, i) {
  const whole = wholeRun();
  openTab("bars"); // the other plots show whole texts
  askClass(predictionOf(whole, p, i, "token-" + Date.now().toString(36) + "-" + polls), { whole, seen: upTo(whole, p, i), after: upTo(whole, p, i + 1), place: { p, i } });
}

export function beginToPredict() {
  endTape();
  if (refusal() || !mayAskAnother()) return;
  const able = columnsToGuess(), p = able.includes(plotted) ? plotted : able.at(-1);
  if (p !== undefined) askFor(p, firstGuess(wholeRun(), p));
}

// The next token that can be guessed, or the one before.
function goOn(by) {
  if (!asked()) return false;
  const { p, i } = cover.place, to = nextGuess(cover.whole, p, i, by);
  if (to !== null) askFor(p, to);
  return true;
}

function drawPlace() {
  const place = asked();
  for (const name of ["poll-before", "poll-after", "poll-at", "poll-column"]) part(name).hidden = !place;
  if (!place) return;
  const { p, i } = place, { whole } = cover, pane = paneOf(p);
  pane?.classList.add("asked");
  part("poll-at").textContent = "token " + (i + 1);
  part("poll-before").disabled = nextGuess(whole, p, i, -1) === null;
  part("poll-after").disabled = nextGuess(whole, p, i, 1) === null;
  part("poll-column").replaceChildren(...columnsToGuess().map((column) => menuOption(column, whole.columns[column].name)));
  part("poll-column").value = p;
  const last = run.columns[p].tokens.length - 1;
  if (last >= 0) select(p, last, false);
  const box = pane?.querySelector(".text");
  if (box) box.scrollTop = box.scrollHeight; // the end is what is asked about
}

function onKey(key, { target }) {
  if (!asked() || !isOurs(target) || isTyping(target) || dialogIsOpen() || target.closest(".text, .plot, input, [role=tablist]")) return false;
  if (key !== "ArrowRight" && key !== "ArrowLeft") return false;
  return goOn(key === "ArrowRight" ? 1 : -1);
}

export function listen() {
  on("teach", () => allow(part("predict-open"), refusal()));
  on("poll", drawPlace);
  for (const kind of ["run", "shown", "done", "running"]) on(kind, () => (part("present-predict").disabled = refusal() !== ""));
  part("predict-open").addEventListener("click", beginToPredict);
  part("poll-before").addEventListener("click", () => goOn(-1));
  part("poll-after").addEventListener("click", () => goOn(1));
  part("poll-column").addEventListener("change", () => askFor(Number(part("poll-column").value), firstGuess(cover.whole, Number(part("poll-column").value))));
  onKeys(document, onKey, () => element.isConnected);
}
