"""Qwen2-shaped models on a CPU, written by hand: about half the library's time per token.

A tiny model on a CPU spends its time between the kernels, so this path has few of them: the query, key and
value weights are one matrix, so are gate and up; the weights of the norms are folded into the matrices that
follow; the rotation reads one table. It needs no transformers, whose import takes seconds. Tests hold it
against the library's forward.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from eft_demo.models.base import SlotModel
from eft_demo.models.slots import SlotCache


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a config.json that the fused path needs."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    rope_theta: float
    norm_eps: float
    tied: bool


def fusable_shape(config: Mapping[str, Any]) -> Shape | None:
    """The shape of a config.json, or None if the fused path cannot run such a model.

    It can if the model is a Qwen2 with full attention in every layer, SiLU and plain rotary positions.
    Raises KeyError or TypeError for a config that lacks what every Qwen2 has.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    plain_rope = rope.get("rope_type", rope.get("type", "default")) == "default"
    full = not config.get("use_sliding_window") and set(config.get("layer_types") or ()) <= {"full_attention"}
    if config.get("model_type") != "qwen2" or config.get("hidden_act") != "silu" or not (plain_rope and full):
        return None
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    return Shape(
        hidden=hidden,
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config["num_key_value_heads"]),
        head_dim=int(config.get("head_dim") or hidden // heads),
        context=int(config["max_position_embeddings"]),
        rope_theta=float(rope.get("rope_theta") or config["rope_theta"]),
        norm_eps=float(config["rms_norm_eps"]),
        tied=bool(config.get("tie_word_embeddings", False)),
    )


@dataclass(frozen=True, slots=True)
class FusedLayer:
    """Weights of one layer; its norms are folded into `qkv` and `gate_up`."""

    qkv: Tensor  # ((heads + 2 * kv_heads) * head_dim, hidden)
    qkv_bias: Tensor  # ((heads + 2 * kv_heads) * head_dim,)
    out: Tensor  # (hidden, heads * head_dim)
    gate_up: Tensor  # (2 * feed_forward, hidden)
    down: Tensor  # (hidden, feed_forward)


class FusedQwen2(SlotModel):
    """A Qwen2 from the tensors of its checkpoint. Raises KeyError or ValueError if they do not fit."""

    def __init__(
        self,
        name: str,
        shape: Shape,
        weights: Mapping[str, Tensor],
        context: int,
        vocab: int,
        dtype: torch.dtype,
    ) -> None:
        cache = SlotCache(shape.layers, shape.kv_heads, shape.head_dim, context, dtype)
        super().__init__(name, vocab, cache)
        self.shape, self._dtype = shape, dtype
        embed = weights["model.embed_tokens.weight"]
        if embed.shape[0] < vocab or embed.shape[1] != shape.hidden:
            raise ValueError(f"embeddings are {tuple(embed.shape)}, wanted {(vocab, shape.hidden)}")
        head = embed if shape.tied else weights["lm_head.weight"]
        self._embed = embed.to(dtype)
        self._head = _fold(head[:vocab], weights["model.norm.weight"], dtype)
        self._layers = [_fuse_layer(weights, i, dtype) for i in range(shape.layers)]
        self._rotation = _rotation_table(shape, context).to(dtype)
        # norm(x) = x * sqrt(n) / sqrt(|x|^2 + n * eps): hypot gives the root, and sqrt(n) is in the weights.
        self._norm_floor = torch.tensor(math.sqrt(shape.hidden * shape.norm_eps))

    def _logits(self, tokens: Tensor, mask: Tensor | None, keep: int) -> Tensor:
        (rows, block), shape = tokens.shape, self.shape
        cos, sin = self._rotation[self.cache.positions].unbind(2)  # (rows, block, all heads, head_dim)
        x = F.embedding(tokens, self._embed).float()  # (rows, block, hidden); the residual stays in float32
        if mask is not None:
            mask = mask.repeat(1, 1, shape.heads // shape.kv_heads, 1)
        for i, layer in enumerate(self._layers):
            qkv = F.linear(self._norm(x), layer.qkv, layer.qkv_bias).view(rows, block, -1, shape.head_dim)
            qkv = torch.addcmul(qkv * cos, qkv.roll(shape.head_dim // 2, -1), sin)
            x = x + F.linear(self._attend(i, qkv, mask), layer.out)
            gate, up = F.linear(self._norm(x), layer.gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
        return F.linear(self._norm(x[:, block - keep :]), self._head)  # (rows, keep, vocab)

    def _attend(self, layer: int, qkv: Tensor, mask: Tensor | None) -> Tensor:
        """(rows, block, all heads, head_dim) -> (rows, block, heads * head_dim)."""
        (rows, block, _, dim), kv_heads = qkv.shape, self.shape.kv_heads
        heads = self.shape.heads
        new = qkv[:, :, heads:].view(rows, block, 2, kv_heads, dim)
        keys, values = self.cache.write(layer, new)  # (rows, kv_heads, end, head_dim)
        # The query heads that share a key head stand one after the other where the query positions would.
        query = qkv[:, :, :heads].reshape(rows, block, kv_heads, -1, dim).permute(0, 2, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(
            query.reshape(rows, kv_heads, -1, dim), keys, values, attn_mask=mask
        )
        return mixed.view(rows, kv_heads, -1, block, dim).permute(0, 3, 1, 2, 4).reshape(rows, block, -1)

    def _norm(self, x: Tensor) -> Tensor:
        """RMS norm without its weight and its sqrt(hidden), which stand in the next matrix."""
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return (x / torch.hypot(size, self._norm_floor)).to(self._dtype)


def _fuse_layer(weights: Mapping[str, Tensor], index: int, dtype: torch.dtype) -> FusedLayer:
    def of(name: str) -> Tensor:
        return weights[f"model.layers.{index}.{name}"]

    qkv = torch.cat([of(f"self_attn.{p}_proj.weight") for p in "qkv"])
    gate_up = torch.cat([of("mlp.gate_proj.weight"), of("mlp.up_proj.weight")])
    return FusedLayer(
        qkv=_fold(qkv, of("input_layernorm.weight"), dtype),
        qkv_bias=torch.cat([of(f"self_attn.{p}_proj.bias") for p in "qkv"]).to(dtype),
        out=of("self_attn.o_proj.weight").to(dtype),
        gate_up=_fold(gate_up, of("post_attention_layernorm.weight"), dtype),
        down=of("mlp.down_proj.weight").to(dtype),
    )


def _fold(weight: Tensor, norm: Tensor, dtype: torch.dtype) -> Tensor:
    """`weight` (out, hidden) with the norm's weight and sqrt(hidden) in its columns, rounded once."""
    return (weight.float() * (norm.float() * math.sqrt(norm.shape[0]))).to(dtype)


def _rotation_table(shape: Shape, context: int) -> Tensor:
    """(context, 2, all heads, head_dim): factors of x and of x with halves swapped, 1 and 0 for values."""
    half = shape.head_dim // 2
    frequencies = 1.0 / shape.rope_theta ** (torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
    angles = torch.arange(context).float()[:, None] * frequencies  # (context, half)
    rotated = shape.heads + shape.kv_heads
    table = torch.zeros(context, 2, rotated + shape.kv_heads, shape.head_dim)
    table[:, 0] = 1
    table[:, 0, :rotated] = angles.cos().repeat(1, 2)[:, None]
    table[:, 1, :rotated, :half] = -angles.sin()[:, None]
    table[:, 1, :rotated, half:] = angles.sin()[:, None]
    return table
