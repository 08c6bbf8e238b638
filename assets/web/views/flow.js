// Handlers of the stream's lines.

import { changesFrom } from "../lib/changed.js";
import { lateText, readingText, turnText } from "../lib/formats.js";
import { addLabels, makeRun, record } from "../lib/runs.js";
import { part } from "../dom.js";
import {
  asIf, askedFormats, askedSettings, config, currentNode, lookAt, nonce, on, plotted, run, runOf, running, sameOf, selected, stopWanted, want, wanted,
} from "../store.js";
import { asIfSoon, describeAsIf } from "./as-if.js";
import { addBars, startPlot } from "./bars.js";
import { comeBack, nextSample, placeRun, showSame, writeLinked } from "./branching.js";
import { drawCard, emptyCard } from "./card.js";
import { endText } from "./column-pane.js";
import { addToken, growColumn, select, selectNotable, settleColumns, settleSelected, startColumns } from "./columns.js";
import { compareSoon, startCompare } from "./comparison.js";
import { saveSoon } from "./memory.js";
import { notice, say, showError } from "./messages.js";
import { drawModes } from "./modes.js";
import { drawNow, drawSoon } from "./plotting.js";
import { showColumnsSummary } from "./recipes.js";
import { drawReplay } from "./replay.js";
import { setRunning, requestStop } from "./running.js";
import { sendControls, showSliders } from "./sliders.js";
import { forgetSpoken, speakOfDone, speakOfEnd, speakOfToken } from "./spoken.js";
import { drawTree } from "./tree.js";

function onTaken() {
  settleColumns();
  if (asIf) asIfSoon(); // a replay continues
  drawSoon();
  compareSoon();
  saveSoon();
}

const OWN_AGAIN = "Each column writes its own text again, because a shared text must be written before it is scored. Choose shared text when the run has ended.";

function onRun(line) {
  const made = makeRun(line, config.rules, line.of && runOf(line.of));
  if (!line.of && wanted?.begun) want(null); // another run came before the branches of a link were written
  if (!line.recorded) made.asked = line.of ? runOf(line.of)?.asked : askedSettings;
  made.formats = line.of ? runOf(line.of)?.formats : line.recorded ? (line.reshown?.length ? null : {}) : askedFormats;
  forgetSpoken();
  if (running) say("Running"); // not before: the server may refuse the settings
  const wasShared = !line.of && !line.recorded && !wanted?.shared && currentNode() !== null && sameOf(currentNode()) !== null;
  lookAt(made);
  if (!line.welcome) part("page").classList.add("has-run");
  describeAsIf();
  startColumns();
  startPlot();
  startCompare();
  emptyCard();
  showSliders();
  showColumnsSummary();
  placeRun();
  drawReplay();
  if (wasShared) notice(OWN_AGAIN);
  if (line.of && line.notes) notice(line.notes); // the models here are not those that wrote what the branch begins with
  if (stopWanted) requestStop(run.id);
  else sendControls(); // moved before the run had an id
}

function onToken(token) {
  const column = run.columns[token.p];
  addLabels(run, token.w);
  record(column, token);
  growColumn(column);
  addToken(column, token);
  speakOfToken(column, token);
  if (token.p === plotted) addBars(token);
  comeBack(token);
}

function onEnd(line) {
  const column = run.columns[line.p];
  column.ended = line;
  endText(column, line);
  speakOfEnd(column);
}

function showBeforeFirst(text) {
  for (const column of run.columns)
    if (!column.ended && !column.tokens.length) column.view.speed.textContent = text;
}

function onReading(line) {
  const text = readingText(line.done, line.of);
  showBeforeFirst(text);
  part("load").hidden = false;
  part("load").textContent = text; // a long prompt may have pushed the columns out of view
}

function onLoad(line) {
  const waiting = line.waiting ? ", " + line.waiting + " waiting" : "";
  part("load").textContent = line.active + " of " + line.of + " sequences" + waiting;
  part("load").hidden = !line.active && !line.waiting; // of an idle server there is nothing to say
  if (line.place) showBeforeFirst(turnText(line.place, line.wait_s));
  if (line.late) showLate(...line.late);
}

function showLate(role, seconds) {
  for (const column of run.columns)
    if (!column.ended && column.roles.includes(role)) column.view.speed.textContent = lateText(role, seconds);
}

function onError(line) {
  showError(line.where, line.text);
}

function onDone() {
  setRunning(false);
  drawNow();
  compareSoon();
  if (run && run.n === nonce && (!selected || wanted?.branches)) selectAfterRun();
  else if (run && selected) {
    settleSelected();
    drawCard(); // it names the number of tokens too
  }
  drawTree();
  drawModes();
  nextSample();
  if (!run || run.n !== nonce) want(wanted?.begun ? null : wanted), say("The run did not start."); // its error is an alert
  else speakOfDone(run);
}

const plain = (controls) => JSON.stringify(controls);

// Writes the branches that the link leads to. Then selects the token that it names, in the shared text if the link has one; otherwise a notable token.
function selectAfterRun() {
  const asked = wanted?.settings.prompt === run.prompt && !changesFrom(wanted.settings, run.asked || {}).length;
  const { shared, selected: at, branches: [next, ...branches] = [] } = asked ? wanted : {};
  if (next && !stopWanted && (wanted.begun || plain(wanted.settings.controls) === plain(run.asked.controls))) return want({ ...wanted, branches, begun: true }), writeLinked(next);
  if (shared && shared <= run.columns.length && sameOf(currentNode()) === null) return showSame(shared - 1);
  want(null);
  if (at) select(at[0] - 1, at[1] - 1, false);
  if (!selected) selectNotable();
}

export function listen() {
  for (const [kind, reader] of Object.entries({ run: onRun, reading: onReading, t: onToken, end: onEnd, load: onLoad, error: onError, done: onDone, taken: onTaken })) on(kind, reader);
}
