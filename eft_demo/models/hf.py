"""Any decoder of the transformers library as a `LanguageModel`, on the slot cache.

The reference that every faster path is compared with. Knows no recipes and no text.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from eft_demo.models.protocol import Slot
from eft_demo.models.slots import SlotCache


class TransformersModel:
    """A `PreTrainedModel` with one cache row per `Slot`."""

    def __init__(self, name: str, model: PreTrainedModel, context: int, vocab: int) -> None:
        config = model.config
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.name, self.context, self.vocab = name, context, vocab
        self.model = model.eval().requires_grad_(False)
        self.cache = SlotCache(
            config.num_hidden_layers, config.num_key_value_heads, head_dim, context, model.dtype
        )
        # Models with layer types take one mask per type and then build none themselves.
        self._mask_per_type = getattr(config, "layer_types", None) is not None

    def join(self) -> Slot:
        """A new, empty row."""
        return self.cache.join()

    def leave(self, slot: Slot) -> None:
        """Free the row."""
        self.cache.leave(slot)

    def copy_prefix(self, source: Slot, target: Slot) -> None:
        """Copy keys and values; no forward."""
        self.cache.copy_prefix(source, target)

    @torch.inference_mode()
    def forward(self, slots: Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        """Append a block to each row: (rows, block) -> logits (rows, keep, vocab)."""
        block = tokens.shape[1]
        mask = self.cache.begin(slots, block)
        logits = self._logits(tokens, mask, keep)
        self.cache.commit(slots, block)
        # Embeddings padded beyond the tokenizer's vocabulary must not reach the mixing.
        return logits[..., : self.vocab]

    def _logits(self, tokens: Tensor, mask: Tensor | None, keep: int) -> Tensor:
        if self._mask_per_type:
            attention_mask: object = {"full_attention": mask}
        else:
            attention_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool) if mask is None else mask
        return self.model(
            input_ids=tokens,
            attention_mask=attention_mask,
            position_ids=self.cache.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
