"""From a family's checkpoints to models ready for rows. Safetensors only, no code from checkpoints."""

from collections.abc import Iterable

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from eft_demo.errors import FamilyError
from eft_demo.families.family import WAY_OUT, Checkpoint, Family
from eft_demo.models.fused import FusedQwen2, is_fusable
from eft_demo.models.hf import TransformersModel
from eft_demo.models.protocol import LanguageModel


def load_models(
    family: Family, dtype: torch.dtype, roles: Iterable[str] | None = None
) -> dict[str, LanguageModel]:
    """One model per role (default: all of the family's). Raises FamilyError for weights that do not fit."""
    transformers_logging.disable_progress_bar()
    chosen = family.roles if roles is None else roles
    return {role: load_model(family, family.roles[role], dtype) for role in chosen}


def load_model(family: Family, checkpoint: Checkpoint, dtype: torch.dtype) -> LanguageModel:
    """The checkpoint with the fastest path that fits it. Raises FamilyError."""
    model = _read(checkpoint, dtype)
    context = min(family.context, model.config.max_position_embeddings)
    kind = FusedQwen2 if is_fusable(model) else TransformersModel
    return kind(checkpoint.role, model, context, family.vocab)


def _read(checkpoint: Checkpoint, dtype: torch.dtype) -> PreTrainedModel:
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            checkpoint.path,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} cannot be loaded ({reason}). {WAY_OUT}"
        ) from None
    # The library would fill what is missing with random numbers and go on.
    missing = sorted(str(key) for key in [*info["missing_keys"], *info["mismatched_keys"]])
    if missing:
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} lacks {len(missing)} of its weights, such as "
            f"{missing[0]}. {WAY_OUT}"
        )
    return model
