"""Short ways for tests to ask for runs: a spec in one line, and a request without a tokenizer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from eft_demo.engine.run import RunRequest
from eft_demo.method.recipe import BASE, TUNED, UPSCALED
from eft_demo.method.sampling_settings import SAMPLING, Sampling
from eft_demo.runs.spec import Columns, RunSpec
from eft_demo.runs.trace import ColumnTrace, RunTrace, columns_of


def spec(prompt: str = "", behaviour: str = "", **fields: Any) -> RunSpec:
    """A spec; sampling fields may be given next to the others."""
    drawn = {name: fields.pop(name) for name in list(fields) if name in SAMPLING}
    return RunSpec(prompt=prompt, behaviour=behaviour, sampling=Sampling(**drawn), **fields)


def three(behaviour: str) -> Columns:
    """The columns base, tuned and up-scaled."""
    columns = (("Base", BASE), ("Tuned", TUNED), ("Up-scaled", UPSCALED))
    return tuple((name, recipe.for_behaviour(behaviour)) for name, recipe in columns)


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
    """A request of token ids for the engine, by default without drafts."""
    fields.setdefault("speculation", "off")
    asked = RunSpec(columns=columns, controls=controls, sampling=sampling, length=length, **fields)
    return RunRequest(asked, prompts, forced, owner)


def changed(asked: RunRequest, **fields: Any) -> RunRequest:
    """The request with some of its fields, or of its spec's, replaced."""
    own = {name: fields.pop(name) for name in ("forced", "owner", "prompts") if name in fields}
    assert fields.keys() <= RunSpec.model_fields.keys(), "model_copy would take any name"
    return replace(asked, spec=asked.spec.model_copy(update=fields), **own)


def make_run(
    columns: Sequence[ColumnTrace],
    pieces: Mapping[str, str] | None = None,
    made_with: Any = None,
    **fields: Any,
) -> RunTrace:
    """A trace of these columns and spec fields."""
    asked = RunSpec(columns=columns_of(columns), **fields)
    return RunTrace(asked, list(columns), dict(pieces or {}), made_with)
