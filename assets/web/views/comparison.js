// Comparison of texts: words that all columns share can be hidden, and two columns are compared word by word.

import { sharedWords, wordDiff } from "../lib/diff.js";
import { textOf } from "../lib/tokens.js";
import { el, offerColumns, part, showText } from "../dom.js";
import { on, run } from "../store.js";

const COMPARE_MS = 400;
const TOO_LONG = "These texts are too long to compare word by word.";
const KINDS = { same: "span", gone: "del", new: "ins" };
let compareTimer = 0;

// A token is shared if every word it belongs to is; white space belongs to what follows it.
function markShared() {
  const texts = run.columns.map(textOf), shared = sharedWords(texts);
  const same = shared !== null && shared.flat().every((word) => word.shared);
  part("differing-note").textContent = shared === null ? TOO_LONG : same ? "All columns have the same text." : "";
  run.columns.forEach((column, p) => {
    const flags = (shared ? shared[p] : []).flatMap((one) => Array(one.word.length).fill(one.shared));
    let at = 0, before = false;
    column.tokens.forEach((token, i) => {
      const lead = token.s.length - token.s.trimStart().length;
      const inside = flags.slice(at + lead, at + token.s.length);
      const now = shared !== null && inside.every(Boolean);
      at += token.s.length;
      const { dataset } = column.spans[i];
      if (now) dataset.shared = before ? "" : "gap";
      else delete dataset.shared;
      dataset.apart = lead ? "yes" : "";
      before = now;
    });
  });
}

function drawDiff() {
  const [from, to] = ["from", "to"].map((side) => run.columns[Number(part("compare-" + side).value)]);
  const pieces = wordDiff(textOf(from), textOf(to)), differing = part("differing").checked;
  part("diff").replaceChildren(...(pieces || [["same", TOO_LONG]]).map(([kind, text]) =>
    kind === "same" && differing && pieces ? el("span", "gap", " … ") : showText(el(KINDS[kind], kind), text)));
}

// Redraws visible comparisons that are out of date, at a limited rate while text streams.
export function compareSoon() {
  compareTimer ||= setTimeout(compareNow, COMPARE_MS);
}

function compareNow() {
  clearTimeout(compareTimer);
  compareTimer = 0;
  const differing = part("differing").checked;
  part("columns").classList.toggle("differing", differing);
  part("differing-note").textContent = "";
  if (!run) return;
  if (differing) markShared();
  if (part("compare").open) drawDiff();
}

// The default comparison: the last column with the one before it.
export function startCompare() {
  const names = run ? run.columns.map((column) => column.name) : [], last = names.length - 1;
  part("compare").hidden = last < 1;
  for (const [side, p] of Object.entries({ from: last - 1, to: last }))
    if (run && offerColumns(part("compare-" + side), names)) part("compare-" + side).value = Math.max(0, p);
  compareSoon();
}

export function listen() {
  on("shown", startCompare);
  for (const name of ["compare-from", "compare-to", "differing"]) part(name).addEventListener("change", compareNow);
  part("compare").addEventListener("toggle", compareNow);
}
