"""Qwen2-shaped models on the fused pass, alone or side by side."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from eft_demo.models.base import SlotModel, append, step
from eft_demo.models.fused_pass import FusedPass
from eft_demo.models.fused_weights import FusableShape, fuse
from eft_demo.models.kv_cache import SlotCache
from eft_demo.models.protocol import LanguageModel, Slot


class FusedQwen2(SlotModel):
    """A Qwen2 made from its checkpoint's tensors. Raises KeyError or ValueError if they do not fit."""

    def __init__(
        self,
        name: str,
        shape: FusableShape,
        weights: Mapping[str, Tensor],
        context: int,
        vocab: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(name, vocab, _cache(shape, context))
        self.weights = fuse(shape, weights, vocab, dtype)
        self._pass = FusedPass([self.weights], context)
        self.group: SideBySide | None = None

    def _logits(self, tokens: Tensor, mask: Tensor | None, keep: int) -> Tensor:
        return self._pass.logits(self.cache, (len(tokens),), tokens, mask, keep)


class SideBySide:
    """A `ModelGroup` of models of the same shape, such as a small base and several tuned behaviours.

    They share a cache and the whole forward except the products with their own weights; a small model spends
    most of its time outside these products. Up to rounding, results are the same as for each model alone.
    """

    def __init__(self, models: Sequence[FusedQwen2]) -> None:
        """Group models that have no rows yet."""
        first = models[0]
        self.models = {model.name: model for model in models}
        self.members = frozenset(self.models)
        self.cache = _cache(first.weights.shape, first.context, len(models))
        self._passes: dict[tuple[str, ...], FusedPass] = {}
        for section, model in enumerate(models):
            model.group, model.cache, model.section = self, self.cache, section

    def forward(self, parts: Mapping[str, tuple[Sequence[Slot], Tensor]], keep: int = 1) -> dict[str, Tensor]:
        """Append a block to rows of several members: logits (rows, keep, vocab) of each, in one forward."""
        names = tuple(name for name in self.models if name in parts)  # in the order of their sections
        slots = [slot for name in names for slot in parts[name][0]]
        rows = [len(parts[name][0]) for name in names]
        tokens = torch.cat([parts[name][1] for name in names])
        if names not in self._passes:
            models = [self.models[name] for name in names]
            self._passes[names] = FusedPass([model.weights for model in models], models[0].context)
        logits_of = self._passes[names].logits
        logits = step(
            " and ".join(names),
            lambda: append(
                self.cache, slots, tokens, lambda ids, mask: logits_of(self.cache, rows, ids, mask, keep)
            ),
        )
        return dict(zip(names, logits.split(rows), strict=True))


def group_equal_shapes(models: Iterable[LanguageModel]) -> None:
    """Group fused models of the same shape to run side by side. They must have no rows yet."""
    alike: dict[object, list[FusedQwen2]] = {}
    for model in models:
        if isinstance(model, FusedQwen2):
            key = (model.weights.shape, model.weights.dtype, model.context, model.vocab)
            alike.setdefault(key, []).append(model)
    for group in alike.values():
        if len(group) > 1:
            SideBySide(group)


def _cache(shape: FusableShape, context: int, sections: int = 1) -> SlotCache:
    # Always float32: with few tokens, attention is faster this way and needs no conversions.
    return SlotCache(shape.layers, shape.kv_heads, shape.head_dim, context, torch.float32, sections=sections)
