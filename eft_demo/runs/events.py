"""What a panel tells its owner: one event per token, one at its end. Values only."""

from dataclasses import dataclass

from eft_demo.runs.trace import TokenRecord


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One token of one panel. `text` may be empty: half a character, or the stop token, which is mute."""

    panel: int
    record: TokenRecord
    text: str
    elapsed_s: float  # since submit


@dataclass(frozen=True, slots=True)
class EndEvent:
    """The last event of a panel. `text` is what was held back: the texts of all events make the whole."""

    panel: int
    finish_reason: str  # stop, length, cancelled or error
    error: str | None
    ttft_s: float
    tokens_per_s: float
    text: str
    acceptance_rate: float | None = None  # of drafted tokens, where any were drafted
    speedup: float | None = None  # measured, against the same run without drafts


Event = TokenEvent | EndEvent
