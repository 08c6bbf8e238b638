"""A hand-written forward of Qwen2-shaped models on a CPU; takes about half the library's time per token.

A tiny model on a CPU spends most of its time between kernels, so this pass uses few of them and prepares what
it can: the rotary embedding is one complex product, and results are written where the next kernel reads them.
Several models of the same shape run side by side: everything except the products with their own weights is
done for all rows at once. It avoids importing transformers, which takes seconds. Tests compare the two.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from eft_demo.models.fused_weights import FusableShape, FusedWeights
from eft_demo.models.kv_cache import SlotCache

MAX_WORKSPACES = 16  # cached batch shapes: enough for a few users; larger groups rebuild some now and then
BESIDE = 16  # columns next to the residual; only the first is used, the rest keep rows aligned


class Workspace:
    """The buffers that every layer of a forward reuses, and views of them: (tokens, ...) each.

    Created once per batch shape, because for a tiny model creating a view costs as much as an addition. The
    `..._parts` have one entry per model.
    """

    def __init__(self, shape: FusableShape, dtype: torch.dtype, cuts: Sequence[int], block: int) -> None:
        tokens, dim, turned = sum(cuts), shape.head_dim, shape.heads + shape.kv_heads
        # The residual in float32, followed by the constant that keeps its norm above 0:
        # x / sqrt(mean(x^2) + eps) = x * sqrt(n) / |(x, sqrt(n * eps))|, where sqrt(n) is in the weights.
        self.floored = torch.zeros(tokens, shape.hidden + BESIDE)
        self.floored[:, shape.hidden] = math.sqrt(shape.hidden * shape.norm_eps)
        self.x = self.floored[:, : shape.hidden]
        self.x_parts = self.x.split(cuts)
        self.normed = torch.empty(tokens, shape.hidden, dtype=dtype)
        self.normed_parts = self.normed.split(cuts)
        self.qkv = torch.empty(tokens, (turned + shape.kv_heads) * dim, dtype=dtype)
        self.qkv_parts = self.qkv.split(cuts)
        self.wide = self.qkv.float()  # the same tensor if it is float32, else a buffer for a copy
        heads = self.wide.view(tokens, -1, dim)
        # The two numbers of a head that are rotated together are adjacent, see `_pair_up`.
        self.turning = torch.view_as_complex(heads[:, :turned].unflatten(2, (-1, 2)))
        self.new = heads[:, shape.heads :].view(tokens, 2, shape.kv_heads, dim)
        # The query heads that share a key head are laid out along the dimension of the query positions.
        query = heads[:, : shape.heads].view(-1, block, shape.kv_heads, shape.heads // shape.kv_heads, dim)
        self.query = query.permute(0, 2, 3, 1, 4)  # (rows, kv_heads, heads per kv_head, block, head_dim)
        self.mixed = torch.empty(tokens, shape.heads * dim, dtype=dtype)
        self.mixed_heads = self.mixed.view(query.shape).permute(0, 2, 3, 1, 4)
        self.mixed_parts = self.mixed.split(cuts)
        gate_up = torch.empty(tokens, 2 * shape.feed_forward, dtype=dtype)
        self.gate_up_parts = gate_up.split(cuts)
        self.gate, self.up = gate_up.chunk(2, 1)
        self.opened = torch.empty(tokens, shape.feed_forward, dtype=dtype)
        self.opened_parts = self.opened.split(cuts)


class FusedPass:
    """The forward of one model, or of several models of the same shape, each with its own rows."""

    def __init__(self, models: Sequence[FusedWeights], context: int) -> None:
        self.models = models
        self.shape, self.dtype = models[0].shape, models[0].dtype
        self._layers = list(zip(*(model.layers for model in models), strict=True))
        self._rotation = _rotation_table(self.shape, context)
        self._workspaces: dict[tuple[int, ...], Workspace] = {}

    def logits(
        self, cache: SlotCache, rows: Sequence[int], tokens: Tensor, mask: Tensor | None, keep: int
    ) -> Tensor:
        """(all rows, block) -> (all rows, keep, vocab); `rows` is how many of them belong to each model."""
        block = tokens.shape[1]
        work = self._workspace(rows, block)
        rotation = self._rotation[cache.positions.flatten()].unsqueeze(1)  # (tokens, 1, head_dim / 2)
        if mask is not None:
            mask = mask.repeat(1, 1, self.shape.heads // self.shape.kv_heads, 1)
        ids = tokens.flatten().split([len(x) for x in work.x_parts])
        for model, own, x in zip(self.models, ids, work.x_parts, strict=True):
            x.copy_(F.embedding(own, model.embed))
        for i, layers in enumerate(self._layers):
            _norm(work.floored, work.x, work.normed)
            for layer, own, qkv in zip(layers, work.normed_parts, work.qkv_parts, strict=True):
                torch.addmm(layer.qkv_bias, own, layer.qkv, out=qkv)
            self._attend(cache, i, work, rotation, mask)
            for layer, own, x in zip(layers, work.mixed_parts, work.x_parts, strict=True):
                _add_product(x, own, layer.out)
            _norm(work.floored, work.x, work.normed)
            for layer, own, gate_up in zip(layers, work.normed_parts, work.gate_up_parts, strict=True):
                torch.mm(own, layer.gate_up, out=gate_up)
            torch.mul(F.silu(work.gate), work.up, out=work.opened)
            for layer, own, x in zip(layers, work.opened_parts, work.x_parts, strict=True):
                _add_product(x, own, layer.down)
        return self._head(work, rows, block, keep)

    def _attend(
        self, cache: SlotCache, layer: int, work: Workspace, rotation: Tensor, mask: Tensor | None
    ) -> None:
        """Attention of one layer."""
        if work.wide is not work.qkv:
            work.wide.copy_(work.qkv)
        work.turning.mul_(rotation)
        keys, values = cache.write(layer, work.new)  # (rows, kv_heads, end, head_dim)
        query = work.query.flatten(2, 3)
        mixed = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        work.mixed_heads.copy_(mixed.view(work.mixed_heads.shape))

    def _head(self, work: Workspace, rows: Sequence[int], block: int, keep: int) -> Tensor:
        _norm(work.floored, work.x, work.normed)
        last = work.normed.unflatten(0, (-1, block))[:, block - keep :].flatten(0, 1)
        vocab = self.models[0].head.shape[1]
        logits = torch.empty(len(last), vocab, dtype=self.dtype)
        cuts = [n * keep for n in rows]
        for model, own, out in zip(self.models, last.split(cuts), logits.split(cuts), strict=True):
            torch.mm(own, model.head, out=out)
        return logits.view(-1, keep, vocab)

    def _workspace(self, rows: Sequence[int], block: int) -> Workspace:
        key = (*rows, block)
        if key not in self._workspaces:
            if len(self._workspaces) == MAX_WORKSPACES:
                self._workspaces.clear()
            self._workspaces[key] = Workspace(self.shape, self.dtype, [n * block for n in rows], block)
        return self._workspaces[key]


def _norm(floored: Tensor, x: Tensor, normed: Tensor) -> None:
    """RMS norm without its weight and its sqrt(hidden), which are folded into the next matrix."""
    torch.div(x, torch.linalg.vector_norm(floored, dim=1, keepdim=True), out=normed)


def _add_product(x: Tensor, own: Tensor, weight: Tensor) -> None:
    """x += own @ weight."""
    if weight.dtype == x.dtype:
        x.addmm_(own, weight)
    else:
        x.add_(torch.mm(own, weight))


def _rotation_table(shape: FusableShape, context: int) -> Tensor:
    """(context, head_dim / 2) complex: the factors for queries and keys at each position."""
    frequencies = 1.0 / shape.rope_theta ** (torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
    angles = torch.arange(context).float()[:, None] * frequencies
    return torch.polar(torch.ones_like(angles), angles)
