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
  drawSoon();
  compareSoon();
}

function onLine(line) {
  lastNews = Date.now();
  hideError("server");
  const reader = { run: onRun, t: onToken, end: onEnd, rows: onRows, error: onError, refused: () => {}, done: onDone }[line.k];
  if (reader) reader(line);
}

function onRun(line) {
  if (!line.recorded) leaveReplay();
  const panels = line.panels.map((panel) => ({ ...panel, sampling: line.sampling, filter: line.filter, v: {}, tokens: [], spans: [], ended: null }));
  run = { ...line, labels: new Map(), panels };
  selected = null;
  startColumns();
  startPlot();
  startCompare();
  emptyCard();
  showSliders();
  summarise();
  if (stopWanted) tellStop(run.id);
  else sendControls(); // moved before the run had a name
}

function onToken(token) {
  for (const [id, label] of Object.entries(token.w || {})) run.labels.set(Number(id), label);
  const panel = run.panels[token.p];
  // what goes without saying on the wire
  panel.v = token.v ??= panel.v;
  token.r ??= 1;
  token.b ??= token.i;
  token.n = panel.tokens.length;
  panel.tokens.push(token);
  addToken(panel, token);
  if (token.p === plotted) addBars(token);
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
  if (run && run.n === nonce) say(run.panels.map((p) => p.name + ": " + p.tokens.length + " tokens, " + ending(p)).join(". "));
}

function tellStop(id) {
  if (stopped.has(id)) return;
  stopped.add(id);
  server.stop({ run: id }).catch(() => showError("prompt", "The server could not be reached to stop this run."));
}
