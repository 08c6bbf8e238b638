// Thinking in a text: what stands between <think> and </think>, or similar tags. Some models' prompts end with the opening
// tag, so that only the closing one is in the text. Other tags, such as those of tool calls, are text.

const CLOSING = /<\/(think|thinking|thought|reasoning)>\s*/;

// The pieces of a text, each {thinking, text}.
/** @type {(text: string) => { thinking: boolean, text: string }[]} */
export function thinkingPieces(text) {
  const pieces = [];
  for (let rest = text; rest; ) {
    const found = CLOSING.exec(rest);
    if (!found) return [...pieces, { thinking: false, text: rest }];
    const from = Math.max(0, rest.lastIndexOf("<" + found[1] + ">", found.index)), end = found.index + found[0].length;
    if (from) pieces.push({ thinking: false, text: rest.slice(0, from) });
    pieces.push({ thinking: true, text: rest.slice(from, end) });
    rest = rest.slice(end);
  }
  return pieces;
}

// The tokens of the thinking that the last of these texts of tokens ends, [first, last]; null if it ends none. `from` is the
// first token after earlier thinking.
/** @type {(texts: string[], from: number) => [number, number] | null} */
export function endedThinking(texts, from) {
  const last = texts.length - 1;
  if (last < from || !texts[last].includes(">")) return null;
  const text = texts.slice(from).join(""), found = CLOSING.exec(text);
  if (!found) return null;
  const start = Math.max(0, text.lastIndexOf("<" + found[1] + ">", found.index));
  let first = from;
  for (let end = texts[from].length; end <= start; end += texts[first].length) first += 1;
  return [first, last];
}
