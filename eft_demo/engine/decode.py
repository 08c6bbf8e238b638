"""Decoding: one token, or one round of speculative decoding, for every sequence after its prefill.

A token's noise depends only on its position, so tokens that were not sent yet can be sampled again. A failed
step is therefore undone and repeated for each sequence alone; only those that fail again end.
Knows sequences, forwards and mixing; does not know how sequences join and leave.
"""

import time
from collections import abc
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

import torch

from eft_demo.engine.attribution import SampledTokens, attribute
from eft_demo.engine.batch import Layout, make_layout
from eft_demo.engine.certify import draw_tokens
from eft_demo.engine.draft_length import PLAIN, ROUND, DraftPlanner
from eft_demo.engine.failures import StepFailure, attempt
from eft_demo.engine.forward import Forwards
from eft_demo.engine.sequence import Sequence
from eft_demo.engine.speculate import Round, open_drafters, plan_round, run_round
from eft_demo.runs.trace import TokenRecord

# Attributing several steps at once costs about as much as one, and a delay this short is invisible.
# Steps that take longer than this are sent one by one.
PATIENCE_S = 0.02
ALONE_STEPS = 16  # after a failed step, steps with each sequence on its own before all are batched again


class Decoder:
    """Steps all sequences together, and keeps sampled tokens until they are sent to their owners."""

    def __init__(
        self,
        forwards: Forwards,
        planner: DraftPlanner,
        candidates: int,
        stop_ids: Collection[int],
        patience_s: float,
        emit: Callable[[Sequence, TokenRecord], None],
        fail: Callable[[abc.Sequence[Sequence], StepFailure], None],
    ) -> None:
        """Calls `emit` with each token (it may end the sequence) and `fail` with sequences that must end."""
        self._forwards, self._planner = forwards, planner
        self._candidates, self._stop_ids = candidates, stop_ids
        self._patience_s, self._emit, self._fail = patience_s, emit, fail
        self._layout: Layout | None = None
        self._plan: Round | None = None  # of the last round
        self._after_failure = False  # the last round failed
        self._alone = 0  # coming steps in which each sequence runs on its own
        # Steps, and the seconds each took outside forwards.
        self._unsent: list[tuple[SampledTokens, float]] = []
        self._oldest_s = 0.0  # when the first of them was sampled

    def forget_layout(self) -> None:
        """Forget the layout: the set of sequences has changed, or their slots have moved."""
        self._layout = self._plan = None

    def undo_unsent(self, seqs: Iterable[Sequence]) -> None:
        """Undo tokens that were not sent; run each sequence on its own for the next steps."""
        self._unsent.clear()
        for seq in seqs:
            seq.roll_back_unsent()
        self._alone = ALONE_STEPS

    def step(self, seqs: list[Sequence]) -> bool:
        """Decode one or more tokens for each of `seqs`. False if something failed."""
        if self._layout is None:
            self.send_unsent()
        if self._alone:
            self._alone -= 1
            self._decode_alone(seqs)
            return True
        blocks: dict[Sequence, int] = {}
        outcome = attempt(partial(self._decode_together, seqs, blocks))
        if not isinstance(outcome, StepFailure):
            return True
        self.send_unsent()
        for seq in seqs:
            seq.roll_back_unsent()
        if outcome.late:  # the engine leaves out those that wait, until there is an answer
            return True
        if blocks:
            # Perhaps only the drafts broke a model: the next step, a plain one, will show.
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
        """One step of all sequences in one batch. Fills `blocks` with the sequences that got drafts."""
        if self._layout is None and seqs:
            self._layout = make_layout(seqs)
        layout = self._layout
        if layout is None:
            return
        if not self._after_failure:
            blocks.update(self._planner.blocks(layout))
        self._after_failure = False
        if blocks:
            self._run_round(layout, blocks)
        else:
            self._plain_step(layout)

    def _decode_alone(self, seqs: abc.Sequence[Sequence]) -> None:
        """One step of each sequence on its own."""
        for seq in seqs:
            if seq.ended or seq.run.cancelled or self._forwards.waits(seq):
                continue
            outcome = attempt(partial(self._step_alone, seq))
            if isinstance(outcome, StepFailure) and outcome.late:
                seq.roll_back_unsent()
            elif isinstance(outcome, StepFailure):
                self._fail([seq], outcome)

    def _step_alone(self, seq: Sequence) -> None:
        drawn = self._draw(make_layout([seq]))
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
        if waited or any(map(self._must_send_now, layout.seqs)):
            self.send_unsent()

    def _draw(self, layout: Layout) -> tuple[SampledTokens, float] | None:
        """Sample a token for every sequence of `layout`; returns it with the seconds spent outside forwards.

        None if every run was cancelled.
        """
        since_s = self._planner.clock_s()
        # Read once, so that a token's record shows the values it was sampled with.
        controls = [seq.run.controls_at(seq.position) for seq in layout.seqs]
        tokens = [torch.tensor([[seq.next_input(feed.role)] for seq in feed.seqs]) for feed in layout.feeds]
        found = self._forwards.run(layout.feeds, tokens, spare=layout.mixed)
        if found is None:
            return None
        drawn = draw_tokens(layout, found[:, 0], controls, self._forwards)
        for seq, token in zip(layout.seqs, drawn.ids.tolist(), strict=True):
            seq.advance(token)
        return drawn, self._planner.clock_s() - since_s

    def _must_send_now(self, seq: Sequence) -> bool:
        """Whether the newest token must be sent immediately: it is the sequence's first or last."""
        return seq.position == 1 or seq.tokens[-1] in self._stop_ids or seq.position >= seq.max_new_tokens

    def send_unsent(self) -> None:
        """Attribute and send all unsent tokens; if that fails, they are undone and sampled again."""
        unsent, self._unsent = self._unsent, []
        outcome = attempt(partial(self._attribute, unsent)) if unsent else None
        if isinstance(outcome, StepFailure):
            self.undo_unsent(unsent[0][0].layout.seqs)

    def _attribute(self, unsent: abc.Sequence[tuple[SampledTokens, float]]) -> None:
        since_s = self._planner.clock_s()
        steps = [drawn for drawn, _ in unsent]
        seqs = steps[0].layout.seqs
        for seq, record in zip(seqs * len(steps), attribute(steps, self._candidates), strict=True):
            if not seq.run.cancelled and not seq.ended:
                self._emit(seq, record)
        each_s = (self._planner.clock_s() - since_s) / len(steps)
        for _, drawn_s in unsent:
            self._planner.record_cost(PLAIN, len(seqs), drawn_s + each_s)

    def _run_round(self, layout: Layout, blocks: Mapping[Sequence, int]) -> None:
        """Decode one or more tokens for every sequence of `layout`, some of them drafted."""
        plan = self._plan
        if plan is None or plan.layout is not layout or plan.blocks != blocks:
            plan = self._plan = plan_round(layout, blocks, self._forwards)
        self.send_unsent()
        since_s = self._planner.clock_s()
        self._planner.begin_round(layout, blocks)
        try:
            open_drafters(plan, self._forwards)
            for seq, record in run_round(plan, self._forwards, self._candidates):
                if not seq.run.cancelled and not seq.ended:
                    seq.advance(record.id)
                    self._emit(seq, record)
        finally:
            for seq in layout.seqs:
                seq.roll_back_unsent()
        self._planner.record_cost(ROUND, plan.positions, self._planner.clock_s() - since_s)
        self._planner.remember_acceptance(blocks)
