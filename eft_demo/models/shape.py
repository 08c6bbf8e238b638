"""From a config.json: what a row's keys and values take. Kinds of models count their heads differently."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CacheShape:
    """Keys and values of one token."""

    layers: int
    kv_heads: int
    head_dim: int

    def bytes(self, tokens: int, item_bytes: int) -> int:
        """What they take for so many tokens."""
        return 2 * self.layers * self.kv_heads * self.head_dim * item_bytes * tokens


def cache_shape(config: Mapping[str, Any]) -> CacheShape:
    """The numbers of a configuration. Raises KeyError, TypeError or ValueError for one that lacks them."""
    heads = int(config["num_attention_heads"])
    head_dim = int(config.get("head_dim") or int(config["hidden_size"]) // heads)
    return CacheShape(int(config["num_hidden_layers"]), _kv_heads(config, heads), head_dim)


def _kv_heads(config: Mapping[str, Any], heads: int) -> int:
    if config.get("model_type") == "falcon":
        # With the new architecture the library repeats keys and values for all heads before it stores them.
        if config.get("new_decoder_architecture"):
            return heads
        return 1 if config.get("multi_query", True) else heads
    return int(config.get("num_key_value_heads") or heads)
