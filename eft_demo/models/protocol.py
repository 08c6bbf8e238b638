"""What the engine asks of a model: rows of token ids in, logits out, a length per row, rollback.

Knows nothing of recipes, columns, text or sampling. A model owns a table of rows; the engine holds `Slot`
handles to them. `slot.length` is the number of tokens whose keys and values stand in the cache: to roll back,
write a smaller number into it, nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(slots=True, eq=False)
class Slot:
    """One row of one model's cache. `index` may change when other rows leave; `length` is in tokens."""

    index: int
    length: int = 0


class LanguageModel(Protocol):
    """A causal language model with one cache row per `Slot`. Not thread-safe: one thread drives it."""

    name: str
    vocab: int  # width of the logits
    context: int  # tokens a slot can hold

    def join(self) -> Slot:
        """A new, empty row. Where it raises, all other rows are as they were."""
        ...

    def leave(self, slot: Slot) -> None:
        """Free the row. Where it raises, all other rows are as they were, and it may be called again."""
        ...

    def reset(self) -> None:
        """Free every row, whatever became of them; those of models that share a cache with this one too."""
        ...

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Make `target` hold the same tokens as `source`, without a forward."""
        ...

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """Append `tokens` (rows, block) int64 to the rows and return logits (rows, keep, vocab).

        The logits are those after the last `keep` tokens of the block, in the model's own dtype. Lengths
        grow by `block` only when the forward has succeeded.
        """
        ...


class ModelGroup(Protocol):
    """Models that can share one forward: two small ones side by side, or a base and its adapters."""

    members: frozenset[str]  # their roles

    def forward(self, parts: Mapping[str, tuple[Sequence[Slot], Tensor]], keep: int = 1) -> dict[str, Tensor]:
        """Append to rows of several members, the same block for all: role -> (slots, tokens (rows, block)).

        Returns role -> logits (rows, keep, vocab). Lengths grow only when all have succeeded.
        """
        ...
