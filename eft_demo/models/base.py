"""What every model on a slot cache shares; a subclass adds the forward itself."""

from collections.abc import Sequence

import torch
from torch import Tensor

from eft_demo.models.memory import free_unused, is_out_of_memory, out_of_memory
from eft_demo.models.protocol import Slot
from eft_demo.models.slots import SlotCache


class SlotModel:
    """A `LanguageModel` whose rows live in a `SlotCache`."""

    def __init__(self, name: str, vocab: int, cache: SlotCache) -> None:
        self.name, self.vocab, self.context, self.cache = name, vocab, cache.context, cache

    def join(self) -> Slot:
        """A new, empty row. Raises OutOfMemory."""
        try:
            return self.cache.join()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        free_unused()
        raise out_of_memory(self.name, "keep another text")

    def leave(self, slot: Slot) -> None:
        """Free the row."""
        self.cache.leave(slot)

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Copy keys and values; no forward."""
        self.cache.copy_prefix(source, target)

    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """Append a block to each row: (rows, block) -> logits (rows, keep, vocab), where the tokens came
        from.

        Raises OutOfMemory, having given back what the step had taken.
        """
        try:
            return self._step(slots, tokens, keep)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside of the handler: the traceback would hold on to the tensors of the step.
        free_unused()
        raise out_of_memory(self.name, "take this step")

    @torch.inference_mode()
    def _step(self, slots: Sequence[Slot], tokens: Tensor, keep: int) -> Tensor:
        block = tokens.shape[1]
        mask = self.cache.begin(slots, block)
        logits = self._logits(tokens.to(self.cache.devices[0]), mask, keep)
        self.cache.commit(slots, block)
        # Embeddings padded beyond the tokenizer's vocabulary must not reach the mixing.
        return logits[..., : self.vocab].to(tokens.device)

    def _logits(self, tokens: Tensor, mask: Tensor | None, keep: int) -> Tensor:
        raise NotImplementedError
