"""Incremental decoding of tokens to text, where a character may span several tokens.

Joined, the pieces equal all tokens' bytes decoded at once, with invalid bytes as U+FFFD.
"""

import codecs
import unicodedata
from collections.abc import Mapping, Sequence

END_LABEL = "⟨end⟩"  # shown for a stop token, which has no text
_SIGNS = {"\n": "↵", "\t": "⇥", "\r": "␍"}
_JOINERS = "\u200c\u200d"  # needed in emoji sequences and in Persian
_UNSEEN = ("Cc", "Cf", "Zl", "Zp")  # Unicode's control, format, line and paragraph separator categories


class Utf8Stream:
    """Incremental decoder over token ids. `token_bytes[id]` are the bytes of a token."""

    def __init__(self, token_bytes: Sequence[bytes] | Mapping[int, bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that `token` completes; empty in the middle of a character."""
        return self._decoder.decode(self._token_bytes[token])

    def flush(self) -> str:
        """The rest: U+FFFD for an incomplete character, else empty."""
        return self._decoder.decode(b"", final=True)


def token_label(piece: bytes) -> str:
    """A readable label of a token: without surrounding spaces, `⟨E2 80⟩` for part of a character."""
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError:
        return f"⟨{piece.hex(' ').upper()}⟩"
    text = "".join(_SIGNS.get(c, c) for c in text)
    text = "".join(c if c.isprintable() or c == " " else f"⟨{ord(c):X}⟩" for c in text)
    return text.strip(" ") or "·" * len(text) or "⟨empty⟩"


def without_surrogates(text: str) -> str:
    """The text with U+FFFD in place of lone surrogates, which neither files nor tokenizers can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def show_controls(text: str) -> str:
    """The text on one line, with control characters replaced by visible ones: ↵, ⇥, ␍ or `⟨1B⟩`."""
    return "".join(
        _SIGNS.get(c, f"⟨{ord(c):X}⟩") if unicodedata.category(c) in _UNSEEN and c not in _JOINERS else c
        for c in text
    )
