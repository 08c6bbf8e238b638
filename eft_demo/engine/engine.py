"""The engine: rows of many runs on few models, one forward per model per tick.

A plain object. `submit` may be called from any thread, `tick` from one only: a thread's loop or a caller's.
Knows token ids, recipes and models; knows nothing of prompts as text, of pages or of users.
"""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from threading import Condition

import torch

from eft_demo.engine.account import Drawn, account, draw, mix_rows
from eft_demo.engine.check import check_request
from eft_demo.engine.forward import Forwards, ModelFailure
from eft_demo.engine.layout import Layout, arrange
from eft_demo.engine.pace import PLAIN, ROUND, Pace
from eft_demo.engine.rows import Prefill, Row
from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.score import account_given, given_now, read_given
from eft_demo.engine.shares import check_places, next_run
from eft_demo.engine.speculate import Round, open_drafters, plan_round, play_round
from eft_demo.errors import OutOfMemory
from eft_demo.families.text import Utf8Stream
from eft_demo.mixing import ControlTokens
from eft_demo.models.protocol import LanguageModel, ModelGroup
from eft_demo.settings import DEFAULT_THREADS, Settings
from eft_demo.trace import TokenRecord

PREFILL_CHUNK = 128  # tokens of a prompt per tick: a long prompt delays the others by one chunk only
# The account of several ticks at once takes little longer than that of one, and nobody sees a token come this
# much later. Ticks that take longer than this are told one by one all the same.
PATIENCE_S = 0.02


class Engine:
    """Runs waiting, runs reading their prompt, rows decoding; `tick` moves each of them on by one step."""

    def __init__(
        self,
        models: Mapping[str, LanguageModel],
        stop_ids: Iterable[int],
        settings: Settings,
        token_bytes: Sequence[bytes],
        banned_ids: Iterable[int] = (),
        groups: Sequence[ModelGroup] = (),
        patience_s: float = 0.0,
    ) -> None:
        """`patience_s` is how long a token that was drawn may wait to be told together with others."""
        # For the bundled models a second thread saves a tenth on an idle machine and costs tenfold on a busy
        # one.
        torch.set_num_threads(settings.threads or DEFAULT_THREADS)
        self.models, self.settings = models, settings
        control_tokens = ControlTokens(tuple(sorted(stop_ids)), tuple(sorted(banned_ids)))
        # On one processor thread its own time tells the same, and is blind to what else runs here.
        is_alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
        clock = time.thread_time if is_alone else time.perf_counter
        self.forwards = Forwards(models, groups, control_tokens, clock)
        self.stop_ids = frozenset(control_tokens.stops)
        self.token_bytes = token_bytes
        self.wake = Condition()  # guards _waiting; notified when there is something to do
        self._waiting: deque[Run] = deque()
        self._prefills: dict[Run, list[Prefill]] = {}  # in order of arrival
        self._rows: list[Row] = []  # every row that holds slots
        self._layout: Layout | None = None
        self._pace = Pace(self.forwards)
        self._plan: Round | None = None  # of the last round
        self._after_failure = False  # of a round
        self.patience_s = patience_s
        self._untold: list[tuple[Drawn, float]] = []  # ticks, and what each took but its forwards
        self._oldest_s = 0.0  # when the first of them was drawn

    @property
    def active_rows(self) -> int:
        """Rows that hold slots, reading their prompt or decoding."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Runs that wait for rows."""
        return len(self._waiting)

    def submit(self, request: RunRequest) -> Run:
        """Queue a run. Raises InputError if it can never run here, Overloaded if too many wait already."""
        self._check(request)
        with self.wake:
            check_places(request, self._waiting, self._rows, self.settings)
            run = Run(request, self.wake, self.settings.allow_negative_alpha)
            self._waiting.append(run)
            self.wake.notify_all()
        return run

    @torch.inference_mode()
    def tick(self) -> bool:
        """One chunk of one prompt and one token for every decoding row. False if there was nothing to do."""
        self._end_unwanted()
        self._admit()
        if not self._rows:
            return False
        self._prefill()
        self._decode()
        return True

    def fail_all(self, sentence: str) -> None:
        """End every run with an error: the way out of a tick that broke, and of a server that stops."""
        self._end(self._rows, "error", sentence)
        self._end_waiting(self._waiting_now(), "error", sentence)

    # -- joining and leaving --

    def _check(self, request: RunRequest) -> None:
        check_request(request, self.models, len(self.token_bytes), self.settings)

    def _admit(self) -> None:
        while self._waiting and (run := next_run(self._waiting_now(), self._rows, self.settings)):
            with self.wake:
                self._waiting.remove(run)
            rows = [self._row(run, panel) for panel in range(len(run.request.panels))]
            self._rows += rows
            prefills: dict[str, Prefill] = {}
            for row in rows:
                for role in row.roles:
                    prompt = run.request.prompts[role]
                    prefills.setdefault(role, Prefill(role, prompt[:-1], [])).rows.append(row)
            self._prefills[run] = list(prefills.values())
            try:
                for row in rows:
                    for role in row.roles:
                        row.slots[role] = self.models[role].join()
            except OutOfMemory as error:
                self._end(rows, "error", str(error))

    def _row(self, run: Run, panel: int) -> Row:
        request = run.request
        recipe = request.panels[panel][1]
        room = min(self.models[role].context - len(request.prompts[role]) + 1 for role in recipe.roles)
        limit = min(request.max_new_tokens, room)
        row = Row(run, panel, recipe, limit, Utf8Stream(self.token_bytes), recipe.roles)
        row.drafting = self._pace.drafting(row)
        return row

    def _end_unwanted(self) -> None:
        """End cancelled and overdue runs, wherever they are."""
        limit_s = self.settings.deadline_s
        overdue_s = time.perf_counter() - limit_s
        self._end([row for row in self._rows if row.run.cancelled], "cancelled", None)
        late = f"This run reached the time limit of {limit_s:g} s. Please ask for a shorter text."
        self._end([row for row in self._rows if row.run.submitted_s < overdue_s], "error", late)
        waiting = self._waiting_now()
        self._end_waiting([run for run in waiting if run.cancelled], "cancelled", None)
        crowded = f"No place became free within the time limit of {limit_s:g} s. Please try again later."
        self._end_waiting([run for run in waiting if run.submitted_s < overdue_s], "error", crowded)

    def _waiting_now(self) -> list[Run]:
        with self.wake:
            return list(self._waiting)

    def _end_waiting(self, runs: Sequence[Run], finish_reason: str, error: str | None) -> None:
        for run in runs:
            with self.wake:
                if run not in self._waiting:
                    continue
                self._waiting.remove(run)
            for panel in range(len(run.request.panels)):
                self._row(run, panel).end(finish_reason, error)

    def _end(self, rows: Sequence[Row], finish_reason: str, error: str | None) -> None:
        """Free the rows' slots, then tell their owners."""
        if rows:
            self._tell()
        for row in list(rows):
            for role, slot in row.slots.items():
                self.models[role].leave(slot)
            row.slots.clear()
            self._rows.remove(row)
            for prefill in self._prefills.get(row.run, []):
                if row in prefill.rows:
                    prefill.rows.remove(row)
            self._layout = self._plan = None
            row.end(finish_reason, error)
        alive = ((run, [p for p in prefills if p.rows]) for run, prefills in self._prefills.items())
        self._prefills = {run: prefills for run, prefills in alive if prefills}

    # -- one step --

    def _prefill(self) -> None:
        """Read one chunk of the oldest run's prompt with each of its models."""
        run = next(iter(self._prefills), None)
        if run is None:
            return
        for prefill in list(self._prefills[run]):
            if not prefill.rows or prefill.is_done or run.cancelled:
                continue
            start = prefill.slot.length
            tokens = torch.tensor([prefill.tokens[start : start + PREFILL_CHUNK]])
            try:
                self.models[prefill.role].forward([prefill.slot], tokens)
            except Exception as error:  # a model's failure is its own rows' only
                self._fail(ModelFailure([prefill.role], prefill.rows, error))
        prefills = self._prefills.get(run, [])
        if not all(prefill.is_done for prefill in prefills):
            return
        if prefills and run.request.forced[prefills[0].rows[0].position :]:
            self._score(run, prefills)
        else:
            for prefill in self._prefills.pop(run, []):
                for row in prefill.rows[1:]:
                    self.models[prefill.role].copy_prefix(prefill.slot, row.slots[prefill.role])
            self._layout = None

    def _score(self, run: Run, prefills: Sequence[Prefill]) -> None:
        """Account for the next tokens that a run was given, one forward per model for all of its panels."""
        rows = sorted({row for prefill in prefills for row in prefill.rows}, key=lambda row: row.panel)
        given = given_now(rows)
        try:
            logprobs = read_given(self.forwards, prefills, given)
        except ModelFailure as failure:
            self._fail(failure)
            return
        if not logprobs:
            return
        try:
            told = account_given(rows, given, logprobs, self.settings.candidates)
        except ModelFailure as failure:
            self._end(rows, "error", str(failure))
            return
        for row, record in told:
            if row in self._rows and not run.cancelled:
                row.advance(record.id)
                self._emit(row, record)

    def _decode(self) -> None:
        """One token for every row that has read its prompt."""
        if self._layout is None:
            self._tell()
            rows = [row for row in self._rows if row.run not in self._prefills]
            self._layout = arrange(rows) if rows else None
        layout = self._layout
        if layout is None:
            return
        blocks = {} if self._after_failure else self._pace.blocks(layout)
        self._after_failure = False
        try:
            if blocks:
                self._play_round(layout, blocks)
            else:
                self._plain_tick(layout)
        except ModelFailure as failure:
            if not blocks:
                self._fail(failure)
                return
            # Perhaps only the drafts broke a model: the plain tick that comes next will tell.
            self._after_failure = True
            for row in failure.rows:
                if row.drafting:
                    row.drafting.trusted = False

    def _plain_tick(self, layout: Layout) -> None:
        """One token for every row of `layout`."""
        since_s = self._pace.clock_s()
        # Taken once, so that a token's record shows the very values it was drawn with.
        controls = [row.run.controls_at(row.position) for row in layout.rows]
        tokens = [torch.tensor([[row.last(feed.role)] for row in feed.rows]) for feed in layout.feeds]
        logprobs = self.forwards.run(layout.feeds, tokens)
        if logprobs is None:
            return
        mixed = mix_rows(layout, torch.cat([part[:, 0] for part in logprobs]), controls)
        drawn = draw(layout, mixed, controls)
        for row, token in zip(layout.rows, drawn.ids.tolist(), strict=True):
            row.advance(token)
        if not self._untold:
            self._oldest_s = time.perf_counter()
        self._untold.append((drawn, self._pace.clock_s() - since_s))
        waited = time.perf_counter() - self._oldest_s >= self.patience_s
        if waited or any(map(self._is_awaited, layout.rows)):
            self._tell()

    def _is_awaited(self, row: Row) -> bool:
        """Whether the row's newest token must be told at once: it is the first or the last."""
        return row.position == 1 or row.tokens[-1] in self.stop_ids or row.position >= row.max_new_tokens

    def _tell(self) -> None:
        """Account for what was drawn since the last time."""
        untold, self._untold = self._untold, []
        if not untold:
            return
        since_s = self._pace.clock_s()
        ticks = [drawn for drawn, _ in untold]
        rows = ticks[0].layout.rows
        for row, record in zip(rows * len(ticks), account(ticks, self.settings.candidates), strict=True):
            if not row.run.cancelled:
                self._emit(row, record)
        each_s = (self._pace.clock_s() - since_s) / len(ticks)
        for _, drawn_s in untold:
            self._pace.took(PLAIN, len(rows), drawn_s + each_s)

    def _play_round(self, layout: Layout, blocks: Mapping[Row, int]) -> None:
        """One token or more for every row of `layout`, some of them drafted."""
        plan = self._plan
        if plan is None or plan.layout is not layout or plan.blocks != blocks:
            plan = self._plan = plan_round(layout, blocks, self.forwards)
        self._tell()
        since_s = self._pace.clock_s()
        self._pace.begin_round(layout, blocks)
        try:
            open_drafters(plan, self.forwards)
            for row, record in play_round(plan, self.forwards, self.settings.candidates):
                if not row.run.cancelled:
                    row.advance(record.id)
                    self._emit(row, record)
        finally:
            for row in layout.rows:
                row.settle()
        self._pace.took(ROUND, plan.positions, self._pace.clock_s() - since_s)
        self._pace.learn(blocks)

    def _emit(self, row: Row, record: TokenRecord) -> None:
        """Send a token of the row's text, and the end if it is the last."""
        is_stop = record.id in self.stop_ids
        row.emit(record, is_stop)
        if is_stop:
            self._end([row], "stop", None)
        elif record.position + 1 >= row.max_new_tokens:
            self._end([row], "length", None)

    def _fail(self, failure: ModelFailure) -> None:
        """End the rows that cannot go on; the others try again without them in the next tick."""
        self._end(failure.rows, "error", str(failure))
        for row in self._rows:
            row.settle()
