// Open: a run from a file or one of the recorded, played token by token. The server checks it and sends the lines that
// the page would have received; here they only get their pace. From its first token on it is a run like any other.

const PACES = { // ms a token takes
  "0.5×": () => 200, "1×": () => 100, "2×": () => 50, "4×": () => 25, "8×": () => 12.5,
  "as it was": (frame, before) => Math.max(0, frame.ms - before), "at once": () => 0,
};
const BEAT_MS = 40;
let tape = null; // {first, frames, end, at, playing, due, last, beat}

function makeGallery(box) {
  box.replaceChildren(...config.recorded.map(({ name, title, teaches }) => {
    const button = makeOffer(title, teaches);
    button.addEventListener("click", () => openRun(server.open_recorded({ name }), title, teaches));
    return button;
  }));
}

// Without a model the page is for looking at what was recorded.
function showAbsent() {
  element.querySelector(".eft").classList.add("no-model");
  part("absent").hidden = false;
  makeGallery(part("absent-gallery"));
}

async function openChosen() {
  const [file] = part("file").files;
  part("file").value = ""; // so that the same file can be chosen again
  part("open-error").hidden = true;
  if (file) await openFile(file);
}

async function openFile(file) {
  if (file.size > config.max_file_bytes)
    return openDialog("open"), tell("open-error", "A recorded run may have " + config.max_file_bytes.toLocaleString("en") + " bytes here; " + file.name + " has " +
      file.size.toLocaleString("en") + ". Please choose a shorter run.");
  const text = await file.text().catch(() => null);
  if (text === null) return openDialog("open"), tell("open-error", file.name + " could not be read. Please choose another file.");
  await openRun(server.open_file({ text }), file.name, "");
}

async function openRun(promise, title, about) {
  const answer = await answerOf(promise);
  if (answer.error) return openDialog("open"), tell("open-error", answer.error);
  dialogOf("open").close();
  play(answer.lines.split("\n").filter(Boolean).map((line) => JSON.parse(line)), title, about);
}

function play(lines, title, about) {
  if (running && run && run.n === nonce) tellStop(run.id);
  leaveReplay();
  clearErrors();
  nonce += 1; // what still streams is passed over
  seen = 0;
  stopWanted = false;
  setRunning(false);
  const first = { ...lines[0], n: nonce, recorded: true };
  tape = { first, ...framesOf(lines), at: 0, playing: true, due: 0, last: performance.now(), beat: setInterval(onBeat, BEAT_MS) };
  part("replay").hidden = false;
  showText(part("replay-title"), title);
  part("replay-about").textContent = about;
  showText(part("replay-prompt"), lines[0].prompt);
  const { reshown } = lines[0];
  part("reshown").textContent = "Shown something else around the prompt than its family shows: " + reshown.map(roleName).join(", ") + ". The file holds what.";
  part("reshown").hidden = !reshown.length;
  part("replay-notes").textContent = lines[0].notes;
  part("replay-notes").hidden = !lines[0].notes;
  part("replay-tools").hidden = false;
  element.querySelector(".eft").classList.add("has-run");
  rewind();
  part("replay").scrollIntoView();
  part("replay-play").focus({ preventScroll: true });
  showTape();
}

// One frame for each place in the texts: the tokens there, of all columns; the end of a column comes with its last token.
function framesOf(lines) {
  const frames = [], counts = {};
  for (const line of lines.slice(1, -1)) {
    const count = counts[line.p] || 0, at = line.k === "t" ? count : Math.max(0, count - 1);
    const frame = (frames[at] ??= { lines: [], ms: 0 });
    frame.lines.push(line);
    if (line.k !== "t") continue;
    counts[line.p] = count + 1;
    frame.ms = Math.max(frame.ms, line.ms);
  }
  return { frames, end: lines.at(-1) };
}

function onBeat() {
  if (!element.isConnected) return leaveReplay();
  const now = performance.now(), pace = PACES[part("replay-speed").value], lines = [];
  if (tape.playing) tape.due += now - tape.last;
  tape.last = now;
  while (tape.playing && tape.at < tape.frames.length) {
    const wait = pace(tape.frames[tape.at], tape.at ? tape.frames[tape.at - 1].ms : 0);
    if (tape.due < wait) break;
    tape.due -= wait;
    lines.push(...tape.frames[tape.at++].lines);
  }
  roll(lines);
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

function stepOn() {
  setPlaying(false);
  if (tape.at < tape.frames.length) roll(tape.frames[tape.at++].lines);
}

function setPlaying(now) {
  tape.playing = now;
  tape.due = 0;
  showTape();
}

function playOrPause() {
  if (tape.at < tape.frames.length) return setPlaying(!tape.playing);
  Object.assign(tape, { at: 0, due: 0, playing: true });
  rewind();
  showTape();
}

function rewind() {
  take([tape.first]);
  setSliders(tape.frames.flatMap(({ lines }, n) => lines.filter((line) => line.k === "t" && line.v).map(({ v }) => ({ n, v }))));
}

function showTape() {
  const over = tape.at === tape.frames.length;
  part("replay-play").textContent = over ? "Again" : tape.playing ? "Pause" : "Play";
  part("replay-step").disabled = over;
  part("replay-at").textContent = "token " + tape.at + " of " + tape.frames.length;
}

function pauseReplay() { // whether there was something to pause
  const was = Boolean(tape && tape.playing);
  if (was) setPlaying(false);
  return was;
}

// All of it at once, for whoever goes on from a run that is still played. What it was and was asked stays to be seen.
function endTape() {
  if (!tape) return;
  const rest = tape.frames.slice(tape.at).flatMap(({ lines }) => lines);
  clearInterval(tape.beat);
  tape.at = tape.frames.length;
  roll(rest);
  tape = null;
  part("replay-tools").hidden = true;
}

function leaveReplay() {
  if (tape) clearInterval(tape.beat);
  tape = null;
  part("replay").hidden = true;
}

part("replay-speed").append(...Object.keys(PACES).map((name) => el("option", "", name)));
part("replay-speed").value = matchMedia("(prefers-reduced-motion: reduce)").matches ? "at once" : "1×";
part("replay-play").addEventListener("click", playOrPause);
part("replay-step").addEventListener("click", stepOn);
part("file").addEventListener("change", openChosen);
part("open").addEventListener("click", () => {
  part("open-error").hidden = true;
  openDialog("open");
});
