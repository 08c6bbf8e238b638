// Word-by-word comparison of two texts: an exact longest common subsequence of words. White space belongs to the word
// after it and is not compared.

const MAX_CELLS = 9e6; // words of one text times words of the other; beyond this the page would freeze

/** @type {(text: string) => string[]} */
const wordsOf = (text) => text.match(/\s*(?:[\p{L}\p{M}\p{N}]+|\S)|\s+$/gu) || [];

// Pairs [i, j] of words common to both, in order and as many as possible; null if the texts are too long.
/** @type {(left: string[], right: string[]) => [number, number][] | null} */
function commonWords(left, right) {
  const a = left.map((word) => word.trim()), b = right.map((word) => word.trim());
  /** @type {[number, number][]} */
  const pairs = [];
  /** @type {[number, number][]} */
  const tail = [];
  let start = 0, endA = a.length, endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) pairs.push([start, start++]);
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) tail.unshift([--endA, --endB]);
  const rows = endA - start, width = endB - start + 1;
  if (rows * width > MAX_CELLS) return null;
  const longest = new Uint16Array((rows + 1) * width); // of the remaining words
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

// [kind, text] in reading order: "same" as in the right text, "gone" from the left, "new" in the right.
/** @type {(left: string, right: string) => [kind: "same" | "gone" | "new", text: string][] | null} */
export function wordDiff(left, right) {
  const a = wordsOf(left), b = wordsOf(right), pairs = commonWords(a, b);
  if (!pairs) return null;
  /** @type {[kind: "same" | "gone" | "new", text: string][]} */
  const pieces = [];
  let i = 0, j = 0;
  for (const [p, q] of [...pairs, [a.length, b.length]]) {
    if (i < p) pieces.push(["gone", a.slice(i, p).join("")]);
    if (j < q) pieces.push(["new", b.slice(j, q).join("")]);
    const last = pieces.at(-1);
    if (q < b.length && last?.[0] === "same") last[1] += b[q];
    else if (q < b.length) pieces.push(["same", b[q]]);
    [i, j] = [p + 1, q + 1];
  }
  return pieces;
}

// For every column, the set of its words that all others contain; null if the texts are too long.
/** @type {(texts: string[]) => { word: string, shared: boolean }[][] | null} */
export function sharedWords(texts) {
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
