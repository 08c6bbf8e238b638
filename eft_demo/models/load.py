"""Loads a family's checkpoints as models. Reads safetensors and GGUF only, and runs no code from them."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from safetensors.torch import load_file

from eft_demo.errors import EFTError, FamilyError, OutOfMemory, error_text
from eft_demo.families.checkpoint import Checkpoint, read_config
from eft_demo.families.family import Family
from eft_demo.families.hub import QUIET, Watcher
from eft_demo.families.weights import WEIGHTS, headers
from eft_demo.models import llama_cpp
from eft_demo.models.backend import Backend, LoadOptions
from eft_demo.models.fused import FusedQwen2, group_equal_shapes
from eft_demo.models.fused_weights import fusable_shape, is_fusable
from eft_demo.models.lora import AdapterGroup, read_adapter
from eft_demo.models.memory import CPU, free_unused, is_out_of_memory, out_of_memory
from eft_demo.models.norms import fuse_norms
from eft_demo.models.plan import Plan
from eft_demo.models.protocol import LanguageModel, ModelGroup
from eft_demo.models.quantise import NONE, check_shapes
from eft_demo.models.shape import longest_row
from eft_demo.settings import Settings

log = logging.getLogger(__name__)


def load_models(
    family: Family,
    dtype: torch.dtype,
    roles: Iterable[str] | None = None,
    plan: Plan | None = None,
    watcher: Watcher = QUIET,
    settings: Settings | None = None,
) -> dict[str, LanguageModel]:
    """Load one model per role (default: all roles of the family), placed by the plan or else on the CPU.

    `settings` say how to reach servers. Raises FamilyError for weights that do not fit, OutOfMemory,
    Cancelled, and RemoteError.
    """
    chosen = [family.roles[role] for role in (family.roles if roles is None else roles)]
    options_by_role = {
        p.role: LoadOptions(p.dtype, p.quantisation, p.device) for p in (plan.placements if plan else ())
    }
    total = sum(p.weights_bytes for p in plan.placements) if plan else 0
    others: dict[str, list[Checkpoint]] = {}  # adapters and same_as, by the role of their base
    for checkpoint in chosen:
        if checkpoint.loaded_with is not None and checkpoint.server is None:
            others.setdefault(checkpoint.loaded_with, []).append(checkpoint)
    models: dict[str, LanguageModel] = {}
    done = 0
    for role in dict.fromkeys(_loading(checkpoint) for checkpoint in chosen):
        watcher.report("load", role, done, total)
        options = options_by_role.get(role, LoadOptions(dtype))
        if family.roles[role].server is not None:
            models[role] = _connect(family, family.roles[role], settings or Settings())
        elif role in others:
            models |= _load_group(family, family.roles[role], others[role], options)
        else:
            models[role] = load_model(family, family.roles[role], options)
        done += plan.of(role).weights_bytes if plan else 0
    watcher.report("load", family.name, done, total)
    group_equal_shapes(models.values())
    return {checkpoint.role: models[checkpoint.role] for checkpoint in chosen}


def _loading(checkpoint: Checkpoint) -> str:
    """The role that is loaded for this one. A server needs no sharing: each role has its own connection."""
    return checkpoint.role if checkpoint.server else checkpoint.loaded_with or checkpoint.role


def _connect(family: Family, checkpoint: Checkpoint, settings: Settings) -> LanguageModel:
    # Only few families need an HTTP client.
    from eft_demo.models.remote import connect  # noqa: PLC0415

    return connect(family, checkpoint, settings)


def group_models(models: Mapping[str, LanguageModel]) -> tuple[ModelGroup, ...]:
    """The groups among `models` whose members can share a forward."""
    groups: dict[ModelGroup, None] = {}
    for model in models.values():
        if group := getattr(model, "group", None):
            groups[group] = None
    return tuple(groups)


def load_model(family: Family, checkpoint: Checkpoint, options: LoadOptions) -> LanguageModel:
    """Load the checkpoint with the first backend that fits it. Raises FamilyError or OutOfMemory."""
    try:
        config = {} if checkpoint.is_gguf else read_config(checkpoint.path)
        fitting = (backend for backend in BACKENDS if backend.fits(checkpoint, config, options))
        chosen = LIBRARY if options.by_library else next(fitting)
        return _after_trial_step(chosen.load(family, checkpoint, options))
    except EFTError:
        raise
    except Exception as error:  # broken files can make the libraries raise anything
        log.debug("The model %s cannot be loaded", checkpoint.role, exc_info=True)
        if is_out_of_memory(error):
            failure: FamilyError | OutOfMemory = out_of_memory(checkpoint.role, "be loaded")
        else:
            failure = FamilyError(
                f"The model {checkpoint.role} in {checkpoint.path} cannot be loaded ({error_text(error)}). "
                + checkpoint.advice
            )
    # Outside the handler, because the traceback would keep partly loaded weights alive.
    free_unused()
    raise failure


def _load_group(
    family: Family, base: Checkpoint, others: Iterable[Checkpoint], options: LoadOptions
) -> dict[str, LanguageModel]:
    """Load a base with transformers, which adapters require, and make a model for each other role.

    A role of the same model is an adapter that changes nothing: it has rows of its own in the base's cache.
    """
    model: Any = load_model(family, base, replace(options, by_library=True))
    adapters = {
        other.role: read_adapter(other.path, model.model, base.repo) if other.adapter_of else {}
        for other in others
    }
    group = AdapterGroup(model, adapters)
    return {base.role: model, **group.models()}


def _fits_fused(checkpoint: Checkpoint, config: Mapping[str, Any], options: LoadOptions) -> bool:
    plain = options.quantisation == NONE and options.device == CPU
    return plain and is_fusable(checkpoint.path, config)


def _load_fused(family: Family, checkpoint: Checkpoint, options: LoadOptions) -> LanguageModel:
    shape = fusable_shape(read_config(checkpoint.path))
    assert shape is not None  # or it would not fit
    weights = load_file(checkpoint.path / WEIGHTS)
    context = min(family.context, shape.context)
    return FusedQwen2(checkpoint.role, shape, weights, context, family.vocab, options.dtype)


def _load_by_library(family: Family, checkpoint: Checkpoint, options: LoadOptions) -> LanguageModel:
    # Importing transformers takes seconds, and the bundled family does not need it.
    from eft_demo.models.hf import GraphedModel, TransformersModel, read_pretrained  # noqa: PLC0415

    check_shapes(checkpoint.role, headers(checkpoint.path), options.quantisation, options.device == CPU)
    model = read_pretrained(checkpoint.path, options.dtype, options.quantisation, options.device)
    context = longest_row(read_config(checkpoint.path), family.context)
    kind = TransformersModel
    if options.device.startswith("cuda"):  # one spread over several GPUs waits between them: it has no graphs
        fuse_norms(model)
        kind = GraphedModel
    return kind(checkpoint.role, model, context, family.vocab, options.dtype)


def _after_trial_step(model: LanguageModel) -> LanguageModel:
    """The model after a trial step, so that parts that do not fit together fail here, not in a run."""
    slot = model.join()
    model.forward([slot], torch.zeros(1, 2, dtype=torch.int64))
    model.leave(slot)
    return model


# The first backend that fits loads a checkpoint. LIBRARY fits all that families accept, so it is the last.
LIBRARY = Backend(lambda checkpoint, config, options: True, _load_by_library)
BACKENDS = (
    Backend(_fits_fused, _load_fused),
    Backend(lambda checkpoint, config, options: checkpoint.is_gguf, llama_cpp.load),
    LIBRARY,
)
