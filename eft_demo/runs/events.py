"""What a column sends its owner, one event per token and one at its end, and the traces made of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from eft_demo.runs.spec import Columns
from eft_demo.runs.trace import ColumnTrace, TokenRecord


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One token of one column. `text` may be empty: half a character, or the stop token, which is mute."""

    column: int
    record: TokenRecord
    text: str
    elapsed_s: float  # since submit


@dataclass(frozen=True, slots=True)
class EndEvent:
    """The last event of a column. `text` is what was held back: the texts of all events make the whole."""

    column: int
    finish_reason: str  # stop, length, cancelled or error
    error: str | None
    ttft_s: float
    tokens_per_s: float
    text: str
    acceptance_rate: float | None = None  # of drafted tokens, where any were drafted
    speedup: float | None = None  # measured, against the same run without drafts


Event = TokenEvent | EndEvent


def empty_traces(columns: Columns) -> list[ColumnTrace]:
    """One trace per column, for `add_event` to fill."""
    return [ColumnTrace(name, str(recipe)) for name, recipe in columns]


def add_event(traces: Sequence[ColumnTrace], event: Event) -> None:
    """Write an event into its column's trace."""
    trace = traces[event.column]
    trace.text += event.text
    if isinstance(event, TokenEvent):
        trace.tokens.append(event.record)
        return
    trace.finish_reason, trace.error = event.finish_reason, event.error
    trace.ttft_s, trace.tokens_per_s = event.ttft_s, event.tokens_per_s
    trace.acceptance_rate, trace.speedup = event.acceptance_rate, event.speedup
