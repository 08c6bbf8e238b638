"""Reports what quantising the large base saves, and how far its predictions on a fixed text shift.

The two models are loaded one after the other, so it needs no more memory than the larger one. Knows families
and models; knows no recipes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from eft_demo.engine.engine import PREFILL_CHUNK
from eft_demo.errors import InputError
from eft_demo.families.catalogue import find_entry
from eft_demo.families.family import Family, load_family
from eft_demo.families.hub import QUIET, Watcher
from eft_demo.method.mixing import to_logprobs
from eft_demo.models.backend import LoadOptions
from eft_demo.models.hf import TransformersModel
from eft_demo.models.load import load_model
from eft_demo.models.memory import free_unused
from eft_demo.models.open import fetch
from eft_demo.models.plan import make_plan
from eft_demo.models.quantise import NONE
from eft_demo.settings import QUANTISATIONS, Settings, show_value

ROLE = "large_base"
# Facts, dialogue, numbers and code, because rounding affects them differently.
TEXT = """\
The Danube rises in the Black Forest and flows through ten countries before it reaches the Black Sea. Vienna,
Bratislava, Budapest and Belgrade stand on its banks, and it was the northern border of the Roman Empire for
centuries. In 1856 the Treaty of Paris opened its waters to ships of every nation.

"Have you ever seen the source?" she asked. "Only once, in the rain," he said, "and there was little to see."

Iron has the atomic number 26, melts at 1538 degrees Celsius and makes up a third of the Earth's mass. Water
boils at 100 degrees at sea level, but at the top of Mount Everest it boils at about 70.

def mean(values):
    total = 0
    for value in values:
        total += value
    return total / len(values)

Question: What is the capital of Peru? Answer: The capital of Peru is Lima, on the Pacific coast. Its port is
Callao. Question: Who wrote The Tempest? Answer: William Shakespeare, probably in 1610 or 1611.
"""


@dataclass(frozen=True, slots=True)
class Report:
    """The large base before and after. `changed_share` is the share of tokens whose first choice changed."""

    family: str
    quantisation: str
    full_bytes: int
    quantised_bytes: int
    tokens: int
    mean_kl_nats: float  # from the full predictions to the quantised ones
    changed_share: float


def report(settings: Settings, family_name: str, quantisation: str, watcher: Watcher = QUIET) -> Report:
    """Load the large base twice and compare. Raises InputError, FamilyError, OutOfMemory or Cancelled.

    Progress is reported in bytes of weights.
    """
    kinds = [kind for kind in QUANTISATIONS if kind not in ("auto", NONE)]
    if quantisation not in kinds:
        raise InputError(
            f"There is no quantisation {show_value(quantisation)}. Choose one of {', '.join(kinds)}."
        )
    entry = find_entry(family_name, settings)
    if entry.roles[ROLE].is_gguf:
        raise InputError(
            f"The {ROLE} of {entry.title} is a GGUF file, which is loaded as it is. To measure what "
            "quantising changes, please choose a family with safetensors."
        )
    if entry.roles[ROLE].server is not None:
        raise InputError(
            f"The {ROLE} of {entry.title} runs on a server. To measure what quantising changes, please "
            "choose a family whose models are here."
        )
    plan = make_plan(entry, replace(settings, quantisation=NONE))
    plan.check()
    place = plan.of(ROLE)
    folders = {role: fetch(entry, role, watcher) for role in (ROLE, "small_base")}
    family = load_family(entry, settings, folders)
    smaller = make_plan(entry, replace(settings, quantisation=quantisation)).of(ROLE)
    options = LoadOptions(place.dtype, NONE, place.device, by_library=True)
    report = partial(watcher.report, total_bytes=place.weights_bytes + smaller.weights_bytes)
    full_bytes, full = _measure(family, options, partial(report, what=f"{ROLE} as it is"))
    report = partial(report, what=f"{ROLE} in {quantisation}", done_bytes=place.weights_bytes)
    quantised_bytes, quantised = _measure(family, replace(options, quantisation=quantisation), report)
    kl, changed = compare(full, quantised)
    return Report(family.name, quantisation, full_bytes, quantised_bytes, len(full), kl, changed)


def compare(full: Tensor, quantised: Tensor) -> tuple[float, float]:
    """Log-probs (tokens, vocab) of both -> mean KL in nats, share of tokens whose first choice changed."""
    kl = (full.exp() * (full - quantised)).nan_to_num(nan=0.0).sum(1)  # take 0 * (-inf - -inf) as 0
    changed = full.argmax(1) != quantised.argmax(1)
    return float(kl.mean()), float(changed.float().mean())


def to_text(result: Report) -> str:
    """The report in words."""
    ratio = result.full_bytes / result.quantised_bytes
    return (
        f"In {result.quantisation} the large base of {result.family} takes "
        f"{_size(result.quantised_bytes)} instead of {_size(result.full_bytes)}: {ratio:.1f} times smaller. "
        f"Over {result.tokens} tokens of a fixed text its predictions shift by a mean KL of "
        f"{result.mean_kl_nats:.4f} nats, and {result.changed_share:.1%} of its first choices change."
    )


def what_quantising_changes(settings: Settings, watcher: Watcher = QUIET) -> str:
    """The report on the settings' family and quantisation as text. Raises the same errors as `report`."""
    return to_text(report(settings, settings.family, settings.quantisation, watcher))


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _measure(family: Family, options: LoadOptions, report: Callable[[str], None]) -> tuple[int, Tensor]:
    """Bytes of the model and its log-probs (tokens, vocab) on the text. Frees the model's memory.

    `report` is called with the stage at every step, and may raise Cancelled.
    """
    report("load")
    model = load_model(family, family.roles[ROLE], options)
    assert isinstance(model, TransformersModel)
    try:
        return weights_bytes(model), _logprobs(family, model, report)
    finally:
        del model
        free_unused()


def _logprobs(family: Family, model: TransformersModel, report: Callable[[str], None]) -> Tensor:
    ids = [*([family.bos_id] if family.bos_id is not None else []), *family.codec.encode(TEXT)]
    slot, parts = model.join(), []
    for start in range(0, min(len(ids), model.context), PREFILL_CHUNK):
        report("measure")
        chunk = torch.tensor([ids[start : min(start + PREFILL_CHUNK, model.context)]])
        parts.append(to_logprobs(model.forward([slot], chunk, keep=chunk.shape[1])[0], ROLE))
    return torch.cat(parts).cpu()


def weights_bytes(model: TransformersModel) -> int:
    """The size of the weights, including the scales of 4-bit and 8-bit ones."""
    total = 0
    for parameter in {id(p): p for p in (*model.model.parameters(), *model.model.buffers())}.values():
        total += parameter.nbytes
        state = getattr(parameter, "quant_state", None)
        for part in (state, getattr(state, "state2", None)):
            total += sum(v.nbytes for v in vars(part).values() if isinstance(v, Tensor)) if part else 0
        total += getattr(getattr(parameter, "SCB", None), "nbytes", 0)
    return total
