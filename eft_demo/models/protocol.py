"""The interface of a model for the engine: rows of token ids in, logits out, a length per row, rollback.

Knows nothing about recipes, columns, text or sampling. A model owns a table of rows; the engine holds `Slot`
handles to them. `slot.length` is the number of tokens whose keys and values are in the cache; setting a
smaller number is all it takes to roll back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from eft_demo.errors import EFTError


@dataclass(slots=True, eq=False)
class Slot:
    """A row in a model's cache. `index` may change when other rows leave; `length` is in tokens."""

    index: int
    length: int = 0


class LanguageModel(Protocol):
    """A causal language model with one cache row per `Slot`. Not thread-safe: one thread drives it."""

    name: str
    vocab: int  # width of the logits
    context: int  # tokens a slot can hold

    def join(self) -> Slot:
        """Add an empty row. If this raises, all other rows are unchanged."""
        ...

    def leave(self, slot: Slot) -> None:
        """Free the row. If this raises, all other rows are unchanged and it may be called again."""
        ...

    def reset(self) -> None:
        """Free every row, whatever its state, including those of models that share this model's cache."""
        ...

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Make `target` hold the same tokens as `source`, without a forward."""
        ...

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """Append `tokens` (rows, block) int64 to the rows and return logits (rows, keep, vocab).

        The logits are those after the last `keep` tokens of the block, in the model's dtype and on its
        device. Lengths grow by `block` only if the forward succeeds.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SavedRow:
    """A copy of a row's keys and values in CPU memory. Only the model that made it can read `content`."""

    content: Any
    size_bytes: int
    tokens: int  # how many it holds


@runtime_checkable
class SavesRows(Protocol):
    """A model that can save what a row holds, for a later row that begins with the same tokens.

    Not every model can. Where it cannot, every prompt is read from its beginning.
    """

    def save(self, slot: Slot, most_bytes: int) -> SavedRow | None:
        """Copy what the row holds; None if that takes more than `most_bytes`. The row is unchanged."""
        ...

    def restore(self, slot: Slot, saved: SavedRow, length: int) -> None:
        """Make the empty row hold the first `length` of the saved tokens.

        It stays empty if the model cannot continue from there, and if this raises.
        """
        ...


@runtime_checkable
class Starts(Protocol):
    """A model whose forward runs beside other work: on a GPU, or in another process."""

    def start(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Callable[[], Tensor]:
        """Begin what `forward` does. The result waits for the answer, and is called before the next start."""
        ...


@runtime_checkable
class Elsewhere(Starts, Protocol):
    """A model that runs in another process: waiting for it takes no time of this one's processor.

    What `start` returns raises NotYet if the answer is late.
    """

    where: str  # a short fact for people, such as "remote, vLLM 0.32.0 at host:8000"

    @property
    def late_s(self) -> float:
        """For how many seconds an answer has been due since NotYet was raised; 0 if none is."""
        ...


class NotYet(EFTError):
    """A model elsewhere has not answered yet. The same request, made again, gets the answer to this one."""


@dataclass(frozen=True, slots=True)
class SentRow:
    """What a server sent of one row: its likeliest tokens, and those that it was asked for by id."""

    ids: Tensor  # (n,) int64
    logprobs: Tensor  # (n,) float32
    highest_hidden: float  # no other token's log-prob is higher
    rest: float  # the probability of all other tokens together, up to rounding
    asked: int = 0  # how many of them were asked for by id


@runtime_checkable
class SendsTop(Protocol):
    """A model elsewhere that sends only the likeliest log-probs; `forward` shares out the rest evenly.

    A row is named by its text: the ids of all tokens that the model has read.
    """

    def sent(self, text: tuple[int, ...]) -> SentRow:
        """What was sent of that row, which a forward has returned."""
        ...

    def ask(self, wanted: Mapping[tuple[int, ...], Sequence[int]]) -> None:
        """Ask for these tokens of these rows; `sent` then has their log-probs, if the server sends any."""
        ...


class ModelGroup(Protocol):
    """Models that can share one forward: small ones side by side, or a base and its adapters."""

    members: frozenset[str]  # their roles

    def forward(self, parts: Mapping[str, tuple[Sequence[Slot], Tensor]], keep: int = 1) -> dict[str, Tensor]:
        """Append to rows of several members; `parts` maps role -> (slots, tokens (rows, block)).

        The block length is the same for all. Returns role -> logits (rows, keep, vocab). Lengths grow only if
        all members succeed.
        """
        ...
