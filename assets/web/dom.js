// The page's root, and what every view draws with. Text of models and people reaches the page through textContent alone;
// nothing anywhere builds HTML from strings. It is shown as it stands, in the direction of its own letters, apart from what
// is beside it, with a sign for whatever leaves no trace, and not for a translator, who would change the tokens.

/** @import { Root } from "./types.js" */

import { HELD_ON, keyOf } from "./lib/keys.js";
import { HIDDEN, TURNING } from "./lib/signs.js";

/** @type {Root} */
export let element = /** @type {any} */ (null); // the component's root, which all of the page is inside of
/** @type {(root: Root) => void} */
export function mount(root) {
  element = root;
  for (const field of /** @type {NodeListOf<HTMLInputElement>} */ (root.querySelectorAll("input, select, textarea"))) field.autocomplete = "off";
}

// `act(key, event)` returns true where it took the key; the browser and what lies around do nothing with it then.
/** @type {(place: EventTarget, act: (key: string, event: any) => boolean | void, isThere?: () => boolean) => void} */
export function onKeys(place, act, isThere = () => true) {
  let taken = ""; // the key that is down, if it was taken
  const listener = (/** @type {any} */ event) => {
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
/** @type {(place: HTMLElement) => void} */
export function pressOnce(place) {
  place.addEventListener("keydown", (/** @type {any} */ event) => {
    if (event.repeat && event.key === "Enter" && event.target.closest("button, a, summary")) event.preventDefault();
  });
}

/** @type {<N extends HTMLElement>(node: N) => N} */
export function verbatim(node) {
  node.dir = "auto";
  node.translate = false;
  node.classList.add("notranslate");
  return node;
}

// The text of `node` becomes `text`, every character of it, the hidden ones each in an element that draws its number.
/** @type {<N extends HTMLElement>(node: N, text?: string) => N} */
export function showText(node, text = "") {
  let at = 0;
  const pieces = [];
  for (const { 0: character, index } of text.matchAll(HIDDEN)) {
    const sign = document.createElement("i");
    sign.className = TURNING.test(character) ? "sign turning" : "sign";
    sign.dataset.label = "⟨" + character.codePointAt(0)?.toString(16).toUpperCase() + "⟩";
    sign.textContent = character;
    pieces.push(text.slice(at, index), sign);
    at = index + character.length;
  }
  node.replaceChildren(...[...pieces, text.slice(at)].filter((piece) => piece !== ""));
  return node;
}

// Plain words of ours and verbatim texts in turn, as the children of `node`.
/** @type {<N extends HTMLElement>(node: N, pieces: string[], tag?: string) => N} */
export function showPieces(node, pieces, tag = "bdi") {
  node.replaceChildren(...pieces.map((piece, i) => (i % 2 ? verbatim(showText(document.createElement(tag), piece)) : piece)));
  return node;
}

/** @type {(name: string) => any} */
export const part = (name) => element.querySelector('[data-part="' + name + '"]');
const FIELDS = /^(input|select|textarea)$/; // no browser or password manager fills them: views/memory.js does
/** @type {(tag: string, className?: string, text?: string | number | null) => any} */
export const el = (tag, className, text) => {
  const node = /** @type {any} */ (document.createElement(tag));
  if (FIELDS.test(tag)) node.autocomplete = "off";
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = String(text);
  return node;
};
export const noHover = () => matchMedia("(hover: none)").matches; // what a tooltip would say is written out there

// A drawing sets its own height, which must not ask for another one.
/** @type {(box: HTMLElement, act: () => void) => void} */
export function onNewWidth(box, act) {
  let width = 0;
  new ResizeObserver(() => {
    if (box.clientWidth !== width) (width = box.clientWidth), act();
  }).observe(box);
}

// A choice among these columns; whether it is a new one. What the options say may have been translated since.
/** @type {(choice: HTMLSelectElement, names: string[]) => boolean} */
export function offerColumns(choice, names) {
  const key = names.join("\n");
  if (choice.dataset.names === key) return false;
  choice.dataset.names = key;
  choice.replaceChildren(...names.map((name, value) => Object.assign(el("option", "", name), { value })));
  return true;
}

/** @type {(target: Node) => boolean} */
export const isOurs = (target) => target === document.body || element.contains(target); // not what an extension put beside the page
/** @type {(target: any) => boolean} */
export const isTyping = (target) => target.matches?.("input:not([type=range], [type=checkbox], [type=radio]), textarea, select");
export const isTouch = () => matchMedia("(pointer: coarse)").matches;
