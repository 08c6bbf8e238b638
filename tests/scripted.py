"""A page with scripted runs: every run streams the lines of one `Script`, whatever the prompt.

No model is involved, so a test decides exactly what the page receives.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from eft_demo.method.recipe import Recipe
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import CONSTANT, Schedule
from eft_demo.method.weight_filter import OFF, WeightFilter
from eft_demo.runs.events import EndEvent, Event, TokenEvent
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import TokenRecord
from eft_demo.ui import stream as wire


@dataclass
class Script:
    """The next run: its columns, the bytes of its tokens and its events. The page receives `lines`."""

    columns: Sequence[tuple[str, Recipe]] = ()
    token_bytes: Sequence[bytes] = ()
    events: list[Event] = field(default_factory=list)
    sampling: Sampling = field(default_factory=Sampling)
    weight_filter: WeightFilter = OFF
    schedule: Schedule = CONSTANT

    def write(self, column: int, records: Sequence[TokenRecord], **end: Any) -> None:
        """Let a column generate these tokens and end."""
        text = ""
        for index, record in enumerate(records):
            piece = self.token_bytes[record.id].decode("utf-8", "surrogatepass")
            text += piece
            self.events.append(TokenEvent(column, record, piece, 0.02 * (index + 1)))
        known: dict[str, Any] = {
            "finish_reason": "stop",
            "error": None,
            "ttft_s": 0.02,
            "tokens_per_s": 50.0,
        } | end
        self.events.append(EndEvent(column, text=text, **known))

    def lines(
        self, nonce: int, run_id: str = "scripted", origin: Mapping[str, object] = MappingProxyType({})
    ) -> str:
        """The whole run; with an `origin` it is a branch of another run."""
        encoder = wire.Encoder(
            RunSpec(
                prompt="prompt",
                columns=tuple(self.columns),
                sampling=self.sampling,
                weight_filter=self.weight_filter,
                schedule=self.schedule,
            ),
            self.token_bytes,
            frozenset({0}),
        )
        said = "".join(encoder.event_line(event) for event in self.events)
        return encoder.run_line(run_id, nonce, origin) + said + wire.line("done")

    def stream_run(self, service: object, live: object, posted: Mapping[str, int]) -> Iterator[str]:
        """Replaces `handlers.stream_run`."""
        yield self.lines(posted["n"])
