"""Decoding: one token, or a round of drafted ones, for every sequence that has read its prompt.

Tokens that were not sent yet can be drawn again, for a token's noise follows from its position. So a step
that failed is undone and repeated for each sequence alone, and only those that fail alone end.
Knows sequences, forwards and how to mix; does not know how sequences come and go.
"""

import time
from collections import abc
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

import torch

from eft_demo.engine.attribution import Drawn, attribute, draw, mix_rows
from eft_demo.engine.batch import Layout, arrange
from eft_demo.engine.draft_length import PLAIN, ROUND, Pace
from eft_demo.engine.failures import Trouble, attempt
from eft_demo.engine.forward import Forwards
from eft_demo.engine.sequence import Sequence
from eft_demo.engine.speculate import Round, open_drafters, plan_round, play_round
from eft_demo.runs.trace import TokenRecord

# Attributing several steps at once takes little longer than one, and nobody notices a token this much later.
# Steps that take longer than this are sent one by one.
PATIENCE_S = 0.02
ALONE_STEPS = 16  # of each sequence by itself after a step that broke, before all are tried together again


class Decoder:
    """The sequences' common step, and the tokens drawn in it that their owners were not sent yet."""

    def __init__(
        self,
        forwards: Forwards,
        pace: Pace,
        candidates: int,
        stop_ids: Collection[int],
        patience_s: float,
        emit: Callable[[Sequence, TokenRecord], None],
        fail: Callable[[abc.Sequence[Sequence], Trouble], None],
    ) -> None:
        """Call `emit` with each token (it may end the sequence), `fail` with those that cannot go on."""
        self._forwards, self._pace, self._candidates, self._stop_ids = forwards, pace, candidates, stop_ids
        self._patience_s, self._emit, self._fail = patience_s, emit, fail
        self._layout: Layout | None = None
        self._plan: Round | None = None  # of the last round
        self._after_failure = False  # of a round
        self._alone = 0  # steps to come in which each sequence goes by itself
        self._unsent: list[tuple[Drawn, float]] = []  # steps, and what each took but its forwards
        self._oldest_s = 0.0  # when the first of them was drawn

    def rearrange(self) -> None:
        """Other sequences take part from now on, or their slots have moved."""
        self._layout = self._plan = None

    def take_back(self, seqs: Iterable[Sequence]) -> None:
        """Undo what nobody was sent; from here each sequence goes by itself for a while."""
        self._unsent.clear()
        for seq in seqs:
            seq.settle()
        self._alone = ALONE_STEPS

    def step(self, seqs: list[Sequence]) -> bool:
        """One token or more for each of `seqs`. False if something failed."""
        if self._layout is None:
            self.tell()
        if self._alone:
            self._alone -= 1
            self._decode_alone(seqs)
            return True
        blocks: dict[Sequence, int] = {}
        outcome = attempt(partial(self._decode_together, seqs, blocks))
        if not isinstance(outcome, Trouble):
            return True
        self.tell()
        for seq in seqs:
            seq.settle()
        if blocks:
            # Perhaps only the drafts broke a model: the plain step that comes next will tell.
            self._after_failure = True
            for seq in outcome.seqs or blocks:
                if seq.drafting:
                    seq.drafting.trusted = False
        elif outcome.exact:
            self._fail(outcome.seqs, outcome)
        else:
            self._alone = ALONE_STEPS
        return False

    def _decode_together(self, seqs: list[Sequence], blocks: dict[Sequence, int]) -> None:
        """One step of all sequences as one batch. `blocks` says afterwards for whom tokens were drafted."""
        if self._layout is None and seqs:
            self._layout = arrange(seqs)
        layout = self._layout
        if layout is None:
            return
        if not self._after_failure:
            blocks.update(self._pace.blocks(layout))
        self._after_failure = False
        if blocks:
            self._play_round(layout, blocks)
        else:
            self._plain_step(layout)

    def _decode_alone(self, seqs: abc.Sequence[Sequence]) -> None:
        """One step of each sequence by itself."""
        for seq in seqs:
            if seq.ended or seq.run.cancelled:
                continue
            outcome = attempt(partial(self._step_alone, seq))
            if isinstance(outcome, Trouble):
                self._fail([seq], outcome)

    def _step_alone(self, seq: Sequence) -> None:
        drawn = self._draw(arrange([seq]))
        if drawn is not None:
            self._attribute([drawn])

    def _plain_step(self, layout: Layout) -> None:
        """One token for every sequence of `layout`."""
        drawn = self._draw(layout)
        if drawn is None:
            return
        if not self._unsent:
            self._oldest_s = time.perf_counter()
        self._unsent.append(drawn)
        waited = time.perf_counter() - self._oldest_s >= self._patience_s
        if waited or any(map(self._is_awaited, layout.seqs)):
            self.tell()

    def _draw(self, layout: Layout) -> tuple[Drawn, float] | None:
        """A token for every sequence of `layout`, and the time outside the forwards; None if nobody waits."""
        since_s = self._pace.clock_s()
        # Taken once, so that a token's record shows the very values it was drawn with.
        controls = [seq.run.controls_at(seq.position) for seq in layout.seqs]
        tokens = [torch.tensor([[seq.last(feed.role)] for seq in feed.seqs]) for feed in layout.feeds]
        logprobs = self._forwards.run(layout.feeds, tokens)
        if logprobs is None:
            return None
        mixed = mix_rows(layout, torch.cat([part[:, 0] for part in logprobs]), controls)
        drawn = draw(layout, mixed, controls)
        for seq, token in zip(layout.seqs, drawn.ids.tolist(), strict=True):
            seq.advance(token)
        return drawn, self._pace.clock_s() - since_s

    def _is_awaited(self, seq: Sequence) -> bool:
        """Whether the sequence's newest token must be sent at once: it is the first or the last."""
        return seq.position == 1 or seq.tokens[-1] in self._stop_ids or seq.position >= seq.max_new_tokens

    def tell(self) -> None:
        """Attribute what was drawn since the last time; where that fails, it is drawn again."""
        unsent, self._unsent = self._unsent, []
        outcome = attempt(partial(self._attribute, unsent)) if unsent else None
        if isinstance(outcome, Trouble):
            self.take_back(unsent[0][0].layout.seqs)

    def _attribute(self, unsent: abc.Sequence[tuple[Drawn, float]]) -> None:
        since_s = self._pace.clock_s()
        steps = [drawn for drawn, _ in unsent]
        seqs = steps[0].layout.seqs
        for seq, record in zip(seqs * len(steps), attribute(steps, self._candidates), strict=True):
            if not seq.run.cancelled and not seq.ended:
                self._emit(seq, record)
        each_s = (self._pace.clock_s() - since_s) / len(steps)
        for _, drawn_s in unsent:
            self._pace.took(PLAIN, len(seqs), drawn_s + each_s)

    def _play_round(self, layout: Layout, blocks: Mapping[Sequence, int]) -> None:
        """One token or more for every sequence of `layout`, some of them drafted."""
        plan = self._plan
        if plan is None or plan.layout is not layout or plan.blocks != blocks:
            plan = self._plan = plan_round(layout, blocks, self._forwards)
        self.tell()
        since_s = self._pace.clock_s()
        self._pace.begin_round(layout, blocks)
        try:
            open_drafters(plan, self._forwards)
            for seq, record in play_round(plan, self._forwards, self._candidates):
                if not seq.run.cancelled and not seq.ended:
                    seq.advance(record.id)
                    self._emit(seq, record)
        finally:
            for seq in layout.seqs:
                seq.settle()
        self._pace.took(ROUND, plan.positions, self._pace.clock_s() - since_s)
        self._pace.learn(blocks)
