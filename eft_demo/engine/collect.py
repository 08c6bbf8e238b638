"""A run read to its end, and the one place that makes a trace of it: whoever writes one asks here.

Knows events, services and traces; does not know where any is shown.
"""

from collections.abc import Sequence
from dataclasses import replace

from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.models.provenance import made_with
from eft_demo.runs.events import add_event, empty_traces
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.text import Utf8Stream
from eft_demo.runs.trace import ColumnTrace, RunTrace, columns_of, gather_pieces, roles_of

WAIT_S = 1.0  # only how often an interrupted wait looks up; an event ends the wait at once


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


def make_trace(
    service: Service, spec: RunSpec, columns: Sequence[ColumnTrace], known: bool = True
) -> RunTrace:
    """The run as it stands now: what was asked, what came of it, its tokens' texts and what made it.

    `columns` may be some of the run's and may still grow. `known` is whether all of them were made here.
    """
    now = [_as_it_stands(column, service.family.token_bytes) for column in columns]
    pairs = columns_of(now)
    roles = roles_of(pairs)
    formats = {role: own for role, own in spec.formats.items() if role in roles}
    # A trace has no use for these two: its recipes name the models, and its texts have their lengths.
    shown = {"columns": pairs, "formats": formats, "behaviour": "", "length": None}
    return RunTrace(
        spec.model_copy(update=shown),
        now,
        gather_pieces(now, service.family.token_bytes),
        made_with(service.family, service.plan, roles) if known else None,
    )


def _as_it_stands(column: ColumnTrace, token_bytes: Sequence[bytes]) -> ColumnTrace:
    """A copy, for a token that comes while the trace is made would be one without its text.

    The text of one that still streams is that of its tokens so far, half a character at the end included.
    """
    tokens = list(column.tokens)
    if column.finish_reason:
        return replace(column, tokens=tokens)
    stream = Utf8Stream(token_bytes)
    text = "".join([*(stream.push(record.id) for record in tokens), stream.flush()])
    return replace(column, tokens=tokens, text=text)
