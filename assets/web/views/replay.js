// Open: a run from a trace or a recorded run, replayed token by token. The server checks it and sends the lines that the
// page would have received; this module only sets the speed. From its first token on it is a run like any other.

import { roleName } from "../lib/formats.js";
import { framesOf, PACES } from "../lib/frames.js";
import { answerOf, linesOf, server } from "../api.js";
import { el, element, part, showText } from "../dom.js";
import {
  advanceTape, config, currentNode, emit, keepSettings, nonce, on, passOver, playTape, rewindTape, rollTape, rootOf, run, running, setTape, tape, wantStop,
} from "../store.js";
import { setSliders } from "./as-if.js";
import { dialogOf, makeOffer, openDialog } from "./dialogs.js";
import { clearErrors, showMessage } from "./messages.js";
import { setRunning, requestStop } from "./running.js";
import { allSettings, fillIn } from "./settings.js";
import { take } from "./stream.js";

const BEAT_MS = 40;
let beatTimer = 0;

export function makeGallery(box) {
  box.replaceChildren(...config.recorded.map(({ name, title, caption }) => {
    const button = makeOffer(title, caption);
    button.addEventListener("click", () => openRun(server.open_recorded({ name }), title, caption));
    return button;
  }));
}

// Without a model, the page only shows recorded runs.
export function showAbsent() {
  part("page").classList.add("no-model");
  part("absent").hidden = false;
  makeGallery(part("absent-gallery"));
}

async function openChosen() {
  const [file] = part("file").files;
  part("file").value = ""; // so that the same file can be chosen again
  part("open-error").hidden = true;
  if (file) await openFile(file);
}

export async function openFile(file) {
  if (file.size > config.max_file_bytes)
    return openDialog("open"), showMessage("open-error", "A trace may have at most " + config.max_file_bytes.toLocaleString("en") + " bytes; " + file.name + " has " +
      file.size.toLocaleString("en") + ". Please choose a shorter run.");
  const text = await file.text().catch(() => null);
  if (text === null) return openDialog("open"), showMessage("open-error", file.name + " could not be read. Please choose another file.");
  await openRun(server.open_file({ text }), file.name, "");
}

async function openRun(promise, title, about) {
  const answer = await answerOf(promise);
  if (answer.error) return openDialog("open"), showMessage("open-error", answer.error);
  dialogOf("open").close();
  play(linesOf(answer), { title, about, ...answer.repeat });
}

function makeRoom() {
  if (running && run && run.n === nonce) requestStop(run.id);
  endTape();
  clearErrors();
  passOver(); // ignore what still streams
  wantStop(false);
  setRunning(false);
}

// Shows a recorded run at once and whole. It is not stored while a lesson, which finds it again, shows it.
export function showWhole([first, ...lines], asked) {
  makeRoom();
  take([{ ...first, n: nonce, recorded: true, welcome: true, asked }]);
  take(lines);
}

function play(lines, replay) {
  makeRoom();
  const { settings } = replay;
  keepSettings(settings ? allSettings() : null);
  if (settings) fillIn(settings);
  const first = { ...lines[0], n: nonce, recorded: true, replay, asked: settings && allSettings() };
  setTape({ first, ...framesOf(lines), at: 0, playing: true, due: 0, last: performance.now() });
  beatTimer = setInterval(onBeat, BEAT_MS);
  rewind();
  part("replay").scrollIntoView();
  part("replay-play").focus({ preventScroll: true });
  showTape();
}

// The bar above an opened run and its branches.
export function drawReplay() {
  const opened = rootOf(currentNode())?.run, { replay } = opened || {};
  part("replay").hidden = !replay;
  if (!replay) return;
  showText(part("replay-title"), replay.title);
  part("replay-about").textContent = replay.about;
  showText(part("replay-prompt"), opened.prompt);
  part("replay-prompt").hidden = !config.absent && part("prompt").value === opened.prompt; // it stands in the prompt field
  part("reshown").textContent = "Recorded with a prompt format other than the family's: " + opened.reshown.map(roleName).join(", ") + ". The file contains it.";
  part("reshown").hidden = !opened.reshown.length;
  part("replay-notes").textContent = opened.notes;
  part("replay-notes").hidden = !opened.notes;
  part("replay-live").hidden = !replay.live;
  for (const tool of part("replay-tools").children) if (tool !== part("replay-live")) tool.hidden = !tape;
  part("replay-tools").hidden = !tape && !replay.live;
}

// Runs the prompt of the opened run with its settings.
function runLive() {
  const { replay } = rootOf(currentNode()).run;
  endTape();
  fillIn(replay.settings);
  emit("ask");
}

function onBeat() {
  if (!element.isConnected) return void clearInterval(beatTimer);
  roll(rollTape(performance.now(), PACES[part("replay-speed").value]));
}

function roll(lines) {
  if (!lines.length) return;
  take(lines);
  if (tape.at === tape.frames.length) {
    setPlaying(false);
    take([tape.end]);
  }
  showTape();
}

export function stepOn() { // returns whether there was a token to show
  if (!tape || tape.at === tape.frames.length) return false;
  setPlaying(false);
  roll(advanceTape(1));
  return true;
}

function setPlaying(now) {
  playTape(now);
  showTape();
}

function playOrPause() {
  if (tape.at < tape.frames.length) return setPlaying(!tape.playing);
  rewindTape();
  rewind();
  showTape();
}

function rewind() {
  take([tape.first]);
  setSliders(tape.frames.flatMap(({ lines }, n) => lines.filter((line) => line.k === "t" && line.v).map(({ v }) => ({ n, v }))));
}

function showTape() {
  const over = tape.at === tape.frames.length;
  part("replay-play").textContent = over ? "Replay" : tape.playing ? "Pause" : "Play";
  part("replay-step").disabled = over;
  part("replay-at").textContent = "token " + tape.at + " of " + tape.frames.length;
}

export function pauseReplay() { // returns whether there was something to pause
  const was = Boolean(tape && tape.playing);
  if (was) setPlaying(false);
  return was;
}

// Completes a replay immediately when a person continues from it. Its title and prompt stay visible.
export function endTape() {
  if (!tape) return;
  clearInterval(beatTimer);
  roll(advanceTape(Infinity));
  setTape(null);
  drawReplay();
}

export function listen() {
  part("replay-speed").append(...Object.keys(PACES).map((name) => el("option", "", name)));
  part("replay-speed").value = matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "1×";
  part("replay-play").addEventListener("click", playOrPause);
  part("replay-step").addEventListener("click", stepOn);
  part("replay-live").addEventListener("click", runLive);
  on("shown", drawReplay);
  part("prompt").addEventListener("input", drawReplay);
  part("file").addEventListener("change", openChosen);
  part("open").addEventListener("click", () => {
    part("open-error").hidden = true;
    openDialog("open");
  });
}
