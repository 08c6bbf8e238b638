// The page's root, and helpers that every view draws with. Text from models and people reaches the page only through
// textContent; no HTML is built from strings. It is shown verbatim, in its own direction, isolated from the text around it,
// with signs for invisible characters, and excluded from translation, which would change the tokens.

/** @import { Root } from "./types.js" */

import { HELD_ON, keyOf } from "./lib/keys.js";
import { codeLabel, HIDDEN, TURNING } from "./lib/signs.js";

/** @type {Root} */
export let element = /** @type {any} */ (null); // the component's root, which contains the whole page
/** @type {(root: Root) => void} */
export function mount(root) {
  element = root;
  for (const field of /** @type {NodeListOf<HTMLInputElement>} */ (root.querySelectorAll("input, select, textarea"))) field.autocomplete = "off";
}

// `act(key, event)` returns true if it handled the key; then neither the browser nor outer elements get it.
/** @type {(place: EventTarget, act: (key: string, event: any) => boolean | void, isThere?: () => boolean) => void} */
export function onKeys(place, act, isThere = () => true) {
  let taken = ""; // the key that is down, if it was handled
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

// Moves the focus to `node`, and the page only where the node could not be seen.
/** @type {(node?: HTMLElement | null) => void} */
export function focusInView(node) {
  node?.focus({ preventScroll: true });
  node?.scrollIntoView({ block: "nearest" });
}

// While Enter is held, the browser would press a button repeatedly.
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

// Sets the text of `node`, with each invisible character in an element that draws its code point.
/** @type {<N extends HTMLElement>(node: N, text?: string) => N} */
export function showText(node, text = "") {
  let at = 0;
  const pieces = [];
  for (const { 0: character, index } of text.matchAll(HIDDEN)) {
    const sign = document.createElement("i");
    sign.className = TURNING.test(character) ? "sign turning" : "sign";
    sign.dataset.label = codeLabel(character);
    sign.textContent = character;
    pieces.push(text.slice(at, index), sign);
    at = index + character.length;
  }
  node.replaceChildren(...[...pieces, text.slice(at)].filter((piece) => piece !== ""));
  return node;
}

// Sets the children of `node` to our own words and verbatim texts, alternately.
/** @type {<N extends HTMLElement>(node: N, pieces: string[], tag?: string) => N} */
export function showPieces(node, pieces, tag = "bdi") {
  node.replaceChildren(...pieces.map((piece, i) => (i % 2 ? verbatim(showText(document.createElement(tag), piece)) : piece)));
  return node;
}

/** @type {Map<string, Element>} */
const parts = new Map(); // a search would pass all tokens, for every one that is written

/** @type {(name: string) => any} */
export function part(name) {
  const known = parts.get(name);
  if (known?.isConnected && known.getAttribute("data-part") === name) return known;
  const found = element.querySelector('[data-part="' + name + '"]');
  if (found) parts.set(name, found);
  return found;
}
// Shows or hides a part that others are laid out around. The style sheet sees it by a class of the page, because a selector
// with `:has` would be tried again for every token that is written.
/** @type {(name: string, shown: boolean) => void} */
export function setShown(name, shown) {
  part(name).hidden = !shown;
  part("page").classList.toggle("with-" + name, shown);
}
const FIELDS = /^(input|select|textarea)$/; // views/memory.js restores them; browsers and password managers must not fill them
/** @type {(tag: string, className?: string, text?: string | number | null) => any} */
export const el = (tag, className, text) => {
  const node = /** @type {any} */ (document.createElement(tag));
  if (FIELDS.test(tag)) node.autocomplete = "off";
  if (tag === "button") node.type = "button"; // the default would submit the form
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = String(text);
  return node;
};
// Copies a text; `near` is where on the page it was asked for. Returns whether the browser allowed it.
/** @type {(text: string, near: HTMLElement) => Promise<boolean>} */
export async function copyText(text, near) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // not a secure context, or not allowed: the old way
    const field = Object.assign(el("textarea"), { value: text });
    near.after(field); // an open dialog lets nothing outside it be selected
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

// An entry of a menu.
/** @type {(value: string | number, text: string) => HTMLOptionElement} */
export const menuOption = (value, text) => Object.assign(el("option", "", text), { value });
export const noHover = () => matchMedia("(hover: none)").matches; // tooltips are written out instead

// Offers these columns in a menu. Returns whether they are new. The options' text may have been translated since.
/** @type {(choice: HTMLSelectElement, names: string[]) => boolean} */
export function offerColumns(choice, names) {
  const key = names.join("\n");
  if (choice.dataset.names === key) return false;
  choice.dataset.names = key;
  choice.replaceChildren(...names.map((name, value) => menuOption(value, name)));
  return true;
}

/** @type {(target: Node) => boolean} */
export const isOurs = (target) => target === document.body || element.contains(target); // not elements of browser extensions
/** @type {(target: any) => boolean} */
export const isTyping = (target) => target.matches?.("input:not([type=range], [type=checkbox], [type=radio]), textarea, select");
// As in style.css: up to this width one column is seen at a time; there and on a phone on its side the card is a sheet.
export const phoneWidth = () => matchMedia("(max-width: 640px)");
export const isSheet = () => matchMedia("(max-width: 640px), (max-width: 1100px) and (max-height: 480px)").matches;
export const isTouch = () => matchMedia("(pointer: coarse)").matches;
