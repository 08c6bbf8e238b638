"""Any decoder of the transformers library on the slot cache; the reference for the fused path.

Importing this module imports transformers, which takes seconds: only what needs it should.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin

from eft_demo.models.base import SlotModel
from eft_demo.models.slots import SlotCache


class SlotLayer(CacheLayerMixin):
    """One layer of the library's cache, kept in a `SlotCache`."""

    def __init__(self, slots: SlotCache, layer: int) -> None:
        super().__init__()
        self.slots, self.layer = slots, layer
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to do: the storage exists from the start."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write (rows, kv_heads, block, head_dim) at the rows' positions; return all that the rows hold."""
        new = torch.stack([key_states, value_states], 2)  # (rows, kv_heads, 2, block, head_dim)
        return self.slots.write(self.layer, new.permute(0, 3, 2, 1, 4))

    def get_seq_length(self) -> int:
        """Tokens before the block under way, of the longest row."""
        return self.slots.end - self.slots.positions.shape[1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(keys in view, offset)."""
        return self.slots.end, 0

    def get_max_length(self) -> int:
        """Tokens a row can hold."""
        return self.slots.context


class TransformersModel(SlotModel):
    """A `PreTrainedModel` with one cache row per `Slot`."""

    def __init__(self, name: str, model: PreTrainedModel, context: int, vocab: int) -> None:
        config = model.config
        layers = config.num_hidden_layers
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        super().__init__(
            name, vocab, SlotCache(layers, config.num_key_value_heads, head_dim, context, model.dtype)
        )
        self.model = model.eval().requires_grad_(False)
        self._library_cache = Cache(layers=[SlotLayer(self.cache, i) for i in range(layers)])
        # Models with layer types take one mask per type and then build none themselves.
        self._mask_per_type = getattr(config, "layer_types", None) is not None

    def _logits(self, tokens: Tensor, mask: Tensor | None, keep: int) -> Tensor:
        if self._mask_per_type:
            attention_mask: object = {"full_attention": mask}
        else:
            attention_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool) if mask is None else mask
        return self.model(
            input_ids=tokens,
            attention_mask=attention_mask,
            position_ids=self.cache.positions,
            past_key_values=self._library_cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
