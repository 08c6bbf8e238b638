"""Reads a run to its end and builds its trace; the one place that makes a `RunTrace` of a run.

Knows events, families and traces; does not know where a trace is shown.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from eft_demo.engine.run import Run
from eft_demo.families.family import Family
from eft_demo.models.plan import Plan
from eft_demo.models.provenance import made_with
from eft_demo.runs.events import add_event, empty_traces
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.text import Utf8Stream
from eft_demo.runs.trace import ColumnTrace, RunTrace, columns_of, gather_pieces, roles_of

WAIT_S = 1.0  # how long one wait may block; an event ends it immediately


class Origin(Protocol):
    """Where a trace comes from: a `Service`, or what is kept of one whose models are gone."""

    @property
    def family(self) -> Family:
        """The family that wrote it."""

    @property
    def plan(self) -> Plan | None:
        """Where its models are."""


def collect(run: Run) -> list[ColumnTrace]:
    """Wait for every column of `run` and return their traces, in order. Cancels the run if interrupted."""
    traces = empty_traces(run.request.spec.columns)
    try:
        while not all(trace.finish_reason for trace in traces):
            for event in run.events(WAIT_S):
                add_event(traces, event)
    finally:
        run.cancel()
    return traces


def make_trace(origin: Origin, spec: RunSpec, columns: Sequence[ColumnTrace], known: bool = True) -> RunTrace:
    """A trace of the run so far: the spec, the columns, the text of their tokens and the models' provenance.

    `columns` may be only some of the run's and may still grow. Set `known` to False if some of them were not
    generated here: the trace then carries no provenance.
    """
    now = [_snapshot(column, origin.family.token_bytes) for column in columns]
    pairs = columns_of(now)
    roles = roles_of(pairs)
    formats = {role: own for role, own in spec.formats.items() if role in roles}
    # A trace does not need the last two: its recipes name the models, and its texts have their lengths.
    shown = {"columns": pairs, "formats": formats, "behaviour": "", "length": None}
    return RunTrace(
        spec.model_copy(update=shown),
        now,
        gather_pieces(now, origin.family.token_bytes),
        made_with(origin.family, origin.plan, roles) if known else None,
    )


def _snapshot(column: ColumnTrace, token_bytes: Sequence[bytes]) -> ColumnTrace:
    """A copy of the column, so that a token arriving meanwhile cannot appear without its text.

    The text of an unfinished column includes a partial character at its end, if there is one. Of the
    forced tokens, only those that the column already has are counted.
    """
    tokens = list(column.tokens)
    given = min(column.given, len(tokens))
    if column.finish_reason:
        return replace(column, tokens=tokens, given=given)
    stream = Utf8Stream(token_bytes)
    text = "".join([*(stream.push(record.id) for record in tokens), stream.flush()])
    return replace(column, tokens=tokens, text=text, given=given)
