// Keys. Every handler of a key is installed by `onKeys`, here and in a saved page, so that none takes a key that belongs
// to an input method, to the browser's own shortcuts or to a dead key, and a key that is held down acts once.

const HELD_ON = /^(Ctrl\+|Shift\+)*(Arrow\w+|Page\w+|Home|End|Tab|[yz])$/; // these go on for as long as they are held

// "Enter", "Ctrl+Enter", "Shift+r", "?": a letter in lower case, wherever the layout has another script by its place; Ctrl
// is ⌘ too. "" where the key is not ours: an input method has it (Safari sends its last Enter without isComposing), or it
// is half of an accent.
function keyOf(event) {
  if (event.isComposing || event.keyCode === 229 || ["Dead", "Process", "Unidentified", undefined].includes(event.key)) return "";
  const letter = /^\p{L}$/u.test(event.key), named = event.key.length > 1 || event.key === " ";
  const place = letter && !/^[a-z]$/i.test(event.key) && /^Key([A-Z])$/.exec(event.code);
  const name = letter ? (place ? place[1] : event.key).toLowerCase() : event.key;
  const held = { Ctrl: event.ctrlKey || event.metaKey, Alt: event.altKey || event.getModifierState("AltGraph"), Shift: event.shiftKey && (letter || named) };
  return [...Object.keys(held).filter((modifier) => held[modifier]), name].join("+");
}

// `act(key, event)` returns true where it took the key; the browser and what lies around do nothing with it then.
function onKeys(place, act, isThere = () => true) {
  let taken = ""; // the key that is down, if it was taken
  const listener = (event) => {
    if (!isThere()) return place.removeEventListener("keydown", listener);
    const key = keyOf(event);
    if (!key) return;
    const took = event.repeat && !HELD_ON.test(key) ? taken === key : act(key, event) === true;
    taken = took ? key : "";
    if (!took) return;
    event.preventDefault();
    event.stopPropagation();
  };
  place.addEventListener("keydown", listener);
}

// The browser presses a button again with every repeat of Enter.
function pressOnce(place) {
  place.addEventListener("keydown", (event) => {
    if (event.repeat && event.key === "Enter" && event.target.closest("button, a, summary")) event.preventDefault();
  });
}
