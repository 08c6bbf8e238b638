"""From a family's checkpoints to models ready for rows. Safetensors only, no code from checkpoints."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from eft_demo.errors import FamilyError
from eft_demo.families.family import WAY_OUT, Checkpoint, Family
from eft_demo.models.fused import FusedQwen2, Shape, fusable_shape
from eft_demo.models.lora import AdapterGroup, AdapterModel, read_adapter
from eft_demo.models.protocol import LanguageModel, ModelGroup

BROKEN = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)  # what bad files make


def load_models(
    family: Family, dtype: torch.dtype, roles: Iterable[str] | None = None
) -> dict[str, LanguageModel]:
    """One model per role (default: all of the family's). Raises FamilyError for weights that do not fit."""
    chosen = [family.roles[role] for role in (family.roles if roles is None else roles)]
    adapters: dict[str, list[Checkpoint]] = {}  # by the role of their base
    for checkpoint in chosen:
        if checkpoint.adapter_of is not None:
            adapters.setdefault(checkpoint.adapter_of, []).append(checkpoint)
    models: dict[str, LanguageModel] = {}
    for role, group in adapters.items():
        models |= _load_with_adapters(family, family.roles[role], group, dtype)
    return {c.role: models.get(c.role) or load_model(family, c, dtype) for c in chosen}


def group_models(models: Mapping[str, LanguageModel]) -> tuple[ModelGroup, ...]:
    """The groups among `models` whose members can share a forward."""
    return tuple({model.group: None for model in models.values() if isinstance(model, AdapterModel)})


def load_model(
    family: Family, checkpoint: Checkpoint, dtype: torch.dtype, fused: bool = True
) -> LanguageModel:
    """The checkpoint with the fastest path that fits it, or the library's. Raises FamilyError."""
    try:
        config = json.loads((checkpoint.path / "config.json").read_text(encoding="utf-8"))
        shape = fusable_shape(config)
        if shape is None or not fused:
            return _load_by_library(family, checkpoint, dtype)
        return _load_fused(family, checkpoint, dtype, shape)
    except BROKEN as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} cannot be loaded ({reason}). {WAY_OUT}"
        ) from None


def _load_with_adapters(
    family: Family, base: Checkpoint, adapters: Iterable[Checkpoint], dtype: torch.dtype
) -> dict[str, LanguageModel]:
    """A base by the library's path, which adapters can be hung on, and a model for each of its adapters."""
    model: Any = load_model(family, base, dtype, fused=False)
    group = AdapterGroup(model, {a.role: read_adapter(a.path, model.model) for a in adapters})
    return {base.role: model, **group.models()}


def _load_fused(family: Family, checkpoint: Checkpoint, dtype: torch.dtype, shape: Shape) -> LanguageModel:
    weights = load_file(checkpoint.path / "model.safetensors")
    context = min(family.context, shape.context)
    model = FusedQwen2(checkpoint.role, shape, weights, context, family.vocab, dtype)
    slot = model.join()
    model.forward([slot], torch.zeros(1, 2, dtype=torch.int64))  # fails here if a matrix has another size
    model.leave(slot)
    return model


def _load_by_library(family: Family, checkpoint: Checkpoint, dtype: torch.dtype) -> LanguageModel:
    # Importing transformers takes seconds, and the bundled family does without.
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    from eft_demo.models.hf import TransformersModel  # noqa: PLC0415

    model, info = AutoModelForCausalLM.from_pretrained(
        checkpoint.path,
        dtype=dtype,
        attn_implementation="sdpa",
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    # The library would fill what is missing with random numbers and go on.
    missing = sorted(str(key) for key in [*info["missing_keys"], *info["mismatched_keys"]])
    if missing:
        raise ValueError(f"{len(missing)} weights are missing or of another size, such as {missing[0]}")
    context = min(family.context, model.config.max_position_embeddings)
    return TransformersModel(checkpoint.role, model, context, family.vocab)
