// Names of keys, independent of keyboard layout, system and input method.

export const HELD_ON = /^(Ctrl\+|Shift\+)*(Arrow\w+|Page\w+|Home|End|Tab|[yz])$/; // these repeat while they are held

// "Enter", "Ctrl+Enter", "Shift+r", "?": letters in lower case, by position where the layout has another script; Ctrl
// includes ⌘. "" where the key is not ours: an input method uses it (Safari sends its last Enter without isComposing), or
// it is a dead key.
/** @type {(event: KeyboardEvent) => string} */
export function keyOf(event) {
  if (event.isComposing || event.keyCode === 229 || ["Dead", "Process", "Unidentified", undefined].includes(event.key)) return "";
  const letter = /^\p{L}$/u.test(event.key), named = event.key.length > 1 || event.key === " ";
  const place = letter && !/^[a-z]$/i.test(event.key) && /^Key([A-Z])$/.exec(event.code);
  const name = letter ? (place ? place[1] : event.key).toLowerCase() : event.key;
  /** @type {Record<string, boolean>} */
  const held = { Ctrl: event.ctrlKey || event.metaKey, Alt: event.altKey || event.getModifierState("AltGraph"), Shift: event.shiftKey && (letter || named) };
  return [...Object.keys(held).filter((modifier) => held[modifier]), name].join("+");
}
