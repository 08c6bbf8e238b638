"""Models without weights: logits from a hash, a fixed text, or a fault on demand.

They follow the protocol, including lengths and rollback, so the engine treats them like real models.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from eft_demo.engine.engine import Engine
from eft_demo.models.base import SlotModel
from eft_demo.models.protocol import LanguageModel, SavedRow, Slot

SAYING_LOGIT = 20.0  # gives the next token of a fixed text nearly all of the probability


class ToyModel:
    """Logits are a hash of the last two tokens; with `says`, it generates that text and a stop token."""

    def __init__(
        self,
        name: str,
        vocab: int,
        context: int = 512,
        seed: int = 0,
        says: Sequence[int] = (),
        stop_id: int = 0,
    ) -> None:
        self.name, self.vocab, self.context = name, vocab, context
        self.seed, self.says, self.stop_id = seed, tuple(says), stop_id
        self.forwards = 0
        self.histories: dict[Slot, list[int]] = {}  # one entry per row in use

    def join(self) -> Slot:
        """A new, empty row."""
        slot = Slot(len(self.histories))
        self.histories[slot] = []
        return slot

    def leave(self, slot: Slot) -> None:
        """Free the row."""
        self.histories.pop(slot, None)
        for index, other in enumerate(self.histories):
            other.index = index

    def reset(self) -> None:
        """Free every row."""
        self.histories.clear()

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Copy the tokens."""
        self.histories[target] = self.histories[source][: source.length]
        target.length = source.length

    def save(self, slot: Slot, most_bytes: int) -> SavedRow | None:
        """Copy the tokens, eight bytes each."""
        kept = self.histories[slot][: slot.length]
        size = 8 * len(kept)
        return SavedRow(kept, size, len(kept)) if size <= most_bytes else None

    def restore(self, slot: Slot, saved: SavedRow, length: int) -> None:
        """Copy the tokens back."""
        self.histories[slot] = saved.content[:length]
        slot.length = length

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """(rows, block) -> logits (rows, keep, vocab) float32."""
        self.forwards += 1
        logits = []
        for slot, block in zip(slots, tokens.tolist(), strict=True):
            history = [*self.histories[slot][: slot.length], *block]
            self.histories[slot] = history
            ends = range(len(history) - keep + 1, len(history) + 1)
            logits.append(torch.stack([self.logits_after(history[:end]) for end in ends]))
            slot.length = len(history)
        return torch.stack(logits)

    def logits_after(self, history: Sequence[int]) -> Tensor:
        """(vocab,) logits for the token after `history`."""
        if self.says:
            logits = torch.zeros(self.vocab)
            logits[self._next_said(tuple(history))] = SAYING_LOGIT
            return logits
        generator = torch.Generator().manual_seed(hash((self.seed, *history[-2:])) % 2**31)
        return torch.randn(self.vocab, generator=generator)

    def _next_said(self, history: tuple[int, ...]) -> int:
        """Finds the position in the text from the end of the history, so that rollback needs no state."""
        said = next(n for n in range(len(self.says), -1, -1) if history[len(history) - n :] == self.says[:n])
        return self.says[said] if said < len(self.says) else self.stop_id


class FaultyModel(ToyModel):
    """A `ToyModel` whose logits are NaN from forward number `after` on (1-based)."""

    def __init__(self, name: str, vocab: int, after: int, context: int = 512, seed: int = 0) -> None:
        super().__init__(name, vocab, context, seed)
        self.after = after

    def logits_after(self, history: Sequence[int]) -> Tensor:
        """(vocab,) logits, all NaN once the fault has occurred."""
        logits = super().logits_after(history)
        return torch.full_like(logits, torch.nan) if self.forwards >= self.after else logits


def is_free(engine: Engine) -> bool:
    """Whether no sequence and no slot is in use, in any model."""
    held = any(slots_in_use(model) for model in engine.models.values())
    return engine.active_sequences == engine.waiting == 0 and not held


def slots_in_use(model: LanguageModel) -> Collection[Slot]:
    """The slots in use, of a toy or of a model with a real cache."""
    if isinstance(model, ToyModel):
        return model.histories
    assert isinstance(model, SlotModel)
    return model.cache.slots
