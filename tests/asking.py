"""Runs as tests ask for them: a spec in one line, and a request without a tokenizer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from eft_demo.engine.run import RunRequest
from eft_demo.method.recipe import BASE, TUNED, UPSCALED
from eft_demo.method.sampling_settings import SAMPLING, Sampling
from eft_demo.runs.spec import Columns, RunSpec
from eft_demo.runs.trace import ColumnTrace, RunTrace, columns_of


def spec(prompt: str = "", behaviour: str = "", **fields: Any) -> RunSpec:
    """A run; the fields of sampling may stand beside the others."""
    drawn = {name: fields.pop(name) for name in list(fields) if name in SAMPLING}
    return RunSpec(prompt=prompt, behaviour=behaviour, sampling=Sampling(**drawn), **fields)


def three(behaviour: str) -> Columns:
    """Base, tuned and up-scaled, each as short as it can be written."""
    columns = (("Base", BASE), ("Tuned", TUNED), ("Up-scaled", UPSCALED))
    return tuple((name, recipe.played(behaviour)) for name, recipe in columns)


def make_request(
    prompts: Mapping[str, tuple[int, ...]],
    columns: Columns,
    controls: Mapping[str, float],
    sampling: Sampling,
    length: int,
    forced: tuple[int, ...] = (),
    owner: str = "",
    **fields: Any,
) -> RunRequest:
    """What the engine takes, of token ids; without drafts, unless they are asked for."""
    fields.setdefault("speculation", "off")
    asked = RunSpec(columns=columns, controls=controls, sampling=sampling, length=length, **fields)
    return RunRequest(asked, prompts, forced, owner)


def changed(asked: RunRequest, **fields: Any) -> RunRequest:
    """The same request with other fields, its own or those of its spec."""
    own = {name: fields.pop(name) for name in ("forced", "owner", "prompts") if name in fields}
    assert fields.keys() <= RunSpec.model_fields.keys(), "model_copy would take any name"
    return replace(asked, spec=asked.spec.model_copy(update=fields), **own)


def make_run(
    columns: Sequence[ColumnTrace],
    pieces: Mapping[str, str] | None = None,
    made_with: Any = None,
    **fields: Any,
) -> RunTrace:
    """What a run left behind, of its columns and the other fields of its spec."""
    asked = RunSpec(columns=columns_of(columns), **fields)
    return RunTrace(asked, list(columns), dict(pieces or {}), made_with)
