"""From a family's checkpoints to models ready for rows. Safetensors only, no code from checkpoints."""

import json
from collections.abc import Iterable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from eft_demo.errors import FamilyError
from eft_demo.families.family import WAY_OUT, Checkpoint, Family
from eft_demo.models.fused import FusedQwen2, Shape, fusable_shape
from eft_demo.models.protocol import LanguageModel

BROKEN = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)  # what bad files make


def load_models(
    family: Family, dtype: torch.dtype, roles: Iterable[str] | None = None
) -> dict[str, LanguageModel]:
    """One model per role (default: all of the family's). Raises FamilyError for weights that do not fit."""
    chosen = family.roles if roles is None else roles
    return {role: load_model(family, family.roles[role], dtype) for role in chosen}


def load_model(family: Family, checkpoint: Checkpoint, dtype: torch.dtype) -> LanguageModel:
    """The checkpoint with the fastest path that fits it. Raises FamilyError."""
    try:
        config = json.loads((checkpoint.path / "config.json").read_text(encoding="utf-8"))
        shape = fusable_shape(config)
        if shape is None:
            return _load_by_library(family, checkpoint, dtype)
        return _load_fused(family, checkpoint, dtype, shape)
    except BROKEN as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} cannot be loaded ({reason}). {WAY_OUT}"
        ) from None


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
