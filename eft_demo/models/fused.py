"""Qwen2-shaped models on a CPU, written by hand: about half the library's time per token.

A tiny model on a CPU spends its time between the kernels, so this path has few of them: the query, key and
value weights are one matrix, so are gate and up; the weights of the norms are folded into the matrices that
follow; the rotation is one product of complex numbers. It needs no transformers, whose import takes seconds.
Tests hold it against the library's forward.
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

MAX_WORKSPACES = 16  # shapes of batches kept at hand: what few people make; a class makes new ones at leisure


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
    """Weights of one layer, each (in, out); its norms are folded into `qkv` and `gate_up`.

    In memory they lie as in checkpoints, (out, in): the other way round few rows take up to twice as long.
    """

    qkv: Tensor  # (hidden, (heads + 2 * kv_heads) * head_dim)
    qkv_bias: Tensor  # ((heads + 2 * kv_heads) * head_dim,)
    out: Tensor  # (heads * head_dim, hidden)
    gate_up: Tensor  # (hidden, 2 * feed_forward)
    down: Tensor  # (feed_forward, hidden)


class Workspace:
    """Where each layer of a forward writes its queries, keys and values, and the ways to look at them.

    Made once for all ticks of the same shape: for a tiny model a view costs as much as a sum.
    """

    def __init__(self, shape: Shape, rows: int, block: int) -> None:
        tokens, dim, turned = rows * block, shape.head_dim, shape.heads + shape.kv_heads
        self.qkv = torch.empty(tokens, (turned + shape.kv_heads) * dim)  # always float32
        heads = self.qkv.view(tokens, -1, dim)
        # The two halves of a head that turn together stand side by side, see `_pair_up`.
        self.turning = torch.view_as_complex(heads[:, :turned].unflatten(2, (-1, 2)))
        self.new = heads[:, shape.heads :].view(tokens, 2, shape.kv_heads, dim)
        # The query heads that share a key head stand one after the other where the query positions would.
        self.query = (
            heads[:, : shape.heads].view(rows, block, shape.kv_heads, -1, dim).permute(0, 2, 3, 1, 4)
        )  # (rows, kv_heads, heads per kv_head, block, head_dim)


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
        self._layers = [_fuse_layer(weights, i, shape, dtype) for i in range(shape.layers)]
        self._rotation = _rotation_table(shape, context)
        # norm(x) = x * sqrt(n) / sqrt(|x|^2 + n * eps): hypot gives the root, and sqrt(n) is in the weights.
        self._norm_floor = torch.tensor(math.sqrt(shape.hidden * shape.norm_eps))
        self._workspaces: dict[tuple[int, int], Workspace] = {}

    def _logits(self, tokens: Tensor, mask: Tensor | None, keep: int) -> Tensor:
        (rows, block), shape = tokens.shape, self.shape
        work = self._workspace(rows, block)
        rotation = self._rotation[self.cache.positions.flatten()].unsqueeze(1)  # (tokens, 1, head_dim / 2)
        x = self._embed[tokens.flatten()].float()  # (tokens, hidden); the residual stays in float32
        if mask is not None:
            mask = mask.repeat(1, 1, shape.heads // shape.kv_heads, 1)
        for i, layer in enumerate(self._layers):
            self._project(x, layer, work)
            work.turning.mul_(rotation)
            x += torch.mm(self._attend(i, work, mask), layer.out)
            gate, up = torch.mm(self._norm(x), layer.gate_up).chunk(2, 1)
            x += torch.mm(F.silu(gate).mul_(up), layer.down)
        last = x.view(rows, block, -1)[:, block - keep :].flatten(0, 1)
        return torch.mm(self._norm(last), self._head).view(rows, keep, -1)

    def _project(self, x: Tensor, layer: FusedLayer, work: Workspace) -> None:
        """Queries, keys and values of every token, into the workspace."""
        if self._dtype == torch.float32:
            torch.addmm(layer.qkv_bias, self._norm(x), layer.qkv, out=work.qkv)
        else:
            work.qkv.copy_(torch.addmm(layer.qkv_bias, self._norm(x), layer.qkv))

    def _attend(self, layer: int, work: Workspace, mask: Tensor | None) -> Tensor:
        """What every token gathers from those before it: (tokens, heads * head_dim)."""
        rows, kv_heads, _, block, dim = work.query.shape
        keys, values = self.cache.write(layer, work.new.to(self._dtype))  # (rows, kv_heads, end, head_dim)
        query = work.query.reshape(rows, kv_heads, -1, dim).to(self._dtype)
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return mixed.view(rows, kv_heads, -1, block, dim).permute(0, 3, 1, 2, 4).reshape(rows * block, -1)

    def _norm(self, x: Tensor) -> Tensor:
        """RMS norm without its weight and its sqrt(hidden), which stand in the next matrix."""
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return (x / torch.hypot(size, self._norm_floor)).to(self._dtype)

    def _workspace(self, rows: int, block: int) -> Workspace:
        if (rows, block) not in self._workspaces:
            if len(self._workspaces) == MAX_WORKSPACES:
                self._workspaces.clear()
            self._workspaces[rows, block] = Workspace(self.shape, rows, block)
        return self._workspaces[rows, block]


def _fuse_layer(weights: Mapping[str, Tensor], index: int, shape: Shape, dtype: torch.dtype) -> FusedLayer:
    def of(name: str) -> Tensor:
        return weights[f"model.layers.{index}.{name}"]

    def qkv(kind: str) -> Tensor:
        q, k, v = (of(f"self_attn.{name}_proj.{kind}") for name in "qkv")
        return torch.cat([_pair_up(q, shape.head_dim), _pair_up(k, shape.head_dim), v])

    gate_up = torch.cat([of("mlp.gate_proj.weight"), of("mlp.up_proj.weight")])
    return FusedLayer(
        qkv=_fold(qkv("weight"), of("input_layernorm.weight"), dtype),
        qkv_bias=qkv("bias").to(dtype),
        out=of("self_attn.o_proj.weight").to(dtype).t(),
        gate_up=_fold(gate_up, of("post_attention_layernorm.weight"), dtype),
        down=of("mlp.down_proj.weight").to(dtype).t(),
    )


def _pair_up(weight: Tensor, head_dim: int) -> Tensor:
    """Queries or keys (heads * head_dim, ...), in each head number i + head_dim / 2 right after number i.

    The library turns these two together. Side by side they are one complex number, and the products of
    queries and keys do not mind the order.
    """
    return weight.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)


def _fold(weight: Tensor, norm: Tensor, dtype: torch.dtype) -> Tensor:
    """`weight` (out, hidden) -> (hidden, out) with the norm's weight and sqrt(hidden) in it, rounded once."""
    return (weight.float() * (norm.float() * math.sqrt(norm.shape[0]))).to(dtype).t()


def _rotation_table(shape: Shape, context: int) -> Tensor:
    """(context, head_dim / 2) complex: what a query or a key at each position is multiplied with."""
    frequencies = 1.0 / shape.rope_theta ** (torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
    angles = torch.arange(context).float()[:, None] * frequencies
    return torch.polar(torch.ones_like(angles), angles)
