"""Random codes of rooms: made, read as people type them, and guarded against guessing.

Knows letters, addresses and seconds; knows nothing of what is in a room.
"""

import secrets
from collections.abc import Callable
from unicodedata import normalize

from eft_demo.errors import Overloaded
from eft_demo.settings import Settings

# Consonants that nobody confuses when read aloud or from afar: no L, Q, S, W; no vowels, so no words.
LETTERS = "BCDFGHJKMNPRTVXYZ"
LENGTH = 6  # 24 million codes
SECRET_BYTES = 16
INVITE_BYTES = 6  # part of the QR code, which must stay coarse enough for the last row
MINUTE_S = 60.0


def make_code() -> str:
    """A random code for a room, short enough to type."""
    return "".join(secrets.choice(LETTERS) for _ in range(LENGTH))


def read_code(typed: object) -> str:
    """The code in a text that a person typed or pasted; "" if there is none.

    Case, width (as Japanese keyboards write it), spaces, dashes and invisible characters do not matter.
    """
    if not isinstance(typed, str) or len(typed) > 4 * LENGTH:
        return ""
    code = "".join(filter(str.isalnum, normalize("NFKC", typed).upper()))
    return code if len(code) == LENGTH and set(code) <= set(LETTERS) else ""


def make_secret() -> str:
    """A secret by which a presenter or a phone is recognised; it cannot be guessed."""
    return secrets.token_urlsafe(SECRET_BYTES)


def make_invite() -> str:
    """A random part of a room's link and QR code: opening them does not count as guessing the code."""
    return secrets.token_urlsafe(INVITE_BYTES)


def same(one: object, other: str) -> bool:
    """Whether a posted value is the secret `other`, compared in constant time."""
    return isinstance(one, str) and secrets.compare_digest(one.encode("utf-8", "replace"), other.encode())


class Guesses:
    """Counts wrong codes per address. Only wrong ones count, so a class that joins at once is not stopped."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._most, self._clock = settings.max_wrong_codes, clock
        self._wrong: dict[str, list[float]] = {}  # address -> times in the last minute

    def check(self, address: str) -> None:
        """Raise Overloaded (code too_many_codes) if this address has sent too many wrong codes."""
        if len(self._recent(address)) >= self._most:
            raise Overloaded(
                f"Your address has sent {self._most} wrong codes within a minute, which is the limit. Scan "
                "the QR code, which works now, or type the code in a minute.",
                code="too_many_codes",
            )

    def note(self, address: str) -> None:
        """Count one wrong code."""
        self._wrong = {other: times for other in list(self._wrong) if (times := self._recent(other))}
        self._wrong.setdefault(address, []).append(self._clock())

    def _recent(self, address: str) -> list[float]:
        past_s = self._clock() - MINUTE_S
        return [at_s for at_s in self._wrong.get(address, ()) if at_s > past_s]
