"""The events of a run, one per token plus one at the end of each column, and the traces built from them."""

from collections.abc import Sequence
from dataclasses import dataclass

from eft_demo.runs.spec import Columns
from eft_demo.runs.trace import ColumnTrace, TokenRecord


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One token of one column. `text` may be empty: for part of a character, or for the stop token."""

    column: int
    record: TokenRecord
    text: str
    elapsed_s: float  # since submit


@dataclass(frozen=True, slots=True)
class EndEvent:
    """The last event of a column. `text` is the undecoded rest: joined, all events' texts are the answer."""

    column: int
    finish_reason: str  # stop, length, cancelled or error
    error: str | None
    ttft_s: float
    tokens_per_s: float
    text: str
    acceptance_rate: float | None = None  # of drafted tokens; None if none were drafted
    speedup: float | None = None  # measured, relative to decoding without drafts
    prompt_tokens: int = 0  # of its anchor's prompt; 0 if unknown
    reused_tokens: int = 0  # how many of them did not have to be read again


Event = TokenEvent | EndEvent


def empty_traces(columns: Columns) -> list[ColumnTrace]:
    """One empty trace per column, to be filled by `add_event`."""
    return [ColumnTrace(name, str(recipe)) for name, recipe in columns]


def add_event(traces: Sequence[ColumnTrace], event: Event) -> None:
    """Add an event to its column's trace."""
    trace = traces[event.column]
    trace.text += event.text
    if isinstance(event, TokenEvent):
        trace.tokens.append(event.record)
        return
    trace.finish_reason, trace.error = event.finish_reason, event.error
    trace.ttft_s, trace.tokens_per_s = event.ttft_s, event.tokens_per_s
    trace.acceptance_rate, trace.speedup = event.acceptance_rate, event.speedup
