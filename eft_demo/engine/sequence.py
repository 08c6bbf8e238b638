"""A sequence, which is one column while it runs, and the prefill that several sequences share.

Knows slots, tokens and the text so far; knows nothing about steps.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from eft_demo.engine.run import Prompts, Run
from eft_demo.method.recipe import Recipe
from eft_demo.models.protocol import Slot
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.runs.text import Utf8Stream
from eft_demo.runs.trace import TokenRecord

ACCEPTANCE_MEMORY = 0.9  # decay of the moving average: about the last ten drafts count


@dataclass(slots=True, eq=False)
class Drafting:
    """The drafter of a sequence, and how well its drafts do."""

    role: str  # the model that drafts
    expected: float  # the expected acceptance rate, from 0 to 1
    clock: Callable[[], float]  # the clock that times steps, in seconds
    trusted: bool = True  # False once a model has failed on drafted tokens
    drafted: int = 0  # drafts that were verified; those after a rejected one do not count
    accepted: int = 0
    rounds: int = 0
    began_s: float = 0.0  # start of the first round
    began_at: int = 0  # the position then
    plain_s: float = 0.0  # estimated time of a plain step, averaged over the rounds

    def begin_round(self, position: int, plain_s: float) -> None:
        """A round begins; a plain step of the same sequences would take `plain_s`."""
        if not self.rounds:
            self.began_s, self.began_at = self.clock(), position
        self.rounds += 1
        self.plain_s += (plain_s - self.plain_s) / self.rounds

    def speedup(self, position: int) -> float | None:
        """Time that plain steps would need for the tokens since the first round / the time actually taken.

        The time of a plain step comes from earlier measurements, perhaps under more load. A round runs every
        model that a plain step runs, so the result is capped at the tokens gained per step.
        """
        taken_s, tokens = self.clock() - self.began_s, position - self.began_at
        if not self.plain_s or not taken_s:
            return None
        plain_steps = max(0, tokens - self.drafted)  # a cancelled sequence may have drafts it never sent
        return min(tokens * self.plain_s / taken_s, tokens / (self.rounds + plain_steps))

    def record(self, accepted: bool) -> None:
        """Record whether one verified draft was accepted."""
        self.drafted += 1
        self.accepted += accepted
        self.expected = ACCEPTANCE_MEMORY * self.expected + (1 - ACCEPTANCE_MEMORY) * accepted


@dataclass(slots=True, eq=False)
class Sequence:
    """One column of one run. Between steps its models have read the whole text except the last token."""

    run: Run
    column: int
    recipe: Recipe
    max_new_tokens: int
    stream: Utf8Stream
    roles: tuple[str, ...]
    slots: dict[str, Slot] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)  # of the answer so far
    position: int = 0  # how many tokens the answer has
    reused: int = 0  # tokens of its prompt that its anchor did not have to read again
    sent: int = 0  # how many of them were sent to the run's owner
    ended: bool = False  # it has left the engine
    first_s: float = 0.0
    held_before_s: float = 0.0  # how long its run had been held back at the first token
    drafting: Drafting | None = None  # None: no drafts

    @property
    def prompts(self) -> Prompts:
        """Its prompt per role."""
        return self.run.request.prompts_of(self.column)

    def text(self, role: str) -> tuple[int, ...]:
        """The ids of all tokens that the model of `role` reads before the next one."""
        return (*self.prompts[role], *self.tokens)

    def next_input(self, role: str) -> int:
        """The token that the model of `role` reads next."""
        return self.tokens[-1] if self.tokens else self.prompts[role][-1]

    def roll_back_unsent(self) -> None:
        """Roll back tokens that were not sent to the owner, and the slots that hold more than the text."""
        del self.tokens[self.sent :]
        self.position = self.sent
        for role, slot in self.slots.items():
            slot.length = min(slot.length, len(self.prompts[role]) - 1 + self.position)

    def advance(self, token: int) -> None:
        """Append a token to the text; every model reads it next."""
        if self.position == 0:
            self.first_s, self.held_before_s = time.perf_counter(), self.run.pace.held_s
        self.position += 1
        self.tokens.append(token)

    def emit(self, record: TokenRecord, is_stop: bool) -> None:
        """Send the next unsent token to the run's owner."""
        piece = "" if is_stop else self.stream.push(record.id)
        self.run.push(TokenEvent(self.column, record, piece, self._elapsed_s()))
        self.sent += 1

    def _elapsed_s(self) -> float:
        """Seconds since the run was submitted, without those for which it was held back."""
        now_s = time.perf_counter()
        return now_s - self.run.submitted_s - self.run.pace.held_until(now_s)

    def end(self, finish_reason: str, error: str | None) -> None:
        """Send the end event. The engine frees the slots."""
        now = time.perf_counter()
        ttft_s = self.first_s - self.run.submitted_s - self.held_before_s if self.position else 0.0
        decode_s = now - self.first_s - (self.run.pace.held_until(now) - self.held_before_s)
        # The prefill pays for the first token, so the speed counts from there.
        speed = (self.position - 1) / decode_s if self.position > 1 and decode_s > 0 else 0.0
        prompt = len(self.prompts[self.recipe.anchor])
        end = EndEvent(
            self.column,
            finish_reason,
            error,
            ttft_s,
            speed,
            self.stream.flush(),
            prompt_tokens=prompt,
            reused_tokens=self.reused,
        )
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
    """One prompt being read by one model. Its slot is then copied to the other sequences."""

    role: str
    tokens: tuple[int, ...]  # without the last one, where decoding starts
    seqs: list[Sequence]

    @property
    def slot(self) -> Slot:
        """The slot that reads the prompt: that of the first sequence."""
        return self.seqs[0].slots[self.role]

    @property
    def is_done(self) -> bool:
        """Whether the whole prompt is read, except for its last token."""
        return self.slot.length >= len(self.tokens)
