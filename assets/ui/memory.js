// Memory: what this tab holds (settings, half typed words, texts and their tree) is kept in this browser's session
// storage, so that a reload, Back, a restarted server or a discarded tab takes nothing away. Nothing of it is sent
// anywhere, the browser drops it with the tab, and the page works without it where storage is refused.
//
//   eft-tab:ID       {version, address, family, word, settings, view, nodes, history}: the page of one history entry
//   eft-run:ID:KEY   the first line of a run, and the keys of its columns' texts
//   eft-text:ID:KEY  {w: labels, t: tokens, end}: the lines of one column; a branch shares those that it left alone

const MEMORY_VERSION = 1;
const MAX_MEMORY_CHARS = 2_000_000; // browsers allow 2.5 million and more; some 15 runs of three columns
const SAVE_MS = 400; // after the last change
const store = openStore();
const written = new Map(); // key -> {sign: what was written, size}
let entry = ""; // the history entry that this page is
let saveTimer = 0, lastKey = 0, keeping = true;
let untouched = ""; // the settings as the page begins, which are not worth a word

function openStore() {
  try {
    window.sessionStorage.getItem("eft");
    return window.sessionStorage;
  } catch {
    return null; // refused, such as in a foreign frame
  }
}

const storedKeys = (id) => Object.keys(store).filter((key) => /^eft-(tab|run|text):/.test(key) && (!id || key.split(":")[1] === id));
const keyOf = (thing) => (thing.key ??= String((lastKey += 1)));

function put(key, text) {
  try {
    store.setItem(key, text);
    return true;
  } catch {
    return false; // full
  }
}

// ---- keeping

function saveSoon() {
  saveTimer ||= setTimeout(saveNow, running ? 4 * SAVE_MS : SAVE_MS);
}

function saveNow(word = "") {
  clearTimeout(saveTimer);
  saveTimer = 0;
  if (!store || !keeping || !config || !element.isConnected) return;
  markEntry();
  let left = history ? [...nodes.values()].map((node) => ({ ...node })) : [];
  while (!write(left, word) && left.length) left = withoutOldest(left);
  showMemory(left);
}

// The history entry carries the name of its memory, so that Back finds the page that was left.
function markEntry() {
  if (window.history.state?.eft !== entry) window.history.replaceState({ ...window.history.state, eft: entry }, "");
}

// All or nothing of these nodes; whether there was room.
function write(left, word) {
  const texts = new Map(); // key -> [sign, () => text]
  for (const one of left.flatMap(runsOf)) {
    const kept = wholeOf(one);
    for (const panel of kept.panels) texts.set("eft-text:" + entry + ":" + keyOf(panel.tokens), [panel.tokens.length + " " + panel.ended?.why, () => storedText(kept, panel)]);
    texts.set("eft-run:" + entry + ":" + keyOf(one), [one.id, () => storedHead(kept)]);
  }
  let size = 0;
  const fresh = [];
  for (const [key, [sign, make]] of texts) {
    if (written.get(key)?.sign !== sign) fresh.push([key, make(), sign]);
    size += fresh.at(-1)?.[0] === key ? fresh.at(-1)[1].length : written.get(key).size;
  }
  if (size > MAX_MEMORY_CHARS) return false;
  for (const key of storedKeys(entry)) if (!key.startsWith("eft-tab:") && !texts.has(key)) store.removeItem(key), written.delete(key);
  fresh.push(["eft-tab:" + entry, JSON.stringify(recordOf(left, word)), ""]);
  for (const [key, text, sign] of fresh) {
    if (!put(key, text) && !(dropOthers() && put(key, text))) return false;
    written.set(key, { sign, size: text.length });
  }
  return true;
}

function dropOthers() { // what other history entries of this tab left
  const others = storedKeys().filter((key) => key.split(":")[1] !== entry);
  for (const key of others) store.removeItem(key);
  return others.length > 0;
}

// One node less: the oldest that nothing grew from and nobody looks at; in a mere chain its first.
function withoutOldest(left) {
  const parents = new Set(left.map(({ parent }) => parent)), now = history.tree;
  const ends = left.filter(({ id }) => !parents.has(id) && id !== now.current);
  const goes = ends.find(({ id }) => !now.ids.includes(id)) || ends[0] || left[0];
  return left.filter((node) => node !== goes).map((node) => (node.parent === goes.id ? { ...node, parent: null, panel: null, position: 0 } : node));
}

function recordOf(left, word) {
  const ids = new Set(left.map(({ id }) => id));
  const trees = (list) => list.map((tree) => ({ ...tree, ids: tree.ids.filter((id) => ids.has(id)) })).filter((tree) => ids.has(tree.current));
  const [tree] = history ? trees([history.tree]) : [];
  return {
    version: MEMORY_VERSION, at: Date.now(), address: location.search + location.hash, family: config.chips[0], word, running,
    settings: settingsNow(), view: viewNow(),
    nodes: left.map(({ same, run: own, ...node }) => ({ ...node, run: own.key, same: [...same].map(([p, other]) => [p, other.key]) })),
    history: tree ? { tree, past: trees(history.past), future: trees(history.future) } : null,
  };
}

function settingsNow() {
  const { columns, ...asked } = askedNow();
  const fields = Object.fromEntries(fieldInputs().map((input) => [input.dataset.field, input.value])); // as typed, even if it is no number
  return { ...asked, fields, columns, controls: { ...controls }, formats: { ...ownFormats } };
}

function viewNow() {
  const prompt = part("prompt"), at = document.activeElement === prompt ? [prompt.selectionStart, prompt.selectionEnd] : null;
  const replay = part("replay").hidden ? null : ["replay-title", "replay-about", "replay-prompt"].map((name) => part(name).textContent);
  const drawer = [...openers()].find((button) => button.getAttribute("aria-expanded") === "true")?.getAttribute("aria-controls");
  return { selected, plotted, of: run && currentNode() ? sameOf(currentNode()) : null, colour: part("colour").value, numbers: part("numbers").checked, drawer, replay, caret: at, scroll: window.scrollY };
}

// A run that is still played back is kept whole.
function wholeOf(one) {
  if (!tape || one !== run || !one.recorded) return one;
  tape.whole ??= revive(tape.first, tape.frames.flatMap(({ lines }) => lines));
  return tape.whole;
}

function storedHead({ labels, bytes, panels, ...first }) {
  const heads = panels.map(({ tokens, spans, view, remixed, ended, v, entry: _, drafted, bars, ...head }) => ({ ...head, bars, text: keyOf(tokens) }));
  return JSON.stringify({ ...first, panels: heads });
}

function storedText({ labels, bytes }, { tokens, ended }) {
  const w = {};
  for (const id of tokens.flatMap((token) => [token.i, token.b, ...(token.d ? [token.d[0]] : []), ...token.c.map(([other]) => other)]))
    w[id] ??= bytes.has(id) ? [labels.get(id), bytes.get(id)] : labels.get(id);
  const t = tokens.map(({ k, p, n, w: told, v, r, b, ...token }, i) => ({
    ...token, ...(i && v === tokens[i - 1].v ? {} : { v }), ...(r === 1 ? {} : { r }), ...(b === token.i ? {} : { b }),
  }));
  return JSON.stringify({ w, t, end: ended }, (_, value) => (value instanceof Map ? undefined : value)); // what the page noted down is worked out anew
}

// ---- bringing back

// Whether anything was brought back. An address that holds settings is obeyed, unless this very page was here before.
function bringBack() {
  untouched = JSON.stringify(settingsNow());
  if (!store) return showMemory([]), false;
  const id = ownMemory();
  entry = id || Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
  markEntry(); // a page that is closing can do so no more
  try {
    return Boolean(id) && restore(id);
  } catch { // damaged, or of another version: without it
    for (const key of storedKeys(id)) store.removeItem(key);
    keeping = false;
    location.reload(); // half of it may be on the page
    return true;
  } finally {
    saveSoon();
  }
}

const storedTab = (key) => {
  try {
    return JSON.parse(store.getItem(key)) || {};
  } catch {
    store.removeItem(key);
    return {};
  }
};

function ownMemory() {
  const own = window.history.state?.eft;
  if (typeof own === "string" && store.getItem("eft-tab:" + own)) return own;
  if (/[?&#]v=/.test(location.search + location.hash)) return "";
  const times = Object.keys(store).filter((key) => key.startsWith("eft-tab:")).map((key) => [storedTab(key), key.slice(8)]);
  return times.filter(([{ address }]) => address === location.search + location.hash).sort(([one], [other]) => other.at - one.at)[0]?.[1] || "";
}

function restore(id) {
  const saved = JSON.parse(store.getItem("eft-tab:" + id));
  if (saved.version !== MEMORY_VERSION) throw new Error("another version");
  const runs = new Map(saved.nodes.flatMap((node) => [node.run, ...node.same.map(([, key]) => key)]).map((key) => [key, runFrom(id, key)]));
  const found = saved.nodes.filter((node) => runs.get(node.run));
  const cut = [...runs.values()].some((one) => one?.panels.some((panel) => panel.ended?.why === "cut" && panel.fresh));
  const same = saved.family === config.chips[0];
  putSettings(saved.settings, same);
  if (found.length && saved.history) {
    nodes = new Map(found.map((node) => [node.id, { ...node, run: runs.get(node.run), same: new Map(node.same.filter(([, key]) => runs.get(key)).map(([p, key]) => [p, runs.get(key)])) }]));
    lastKey = Math.max(...[...runs.values()].filter(Boolean).flatMap((one) => [one.key, ...one.panels.map(({ tokens }) => tokens.key)]).map(Number));
    history = treesFrom(saved.history);
    const node = currentNode();
    plotted = saved.view.plotted || 0;
    element.querySelector(".eft").classList.add("has-run");
    show(node.same.get(saved.view.of) || node.run);
    setControls(saved.settings.controls);
  }
  putView(saved.view);
  const changed = JSON.stringify(saved.settings) !== untouched;
  if (found.length || changed || saved.word) notice(saved.word || wordFor(same, cut, saved.running, found.length));
  return true;
}

function wordFor(same, cut, wasRunning, texts) {
  const what = texts ? "Your texts and settings of this tab are here again" : "Your settings of this tab are here again";
  const models = same ? "" : config.chips[0] + " runs now. ";
  const ending = cut ? "; the run that was streaming ended when the page was left. Run again to continue." : wasRunning ? "; the run that was asked for did not begin. Run again to continue." : ".";
  return models + what + ending;
}

const treeFrom = (tree) => {
  const ids = tree.ids.filter((id) => nodes.has(id));
  if (!ids.includes(tree.current)) throw new Error("the tree has lost its text");
  return { ids, current: tree.current };
};
const treesFrom = ({ tree, past, future }) => ({ tree: treeFrom(tree), past: past.map(treeFrom), future: future.map(treeFrom) });

// A run as it was, or null where it is not whole.
function runFrom(id, key) {
  const first = JSON.parse(store.getItem("eft-run:" + id + ":" + key));
  const texts = first?.panels.map((panel) => JSON.parse(store.getItem("eft-text:" + id + ":" + panel.text)));
  if (!texts || !texts.every(Boolean)) return null;
  const made = makeRun({ ...first, of: undefined, copied: [] });
  Object.assign(made, { key, of: first.of, copied: first.copied, n: 0 });
  made.panels.forEach((panel, p) => {
    const { w, t, end } = texts[p];
    addLabels(made, w);
    for (const token of t) record(panel, sound(token, panel));
    panel.tokens.key = panel.text;
    Object.assign(panel, { sampling: first.panels[p].sampling, given: first.panels[p].given, ended: end || { why: "cut", error: null }, fresh: !end });
  });
  return made;
}

function sound(token, panel) {
  const numbers = (list) => Array.isArray(list) && list.every((x) => x === null || Number.isFinite(x));
  const rows = (list) => Array.isArray(list) && list.every((row) => numbers(row) && row.length === panel.roles.length + 2);
  if (!Number.isInteger(token.i) || typeof token.s !== "string" || !numbers(token.y) || token.y.length !== panel.terms.length + 3 || !rows(token.c)) throw new Error("no token");
  return token;
}

function revive(first, lines) {
  const made = Object.assign(makeRun(first), { key: run.key });
  for (const { ...line } of lines) {
    if (line.k === "end") made.panels[line.p].ended = line;
    if (line.k === "t") addLabels(made, line.w), record(made.panels[line.p], line);
  }
  return made;
}

function putSettings(settings, same) {
  const { columns, behaviour, formats, controls: stood, fields, ...rest } = settings;
  const offered = [...part("behaviour").options].some(({ value }) => value === behaviour);
  fillIn({ ...rest, ...(same ? { columns, formats } : {}), ...(offered ? { behaviour } : {}), controls: stood });
  for (const input of fieldInputs()) if (typeof fields[input.dataset.field] === "string") setField(input, fields[input.dataset.field]);
}

function putView(view) {
  if (view.selected && run) select(view.selected.p, view.selected.i, false);
  part("colour").value = view.colour;
  chooseColour(part("colour").value);
  if (view.numbers !== part("numbers").checked) part("numbers").click();
  if (view.drawer) openDrawer(view.drawer);
  if (view.replay) {
    ["replay-title", "replay-about", "replay-prompt"].forEach((name, k) => (part(name).textContent = view.replay[k]));
    part("replay").hidden = false;
    part("replay-tools").hidden = true;
  }
  if (view.caret) part("prompt").focus({ preventScroll: true }), part("prompt").setSelectionRange(...view.caret);
  if (Number.isFinite(view.scroll)) requestAnimationFrame(() => window.scrollTo(0, view.scroll));
}

// Load the page again, with all that is in it and a word on why.
function beginAnew(word) {
  saveNow(word);
  keeping = false;
  location.reload();
}

// A run that the server has no more, for it was started anew or ran out of room, is handed back to it before something
// is asked of it. A sentence where that cannot be; what the server cannot be reached for says so itself.
async function regain(one) {
  const { kept = true } = await answerOf(server.still_kept({ run: one.id }));
  if (kept) return "";
  if (!one.formats) return "The server has this run no more. Please open its file again.";
  const { prompt, sampling, filter, record, formats } = one;
  const columns = one.panels.map((panel) => ({ name: panel.name, roles: panel.roles, terms: panel.terms, seed: panel.sampling.seed, ...JSON.parse(storedText(one, panel)) }));
  const answer = await answerOf(server.hand_back({ prompt, sampling, filter, record, formats, columns, controls: slidersOf(one.panels), family: config.chips[0] }));
  if (answer.run) one.id = answer.run, saveSoon();
  return answer.error || "";
}

// ---- the words on it, and forgetting

function showMemory(left) {
  const size = [...written.values()].reduce((sum, one) => sum + one.size, 0), lost = history ? nodes.size - left.length : 0;
  const gone = lost ? " The oldest " + (lost === 1 ? "text is" : lost + " texts are") + " too much for it." : "";
  part("memory-note").textContent = store
    ? "This tab's settings and texts are kept in this browser alone, until the tab is closed (" + Math.ceil(size / 1000) + " kB)." + gone
    : "This browser keeps nothing for this page, so a reload begins anew.";
  part("forget").hidden = !store;
}

function forget() {
  const button = part("forget");
  if (!button.dataset.sure) {
    button.dataset.sure = "yes";
    return void (button.textContent = "Press again: everything on this page goes");
  }
  keeping = false;
  for (const key of storedKeys()) store.removeItem(key);
  location.reload();
}

part("forget").addEventListener("click", forget);
part("forget").addEventListener("blur", () => (delete part("forget").dataset.sure, (part("forget").textContent = "Forget them")));
for (const kind of ["input", "change", "click", "keyup"]) element.addEventListener(kind, saveSoon);
const saveIfHere = () => (element.isConnected ? saveNow() : window.removeEventListener("pagehide", saveIfHere));
window.addEventListener("pagehide", saveIfHere);
document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && saveNow());
