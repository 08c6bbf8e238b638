// Names of keys, independent of keyboard layout, system and input method.

export const HELD_ON = /^(Ctrl\+|Shift\+)*(Arrow\w+|Page\w+|Home|End|Tab|[yz])$/; // these repeat while they are held

// "Enter", "Ctrl+Enter", "Shift+r", "?", "1": letters in lower case, by position where the layout has another script; digits
// by position where the layout has them with Shift (as in France) or in another script; Ctrl includes ⌘. "" for keys to ignore: an input method uses it (Safari sends its last Enter without isComposing), or
// it is a dead key.
/** @type {(event: KeyboardEvent) => string} */
export function keyOf(event) {
  if (event.isComposing || event.keyCode === 229 || ["Dead", "Process", "Unidentified", undefined].includes(event.key)) return "";
  const [, digit] = (!event.shiftKey && !/^[a-z0-9?؟]$/i.test(event.key) && /^(?:Digit|Numpad)(\d)$/.exec(event.code)) || [];
  const letter = !digit && /^\p{L}$/u.test(event.key), named = event.key.length > 1 || event.key === " ";
  const place = letter && !/^[a-z]$/i.test(event.key) && /^Key([A-Z])$/.exec(event.code);
  const name = digit && !named ? digit : letter ? (place ? place[1] : event.key).toLowerCase() : event.key;
  /** @type {Record<string, boolean>} */
  const held = { Ctrl: event.ctrlKey || event.metaKey, Alt: event.altKey || event.getModifierState("AltGraph"), Shift: event.shiftKey && (letter || named) };
  return [...Object.keys(held).filter((modifier) => held[modifier]), name].join("+");
}

// The token that a key moves to from token `i` of column `p`; `counts` of tokens per column. null for any other key.
/** @type {(key: string, at: { p: number, i: number }, counts: number[]) => { p: number, i: number } | null} */
export function placeAfter(key, { p, i }, counts) {
  const last = counts[p] - 1;
  if (key === "ArrowRight") return { p, i: Math.min(last, i + 1) };
  if (key === "ArrowLeft") return { p, i: Math.max(0, i - 1) };
  if (key === "Home") return { p, i: 0 };
  if (key === "End") return { p, i: last };
  if (key !== "ArrowUp" && key !== "ArrowDown") return null;
  const other = p + (key === "ArrowUp" ? -1 : 1);
  return counts[other] ? { p: other, i: Math.min(i, counts[other] - 1) } : { p, i };
}
