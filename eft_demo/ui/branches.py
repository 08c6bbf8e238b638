"""Runs that begin from a kept one: a branch from one of its tokens, and one text scored by every column.

Knows kept runs and the service. What the page sends are names and places of what it was shown; each is
looked up here, and a place that is not there is a sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.models.provenance import made_with
from eft_demo.runs.events import empty_traces
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import ColumnTrace, RunTrace, gather_pieces, roles_of
from eft_demo.settings import COLUMNS, SEED, Settings, check_control, show_value
from eft_demo.ui.run_store import NO_TOKEN, Kept, KeptRuns, checked_index

FROM_FILE = "This run came from a file, and no model here can go on from it: {why}."
NO_TEXT = "That column has no text to score. Please choose another."


@dataclass(frozen=True, slots=True)
class Part:
    """What of a kept run begins anew: the columns at `places`, from `forced` tokens on, for their `owner`."""

    places: tuple[int, ...]
    forced: Sequence[int]
    length: int | None
    owner: str


def start_branch(
    service: Service, runs: KeptRuns, posted: Mapping[str, object], owner: str = ""
) -> tuple[Run, Kept]:
    """Write a column of a kept run anew from one of its tokens on; the other columns stay as they are.

    `posted` has `run`, `column`, `position` (tokens kept), and where given: `token` (the id of a candidate
    there; else it is drawn), `controls` (live values that differ), `seed`, `all` (every column goes on from
    there, not only this one). Raises EFTError.
    """
    kept = _to_go_on(service, runs, posted)
    index = checked_index(posted.get("column"), len(kept.traces))
    tokens = kept.traces[index].tokens
    token = posted.get("token")
    position = checked_index(posted.get("position"), len(tokens) + (token is None))
    forced = [record.id for record in tokens[:position]]
    if token is not None:
        if token not in [candidate.id for candidate in tokens[position].candidates]:
            raise InputError(NO_TOKEN)
        forced.append(token)
    places = tuple(range(len(kept.traces))) if posted.get("all") else (index,)
    length = max(kept.spec.length, len(forced)) if kept.spec.length else None
    return _start(service, kept, posted, Part(places, forced, length, owner))


def start_same_text(
    service: Service, runs: KeptRuns, posted: Mapping[str, object], owner: str = ""
) -> tuple[Run, Kept]:
    """Let every column of a kept run score the text of one of them: `posted` has `run` and `column`."""
    kept = _to_go_on(service, runs, posted)
    tokens = kept.traces[checked_index(posted.get("column"), len(kept.traces))].tokens
    if not tokens:
        raise InputError(NO_TEXT)
    forced = [record.id for record in tokens]
    return _start(service, kept, posted, Part(tuple(range(len(kept.traces))), forced, len(forced), owner))


def _start(service: Service, kept: Kept, posted: Mapping[str, object], part: Part) -> tuple[Run, Kept]:
    """That part of the kept run again, with the changes that were posted, all checked."""
    run = service.start_run(_changed(kept.spec, posted, part, service.settings), part.forced, part.owner)
    fresh, again = empty_traces(kept.spec.columns), part.places
    for i in again:
        fresh[i].given = len(part.forced)
    traces = [fresh[i] if i in again else _as_it_is(trace) for i, trace in enumerate(kept.traces)]
    spec = run.request.spec
    seeds = tuple(spec.sampling.seed if i in again else seed for i, seed in enumerate(kept.seeds))
    whole = spec.model_copy(update={"columns": kept.spec.columns, "length": kept.spec.length or spec.length})
    origin = {
        "of": posted["run"],
        "copied": [i for i in range(len(traces)) if i not in again],
        "given": len(part.forced),
    }
    mixed = kept.mixed and bool(origin["copied"])
    return run, Kept(whole, traces, again, seeds, origin, mixed=mixed)


def _changed(spec: RunSpec, posted: Mapping[str, object], part: Part, settings: Settings) -> RunSpec:
    """The columns of the part, at the controls and with the seed that were posted."""
    changes = posted.get("controls")
    controls = dict(spec.controls)
    for name, value in changes.items() if isinstance(changes, Mapping) else ():
        controls[str(name)] = check_control(name, value, settings.allow_negative_alpha)
    return spec.model_copy(
        update={
            "columns": tuple(spec.columns[place] for place in part.places),
            "controls": controls,
            "sampling": replace(spec.sampling, seed=int(SEED.check(posted.get("seed", spec.sampling.seed)))),
            "length": part.length,
        }
    )


def _to_go_on(service: Service, runs: KeptRuns, posted: Mapping[str, object]) -> Kept:
    """The kept run, if the models that are loaded can go on from it. Raises InputError.

    One from a file goes on with what its models were shown, as the file tells.
    """
    kept = runs.find(posted.get("run"))
    if kept.file is None:
        return kept
    if why := _why_not(service, kept.file):
        raise InputError(FROM_FILE.format(why=why))
    here = made_with(service.family, service.plan, roles_of(kept.spec.columns))
    mixed = kept.file.made_with != here
    return replace(kept, file=None, mixed=mixed)


def _why_not(service: Service, trace: RunTrace) -> str:
    """Why the loaded family cannot go on from a run that came as a file, as the end of a sentence; or ""."""
    family, spec = service.family, trace.spec
    missing = set(roles_of(spec.columns)) - set(family.roles)
    if not family.roles:
        return "none is loaded"
    if spec.family != family.name:
        return f"it is of the family {show_value(spec.family)}, and {family.title} is loaded"
    if missing:
        return f"{family.title} has no model {show_value(min(missing))}"
    if len(spec.columns) > COLUMNS.high:
        return f"it has {len(spec.columns)} columns, and {COLUMNS.high:.0f} are the most that run at once"
    if not _has_tokens_of(trace, family.token_bytes):
        return f"its tokens are not those of {family.title}"
    return ""


def _has_tokens_of(trace: RunTrace, token_bytes: Sequence[bytes]) -> bool:
    """Whether every token that the file tells of is the same here, so that the ids mean what they meant."""
    try:
        return gather_pieces(trace.columns, token_bytes).items() <= trace.pieces.items()
    except IndexError:
        return False


def _as_it_is(trace: ColumnTrace) -> ColumnTrace:
    """A column that a branch leaves alone; the run it came from may still be writing its own."""
    return replace(trace, tokens=list(trace.tokens), finish_reason=trace.finish_reason or "cancelled")
