"""Text from tokens, piece by piece: a character may be spread over several tokens.

The pieces joined are the bytes of all tokens decoded as a whole, invalid bytes as U+FFFD.
"""

import codecs
from collections.abc import Mapping, Sequence

END_LABEL = "⟨end⟩"  # a stop token, which has no text


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
    text = text.replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")
    text = "".join(c if c.isprintable() or c == " " else f"⟨{ord(c):X}⟩" for c in text)
    return text.strip(" ") or "·" * len(text) or "⟨empty⟩"
