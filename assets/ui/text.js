// How text of a model or of a person is shown, on the page and in a saved page: as it stands, in the direction of its own
// letters, apart from what is beside it, with a sign for whatever leaves no trace, and not for a translator, who would
// change the tokens.

// Control and format characters that nobody would see. Not among them: tab and line feed; joiners, which make one sign of
// two; Arabic signs that do show; the tags of a flag.
const HIDDEN = /(?<!\u{1f3f4}[\u{e0020}-\u{e007f}]*)(?![\t\n\u200c\u200d\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}])[\p{Cc}\p{Cf}\u2028\u2029]/gu;
// Embeddings, overrides and isolates would turn around what follows them; marks of one letter's width may act.
const TURNING = /[\u202a-\u202e\u2066-\u2069]/;
// Letters whose shape depends on their neighbours, and what melts with the sign before it: nothing may stand between them.
const JOINING = /(?![\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Hang}\p{sc=Bopo}\p{sc=Thai}\p{sc=Laoo}\p{sc=Latn}])\p{Lo}|[\p{M}\u1100-\u11ff\u200c\u200d\p{Emoji_Modifier}\p{Regional_Indicator}\u{e0020}-\u{e007f}]/u;
const joins = (before, text) => JOINING.test(text) || before.endsWith("\u200d");

function verbatim(node) {
  node.dir = "auto";
  node.translate = false;
  node.classList.add("notranslate");
  return node;
}

// The text of `node` becomes `text`, every character of it, the hidden ones each in an element that draws its number.
function showText(node, text = "") {
  let at = 0;
  const pieces = [];
  for (const { 0: character, index } of text.matchAll(HIDDEN)) {
    const sign = document.createElement("i");
    sign.className = TURNING.test(character) ? "sign turning" : "sign";
    sign.dataset.label = "⟨" + character.codePointAt(0).toString(16).toUpperCase() + "⟩";
    sign.textContent = character;
    pieces.push(text.slice(at, index), sign);
    at = index + character.length;
  }
  node.replaceChildren(...[...pieces, text.slice(at)].filter((piece) => piece !== ""));
  return node;
}

// Plain words of ours and verbatim texts in turn, as the children of `node`.
function showPieces(node, pieces, tag = "bdi") {
  node.replaceChildren(...pieces.map((piece, i) => (i % 2 ? verbatim(showText(document.createElement(tag), piece)) : piece)));
  return node;
}
