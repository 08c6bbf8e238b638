// The stream: one NDJSON string per run that only grows. Reads each line once and hands it on.
// All text reaches the page through textContent; nothing here builds HTML from strings.

const part = (name) => element.querySelector('[data-part="' + name + '"]');
const el = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
};

let config = null; // the page line
let run = null; // what the current stream has told so far
let nonce = Date.now(); // the page's number for its current run; lines of older runs are passed over
let seen = 0; // characters of the current stream already read
let running = false;
let lastNews = 0;
let stopWanted = false;
let askedFormats = {}; // what was asked for of what models are shown
let asking = null; // what the run under way is, where it begins from another: see branch.js
const stopped = new Set(); // runs already told to stop

function onValue() {
  const value = props.value || "";
  const firstEnd = value.indexOf("\n");
  if (firstEnd < 0) return;
  const first = JSON.parse(value.slice(0, firstEnd));
  if (first.k === "page") return void (config || startPage(first));
  if (first.n !== nonce) return void (first.id && tellStop(first.id));
  const end = value.lastIndexOf("\n") + 1;
  const fresh = value.slice(seen, end);
  seen = end;
  take(fresh.split("\n").filter(Boolean).map((text) => JSON.parse(text)));
}

function take(lines) {
  lines.forEach(onLine);
  settleColumns();
  if (asIf) asIfSoon(); // a replay goes on
  drawSoon();
  compareSoon();
  saveSoon();
}

function onLine(line) {
  lastNews = Date.now();
  hideError("server");
  const reader = { run: onRun, t: onToken, end: onEnd, rows: onRows, error: onError, refused: () => {}, done: onDone }[line.k];
  if (reader) reader(line);
}

function makeRun(line) {
  const panels = line.panels.map((panel) => ({ ...panel, sampling: line.sampling, filter: line.filter, lowest: config.controls.alpha.low, given: line.given || 0, v: {}, tokens: [], spans: [], ended: null }));
  const parent = line.of && runOf(line.of);
  for (const p of line.copied || []) Object.assign(panels[p], parent.panels[p]); // their tokens are not sent again
  return { ...line, labels: new Map(parent ? parent.labels : []), bytes: new Map(parent ? parent.bytes : []), panels };
}

function onRun(line) {
  if (!line.recorded && !line.of) leaveReplay(); // a branch of it keeps its title and its prompt
  run = makeRun(line);
  run.formats = line.of ? runOf(line.of)?.formats : line.recorded ? (line.reshown?.length ? null : {}) : askedFormats;
  selected = null;
  asIf = null;
  tellAsIf();
  startColumns();
  startPlot();
  startCompare();
  emptyCard();
  showSliders();
  summarise();
  placeRun();
  if (stopWanted) tellStop(run.id);
  else sendControls(); // moved before the run had a name
}

function addLabels(to, labels) {
  for (const [id, told] of Object.entries(labels || {})) {
    const [label, bytes] = Array.isArray(told) ? told : [told];
    to.labels.set(Number(id), label);
    if (bytes !== undefined) to.bytes.set(Number(id), bytes);
  }
}

function record(panel, token) { // with what goes without saying on the wire
  panel.v = token.v ??= panel.v;
  token.r ??= 1;
  token.b ??= token.i;
  token.n = panel.tokens.length;
  panel.tokens.push(token);
}

function onToken(token) {
  const panel = run.panels[token.p];
  addLabels(run, token.w);
  record(panel, token);
  growColumn(panel);
  addToken(panel, token);
  if (token.p === plotted) addBars(token);
  comeBack(token);
}

function onEnd(line) {
  const panel = run.panels[line.p];
  panel.ended = line;
  endColumn(panel, line);
}

function onRows(line) {
  const waiting = line.waiting ? ", " + line.waiting + " waiting" : "";
  rowsChip.textContent = line.active + " of " + line.of + " rows" + waiting;
  rowsChip.hidden = false;
}

function onError(line) {
  showError(line.where, line.text);
}

function onDone() {
  setRunning(false);
  drawNow();
  compareSoon();
  if (run && run.n === nonce && !selected) selectTelling();
  else if (run && selected) drawCard(); // how many tokens there are is known now
  drawTree();
  drawModes();
  nextSample();
  if (run && run.n === nonce) say(run.panels.map((p) => p.name + ": " + p.tokens.length + " tokens, " + ending(p)).join(". "));
}

// Ask the server for a run; `about` is kept for when its first line comes.
function ask(request, about) {
  clearErrors();
  if (!lostAt) notice("");
  leave();
  stopWanted = false;
  asking = about;
  askedFormats = structuredClone(request.formats || {});
  setRunning(true);
  trigger("eft_run", { n: nonce, ...request });
}

function leave() { // whatever still streams is of no interest any more
  if (running && run && run.n === nonce) tellStop(run.id);
  nonce += 1;
  seen = 0;
}

function tellStop(id) {
  if (stopped.has(id)) return;
  stopped.add(id);
  server.stop({ run: id }).catch(() => showError("prompt", "The server could not be reached to stop this run."));
}
