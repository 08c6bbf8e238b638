// Free or same text: whether each column writes its own, or all score that of one.

import { element, offerColumns, part } from "../dom.js";
import { currentNode, run, sameOf } from "../store.js";
import { paneOf } from "./columns.js";

export function drawModes() {
  const node = currentNode(), of = node && sameOf(node), choice = part("same-of");
  const ready = node && node.run.panels.some((panel) => panel.tokens.length);
  part("mode-free").checked = of === null;
  part("mode-same").checked = of !== null;
  part("mode-same").disabled = choice.disabled = !ready;
  const names = node ? node.run.panels.map((panel) => panel.name) : [];
  if (offerColumns(choice, names)) choice.value = node?.run.account ?? names.length - 1;
  if (of !== null) choice.value = of;
  element.querySelector(".eft").classList.toggle("same-text", of !== null && of !== undefined);
  run?.panels.forEach((panel, p) => {
    const about = paneOf(p)?.querySelector(".what");
    if (about) about.textContent = of === null || of === undefined ? panel.about : p === of ? "Wrote this text; every column scores it" : "Scores the text of " + run.panels[of].name;
  });
}
