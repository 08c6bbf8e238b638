"""Prefix reuse: keys and values of texts that have ended, for prompts that begin with the same tokens.

The next turn of a conversation begins with the last one, so its prompt is read only from where it differs.
What is kept are copies in CPU memory, and the least recently used ones make room: they need no rows, and any
failure may drop all of them. A copy serves only the model that made it and the reader whose text it was (see
`RunRequest.reader`): how fast a prompt is read must not show what others have asked.

Copies are exact, but answers were decoded token by token, together with other sequences, and a prompt is read
in chunks. With reuse, log-probs are therefore the same up to rounding, as with branches (see `score`); a
prompt that is repeated unchanged gets the same log-probs bit for bit. Knows tokens and rows; knows no runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from eft_demo.models.protocol import LanguageModel, SavedRow, SavesRows, Slot

MIN_TOKENS = 16  # fewer are read as quickly as they are copied


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """The keys and values of a text, as one model read it for one reader."""

    reader: str
    role: str
    tokens: tuple[int, ...]
    row: SavedRow


class PrefixCache:
    """Copies of rows, up to a limit in bytes, in order of their last use."""

    def __init__(self, models: Mapping[str, LanguageModel], limit_bytes: int) -> None:
        self._models, self._limit_bytes = models, limit_bytes
        self._kept: list[Kept] = []  # the least recently used first

    @property
    def size_bytes(self) -> int:
        """How much memory the copies take."""
        return sum(kept.row.size_bytes for kept in self._kept)

    def keep(self, reader: str, role: str, tokens: tuple[int, ...], slot: Slot) -> None:
        """Copy the row of a text that has ended; it holds exactly `tokens`."""
        model = self._models[role]
        if len(tokens) < MIN_TOKENS or not self._limit_bytes or not isinstance(model, SavesRows):
            return
        same = self._of(reader, role)
        if longer := next((kept for kept in same if kept.tokens[: len(tokens)] == tokens), None):
            self._use(longer)
            return
        row = model.save(slot, self._limit_bytes)
        if row is None:
            return
        shorter = [kept for kept in same if tokens[: len(kept.tokens)] == kept.tokens]
        self._kept = [kept for kept in self._kept if kept not in shorter]
        self._kept.append(Kept(reader, role, tokens, row))
        while self.size_bytes > self._limit_bytes:
            del self._kept[0]

    def restore(self, reader: str, role: str, tokens: tuple[int, ...], slot: Slot) -> int:
        """Let the empty row hold as many of the first `tokens` as a copy has; returns how many."""
        same = self._of(reader, role)
        lengths = [common_length(kept.tokens, tokens) for kept in same]
        longest = max(lengths, default=0)
        if longest < MIN_TOKENS:
            return 0
        best, model = same[lengths.index(longest)], self._models[role]
        assert isinstance(model, SavesRows), "it made the copy"
        model.restore(slot, best.row, longest)
        self._use(best)
        return slot.length

    def clear(self) -> bool:
        """Drop all copies; returns whether there were any."""
        had = bool(self._kept)
        self._kept.clear()
        return had

    def _of(self, reader: str, role: str) -> list[Kept]:
        return [kept for kept in self._kept if (kept.reader, kept.role) == (reader, role)]

    def _use(self, kept: Kept) -> None:
        self._kept.remove(kept)
        self._kept.append(kept)


def common_length(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (mine, yours) in pairs if mine != yours), min(len(one), len(other)))
