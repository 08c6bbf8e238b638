// Characters that need a visible sign or special care wherever text is shown.

// Invisible control and format characters. Not included: tab and line feed; joiners, which combine two signs into one;
// Arabic signs that are visible; the tags of a flag.
// eslint-disable-next-line no-misleading-character-class -- each character stands for itself
export const HIDDEN = /(?<!\u{1f3f4}[\u{e0020}-\u{e007f}]*)(?![\t\n\u200c\u200d\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}])[\p{Cc}\p{Cf}\u2028\u2029]/gu;
// What is drawn in the place of one: its code point, such as ⟨200B⟩.
/** @type {(character: string) => string} */
export const codeLabel = (character) => "⟨" + character.codePointAt(0)?.toString(16).toUpperCase() + "⟩";
// Embeddings, overrides and isolates would reverse the text after them; single direction marks are allowed to act.
export const TURNING = /[\u202a-\u202e\u2066-\u2069]/;
// Letters whose shape depends on their neighbours, and characters that join the one before: nothing may separate them.
const JOINING = /(?![\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Hang}\p{sc=Bopo}\p{sc=Thai}\p{sc=Laoo}\p{sc=Latn}])\p{Lo}|[\p{M}\u1100-\u11ff\u200c\u200d\p{Emoji_Modifier}\p{Regional_Indicator}\u{e0020}-\u{e007f}]/u;

// Whether a text joins the character before it.
/** @type {(before: string, text: string) => boolean} */
export const joins = (before, text) => JOINING.test(text) || before.endsWith("\u200d");
