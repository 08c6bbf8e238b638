"""The setting for speculative decoding, as a value and as text; the engine implements it."""

from dataclasses import dataclass

from eft_demo.errors import InputError
from eft_demo.settings import check_number, show_value

MAX_BLOCK = 8  # drafted tokens per round


@dataclass(frozen=True, slots=True)
class Speculation:
    """Whether to draft tokens, and `block` of them per round (0: the engine chooses). Raises InputError."""

    mode: str = "auto"  # off, on or auto
    block: int = 0

    def __post_init__(self) -> None:
        if self.mode not in ("off", "on", "auto"):
            message = f"Speculation must be off, on or auto; got {show_value(self.mode)}."
            raise InputError(message, code="speculation_syntax")
        most = MAX_BLOCK * (self.mode == "on")
        check_number("The block of speculation", self.block, 0, most, integer=True, code="speculation_block")

    def __str__(self) -> str:
        return f"{self.mode} {self.block}" if self.block else self.mode


def parse_speculation(text: object) -> Speculation:
    """Parse `off`, `on`, `on 4` or `auto`. Raises InputError."""
    words = text[:60].split() if isinstance(text, str) else []
    if not 1 <= len(words) <= 2 or not all(word.isascii() and word.isdecimal() for word in words[1:]):
        raise InputError(
            f"Speculation must be off, on, on 4 or auto; got {show_value(text)}.", code="speculation_syntax"
        )
    return Speculation(words[0], *map(int, words[1:]))
