"""Runs that start from a stored one: a branch from one of its tokens, or its text scored by every column.

Knows stored runs and the service. The page sends names and positions of what it shows; each is looked up
here, and an unknown one is answered with an error message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.models.provenance import made_with
from eft_demo.runs.events import empty_traces
from eft_demo.runs.made_with import differences
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import ColumnTrace, RunTrace, gather_pieces, other_seed, roles_of
from eft_demo.settings import COLUMNS, SEED, Settings, check_control, show_value
from eft_demo.ui.run_form import read_pace
from eft_demo.ui.run_store import CHANGED, NO_TOKEN, RunStore, StoredRun, checked_index
from eft_demo.ui.visitors import NOBODY, Visitor

NOT_HERE = "This run cannot be continued here: {why}."
NO_TEXT = "That column has no text to score. Please choose another."


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The part of a stored run to rewrite: the columns at `places`, after `forced` tokens, for `visitor`."""

    places: tuple[int, ...]
    forced: Sequence[int]
    length: int | None
    visitor: Visitor
    seed: int  # unless another is posted


def start_branch(
    service: Service, runs: RunStore, posted: Mapping[str, object], visitor: Visitor = NOBODY
) -> tuple[Run, StoredRun]:
    """Regenerate a column of a stored run from one of its tokens; the other columns stay as they are.

    `posted` has `run`, `column`, `position` (how many tokens stay) and optionally `token` (the id of a
    candidate; sampled if absent), `controls` (changed live values), `seed` and `all` (continue every column
    from there, not only this one). Raises EFTError.
    """
    stored = continuable_run(service, runs, posted)
    index = checked_index(posted.get("column"), len(stored.traces))
    tokens = stored.traces[index].tokens
    token = posted.get("token")
    position = checked_index(posted.get("position"), len(tokens) + (token is None))
    forced = [record.id for record in tokens[:position]]
    if token is not None:
        if token not in [candidate.id for candidate in tokens[position].candidates]:
            raise InputError(NO_TOKEN)
        forced.append(token)
    places = tuple(range(len(stored.traces))) if posted.get("all") else (index,)
    length = max(stored.spec.length, len(forced)) if stored.spec.length else None
    return _start(service, stored, posted, Rewrite(places, forced, length, visitor, stored.seeds[index]))


def start_same_text(
    service: Service, runs: RunStore, posted: Mapping[str, object], visitor: Visitor = NOBODY
) -> tuple[Run, StoredRun]:
    """Score the text of one column under every column of a stored run: `posted` has `run` and `column`."""
    stored = continuable_run(service, runs, posted)
    index = checked_index(posted.get("column"), len(stored.traces))
    tokens = stored.traces[index].tokens
    if not tokens:
        raise InputError(NO_TEXT)
    forced = [record.id for record in tokens]
    places = tuple(range(len(stored.traces)))
    return _start(service, stored, posted, Rewrite(places, forced, len(forced), visitor, stored.seeds[index]))


def _start(
    service: Service, stored: StoredRun, posted: Mapping[str, object], part: Rewrite
) -> tuple[Run, StoredRun]:
    """Write that part of the stored run again, with the posted changes, all checked."""
    run = service.start_run(
        _changed(stored.spec, posted, part, service.settings),
        part.forced,
        part.visitor.address,
        read_pace(posted),
        part.visitor.session,
    )
    fresh, again = empty_traces(stored.spec.columns), part.places
    for i in again:
        fresh[i].given = len(part.forced)
    spec = run.request.spec
    traces = [
        fresh[i] if i in again else _unchanged_column(trace, other_seed(stored.seeds[i], spec))
        for i, trace in enumerate(stored.traces)
    ]
    whole = spec.model_copy(
        update={
            "columns": stored.spec.columns,
            "turns": stored.spec.turns,
            "length": stored.spec.length or spec.length,
        }
    )
    origin = {
        "of": posted["run"],
        "copied": [i for i in range(len(traces)) if i not in again],
        "given": len(part.forced),
    }
    mixed = stored.mixed and bool(origin["copied"])
    notes = {"notes": stored.notes} if stored.notes else {}
    return run, StoredRun(whole, traces, again, origin | notes, mixed=mixed, serial=stored.serial)


def _changed(spec: RunSpec, posted: Mapping[str, object], part: Rewrite, settings: Settings) -> RunSpec:
    """The columns of the part, with the posted controls and seed."""
    changes = posted.get("controls")
    controls = dict(spec.controls)
    for name, value in changes.items() if isinstance(changes, Mapping) else ():
        controls[str(name)] = check_control(name, value, settings.allow_negative_alpha)
    return spec.only(part.places).model_copy(
        update={
            "controls": controls,
            "sampling": replace(spec.sampling, seed=int(SEED.check(posted.get("seed", part.seed)))),
            "length": part.length,
        }
    )


def continuable_run(service: Service, runs: RunStore, posted: Mapping[str, object]) -> StoredRun:
    """The stored run, if the loaded models can continue it. Raises InputError.

    A run that was generated here continues only with its family. A run from a file continues with the prompts
    recorded in that file.
    """
    stored = runs.find(posted.get("run"))
    if stored.file is None:
        if (stored.serial, stored.spec.family) != (runs.serial, service.family.name):
            raise InputError(CHANGED.format(title=service.family.title))
        return stored
    if why := _why_not(service, stored.file):
        raise InputError(NOT_HERE.format(why=why))
    here = made_with(service.family, service.plan, roles_of(stored.spec.columns))
    there = stored.file.made_with
    notes = differences("run", there.facts, here.facts) if there else ""
    return replace(stored, file=None, mixed=there != here, notes=notes, serial=runs.serial)


def _why_not(service: Service, trace: RunTrace) -> str:
    """Why the loaded family cannot continue a run that came from a file, as the end of a sentence; or ""."""
    family, spec = service.family, trace.spec
    missing = set(roles_of(spec.columns)) - set(family.roles)
    if not family.roles:
        return "no model is loaded"
    if spec.family != family.name:
        return f"it is of the family {show_value(spec.family)}, and {family.title} is loaded"
    if missing:
        return f"{family.title} has no model {show_value(min(missing))}"
    if len(spec.columns) > COLUMNS.high:
        return f"it has {len(spec.columns)} columns, and at most {COLUMNS.high:.0f} can run at once"
    if not _has_tokens_of(trace, family.token_bytes):
        return f"its tokens differ from those of {family.title}"
    return ""


def _has_tokens_of(trace: RunTrace, token_bytes: Sequence[bytes]) -> bool:
    """Whether every token recorded in the file is the same here, so that its ids keep their meaning."""
    try:
        return gather_pieces(trace.columns, token_bytes).items() <= trace.pieces.items()
    except IndexError:
        return False


def _unchanged_column(trace: ColumnTrace, seed: int | None) -> ColumnTrace:
    """A column that a branch does not change; the run that it came from may still be writing its own."""
    ended = trace.finish_reason or "cancelled"
    return replace(trace, tokens=list(trace.tokens), finish_reason=ended, seed=seed)
