// The tree of texts that a person makes by branching. A branch keeps the first tokens of its parent and goes its own way;
// every node is a run that streamed and stays in the page, so going back to it asks no model. The history is immutable
// data: every step is a new tree, and undo is the old one.
//
//   node     {id, parent, run, panel, position, token, all, same: Map of panel -> run that scored its text}
//   history  {tree: {ids, current}, past: [trees], future: [trees]}

const MAX_STEPS = 200; // of undo
const MAX_BRANCHES = 500; // more than anybody looks at
let nodes = new Map();
let history = null;
let samples = []; // branches that are still to be asked for
let back = null; // the token to return to once it has come: {p, i, focus}

const startHistory = (id) => ({ tree: { ids: [id], current: id }, past: [], future: [] });
const stepTo = (now, tree) => ({ tree, past: [...now.past, now.tree].slice(-MAX_STEPS), future: [] });
const grownBy = (now, id) => stepTo(now, { ids: [...now.tree.ids, id], current: id });
const lookingAt = (now, id) => (id === now.tree.current ? now : stepTo(now, { ...now.tree, current: id }));
const undone = (now) => (now.past.length ? { tree: now.past.at(-1), past: now.past.slice(0, -1), future: [now.tree, ...now.future] } : now);
const redone = (now) => (now.future.length ? { tree: now.future[0], past: [...now.past, now.tree], future: now.future.slice(1) } : now);

// The tree without a node and all that grew from it; `parentOf` maps ids to ids. The first text cannot go.
function without(now, id, parentOf) {
  if (parentOf(id) === null) return now;
  const goes = (node) => node !== null && (node === id || goes(parentOf(node)));
  const ids = now.tree.ids.filter((node) => !goes(node));
  return stepTo(now, { ids, current: ids.includes(now.tree.current) ? now.tree.current : parentOf(id) });
}

const currentNode = () => (history ? nodes.get(history.tree.current) : null);
const runsOf = (node) => [node.run, ...node.same.values()];
const runOf = (id) => [...nodes.values()].flatMap(runsOf).find((other) => other.id === id) || null;
const sameOf = (node) => [...node.same].find(([, other]) => other === run)?.[0] ?? null; // whose text is scored; null: free

// A run whose first line has come finds its place: a new tree, a node, or another view of the node it began from.
function placeRun() {
  if (run.recorded) asking = null, forgetSamples();
  const parent = asking && nodes.get(asking.parent);
  if (parent && asking.kind === "same") parent.same.set(asking.panel, run);
  else {
    const { panel = null, position = 0, token = null, all = false } = parent ? asking : {};
    const node = { id: Math.max(-1, ...nodes.keys()) + 1, parent: parent ? parent.id : null, run, panel, position, token, all, same: new Map() };
    if (!parent) node.id = 0, nodes = new Map();
    nodes.set(node.id, node);
    history = parent ? grownBy(history, node.id) : startHistory(0);
  }
  drawTree();
  drawModes();
}

// Write column `p` on from `position`: with `token` there, or with whatever is drawn; `all`: every column goes on from
// there. As many samples as the card says, each with dice of its own.
function writeOn(p, position, { token = null, all = part("branch-scope").value === "all", fresh = false } = {}) {
  const node = currentNode(), panel = run.panels[p];
  if (!node) return;
  endTape();
  if (nodes.size + samples.length >= MAX_BRANCHES) return showError("branch", "There are " + MAX_BRANCHES + " branches already. Press Run to begin anew.");
  const seeds = [...nodes.values()].flatMap((other) => other.run.panels.map((column) => column.sampling.seed));
  const first = fresh ? Math.max(...seeds) + 1 : panel.sampling.seed;
  const every = all || sameOf(node) !== null; // of one text for all, all go on
  const request = { panel: p, position, all: every, controls: slidersOf(run.panels) };
  if (token !== null) request.token = token;
  const about = { kind: "branch", parent: node.id, panel: p, position, token, all: every };
  const focus = element.querySelector(".candidates, .text, .as-if, .tree")?.contains(document.activeElement) || document.activeElement?.matches(".t, .cand, .node");
  samples = Array.from({ length: Number(part("samples").value) }, (_, k) => ({ origin: run, request: { ...request, seed: (first + k) % 2 ** 32 }, about, focus }));
  if (running) forgetStream();
  nextSample();
}

async function nextSample() {
  if (running || !samples.length) return;
  const [sample] = samples, { origin, request, about, focus } = sample;
  const refusal = await regain(origin);
  if (running || samples[0] !== sample) return; // something else was asked for meanwhile
  samples.shift();
  if (refusal) return forgetSamples(), showError("branch", refusal);
  back = { p: about.panel, i: about.position, focus };
  ask({ kind: "branch", run: origin.id, ...request }, about);
}

function forgetSamples() {
  samples = [];
}

// The token at which a branch parts is the selected one again.
function comeBack(token) {
  if (!back || token.p !== back.p || token.n !== back.i) return;
  const { p, i, focus } = back;
  back = null;
  select(p, i, focus);
}

function forgetStream() { // its text stays as far as it has come
  leave();
  setRunning(false);
  for (const panel of run.panels)
    if (!panel.ended) panel.ended = { why: "cancelled", error: null }, endColumn(panel, panel.ended);
}

// One key: from where the text would part at these sliders, else the selected token with other dice.
function rewrite(all) {
  if (!run || !run.panels.some((panel) => panel.tokens.length)) return;
  const options = all ? { all: true } : {};
  const p = asIf ? steeredPanel() : selected?.p;
  if (asIf && asIf.first[p] !== undefined) return writeOn(p, asIf.first[p], options);
  if (asIf) return say("No token of " + run.panels[p].name + " would change at these sliders.");
  if (selected) writeOn(selected.p, selected.i, { ...options, fresh: true });
}

function go(next) {
  if (!history || next === history) return;
  forgetSamples();
  history = next;
  show(currentNode().run);
}

// Look at a run that is there.
function show(other) {
  if (running) forgetStream();
  const at = selected, column = plotted;
  asIf = null;
  run = other;
  selected = null;
  setSliders();
  tellAsIf();
  startColumns();
  startPlot(Math.min(column, run.panels.length - 1));
  if (at && run.panels[at.p]?.tokens.length) select(at.p, Math.min(at.i, run.panels[at.p].tokens.length - 1), false);
  else emptyCard();
  drawTree();
  drawModes();
}

// The sliders back to where they stood in the end, as far as these tokens tell.
function setSliders(tokens = run.panels.flatMap((panel) => panel.tokens)) {
  const told = tokens.flatMap((token) => Object.entries(liveOf(token))).filter(([, value]) => Number.isFinite(value));
  setControls(Object.fromEntries(told));
  cancelAnimationFrame(asIfTimer); // nobody asked for the text at other values
  asIfTimer = 0;
  setAsIf(null);
}

// ---- the tree as it is seen

const childrenOf = (id) => history.tree.ids.filter((other) => nodes.get(other).parent === id);
const depthOf = (node) => (node.parent === null ? 0 : 1 + depthOf(nodes.get(node.parent)));
const inOrder = (id) => [id, ...childrenOf(id).flatMap(inOrder)];

function drawTree() {
  const many = history !== null && history.tree.ids.length > 1;
  part("undo").disabled = !history || !history.past.length;
  part("redo").disabled = !history || !history.future.length;
  part("branches").hidden = !many;
  if (!many) return void part("tree").replaceChildren();
  const had = part("tree").contains(document.activeElement);
  part("tree").replaceChildren(...inOrder(history.tree.ids[0]).map((id) => nodeItem(nodes.get(id))));
  const current = part("tree").querySelector("[aria-selected=true]");
  if (had) current.focus();
  const box = part("tree");
  box.scrollTop = Math.max(0, current.offsetTop - box.offsetTop - box.clientHeight / 2);
}

function nodeItem(node) {
  const item = el("li", "node"), current = node.id === history.tree.current;
  item.dataset.id = node.id;
  item.setAttribute("role", "treeitem");
  item.setAttribute("aria-level", depthOf(node) + 1);
  item.setAttribute("aria-selected", current);
  item.tabIndex = current ? 0 : -1;
  item.style.setProperty("--depth", depthOf(node));
  if (node.parent === null) item.append(el("b", "", "First text"), verbatim(el("span", "", openingOf(node))));
  else item.append(verbatim(el("b", "", quote(run0(node, node.position)))), el("span", "", placeOf(node)), verbatim(el("span", "next", openingOf(node))));
  return item;
}

const run0 = (node, i) => { // the label of its token i
  const token = node.run.panels[node.panel].tokens[i];
  return token ? node.run.labels.get(token.i) : node.token === null ? "…" : node.run.labels.get(node.token) ?? "…";
};

function placeOf(node) { // which column, from where, and what differs from the parent
  const { run: own, panel } = node, column = own.panels[panel], parent = nodes.get(node.parent).run.panels[panel];
  const facts = [(node.all ? "all columns" : column.name) + " from token " + (node.position + 1)];
  const token = column.tokens.at(-1), before = parent?.tokens.at(-1);
  for (const name of controlsOf(column))
    if (token && before && token.v[name] !== undefined && Math.abs(token.v[name] - before.v[name]) > 1e-6) facts.push(symbolOf(name) + " " + token.v[name].toFixed(2));
  if (parent && column.sampling.seed !== parent.sampling.seed) facts.push("dice " + column.sampling.seed);
  return facts.join(" · ");
}

function openingOf(node) { // what comes behind the place of parting
  const column = node.run.panels[node.panel ?? node.run.account ?? node.run.panels.length - 1];
  const text = column.tokens.slice(node.parent === null ? 0 : node.position + 1).map((token) => token.s).join("");
  const cut = [...text.replace(/\s+/g, " ").trim()];
  return cut.length > 60 ? cut.slice(0, 59).join("") + "…" : cut.join("");
}

function walkTree(key, event) {
  const item = event.target.closest(".node");
  if (!item) return false;
  const items = [...part("tree").children], id = Number(item.dataset.id), at = items.indexOf(item);
  const itemOf = (other) => items.find((one) => Number(one.dataset.id) === other);
  const goal = {
    ArrowDown: () => items[at + 1], ArrowUp: () => items[at - 1], Home: () => items[0], End: () => items.at(-1),
    ArrowLeft: () => itemOf(nodes.get(id).parent), ArrowRight: () => itemOf(childrenOf(id)[0]),
  }[key];
  if (goal) {
    const next = goal();
    if (next) for (const one of items) one.tabIndex = one === next ? 0 : -1;
    next?.focus();
  } else if (key === "Enter" || key === " ") go(lookingAt(history, id));
  else if (key === "Delete") go(without(history, id, (other) => nodes.get(other).parent));
  else return false;
  return true;
}

onKeys(part("tree"), walkTree);
part("tree").addEventListener("click", (event) => {
  const item = event.target.closest(".node");
  if (item) go(lookingAt(history, Number(item.dataset.id))), part("tree").querySelector("[aria-selected=true]")?.focus();
});
part("undo").addEventListener("click", () => go(undone(history)));
part("redo").addEventListener("click", () => go(redone(history)));
part("write-on").addEventListener("click", () => rewrite(false));

// ---- keys

function onBranchKey(key, event) {
  if (!isOurs(event.target) || isTyping(event.target) || dialogIsOpen()) return false;
  if (history && key === "Ctrl+z") go(undone(history));
  else if (history && (key === "Ctrl+y" || key === "Ctrl+Shift+z")) go(redone(history));
  else if (key === "r" || key === "Shift+r") rewrite(key === "Shift+r");
  else return false;
  return true;
}
onKeys(document, onBranchKey, () => element.isConnected);
