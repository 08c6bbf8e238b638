// Drawing of the runs of this page and their branches.

import { runDifferences } from "../lib/changed.js";
import { controlsOf } from "../lib/counterfactual.js";
import { quote, symbolOf } from "../lib/formats.js";
import { el, part, verbatim } from "../dom.js";
import { history, nodes, parentOf } from "../store.js";

// What an announcement says of a text that is shown.
export const nameOf = (node) => (node.parent === null ? runName(node) + ": " + clipped(node.run.prompt) : "Branch " + quote(labelAt(node, node.position)) + ", " + placeOf(node));

export const childrenOf = (id) => history.tree.ids.filter((other) => nodes.get(other).parent === id);
const depthOf = (node) => (node.parent === null ? 0 : 1 + depthOf(nodes.get(node.parent)));
const inOrder = (id) => [id, ...childrenOf(id).flatMap(inOrder)];
const roots = () => history.tree.ids.filter((id) => parentOf(id) === null);
// The only run stays.
export const isRemovable = (id) => id !== null && (parentOf(id) !== null || roots().length > 1);

export function drawTree() {
  const many = history !== null && history.tree.ids.length > 1;
  part("undo").disabled = !history || !history.past.length;
  part("redo").disabled = !history || !history.future.length;
  part("branches").hidden = part("runs-open").hidden = !many;
  part("runs-count").textContent = history ? history.tree.ids.length : "";
  part("delete-branch").hidden = !many || !isRemovable(history.tree.current);
  if (!many) return void part("tree").replaceChildren();
  const had = part("tree").contains(document.activeElement);
  part("tree").replaceChildren(...roots().flatMap(inOrder).map((id) => nodeItem(nodes.get(id))));
  const current = part("tree").querySelector("[aria-selected=true]") || part("tree").lastChild;
  current.tabIndex = 0;
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
  if (node.parent === null) item.append(el("b", "", runName(node)), verbatim(el("span", "asked", clipped(node.run.prompt))), el("span", "facts", factsOf(node)), verbatim(el("span", "opening", openingOf(node))));
  else item.append(verbatim(el("b", "", quote(labelAt(node, node.position)))), el("span", "", placeOf(node)), verbatim(el("span", "next", openingOf(node))));
  return item;
}

const runName = (node) => (node.run.recorded ? "Replay" : "Run " + (1 + [...nodes.values()].filter((other) => other.parent === null && other.id < node.id && !other.run.recorded).length));

// What differs from the run before it.
function factsOf(node) {
  const all = roots(), before = nodes.get(all[all.indexOf(node.id) - 1]);
  return runDifferences(before?.run, node.run).join(" · ");
}

const labelAt = (node, i) => { // of token i of the branch's column
  const token = node.run.columns[node.column].tokens[i];
  return token ? node.run.labels.get(token.i) : node.token === null ? "…" : node.run.labels.get(node.token) ?? "…";
};

function placeOf(node) { // column, position, and what differs from the parent
  const { run: own, column } = node, written = own.columns[column], parent = nodes.get(node.parent).run.columns[column];
  const facts = [(node.all ? "all columns" : written.name) + " from token " + (node.position + 1)];
  const token = written.tokens.at(-1), before = parent?.tokens.at(-1);
  for (const name of controlsOf(written))
    if (token && before && token.v[name] !== undefined && Math.abs(token.v[name] - before.v[name]) > 1e-6) facts.push(symbolOf(name) + " " + token.v[name].toFixed(2));
  if (parent && written.sampling.seed !== parent.sampling.seed) facts.push("seed " + written.sampling.seed);
  return facts.join(" · ");
}

function openingOf(node) { // the text after the branching point
  const written = node.run.columns[node.column ?? node.run.attributed ?? node.run.columns.length - 1];
  const text = written.tokens.slice(node.parent === null ? 0 : node.position + 1).map((token) => token.s).join("");
  return clipped(text);
}

function clipped(text) {
  const cut = [...text.replace(/\s+/g, " ").trim()];
  return cut.length > 60 ? cut.slice(0, 59).join("") + "…" : cut.join("");
}
