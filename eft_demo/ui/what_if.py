"""What other slider values would have chosen in place of a column's tokens, scored by the models.

The page asks once per run and column, and shows the answer in place of its own estimate. Knows stored runs
and the service; the page sends names, values and places, and each is checked here.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from eft_demo.engine.run import Run
from eft_demo.engine.score import CHUNK
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.models.protocol import SendsTop
from eft_demo.models.provenance import made_with
from eft_demo.runs.events import EndEvent
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import ColumnTrace, TokenRecord, roles_of
from eft_demo.settings import check_control, show_value
from eft_demo.ui import stream as wire
from eft_demo.ui.branches import continuable_run
from eft_demo.ui.posted import error_json, fields_of
from eft_demo.ui.run_store import RunStore, StoredRun, checked_index
from eft_demo.ui.visitors import NOBODY, Visitor

MAX_VALUES = 128  # every step of a slider from -3 to 3
STEP_SCORES = 40_000_000  # log-probs mixed in one step of the engine, which holds other runs up: about 0.4 s
POLL_S = 0.02
NOT_ENDED = "That column has no finished text to score. Please wait until it has ended."
NOT_SAME = "Other models or versions wrote that column, so these models cannot say what it would have chosen."
CUT = (
    "The server of {roles} sends only the likeliest log-probs, so other slider values are not scored. The "
    "page shows its estimate."
)
LENT = "The GPU is lent to one run at a time, so other slider values are not scored."
UNFINISHED = "The server did not finish scoring that text. Please try again in a moment."
TOO_LONG = (
    "Scoring other slider values of {tokens:,} tokens takes {needed:,} million log-probs, and at most "
    "{most:,} million are computed at once. The page shows its estimate."
)


@dataclass(frozen=True, slots=True)
class Scoring:
    """A run that reads a column's text again to find what these values of a control would have drawn."""

    run: Run
    column: ColumnTrace
    control: str
    values: tuple[float, ...]


def begin(service: Service, runs: RunStore, posted: object, visitor: Visitor = NOBODY) -> Scoring:
    """Start to score a finished column of a stored run. Raises EFTError.

    `posted` has `run`, `column`, `control` and its `values`, the most wanted ones first: as many are scored
    as the server affords, and at least two.
    """
    wanted = fields_of(posted)
    if not service.engine.has_device:
        raise InputError(LENT)
    kept = runs.find(wanted.get("run"))
    stored = continuable_run(service, runs, wanted)
    index = checked_index(wanted.get("column"), len(stored.traces))
    trace = stored.traces[index]
    if not (trace.tokens and trace.finish_reason):
        raise InputError(NOT_ENDED)
    if not _same_models(service, kept, index):
        raise InputError(NOT_SAME)
    roles = stored.spec.columns[index][1].roles
    if cut := [role for role in roles if isinstance(service.engine.models.get(role), SendsTop)]:
        raise InputError(CUT.format(roles=" and ".join(cut)))
    control, values = _read_values(service, stored.spec, index, wanted.get("control"), wanted.get("values"))
    values = values[: _affordable(service, len(trace.tokens))]
    own = {"sampling": replace(stored.spec.sampling, seed=stored.seeds[index]), "length": len(trace.tokens)}
    run = service.start_run(
        stored.spec.only((index,)).model_copy(update=own),
        [record.id for record in trace.tokens],
        visitor.address,
        session=visitor.session,
        what_if=tuple(_other_controls(record, stored.spec, control, values) for record in trace.tokens),
    )
    return Scoring(run, trace, control, values)


def _other_controls(
    record: TokenRecord, spec: RunSpec, control: str, values: tuple[float, ...]
) -> tuple[dict[str, float], ...]:
    """The recorded values of all controls, then those with each of `values` in place of this control's."""
    factor = 1.0 if control == "beta" else spec.schedule.factor(record.position)
    return (record.controls, *({**record.controls, control: value * factor} for value in values))


def _read_values(
    service: Service, spec: RunSpec, index: int, control: object, values: object
) -> tuple[str, tuple[float, ...]]:
    name, recipe = spec.columns[index]
    if not isinstance(control, str) or control not in recipe.controls:
        raise InputError(
            f"No slider {show_value(control)} affects {show_value(name)}. Please choose another."
        )
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_VALUES:
        count = len(values) if isinstance(values, list) else show_value(values)
        raise InputError(f"One needs a list of 1 to {MAX_VALUES} slider values; got {count}.")
    negative = service.settings.allow_negative_alpha
    return control, tuple(dict.fromkeys(check_control(control, value, negative) for value in values))


def _affordable(service: Service, tokens: int) -> int:
    """How many values one may score for a text of so many tokens. Raises InputError if fewer than two."""
    vocab, most = service.family.vocab, service.settings.max_what_if_scores
    each = STEP_SCORES // (CHUNK * vocab), most * 1_000_000 // (tokens * vocab)
    if min(each) < 2:
        raise InputError(
            TOO_LONG.format(tokens=tokens, needed=-(-2 * tokens * vocab // 1_000_000), most=most)
        )
    return min(each) - 1  # the recorded values are scored too


def _same_models(service: Service, kept: StoredRun, index: int) -> bool:
    """Whether the loaded models are those that wrote the column."""
    if kept.file is None:
        return not kept.mixed or index in kept.places
    there = kept.file.made_with
    here = made_with(service.family, service.plan, roles_of(kept.spec.columns))
    return there is not None and there.models == here.models


async def answer(scoring: Scoring, service: Service, gone: Callable[[], Awaitable[bool]]) -> str:
    """Wait for the engine, without a thread, and return `answer_json`. A page that is gone ends the run."""
    run = scoring.run
    try:
        while not run.done:
            if not service.alive or await gone():
                break
            await asyncio.sleep(POLL_S)
    finally:
        run.cancel()
    return answer_json(scoring, service)


def answer_json(scoring: Scoring, service: Service) -> str:
    """JSON {"control", "values", "changed": per value [[position, id]...], "labels"}, or {"error"}.

    A token is changed if the value draws another one than the recorded values do, from the same noise: so a
    token that was given stays where the value changes nothing.
    """
    records, choices = scoring.column.tokens, scoring.run.choices
    if len(choices) < len(records):
        errors = [
            event.error for event in scoring.run.events() if isinstance(event, EndEvent) and event.error
        ]
        return error_json(InputError(errors[0] if errors else UNFINISHED))
    changed = [
        [
            [record.position, drawn[k]]
            for record in records
            if (drawn := choices[0, record.position])[k] not in (drawn[0], record.id)
        ]
        for k in range(1, 1 + len(scoring.values))
    ]
    family = service.family
    encoder = wire.Encoder(RunSpec(), family.token_bytes, family.stop_ids)
    labels = {i: encoder.shown(i) for i in sorted({i for pairs in changed for _, i in pairs})}
    return json.dumps(
        {"control": scoring.control, "values": scoring.values, "changed": changed, "labels": labels}
    )
