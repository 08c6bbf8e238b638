// Texts side by side: what all columns share can be hidden, and two columns are compared word by word. A longest common
// subsequence of words, exact; white space belongs to the word behind it and is not compared.

const COMPARE_MS = 400;
const MAX_CELLS = 9e6; // words of one text times words of the other; beyond it the page would stutter
const TOO_LONG = "These texts are too long to compare word by word.";
const KINDS = { same: "span", gone: "del", new: "ins" };
let compareTimer = 0;

const wordsOf = (text) => text.match(/\s*(?:[\p{L}\p{M}\p{N}]+|\S)|\s+$/gu) || [];
const textOf = (panel) => panel.tokens.map((token) => token.s).join("");

// Pairs [i, j] of words that stand in both, in order and as many as can be; null if the texts are too long.
function commonWords(left, right) {
  const a = left.map((word) => word.trim()), b = right.map((word) => word.trim()), pairs = [];
  let start = 0, endA = a.length, endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) pairs.push([start, start++]);
  const tail = [];
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) tail.unshift([--endA, --endB]);
  const rows = endA - start, width = endB - start + 1;
  if (rows * width > MAX_CELLS) return null;
  const longest = new Uint16Array((rows + 1) * width); // of the rest from here on
  for (let i = rows - 1; i >= 0; i -= 1)
    for (let j = width - 2; j >= 0; j -= 1)
      longest[i * width + j] = a[start + i] === b[start + j] ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
  for (let i = 0, j = 0; i < rows && j < width - 1;) {
    if (a[start + i] === b[start + j]) pairs.push([start + i++, start + j++]);
    else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return [...pairs, ...tail];
}

// [kind, text] in the order of reading: "same" as it stands on the right, "gone" from the left, "new" on the right.
function wordDiff(left, right) {
  const a = wordsOf(left), b = wordsOf(right), pairs = commonWords(a, b);
  if (!pairs) return null;
  const pieces = [];
  let i = 0, j = 0;
  for (const [p, q] of [...pairs, [a.length, b.length]]) {
    if (i < p) pieces.push(["gone", a.slice(i, p).join("")]);
    if (j < q) pieces.push(["new", b.slice(j, q).join("")]);
    if (q < b.length && pieces.at(-1)?.[0] === "same") pieces.at(-1)[1] += b[q];
    else if (q < b.length) pieces.push(["same", b[q]]);
    [i, j] = [p + 1, q + 1];
  }
  return pieces;
}

// For every panel the set of its words that stand in all the others; null if the texts are too long.
function sharedWords(texts) {
  const words = texts.map(wordsOf);
  const counts = words.map((list) => new Uint8Array(list.length));
  for (let p = 0; p < texts.length; p += 1)
    for (let q = p + 1; q < texts.length; q += 1) {
      const pairs = commonWords(words[p], words[q]);
      if (!pairs) return null;
      for (const [i, j] of pairs) counts[p][i] += 1, counts[q][j] += 1;
    }
  return words.map((list, p) => list.map((word, i) => ({ word, shared: counts[p][i] === texts.length - 1 })));
}

// A token is shared if every word that it has a part of is; white space goes with what follows it.
function markShared() {
  const texts = run.panels.map(textOf), shared = sharedWords(texts);
  const same = shared !== null && shared.flat().every((word) => word.shared);
  part("differing-note").textContent = shared === null ? TOO_LONG : same ? "All columns say the same." : "";
  run.panels.forEach((panel, p) => {
    const flags = (shared ? shared[p] : []).flatMap(({ word, shared }) => Array(word.length).fill(shared));
    let at = 0, before = false;
    panel.tokens.forEach((token, i) => {
      const lead = token.s.length - token.s.trimStart().length;
      const inside = flags.slice(at + lead, at + token.s.length);
      const now = shared !== null && inside.every(Boolean);
      at += token.s.length;
      const { dataset } = panel.spans[i];
      if (now) dataset.shared = before ? "" : "gap";
      else delete dataset.shared;
      dataset.apart = lead ? "yes" : "";
      before = now;
    });
  });
}

function drawDiff() {
  const [from, to] = ["from", "to"].map((side) => run.panels[Number(part("compare-" + side).value)]);
  const pieces = wordDiff(textOf(from), textOf(to)), differing = part("differing").checked;
  part("diff").replaceChildren(...(pieces || [["same", TOO_LONG]]).map(([kind, text]) =>
    kind === "same" && differing && pieces ? el("span", "gap", " … ") : showText(el(KINDS[kind], kind), text)));
}

// What is asked for and out of date is drawn, at most so often while text streams.
function compareSoon() {
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

// The first two columns whose texts a person would compare: the last with the one before it.
function startCompare() {
  const names = run.panels.map((panel) => panel.name), last = names.length - 1;
  part("compare").hidden = last < 1;
  for (const [side, p] of [["from", last - 1], ["to", last]]) {
    offerColumns(part("compare-" + side), names);
    part("compare-" + side).value = Math.max(0, p);
  }
  compareSoon();
}

for (const name of ["compare-from", "compare-to", "differing"]) part(name).addEventListener("change", compareNow);
part("compare").addEventListener("toggle", compareNow);
