"""Decoding: one token, or a round of drafted ones, for every row that has read its prompt.

What a row's owner was not sent yet can be made again, for the noise of a token follows from its position. So
a step that broke is taken back and taken again by each row alone, and only who fails alone ends. Knows rows,
forwards and how to mix; does not know how rows come and go.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

import torch

from eft_demo.engine.attribution import Drawn, attribute, draw, mix_rows
from eft_demo.engine.batch import Layout, arrange
from eft_demo.engine.draft_length import PLAIN, ROUND, Pace
from eft_demo.engine.failures import Trouble, attempt
from eft_demo.engine.forward import Forwards
from eft_demo.engine.sequence import Row
from eft_demo.engine.speculate import Round, open_drafters, plan_round, play_round
from eft_demo.runs.trace import TokenRecord

# Attributing several steps at once takes little longer than one, and nobody notices a token this much later.
# Steps that take longer than this are sent one by one.
PATIENCE_S = 0.02
ALONE_STEPS = 16  # of each row by itself after a step that broke, before all are tried together again


class Decoder:
    """The rows' common step, and the tokens drawn in it that their owners were not sent yet."""

    def __init__(
        self,
        forwards: Forwards,
        pace: Pace,
        candidates: int,
        stop_ids: Collection[int],
        patience_s: float,
        emit: Callable[[Row, TokenRecord], None],
        fail: Callable[[Sequence[Row], Trouble], None],
    ) -> None:
        """`emit` is called with each token, and may end its row; `fail` with the rows that cannot go on."""
        self._forwards, self._pace, self._candidates, self._stop_ids = forwards, pace, candidates, stop_ids
        self._patience_s, self._emit, self._fail = patience_s, emit, fail
        self._layout: Layout | None = None
        self._plan: Round | None = None  # of the last round
        self._after_failure = False  # of a round
        self._alone = 0  # steps to come in which each row goes by itself
        self._unsent: list[tuple[Drawn, float]] = []  # steps, and what each took but its forwards
        self._oldest_s = 0.0  # when the first of them was drawn

    def rearrange(self) -> None:
        """Other rows take part from now on, or their slots have moved."""
        self._layout = self._plan = None

    def take_back(self, rows: Iterable[Row]) -> None:
        """Undo what nobody was sent; from here each row goes by itself for a while."""
        self._unsent.clear()
        for row in rows:
            row.settle()
        self._alone = ALONE_STEPS

    def step(self, rows: list[Row]) -> bool:
        """One token or more for each of `rows`. False if something failed."""
        if self._layout is None:
            self.tell()
        if self._alone:
            self._alone -= 1
            self._decode_alone(rows)
            return True
        blocks: dict[Row, int] = {}
        outcome = attempt(partial(self._decode_together, rows, blocks))
        if not isinstance(outcome, Trouble):
            return True
        self.tell()
        for row in rows:
            row.settle()
        if blocks:
            # Perhaps only the drafts broke a model: the plain step that comes next will tell.
            self._after_failure = True
            for row in outcome.rows or blocks:
                if row.drafting:
                    row.drafting.trusted = False
        elif outcome.exact:
            self._fail(outcome.rows, outcome)
        else:
            self._alone = ALONE_STEPS
        return False

    def _decode_together(self, rows: list[Row], blocks: dict[Row, int]) -> None:
        """One step of all rows as one batch. `blocks` says afterwards for whom tokens were drafted."""
        if self._layout is None and rows:
            self._layout = arrange(rows)
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

    def _decode_alone(self, rows: Sequence[Row]) -> None:
        """One step of each row by itself."""
        for row in rows:
            if row.ended or row.run.cancelled:
                continue
            outcome = attempt(partial(self._step_alone, row))
            if isinstance(outcome, Trouble):
                self._fail([row], outcome)

    def _step_alone(self, row: Row) -> None:
        drawn = self._draw(arrange([row]))
        if drawn is not None:
            self._attribute([drawn])

    def _plain_step(self, layout: Layout) -> None:
        """One token for every row of `layout`."""
        drawn = self._draw(layout)
        if drawn is None:
            return
        if not self._unsent:
            self._oldest_s = time.perf_counter()
        self._unsent.append(drawn)
        waited = time.perf_counter() - self._oldest_s >= self._patience_s
        if waited or any(map(self._is_awaited, layout.rows)):
            self.tell()

    def _draw(self, layout: Layout) -> tuple[Drawn, float] | None:
        """A token for every row of `layout`, and what it took but for the forwards; None if nobody waits."""
        since_s = self._pace.clock_s()
        # Taken once, so that a token's record shows the very values it was drawn with.
        controls = [row.run.controls_at(row.position) for row in layout.rows]
        tokens = [torch.tensor([[row.last(feed.role)] for row in feed.rows]) for feed in layout.feeds]
        logprobs = self._forwards.run(layout.feeds, tokens)
        if logprobs is None:
            return None
        mixed = mix_rows(layout, torch.cat([part[:, 0] for part in logprobs]), controls)
        drawn = draw(layout, mixed, controls)
        for row, token in zip(layout.rows, drawn.ids.tolist(), strict=True):
            row.advance(token)
        return drawn, self._pace.clock_s() - since_s

    def _is_awaited(self, row: Row) -> bool:
        """Whether the row's newest token must be sent at once: it is the first or the last."""
        return row.position == 1 or row.tokens[-1] in self._stop_ids or row.position >= row.max_new_tokens

    def tell(self) -> None:
        """Attribute what was drawn since the last time; where that fails, it is drawn again."""
        unsent, self._unsent = self._unsent, []
        outcome = attempt(partial(self._attribute, unsent)) if unsent else None
        if isinstance(outcome, Trouble):
            self.take_back(unsent[0][0].layout.rows)

    def _attribute(self, unsent: Sequence[tuple[Drawn, float]]) -> None:
        since_s = self._pace.clock_s()
        steps = [drawn for drawn, _ in unsent]
        rows = steps[0].layout.rows
        for row, record in zip(rows * len(steps), attribute(steps, self._candidates), strict=True):
            if not row.run.cancelled and not row.ended:
                self._emit(row, record)
        each_s = (self._pace.clock_s() - since_s) / len(steps)
        for _, drawn_s in unsent:
            self._pace.took(PLAIN, len(rows), drawn_s + each_s)

    def _play_round(self, layout: Layout, blocks: Mapping[Row, int]) -> None:
        """One token or more for every row of `layout`, some of them drafted."""
        plan = self._plan
        if plan is None or plan.layout is not layout or plan.blocks != blocks:
            plan = self._plan = plan_round(layout, blocks, self._forwards)
        self.tell()
        since_s = self._pace.clock_s()
        self._pace.begin_round(layout, blocks)
        try:
            open_drafters(plan, self._forwards)
            for row, record in play_round(plan, self._forwards, self._candidates):
                if not row.run.cancelled and not row.ended:
                    row.advance(record.id)
                    self._emit(row, record)
        finally:
            for row in layout.rows:
                row.settle()
        self._pace.took(ROUND, plan.positions, self._pace.clock_s() - since_s)
        self._pace.learn(blocks)
