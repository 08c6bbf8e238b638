"""The engine: decodes the sequences of many runs together, with one forward per model per step.

A plain object. `submit` may be called from any thread; `step` must always be called from the same one.
Knows token ids, recipes and models; knows nothing about text prompts, pages or users.

An exception ends only the sequences it affects. If a whole step fails and no single sequence is to blame, the
step is retried once. If it fails again, all sequences end and the engine continues with the next run.
"""

import time
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

import torch

from eft_demo.engine.costs import follow
from eft_demo.engine.counts import Counts
from eft_demo.engine.decode import Decoder
from eft_demo.engine.draft_length import DraftPlanner
from eft_demo.engine.failures import (
    DEAD,
    INTERRUPTED,
    EngineDead,
    ModelFailure,
    StepFailure,
    attempt,
    message_for,
)
from eft_demo.engine.fairness import FEW, max_sequences_at
from eft_demo.engine.forward import Forwards
from eft_demo.engine.pacer import Pacer
from eft_demo.engine.prefix_cache import PrefixCache
from eft_demo.engine.queue import RunQueue
from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.score import attribute_forced, next_forced, read_forced
from eft_demo.engine.sequence import Prefill, Sequence
from eft_demo.engine.validate import check_request
from eft_demo.method.mixing import ControlTokens
from eft_demo.models.protocol import Elsewhere, LanguageModel, ModelGroup
from eft_demo.runs.text import Utf8Stream
from eft_demo.runs.trace import TokenRecord
from eft_demo.settings import DEFAULT_THREADS, Settings

PREFILL_CHUNK = 128  # prompt tokens per step: a long prompt delays other runs by one chunk at a time
READ_S = 0.5  # while other runs write, a chunk should not take longer than this
LONE_CHUNK = 512  # while nobody writes: 430 tokens at once take two thirds of the time of chunks of 128
LONE_READ_S = 2.0  # a new run waits at most this long for a turn, and Stop for its effect
PROMPT_TOKENS = 8  # as many tokens as starting a prompt costs, however short it is
MIN_CHUNK = 16  # fewer take about as long: the weights are read once per chunk
LATE_REST_S = 0.02  # between two looks for the late answer of a model elsewhere, while all wait for it
MAX_FAILURES = 5  # consecutive steps that may fail as a whole before the engine gives up


class Engine:
    """Holds waiting runs, runs in prefill and decoding sequences; `step` advances all of them."""

    has_device = True  # its models can run at any moment

    def __init__(
        self,
        models: Mapping[str, LanguageModel],
        stop_ids: Iterable[int],
        settings: Settings,
        token_bytes: abc.Sequence[bytes],
        banned_ids: Iterable[int] = (),
        groups: abc.Sequence[ModelGroup] = (),
        patience_s: float = 0.0,
    ) -> None:
        """`patience_s` is how long a sampled token may be held back so that several are sent together."""
        # With the bundled models, a second thread is 10 % faster on an idle machine but ten times slower on a
        # busy one.
        torch.set_num_threads(settings.threads or DEFAULT_THREADS)
        self.models, self.settings = models, settings
        self.counts = Counts()
        control_tokens = ControlTokens(tuple(sorted(stop_ids)), tuple(sorted(banned_ids)))
        # With a single CPU thread, its own CPU time is enough and ignores whatever else the machine is doing.
        # Waiting for a GPU or a server is not in it.
        waits = torch.cuda.is_available() or any(isinstance(model, Elsewhere) for model in models.values())
        is_alone = torch.get_num_threads() == 1 and not waits
        clock = time.thread_time if is_alone else time.perf_counter
        self._prefixes = PrefixCache(models, settings.prefix_cache_mb * 1_000_000)
        self.forwards = Forwards(models, groups, control_tokens, clock, self._prefixes)
        self.stop_ids = frozenset(control_tokens.stops)
        self.token_bytes = token_bytes
        self._queue = RunQueue(settings)
        self.wake = self._queue.wake  # notified when there is something to do
        self._prefills: dict[Run, list[Prefill]] = {}  # in order of arrival
        self._seqs: list[Sequence] = []  # every sequence that holds slots
        self._planner = DraftPlanner(self.forwards)
        self._decoder = Decoder(
            self.forwards,
            self._planner,
            settings.candidates,
            self.stop_ids,
            patience_s,
            self._emit,
            self._fail,
        )
        self._token_s = 0.0  # what reading a token with every model of the last prompt took
        self._sequence_s = 0.0  # what a step takes per sequence, while many run
        self._pacer = Pacer()
        self._failures = 0  # consecutive steps that failed as a whole
        self._untidy = False  # something failed, so a model may still hold a slot that no sequence owns
        self._leaked = ""  # why a model could not free a slot; empty if none failed to
        self._lost = False  # the device is lost: no model can run in this process again
        self._beat_s = time.monotonic()  # when `step` was last called or returned

    @property
    def active_sequences(self) -> int:
        """How many sequences hold slots, in prefill or decoding."""
        return len(self._seqs)

    @property
    def max_sequences(self) -> int:
        """How many sequences may run at once now."""
        return max_sequences_at(self._sequence_s, self.settings)

    @property
    def waiting(self) -> int:
        """How many runs are queued."""
        return len(self._queue)

    def place_of(self, run: Run) -> tuple[int, float]:
        """The run's place in the queue, 0 if it does not wait, and the likely seconds, 0 if unknown."""
        return self._queue.place_of(run)

    @property
    def rest_s(self) -> float:
        """Seconds until `step` may have work again, if it had none: every run is held back or waits."""
        return min(self._pacer.rest_s, LATE_REST_S) if self._late else self._pacer.rest_s

    @property
    def _late(self) -> bool:
        return any(map(self.forwards.late_s, self.forwards.elsewhere))

    def late_of(self, run: Run) -> tuple[str, float] | None:
        """The model elsewhere whose late answer this run waits for, and since how many seconds."""
        roles = {role for seq in list(self._seqs) if seq.run is run for role in seq.roles}
        late = [(self.forwards.late_s(role), role) for role in roles]
        seconds, role = max(late, default=(0.0, ""))
        return (role, seconds) if seconds else None

    @property
    def stalled_s(self) -> float:
        """Seconds since a step last began or ended; 0 while there is no work."""
        return time.monotonic() - self._beat_s if self._seqs or self.waiting else 0.0

    def submit(self, request: RunRequest) -> Run:
        """Queue a run. Raises InputError if it can never run here, and Overloaded if too many runs are
        waiting or the engine is closed.
        """
        self._check(request)
        settings = self.settings
        run = Run(request, self.wake, self.counts.note, settings.allow_negative_alpha, settings.hold_s)
        self._queue.add(run, self._seqs, self.max_sequences)
        return run

    @torch.inference_mode()
    def step(self) -> bool:
        """Read a chunk of the prompts and decode one token of every sequence that is due.

        False if there was no work now.

        Raises EngineDead if the engine cannot continue; every run has ended by then.
        """
        self._beat_s = time.monotonic()
        try:
            outcome = attempt(self._step)
            if isinstance(outcome, StepFailure):
                self._recover(outcome)
            if self._leaked:
                self.fail_all(self._leaked)
            if self._lost:
                raise EngineDead(DEAD)
        except EngineDead:
            self.close(DEAD)
            raise
        except KeyboardInterrupt:  # Ctrl+C, when the main thread drives the engine
            self._interrupt()
            raise
        except BaseException as error:
            self._recover(StepFailure(message_for(error), ends_all=True))
            raise
        self._beat_s = time.monotonic()
        if isinstance(outcome, StepFailure):
            return True
        self._failures = 0
        self.counts.steps += outcome
        return outcome

    @torch.inference_mode()
    def fail_all(self, message: str) -> None:
        """End every run with an error and free all slots, whatever is broken.

        Raises EngineDead if a slot could not be freed and resetting the models failed too.
        """
        self._prefixes.clear()
        attempt(self._decoder.send_unsent)
        seqs, self._seqs = self._seqs, []
        runs = [*dict.fromkeys(seq.run for seq in seqs), *self._queue.clear()]
        try:
            for seq in seqs:
                self._free(seq)
                self._send_end(seq, "error", message)
        finally:
            for run in runs:
                attempt(partial(run.end, "error", message))
        self._prefills = {}
        self._decoder.forget_layout()
        if self._leaked and isinstance(attempt(self._reset_models), StepFailure):
            raise EngineDead(DEAD)

    def close(self, message: str, refusal: str = "") -> None:
        """End every run with this message, and reject new ones with `refusal`, or else the same message."""
        self._queue.close(refusal or message)
        try:
            attempt(partial(self.fail_all, message))
        except EngineDead:
            pass  # new runs are rejected anyway

    def _step(self) -> bool:
        self._end_late()
        self._admit()
        if not self._seqs:
            if self._untidy:
                self._reset_models()
            return False
        self._prefill()
        reading = {seq for prefills in self._prefills.values() for p in prefills for seq in p.seqs}
        decoding = [seq for seq in self._seqs if seq not in reading]
        ready = [seq for seq in decoding if not self.forwards.waits(seq)]
        due = self._pacer.due(ready, others_wait=self.waiting > 0)
        if (decoding or self._late) and not due:
            self._decoder.send_unsent()
            return any(map(self._can_read, self._prefills))
        if self._pacer.are_others(due):
            self._decoder.forget_layout()
        began_s = time.perf_counter()
        if not self._decoder.step(due):
            self._note_failure()
        if len(due) >= FEW // 2:  # fewer say little about the cost of many
            self._sequence_s = follow(self._sequence_s, (time.perf_counter() - began_s) / len(due))
        return True

    def _recover(self, failure: StepFailure) -> None:
        """Recover from a step that failed as a whole: retry after the first failure, end all runs after the
        second. Raises EngineDead if even this fails or too many steps in a row have failed.
        """
        self._failures += 1
        self._lost |= failure.lost
        self._note_failure()
        ends_all = self._failures > 1 or failure.ends_all
        outcome = attempt(partial(self._start_over, failure.message if ends_all else ""))
        if isinstance(outcome, StepFailure) or self._failures > MAX_FAILURES:
            self.close(DEAD)
            raise EngineDead(DEAD)

    def _interrupt(self) -> None:
        """End all runs. This is no failure of the engine, which may go on."""
        self._note_failure()
        with suppress(EngineDead):  # the caller raises the interrupt
            attempt(partial(self._start_over, INTERRUPTED))

    def _start_over(self, message: str) -> None:
        if message:
            self.fail_all(message)
        self._decoder.undo_unsent(self._seqs)

    def _note_failure(self) -> None:
        """Something failed: free the memory that can be spared, before it is tried again."""
        self._untidy = True
        self.counts.failed_steps += 1
        self._prefixes.clear()

    def _reset_models(self) -> None:
        for model in self.models.values():
            model.reset()
        self._untidy, self._leaked = False, ""

    # -- joining and leaving --

    def _check(self, request: RunRequest) -> None:
        check_request(request, self.models, len(self.token_bytes), self.settings)

    def _admit(self) -> None:
        while (run := self._queue.take(self._seqs, self.max_sequences)) is not None:
            try:
                outcome = attempt(partial(self._start_prefill, run))
            except BaseException as error:
                run.end("error", message_for(error))
                raise
            if isinstance(outcome, StepFailure):
                self._fail([seq for seq in self._seqs if seq.run is run], outcome)
                run.end("error", outcome.message)

    def _start_prefill(self, run: Run) -> None:
        seqs = [self._sequence(run, column) for column in range(len(run.request.spec.columns))]
        prefills: dict[tuple[str, tuple[int, ...]], Prefill] = {}
        for seq in seqs:
            for role in seq.roles:
                prompt = seq.prompts[role]
                prefills.setdefault((role, prompt), Prefill(role, prompt[:-1], [])).seqs.append(seq)
        self._seqs += seqs
        self._prefills[run] = list(prefills.values())
        for seq in seqs:
            outcome = self._try_with_room(partial(self._join, seq))
            if isinstance(outcome, StepFailure):
                self._fail([seq], outcome)
        for prefill in self._prefills.get(run, []):
            outcome = attempt(partial(self._reuse, prefill))
            if isinstance(outcome, StepFailure):  # then it is read instead
                self._lost |= outcome.lost
                self._note_failure()
                prefill.slot.length = 0

    def _try_with_room(self, work: Callable[[], object]) -> object:
        """The outcome of `work`; if memory ends, kept texts make room for a second try."""
        outcome = attempt(work)
        if isinstance(outcome, StepFailure) and outcome.full and self._prefixes.clear():
            outcome = attempt(work)
        return outcome

    def _reuse(self, prefill: Prefill) -> None:
        """Let a prompt begin with what its model has read already, in a text of the same reader."""
        reader = prefill.seqs[0].run.request.reader
        reused = self._prefixes.restore(reader, prefill.role, prefill.tokens, prefill.slot)
        for seq in prefill.seqs:
            if seq.recipe.anchor == prefill.role:
                seq.reused = reused

    def _keep(self, seq: Sequence) -> None:
        """Keep what the models have read of a text that has ended."""
        for role, slot in seq.slots.items():
            # A round may have read more than the text has: drafts that were rejected.
            slot.length = min(slot.length, len(seq.prompts[role]) - 1 + seq.position)
            tokens = (*seq.prompts[role], *seq.tokens)[: slot.length]
            self._prefixes.keep(seq.run.request.reader, role, tokens, slot)

    def _join(self, seq: Sequence) -> None:
        for role in seq.roles:
            seq.slots[role] = self.models[role].join()

    def _sequence(self, run: Run, column: int) -> Sequence:
        request = run.request
        recipe = request.spec.columns[column][1]
        room = min(
            self.models[role].context - len(request.prompts_of(column)[role]) + 1 for role in recipe.roles
        )
        limit = min(request.length, room)
        seq = Sequence(run, column, recipe, limit, Utf8Stream(self.token_bytes), recipe.roles)
        seq.drafting = self._planner.drafting_for(seq)
        return seq

    def _end_late(self) -> None:
        """End cancelled and overdue runs. The time counts from the first token: reading may take longer."""
        limit_s = self.settings.deadline_s
        overdue_s = time.perf_counter() - limit_s
        self._end([seq for seq in self._seqs if seq.run.cancelled], "cancelled", None)
        late = f"This run reached the time limit of {limit_s:g} s. Please ask for a shorter text."
        writing = [seq for seq in self._seqs if seq.position]
        late_seqs = [seq for seq in writing if seq.first_s + seq.run.pace.held_s < overdue_s]
        self._end(late_seqs, "error", late)
        for run in self._queue.remove_where(lambda run: run.cancelled):
            run.end("cancelled", None)
        crowded = f"This run waited {limit_s:g} s without getting a turn. Please try again later."
        for run in self._queue.remove_where(lambda run: run.submitted_s < overdue_s):
            run.end("error", crowded)

    def _end(self, seqs: abc.Sequence[Sequence], finish_reason: str, error: str | None) -> None:
        """Free the sequences' slots, then send each owner the end event."""
        if seqs:
            self._decoder.send_unsent()
        for seq in list(seqs):
            if seq.ended:
                continue
            if error is None and isinstance(attempt(partial(self._keep, seq)), StepFailure):
                self._note_failure()
            self._free(seq)
            self._decoder.forget_layout()
            self._seqs.remove(seq)
            for prefill in self._prefills.get(seq.run, []):
                if seq in prefill.seqs:
                    prefill.seqs.remove(seq)
            self._send_end(seq, finish_reason, error)
        alive = ((run, [p for p in prefills if p.seqs]) for run, prefills in self._prefills.items())
        self._prefills = {run: prefills for run, prefills in alive if prefills}

    def _free(self, seq: Sequence) -> None:
        for role, slot in seq.slots.items():
            leave = partial(self.models[role].leave, slot)
            if isinstance(attempt(leave), StepFailure) and isinstance(again := attempt(leave), StepFailure):
                self._leaked = again.message
        seq.slots.clear()

    def _send_end(self, seq: Sequence, finish_reason: str, error: str | None) -> None:
        """Send the sequence's end event; if building it fails, send one without measurements."""
        seq.ended = True
        if seq.drafting:
            self.counts.drafted += seq.drafting.drafted
            self.counts.accepted += seq.drafting.accepted
        try:
            seq.end(finish_reason, error)
        except BaseException as broken:
            attempt(partial(seq.run.end, "error", error or message_for(broken), [seq.column]))
            if not isinstance(broken, Exception):
                raise

    # -- one step --

    def _prefill(self) -> None:
        """Read a chunk of the oldest run's prompt with each of its models; if it is short, of the next too.

        Of many people who ask at once, the last would otherwise wait for as many steps of all the others.
        """
        room = self._chunk()
        for run in list(self._prefills):
            if self._can_read(run):
                room -= max(PROMPT_TOKENS, self._prefill_of(run, room))
            if room <= 0:
                return

    def _prefill_of(self, run: Run, chunk: int) -> int:
        """Read up to `chunk` tokens of this run's prompt with each of its models; returns how many."""
        outcome = attempt(partial(self._read, run, chunk))
        if isinstance(outcome, StepFailure):
            seqs = [seq for seq in self._seqs if seq.run is run]
            if not outcome.late:
                self._fail(outcome.seqs or seqs, outcome)
            for seq in seqs:  # those that are left read again what other models have read already
                seq.roll_back_unsent()
            return 0
        return outcome

    def _can_read(self, run: Run) -> bool:
        """Whether the models of something unread of the run's prompt do not wait for an answer."""
        prefills = self._prefills.get(run, [])
        unread = [prefill for prefill in prefills if not prefill.is_done]
        late = [p for p in unread or prefills if self.forwards.late_s(p.role)]
        return not late or (len(late) < len(unread) if unread else not run.request.forced)

    def _read(self, run: Run, chunk: int) -> int:
        began_s, block = self.forwards.clock(), 0
        for prefill in list(self._prefills[run]):
            if not prefill.seqs or prefill.is_done or run.cancelled or self.forwards.late_s(prefill.role):
                continue
            block = max(block, min(chunk, len(prefill.tokens) - prefill.slot.length))
            outcome = self._try_with_room(partial(self._read_chunk, prefill, chunk))
            if isinstance(outcome, StepFailure) and not outcome.late:
                self._fail(outcome.seqs, outcome)
        if block:
            self._token_s = (self.forwards.clock() - began_s) / block
        prefills = self._prefills.get(run, [])
        if not all(prefill.is_done for prefill in prefills):
            read = sum(prefill.slot.length for prefill in prefills)
            run.reading = read, sum(len(prefill.tokens) for prefill in prefills)
            if self._late and not run.request.forced:
                self._start_without(run, [prefill for prefill in prefills if not prefill.is_done])
            return block
        run.reading = None
        if prefills and run.request.forced[prefills[0].seqs[0].position :]:
            self._score(run, prefills)
        else:
            for prefill in self._prefills.pop(run, []):
                self._share(prefill)
            self._decoder.forget_layout()
        return block

    def _start_without(self, run: Run, unread: abc.Sequence[Prefill]) -> None:
        """Let those columns of the run begin that need none of these prompts, whose models are late."""
        waiting = {seq for prefill in unread for seq in prefill.seqs}
        for prefill in self._prefills[run]:
            if not waiting.issuperset(prefill.seqs):
                self._share(prefill)
                prefill.seqs = [seq for seq in prefill.seqs if seq in waiting]
                self._decoder.forget_layout()
        self._prefills[run] = [prefill for prefill in self._prefills[run] if prefill.seqs]

    def _share(self, prefill: Prefill) -> None:
        """Give all sequences of the prefill what its first one has read."""
        for seq in prefill.seqs[1:]:
            self.models[prefill.role].copy_prefix(prefill.slot, seq.slots[prefill.role])

    def _chunk(self) -> int:
        """How many tokens of a prompt to read in this step: more while nobody writes, and fewer on a slow
        machine while others write.
        """
        if not self._token_s:
            return PREFILL_CHUNK
        if all(seq.run in self._prefills for seq in self._seqs):
            return min(LONE_CHUNK, max(PREFILL_CHUNK, int(LONE_READ_S / self._token_s)))
        return min(PREFILL_CHUNK, max(MIN_CHUNK, int(READ_S / self._token_s)))

    def _read_chunk(self, prefill: Prefill, chunk: int) -> None:
        start = prefill.slot.length
        tokens = torch.tensor([prefill.tokens[start : start + chunk]])
        try:
            self.models[prefill.role].forward([prefill.slot], tokens)
        except Exception as error:  # a failing model ends only the sequences that use it
            size = f"{len(prefill.tokens):,} tokens"
            work = f"read more than {start:,} of the prompt's {size}" if start else f"read a prompt of {size}"
            raise ModelFailure([prefill.role], prefill.seqs, error, work) from error

    def _score(self, run: Run, prefills: abc.Sequence[Prefill]) -> None:
        """Attribute a run's next forced tokens, with one forward per model for all of its columns."""
        seqs = sorted({seq for prefill in prefills for seq in prefill.seqs}, key=lambda seq: seq.column)
        given = next_forced(seqs)
        logprobs = read_forced(self.forwards, prefills, given)
        if not logprobs:
            return
        outcome = attempt(
            partial(attribute_forced, self.forwards, seqs, given, logprobs, self.settings.candidates)
        )
        if isinstance(outcome, StepFailure) and outcome.late:  # what was read is read again
            for prefill in prefills:
                prefill.tokens = prefill.tokens[: -len(given)]
            for seq in seqs:
                seq.roll_back_unsent()
            return
        if isinstance(outcome, StepFailure):
            self._fail(seqs, outcome)
            return
        for seq, record in outcome:
            if not seq.ended and not run.cancelled:
                seq.advance(record.id)
                self._emit(seq, record)

    def _emit(self, seq: Sequence, record: TokenRecord) -> None:
        """Send a token of the sequence, and end the sequence if it was the last one."""
        is_stop = record.id in self.stop_ids
        outcome = attempt(partial(seq.emit, record, is_stop))
        if isinstance(outcome, StepFailure):
            self._fail([seq], outcome)
        elif is_stop:
            self._end([seq], "stop", None)
        elif record.position + 1 >= seq.max_new_tokens:
            self._end([seq], "length", None)

    def _fail(self, seqs: abc.Sequence[Sequence], failure: StepFailure) -> None:
        """End the sequences that cannot continue."""
        self._lost |= failure.lost
        self._note_failure()
        self._end(seqs, "error", failure.message)
