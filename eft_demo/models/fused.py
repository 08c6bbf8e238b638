"""One-token steps of Qwen2-shaped models on a CPU, written by hand: about half the library's time.

A tiny model on a CPU spends its time between the kernels, so this path has few of them: the query, key and
value weights are one matrix, so are gate and up; the weights of the norms are folded into the matrices that
follow; the rotation reads one table. Blocks longer than one token take the library's path. Tests hold the two
paths together.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen2ForCausalLM

from eft_demo.models.hf import TransformersModel


@dataclass(frozen=True, slots=True)
class FusedLayer:
    """Weights of one layer. `heads` counts query, key and value heads together."""

    qkv: Tensor  # (heads * head_dim, hidden), norm folded in
    qkv_bias: Tensor  # (heads * head_dim,)
    out: Tensor  # (hidden, query_heads * head_dim)
    gate_up: Tensor  # (2 * feed_forward, hidden), norm folded in
    down: Tensor  # (hidden, feed_forward)


class FusedQwen2(TransformersModel):
    """`TransformersModel` whose one-token step is hand-written. Same weights, same cache, same answers."""

    def __init__(self, name: str, model: Qwen2ForCausalLM, context: int, vocab: int) -> None:
        super().__init__(name, model, context, vocab)
        config = model.config
        self._kv_heads = config.num_key_value_heads
        self._query_heads = config.num_attention_heads
        self._head_dim = config.hidden_size // config.num_attention_heads
        self._dtype = model.dtype
        with torch.inference_mode():
            self._layers = [_fuse_layer(layer) for layer in model.model.layers]
            self._embed = model.model.embed_tokens.weight.detach()
            self._head = _fold(model.lm_head.weight, model.model.norm.weight)[:vocab].contiguous()
            self._rotation = self._rotation_table()
        # norm(x) = x * sqrt(n) / sqrt(|x|^2 + n * eps): hypot gives the root, and sqrt(n) is in the weights.
        self._norm_floor = torch.tensor(math.sqrt(config.hidden_size * config.rms_norm_eps))

    def _rotation_table(self) -> Tensor:
        """(context, 2, heads, head_dim): factors of x and of x with its halves swapped."""
        positions = torch.arange(self.context)[None]
        cos, sin = self.model.model.rotary_emb(torch.zeros(1, dtype=self._dtype), positions)
        sign = torch.ones(self._head_dim, dtype=self._dtype)
        sign[: self._head_dim // 2] = -1
        rotated = self._query_heads + self._kv_heads
        table = torch.zeros(self.context, 2, rotated + self._kv_heads, self._head_dim, dtype=self._dtype)
        table[:, 0] = 1
        table[:, 0, :rotated] = cos[0][:, None]
        table[:, 1, :rotated] = (sin[0] * sign)[:, None]
        return table

    def _logits(self, tokens: Tensor, mask: Tensor | None, keep: int) -> Tensor:
        if tokens.shape[1] > 1:
            return super()._logits(tokens, mask, keep)
        rows, groups = tokens.shape[0], self._query_heads // self._kv_heads
        cache, dim = self.cache, self._head_dim
        row_index, position = cache.row_index[:, 0], cache.positions[:, 0]
        cos, sin = self._rotation[position].unbind(1)  # (rows, heads, head_dim)
        x = F.embedding(tokens[:, 0], self._embed).float()  # (rows, hidden); the residual stays in float32
        for layer, store in zip(self._layers, cache.store, strict=True):
            qkv = F.linear(self._norm(x), layer.qkv, layer.qkv_bias).view(rows, -1, dim)
            qkv = torch.addcmul(qkv * cos, qkv.roll(dim // 2, -1), sin)
            store[row_index, :, :, position] = qkv[:, self._query_heads :].view(rows, 2, self._kv_heads, dim)
            keys, values = store[cache.rows, :, :, : cache.end].unbind(1)  # (rows, kv_heads, end, head_dim)
            # The query heads that share a key head stand where the query positions would.
            query = qkv[:, : self._query_heads].reshape(rows, self._kv_heads, groups, dim)
            mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
            x = x + F.linear(mixed.reshape(rows, -1), layer.out)
            gate, up = F.linear(self._norm(x), layer.gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, layer.down)
        return F.linear(self._norm(x), self._head)[:, None]  # (rows, 1, vocab)

    def _norm(self, x: Tensor) -> Tensor:
        """RMS norm without its weight and its sqrt(hidden), which stand in the next matrix."""
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return (x / torch.hypot(size, self._norm_floor)).to(self._dtype)


def is_fusable(model: object) -> bool:
    """Whether `FusedQwen2` can run this model: Qwen2, every layer full attention, SiLU."""
    if not isinstance(model, Qwen2ForCausalLM):
        return False
    config = model.config
    return set(config.layer_types) == {"full_attention"} and config.hidden_act == "silu"


def _fold(weight: Tensor, norm: Tensor) -> Tensor:
    """`weight` (out, hidden) with the norm's weight and sqrt(hidden) in its columns, rounded once."""
    scale = norm.float() * math.sqrt(norm.shape[0])
    return (weight.float() * scale).to(weight.dtype)


def _fuse_layer(layer: Any) -> FusedLayer:
    attention, mlp = layer.self_attn, layer.mlp
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    qkv = torch.cat([p.weight for p in projections])
    gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
    return FusedLayer(
        qkv=_fold(qkv, layer.input_layernorm.weight),
        qkv_bias=torch.cat([p.bias for p in projections]),
        out=attention.o_proj.weight.detach(),
        gate_up=_fold(gate_up, layer.post_attention_layernorm.weight),
        down=mlp.down_proj.weight.detach(),
    )
