"""Loads a family's checkpoints as models. Reads safetensors and GGUF only, and runs no code from them."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import load_file

from eft_demo.errors import EFTError, FamilyError, OutOfMemory
from eft_demo.families.checkpoint import Checkpoint, read_config
from eft_demo.families.family import Family
from eft_demo.families.hub import QUIET, Watcher
from eft_demo.families.weights import WEIGHTS, headers
from eft_demo.models import llama_cpp
from eft_demo.models.backend import Backend, How
from eft_demo.models.fused import FusedQwen2, join_equals
from eft_demo.models.fused_weights import fusable_shape
from eft_demo.models.lora import AdapterGroup, read_adapter
from eft_demo.models.memory import CPU, free_unused, is_out_of_memory, out_of_memory
from eft_demo.models.plan import Plan
from eft_demo.models.protocol import LanguageModel, ModelGroup
from eft_demo.models.quantise import NONE, check_shapes

log = logging.getLogger(__name__)


def load_models(
    family: Family,
    dtype: torch.dtype,
    roles: Iterable[str] | None = None,
    plan: Plan | None = None,
    watcher: Watcher = QUIET,
) -> dict[str, LanguageModel]:
    """Load one model per role (default: all roles of the family), placed by the plan or else on the CPU.

    Raises FamilyError for weights that do not fit, OutOfMemory, and Cancelled.
    """
    chosen = [family.roles[role] for role in (family.roles if roles is None else roles)]
    hows = {p.role: How(p.dtype, p.quantisation, p.device) for p in (plan.placements if plan else ())}
    total = sum(p.weights_bytes for p in plan.placements) if plan else 0
    adapters: dict[str, list[Checkpoint]] = {}  # by the role of their base
    for checkpoint in chosen:
        if checkpoint.adapter_of is not None:
            adapters.setdefault(checkpoint.adapter_of, []).append(checkpoint)
    models: dict[str, LanguageModel] = {}
    done = 0
    for role in dict.fromkeys(checkpoint.adapter_of or checkpoint.role for checkpoint in chosen):
        watcher.tell("load", role, done, total)
        how = hows.get(role, How(dtype))
        if role in adapters:
            models |= _load_with_adapters(family, family.roles[role], adapters[role], how)
        else:
            models[role] = load_model(family, family.roles[role], how)
        done += plan.of(role).weights_bytes if plan else 0
    watcher.tell("load", family.name, done, total)
    join_equals(models.values())
    return {checkpoint.role: models[checkpoint.role] for checkpoint in chosen}


def group_models(models: Mapping[str, LanguageModel]) -> tuple[ModelGroup, ...]:
    """The groups among `models` whose members can share a forward."""
    groups: dict[ModelGroup, None] = {}
    for model in models.values():
        if group := getattr(model, "group", None):
            groups[group] = None
    return tuple(groups)


def load_model(family: Family, checkpoint: Checkpoint, how: How) -> LanguageModel:
    """Load the checkpoint with the first backend that fits it. Raises FamilyError or OutOfMemory."""
    try:
        config = {} if checkpoint.is_gguf else read_config(checkpoint.path)
        fitting = (backend for backend in BACKENDS if backend.fits(checkpoint, config, how))
        chosen = LIBRARY if how.by_library else next(fitting)
        return _tried(chosen.load(family, checkpoint, how))
    except EFTError:
        raise
    except Exception as error:  # broken files can make the libraries raise anything
        log.debug("The model %s cannot be loaded", checkpoint.role, exc_info=True)
        if is_out_of_memory(error):
            failure: FamilyError | OutOfMemory = out_of_memory(checkpoint.role, "be loaded")
        else:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            failure = FamilyError(
                f"The model {checkpoint.role} in {checkpoint.path} cannot be loaded ({reason}). "
                + checkpoint.way_out
            )
    # Outside the handler, because the traceback would keep partly loaded weights alive.
    free_unused()
    raise failure


def _load_with_adapters(
    family: Family, base: Checkpoint, adapters: Iterable[Checkpoint], how: How
) -> dict[str, LanguageModel]:
    """Load a base with transformers, which adapters require, and make a model for each adapter."""
    model: Any = load_model(family, base, replace(how, by_library=True))
    group = AdapterGroup(model, {a.role: read_adapter(a.path, model.model, base.repo) for a in adapters})
    return {base.role: model, **group.models()}


def _fits_fused(checkpoint: Checkpoint, config: Mapping[str, Any], how: How) -> bool:
    plain = how.quantisation == NONE and how.device == CPU and not config.get("quantization_config")
    return plain and fusable_shape(config) is not None and (checkpoint.path / WEIGHTS).is_file()


def _load_fused(family: Family, checkpoint: Checkpoint, how: How) -> LanguageModel:
    shape = fusable_shape(read_config(checkpoint.path))
    assert shape is not None  # or it would not fit
    weights = load_file(checkpoint.path / WEIGHTS)
    context = min(family.context, shape.context)
    return FusedQwen2(checkpoint.role, shape, weights, context, family.vocab, how.dtype)


def _load_by_library(family: Family, checkpoint: Checkpoint, how: How) -> LanguageModel:
    # Importing transformers takes seconds, and the bundled family does not need it.
    from eft_demo.models.hf import TransformersModel, read_pretrained  # noqa: PLC0415

    check_shapes(checkpoint.role, headers(checkpoint.path), how.quantisation, how.device == CPU)
    model = read_pretrained(checkpoint.path, how.dtype, how.quantisation, how.device)
    limit = getattr(model.config, "max_position_embeddings", None) or family.context
    context = min(family.context, limit)
    return TransformersModel(checkpoint.role, model, context, family.vocab, how.dtype)


def _tried(model: LanguageModel) -> LanguageModel:
    """The model after a trial step, so that parts that do not fit together fail here, not in a run."""
    slot = model.join()
    model.forward([slot], torch.zeros(1, 2, dtype=torch.int64))
    model.leave(slot)
    return model


# Whoever stands first and fits takes the checkpoint; the library takes all that families accept.
LIBRARY = Backend(lambda checkpoint, config, how: True, _load_by_library)
BACKENDS = (
    Backend(_fits_fused, _load_fused),
    Backend(lambda checkpoint, config, how: checkpoint.is_gguf, llama_cpp.load),
    LIBRARY,
)
