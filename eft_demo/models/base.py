"""The base class of models on a slot cache; a subclass adds the forward itself."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from eft_demo.models.kv_cache import SlotCache
from eft_demo.models.memory import free_unused, is_out_of_memory, out_of_memory
from eft_demo.models.protocol import SavedRow, Slot

Result = TypeVar("Result")


def step(name: str, work: Callable[[], Result]) -> Result:
    """The result of a model's step. Raises OutOfMemory after freeing the memory the step used."""
    try:
        with torch.inference_mode():
            return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler, because the traceback would keep the step's tensors alive.
    free_unused()
    raise out_of_memory(name, "take this step")


def append(
    cache: SlotCache,
    slots: Sequence[Slot],
    tokens: Tensor,
    logits_of: Callable[[Tensor, Tensor | None], Tensor],
) -> Tensor:
    """Append `tokens` (rows, block) to rows of `cache`; returns the logits of `logits_of(tokens, mask)`."""
    block = tokens.shape[1]
    mask = cache.begin(slots, block)
    logits = logits_of(tokens.to(cache.devices[0]), mask)
    cache.commit(slots, block)
    return logits


class SlotModel:
    """A `LanguageModel` whose rows live in a `SlotCache`."""

    section = 0  # of the cache, if several models share one

    def __init__(self, name: str, vocab: int, cache: SlotCache) -> None:
        self.name, self.vocab, self.context, self.cache = name, vocab, cache.context, cache

    def join(self) -> Slot:
        """A new, empty row. Raises OutOfMemory."""
        try:
            return self.cache.join(self.section)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        free_unused()
        raise out_of_memory(self.name, "keep another text")

    def leave(self, slot: Slot) -> None:
        """Free the row."""
        self.cache.leave(slot)

    def reset(self) -> None:
        """Free every row, including those of models that share the cache."""
        self.cache.reset()

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Copy keys and values; no forward."""
        self.cache.copy_prefix(source, target)

    def save(self, slot: Slot, most_bytes: int) -> SavedRow | None:
        """Copy the row's keys and values to CPU memory; None if they take more than `most_bytes`."""
        return self.cache.save(slot, most_bytes)

    def restore(self, slot: Slot, saved: SavedRow, length: int) -> None:
        """Make the empty row hold the first `length` of the saved tokens."""
        self.cache.restore(slot, saved, length)

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """Append a block to each row: (rows, block) -> logits (rows, keep, vocab) on the model's device.

        Raises OutOfMemory after freeing the memory the step used.
        """
        logits = step(self.name, lambda: self._append(slots, tokens, keep))
        # Embeddings padded beyond the tokenizer's vocabulary must not reach the mixing.
        return logits[..., : self.vocab]

    def _append(self, slots: Sequence[Slot], tokens: Tensor, keep: int) -> Tensor:
        return append(self.cache, slots, tokens, lambda ids, mask: self._logits(ids, mask, keep))

    def _logits(self, tokens: Tensor, mask: Tensor | None, keep: int) -> Tensor:
        raise NotImplementedError
