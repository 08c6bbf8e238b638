"""A sequence: one column while it runs. And the prefill that several sequences share.

Knows slots, tokens and the text so far; knows nothing of steps.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from eft_demo.engine.run import Run
from eft_demo.method.recipe import Recipe
from eft_demo.models.protocol import Slot
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.runs.text import Utf8Stream
from eft_demo.runs.trace import TokenRecord

ACCEPTANCE_MEMORY = 0.9  # of the moving average: about the last ten drafts


@dataclass(slots=True, eq=False)
class Drafting:
    """Who drafts for a sequence, and how its drafts fare."""

    role: str  # the model that drafts
    expected: float  # the acceptance rate to reckon with, from 0 to 1
    clock: Callable[[], float]  # the one that steps are timed by, in seconds
    trusted: bool = True  # False once a model has failed on drafted tokens
    drafted: int = 0  # and verified; what stands behind a rejected draft does not count
    accepted: int = 0
    rounds: int = 0
    began_s: float = 0.0  # the first of them
    began_at: int = 0  # the position then
    plain_s: float = 0.0  # what a plain step took meanwhile, on average over the rounds

    def begin_round(self, position: int, plain_s: float) -> None:
        """A round begins; a plain step of the same sequences would take `plain_s`."""
        if not self.rounds:
            self.began_s, self.began_at = self.clock(), position
        self.rounds += 1
        self.plain_s += (plain_s - self.plain_s) / self.rounds

    def speedup(self, position: int) -> float | None:
        """Plain steps' time for the tokens since the first round / the time that these took.

        A plain step's time is what others took, perhaps when more was going on here. But a round runs every
        model that a plain step runs, so the tokens gained per step are the most that it can be.
        """
        taken_s, tokens = self.clock() - self.began_s, position - self.began_at
        if not self.plain_s or not taken_s:
            return None
        plain_steps = max(0, tokens - self.drafted)  # a cancelled sequence has drafts that were not given out
        return min(tokens * self.plain_s / taken_s, tokens / (self.rounds + plain_steps))

    def note(self, hit: bool) -> None:
        """One draft was verified, and accepted or not."""
        self.drafted += 1
        self.accepted += hit
        self.expected = ACCEPTANCE_MEMORY * self.expected + (1 - ACCEPTANCE_MEMORY) * hit


@dataclass(slots=True, eq=False)
class Sequence:
    """One column of one run. Between two steps its models have seen all of the text but the last token."""

    run: Run
    column: int
    recipe: Recipe
    max_new_tokens: int
    stream: Utf8Stream
    roles: tuple[str, ...]
    slots: dict[str, Slot] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)  # answered so far
    position: int = 0  # how many of them
    sent: int = 0  # how many of those the run's owner has been sent
    ended: bool = False  # it has left the engine
    first_s: float = 0.0
    drafting: Drafting | None = None  # None: nobody drafts for it

    def last(self, role: str) -> int:
        """The token that the model of `role` sees next."""
        return self.tokens[-1] if self.tokens else self.run.request.prompts[role][-1]

    def settle(self) -> None:
        """Roll back to what the owner was sent, and the models wherever they have read beyond that."""
        del self.tokens[self.sent :]
        self.position = self.sent
        for role, slot in self.slots.items():
            slot.length = min(slot.length, len(self.run.request.prompts[role]) - 1 + self.position)

    def advance(self, token: int) -> None:
        """Make a token the end of the text: the next input of every model."""
        if self.position == 0:
            self.first_s = time.perf_counter()
        self.position += 1
        self.tokens.append(token)

    def emit(self, record: TokenRecord, is_stop: bool) -> None:
        """Send a token of the text, the next that was not sent yet, to the run's owner."""
        piece = "" if is_stop else self.stream.push(record.id)
        self.run.push(TokenEvent(self.column, record, piece, time.perf_counter() - self.run.submitted_s))
        self.sent += 1

    def end(self, finish_reason: str, error: str | None) -> None:
        """Send the last event. Slots are the engine's to free."""
        now = time.perf_counter()
        ttft_s = self.first_s - self.run.submitted_s if self.position else 0.0
        decode_s = now - self.first_s
        # The first token is paid for by the prefill, so speed counts from there.
        speed = (self.position - 1) / decode_s if self.position > 1 and decode_s > 0 else 0.0
        end = EndEvent(self.column, finish_reason, error, ttft_s, speed, self.stream.flush())
        drafting = self.drafting
        if drafting and drafting.drafted:
            end = replace(
                end,
                acceptance_rate=drafting.accepted / drafting.drafted,
                speedup=drafting.speedup(self.position),
            )
        self.run.push(end)


@dataclass(slots=True, eq=False)
class Prefill:
    """One prompt on its way into one model. In the end its slot is copied to the other sequences."""

    role: str
    tokens: tuple[int, ...]  # without the last one, which is what the sequences decode from
    seqs: list[Sequence]

    @property
    def slot(self) -> Slot:
        """The slot that reads the prompt: the first sequence's own."""
        return self.seqs[0].slots[self.role]

    @property
    def is_done(self) -> bool:
        return self.slot.length >= len(self.tokens)
