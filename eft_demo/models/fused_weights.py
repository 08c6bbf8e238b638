"""The weights of a Qwen2 in the layout of the fused pass: fewer and larger matrices than in the checkpoint.

Query, key and value weights form one matrix, and so do gate and up; the norms' weights are folded into the
matrices that follow. Knows checkpoints' names and shapes; does not know how a forward runs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eft_demo.families.weights import WEIGHTS, headers

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@dataclass(frozen=True, slots=True)
class FusableShape:
    """The values from config.json that the fused path needs."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    context: int
    rope_theta: float
    norm_eps: float
    tied: bool


def is_fusable(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether the fused path can run the checkpoint in this folder, with this config.json."""
    plain = not config.get("quantization_config") and (folder / WEIGHTS).is_file()
    # Saved without their head, models have other names, which only the library knows.
    return plain and fusable_shape(config) is not None and EMBED in headers(folder)


def fusable_shape(config: Mapping[str, Any]) -> FusableShape | None:
    """The shape of a model by its config.json, or None if the fused path cannot run it.

    It can run a Qwen2 with full attention in every layer, SiLU and plain rotary positions. Raises KeyError or
    TypeError if the config lacks a value that every Qwen2 has.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    plain_rope = rope.get("rope_type", rope.get("type", "default")) == "default"
    full = not config.get("use_sliding_window") and set(config.get("layer_types") or ()) <= {"full_attention"}
    theta = rope.get("rope_theta") or config.get("rope_theta")
    if config.get("model_type") != "qwen2" or config.get("hidden_act") != "silu" or not (plain_rope and full):
        return None
    if theta is None:
        return None  # the library has a default
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    return FusableShape(
        hidden=hidden,
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config["num_key_value_heads"]),
        head_dim=int(config.get("head_dim") or hidden // heads),
        feed_forward=int(config["intermediate_size"]),
        context=int(config["max_position_embeddings"]),
        rope_theta=float(theta),
        norm_eps=float(config["rms_norm_eps"]),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


@dataclass(frozen=True, slots=True)
class FusedLayer:
    """Weights of one layer, each (in, out), in memory as `_stored` orders them.

    Its norms are folded into `qkv` and `gate_up`.
    """

    qkv: Tensor  # (hidden, (heads + 2 * kv_heads) * head_dim)
    qkv_bias: Tensor  # ((heads + 2 * kv_heads) * head_dim,)
    out: Tensor  # (heads * head_dim, hidden)
    gate_up: Tensor  # (hidden, 2 * feed_forward)
    down: Tensor  # (feed_forward, hidden)


@dataclass(frozen=True, slots=True)
class FusedWeights:
    """The weights of one model."""

    shape: FusableShape
    dtype: torch.dtype
    embed: Tensor  # (vocab, hidden)
    layers: tuple[FusedLayer, ...]
    head: Tensor  # (hidden, vocab)


def fuse(shape: FusableShape, weights: Mapping[str, Tensor], vocab: int, dtype: torch.dtype) -> FusedWeights:
    """Fuse the tensors of a checkpoint. Raises KeyError or ValueError if they do not fit."""
    embed = weights[EMBED]
    if embed.shape[0] < vocab or embed.shape[1] != shape.hidden:
        raise ValueError(f"embeddings are {tuple(embed.shape)}, wanted {(vocab, shape.hidden)}")
    # A head in the file is used even if the config says tied: a merged adapter may have changed it alone.
    head = weights.get(HEAD, embed) if shape.tied else weights[HEAD]
    return FusedWeights(
        shape,
        dtype,
        embed.to(dtype),
        tuple(_fuse_layer(weights, i, shape, dtype) for i in range(shape.layers)),
        _fold(head[:vocab], weights["model.norm.weight"], dtype),
    )


def _fuse_layer(
    weights: Mapping[str, Tensor], index: int, shape: FusableShape, dtype: torch.dtype
) -> FusedLayer:
    def of(name: str) -> Tensor:
        return weights[f"model.layers.{index}.{name}"]

    def qkv(kind: str) -> Tensor:
        q, k, v = (of(f"self_attn.{name}_proj.{kind}") for name in "qkv")
        return torch.cat([_pair_up(q, shape.head_dim), _pair_up(k, shape.head_dim), v])

    gate_up = torch.cat([of("mlp.gate_proj.weight"), of("mlp.up_proj.weight")])
    if gate_up.shape != (2 * shape.feed_forward, shape.hidden):
        raise ValueError(
            f"gate and up are {tuple(gate_up.shape)}, wanted {(2 * shape.feed_forward, shape.hidden)}"
        )
    return FusedLayer(
        qkv=_fold(qkv("weight"), of("input_layernorm.weight"), dtype),
        qkv_bias=qkv("bias").to(dtype),
        out=_stored(of("self_attn.o_proj.weight").to(dtype)),
        gate_up=_fold(gate_up, of("post_attention_layernorm.weight"), dtype),
        down=_stored(of("mlp.down_proj.weight").to(dtype)),
    )


def _pair_up(weight: Tensor, head_dim: int) -> Tensor:
    """Reorder queries or keys (heads * head_dim, ...): in each head, put i + head_dim / 2 right after i.

    The rotary embedding rotates these two together; side by side they form one complex number. The products
    of queries and keys do not depend on the order.
    """
    return weight.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)


def _fold(weight: Tensor, norm: Tensor, dtype: torch.dtype) -> Tensor:
    """`weight` (out, hidden) -> (hidden, out), times the norm's weight and sqrt(hidden), rounded once."""
    return _stored((weight.float() * (norm.float() * math.sqrt(norm.shape[0]))).to(dtype))


def _stored(weight: Tensor) -> Tensor:
    """`weight` (out, in), as in checkpoints, as (in, out), in the order in memory that is faster here.

    Few rows times a float32 matrix with at least as many columns out as in are 1.3 to 3.5 times as fast if
    it is stored (in, out): with the bundled large base's head, 425, 710 and 795 µs for 1, 2 and 3 rows
    instead of 854, 2025 and 2848. Narrow ones are up to 1.4 times slower that way, and bf16 without bf16
    instructions 8 times. Both were measured with AVX-512 and with AVX2 instructions, so the order depends on
    shape and dtype alone. It changes how sums are rounded, and one machine must decide alike at every start.
    """
    out, of = weight.shape
    wide = weight.dtype == torch.float32 and out >= of
    return weight.t().contiguous() if wide else weight.t()
