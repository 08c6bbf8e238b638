// Own or shared text: whether each column writes its own text, or all score one column's text.

import { offerColumns, part } from "../dom.js";
import { currentNode, run, sameOf } from "../store.js";
import { paneOf } from "./columns.js";

export function drawModes() {
  const node = currentNode(), of = node && sameOf(node), choice = part("same-of");
  const ready = node && node.run.columns.some((column) => column.tokens.length);
  part("mode-free").checked = of === null;
  part("mode-same").checked = of !== null;
  part("mode-same").disabled = choice.disabled = !ready;
  const names = node ? node.run.columns.map((column) => column.name) : [];
  if (offerColumns(choice, names)) choice.value = node?.run.attributed ?? names.length - 1;
  if (of !== null) choice.value = of;
  part("page").classList.toggle("same-text", of !== null && of !== undefined);
  run?.columns.forEach((column, p) => {
    const about = paneOf(p)?.querySelector(".what");
    if (about) about.textContent = of === null || of === undefined ? column.about : p === of ? "Wrote this text; every column scores it" : "Scores the text of " + run.columns[of].name;
  });
}
