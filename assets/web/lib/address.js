// The page's address: a link to what it shows. The server makes the link from the settings, as for Share. The page adds the
// texts that a person typed, so that they need not leave the browser, and what is shown.

/** @import { LinkedView, Turn } from "../types.js" */

import { branchText } from "./linked.js";

export const NO_PROMPT = "-"; // in place of the prompt where the server makes the link
const MAX_CHARS = 60_000, MAX_PROMPT_CHARS = 4000; // as in eft_demo/runs/link.py
const VERSION_WITH_TURNS = 3;

// As in a form, with half of a surrogate pair as Python writes it.
/** @type {(text: string) => string} */
const encoded = (text) => [...text].map((sign) => {
  const code = /** @type {number} */ (sign.codePointAt(0));
  if (code < 0xd800 || code > 0xdfff) return sign === " " ? "+" : encodeURIComponent(sign).replace(/'/g, "%27");
  return [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63)].map((byte) => "%" + byte.toString(16).toUpperCase()).join("");
}).join("");

// The link with what is shown, before its numbers: punctuation after a link is easier to tell from a number.
/** @type {(query: string, view: LinkedView) => string} */
export function withView(query, { colour, shared, selected, branches = [] }) {
  const pairs = query.split("&"), at = pairs.findIndex((pair) => pair.startsWith("column="));
  const written = branches.map((branch) => "branch=" + encoded(branchText(branch)));
  const shown = [...written, ...(colour ? ["colour=" + colour] : []), ...(shared ? ["same=" + shared] : []), ...(selected ? ["selected=" + selected.join(".")] : [])];
  return [...pairs.slice(0, at), ...shown, ...pairs.slice(at)].join("&");
}

// The server's link with the texts in place of NO_PROMPT; null if no link can hold them.
/** @type {(query: string, texts: { prompt: string, system?: string, turns?: Turn[] }) => string | null} */
export function withTexts(query, { prompt, system = "", turns = [] }) {
  const [version, , ...rest] = query.split("&");
  const first = system || turns.length ? "v=" + VERSION_WITH_TURNS : version;
  const texts = [["prompt", prompt], ...(system ? [["system", system]] : []), ...turns.map(({ question, answers }) => ["turn", JSON.stringify([question, ...answers])])];
  const whole = [first, ...texts.map(([name, text]) => name + "=" + encoded(text)), ...rest].join("&");
  return [...prompt].length > MAX_PROMPT_CHARS || whole.length > MAX_CHARS ? null : whole;
}

// Whether a link to the settings may replace this: nothing, or another link to settings. A lesson's address stays.
/** @type {(hash: string) => boolean} */
export const isReplaceable = (hash) => hash.length < 2 || /[#?&;]v(=|%3d)/i.test(hash);

// What stands before the #, without the settings of an old link.
/** @type {(search: string) => string} */
export function withoutSettings(search) {
  if (!/[?&;](v|prompt)(=|%3d)/i.test(search)) return search;
  const others = search.slice(1).split("&").filter((pair) => pair.startsWith("__")); // such as Gradio's theme
  return others.length ? "?" + others.join("&") : "";
}
