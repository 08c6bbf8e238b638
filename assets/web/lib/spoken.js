// What a screen reader hears of a run: a column's text when it has ended, and the tokens of single steps.

/** @import { Column } from "../types.js" */

import { ending } from "./formats.js";
import { textOf } from "./tokens.js";

const LONGEST = 300; // characters: a longer text is cut, so that the next announcement comes soon

/** @type {(text: string) => string} */
const flat = (text) => text.replace(/\s+/g, " ").trim();

// "Base, 9 tokens, finished: The capital of Kenya is Nairobi."
/** @type {(column: Column) => string} */
export function endedText(column) {
  const letters = [...flat(textOf(column))], count = column.tokens.length;
  const text = letters.length > LONGEST ? letters.slice(0, LONGEST).join("") + " …" : letters.join("");
  return column.name + ", " + count + (count === 1 ? " token, " : " tokens, ") + ending(column) + (text ? ": " + text : ".");
}

// "Base: of Kenya. Up-scaled: you."
/** @type {(texts: Map<string, string>) => string} by column */
export const steppedText = (texts) => [...texts].map(([name, text]) => name + ": " + flat(text) + ".").join(" ");
