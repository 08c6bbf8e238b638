"""What config.json says of a row: the size of its keys and values, and how long it may be."""

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


def longest_row(config: Mapping[str, Any], most: int) -> int:
    """The most tokens, up to `most`, that a row of a model with this config may have.

    Rotary positions that change with the longest row of a batch (Phi's long-context scaling) are used only up
    to where they change: beyond it, a text would depend on the other texts in its batch.
    """
    limits = [most, int(config.get("max_position_embeddings") or most)]
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type")) in ("longrope", "su"):
        name = "original_max_position_embeddings"  # Phi has it beside the table, others in it
        limits.append(int(config.get(name) or rope.get(name) or most))
    return min(limits)


def _kv_heads(config: Mapping[str, Any], heads: int) -> int:
    if config.get("model_type") == "falcon":
        # In the new architecture the library repeats keys and values for all heads before storing them.
        if config.get("new_decoder_architecture"):
            return heads
        return 1 if config.get("multi_query", True) else heads
    return int(config.get("num_key_value_heads") or heads)
