"""Text from tokens, piece by piece: a character may be spread over several tokens.

The pieces joined are the bytes of all tokens decoded as a whole, invalid bytes as U+FFFD.
"""

import codecs
import unicodedata
from collections.abc import Mapping, Sequence

END_LABEL = "⟨end⟩"  # a stop token, which has no text
_SIGNS = {"\n": "↵", "\t": "⇥", "\r": "␍"}
_JOINERS = "\u200c\u200d"  # they make one sign of several, in emoji and in Persian
_UNSEEN = ("Cc", "Cf", "Zl", "Zp")  # Unicode's controls, formats, line and paragraph separators


class Utf8Stream:
    """Incremental decoder over token ids. `token_bytes[id]` are the bytes a token stands for."""

    def __init__(self, token_bytes: Sequence[bytes] | Mapping[int, bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that is certain once `token` has come; empty in the middle of a character."""
        return self._decoder.decode(self._token_bytes[token])

    def flush(self) -> str:
        """The rest: U+FFFD for a character that was never finished, else empty."""
        return self._decoder.decode(b"", final=True)


def token_label(piece: bytes) -> str:
    """A token as people can read it: spaces around it cut, `⟨E2 80⟩` for half a character."""
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError:
        return f"⟨{piece.hex(' ').upper()}⟩"
    text = "".join(_SIGNS.get(c, c) for c in text)
    text = "".join(c if c.isprintable() or c == " " else f"⟨{ord(c):X}⟩" for c in text)
    return text.strip(" ") or "·" * len(text) or "⟨empty⟩"


def show_controls(text: str) -> str:
    """Text on one line whose control characters can be seen and do nothing: ↵, ⇥, ␍ or `⟨1B⟩`."""
    return "".join(
        _SIGNS.get(c, f"⟨{ord(c):X}⟩") if unicodedata.category(c) in _UNSEEN and c not in _JOINERS else c
        for c in text
    )
