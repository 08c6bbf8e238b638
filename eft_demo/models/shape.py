"""The size of a row's keys and values, from config.json. Architectures count their heads differently."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CacheShape:
    """The shape of one token's keys and values."""

    layers: int
    kv_heads: int
    head_dim: int

    def bytes(self, tokens: int, item_bytes: int) -> int:
        """The size for this many tokens."""
        return 2 * self.layers * self.kv_heads * self.head_dim * item_bytes * tokens


def cache_shape(config: Mapping[str, Any]) -> CacheShape:
    """The shape by a model's config. Raises KeyError, TypeError or ValueError if values are missing."""
    heads = int(config["num_attention_heads"])
    head_dim = int(config.get("head_dim") or int(config["hidden_size"]) // heads)
    return CacheShape(int(config["num_hidden_layers"]), _kv_heads(config, heads), head_dim)


def _kv_heads(config: Mapping[str, Any], heads: int) -> int:
    if config.get("model_type") == "falcon":
        # In the new architecture the library repeats keys and values for all heads before storing them.
        if config.get("new_decoder_architecture"):
            return heads
        return 1 if config.get("multi_query", True) else heads
    return int(config.get("num_key_value_heads") or heads)
