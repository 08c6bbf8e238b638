"""The pace of a run: held back for people, paused, stepped; with a clock of its own."""

import math
from dataclasses import replace

import pytest

from eft_demo.engine.engine import Engine
from eft_demo.engine.pace import Pace
from eft_demo.engine.pacer import Pacer
from eft_demo.engine.run import Run, RunRequest
from eft_demo.errors import InputError
from eft_demo.method.sampling import Sampling
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.settings import Settings
from tests.asking import make_request, three
from tests.toy import ToyModel

ROLES = ("large_base", "small_base", "assistant")
VOCAB = 40


class Clock:
    """Seconds that only a test lets pass."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def make_engine(clock: Clock, settings: Settings | None = None) -> Engine:
    toys = {role: ToyModel(role, VOCAB, seed=seed) for seed, role in enumerate(ROLES)}
    engine = Engine(toys, [], settings or Settings(), [b""] + [bytes([64 + i]) for i in range(1, VOCAB)])
    engine._pacer = Pacer(clock)
    return engine


def request(pace: float, length: int = 12) -> RunRequest:
    prompts = dict.fromkeys(ROLES, (1, 2, 3))
    asked = make_request(prompts, three("assistant"), {"alpha": 1.0}, Sampling(seed=3), length)
    return replace(asked, pace=pace)


def idle(engine: Engine, most: int = 200) -> None:
    """Step until there is no work now."""
    for _ in range(most):
        if not engine.step():
            return
    raise AssertionError("it never rests")


def counts(run: Run, seen: list[TokenEvent]) -> list[int]:
    """How many tokens each column has by now."""
    seen += [event for event in run.events() if isinstance(event, TokenEvent)]
    return [sum(event.column == column for event in seen) for column in range(3)]


def test_each_time_a_run_is_due_every_column_gets_one_token() -> None:
    clock, seen = Clock(), list[TokenEvent]()
    engine = make_engine(clock)
    run = engine.submit(request(pace=8))
    idle(engine)
    for turn in range(5):
        first = counts(run, seen)
        assert len(set(first)) == 1 and first[0] in (turn + 1, turn + 2)
        idle(engine)
        assert counts(run, seen) == first  # nothing more until time has passed
        assert 0 < engine.rest_s <= 0.125
        clock.now_s += 0.125
        idle(engine)


def test_the_text_is_the_same_at_any_pace_and_a_pace_ends_no_run() -> None:
    texts = []
    for pace in (0, 8):
        clock = Clock()
        engine = make_engine(clock)
        run = engine.submit(request(pace))
        for _ in range(200):
            clock.now_s += 0.05
            engine.step()
        events = run.events()
        assert [e.finish_reason for e in events if isinstance(e, EndEvent)] == ["length"] * 3
        texts.append([(e.column, e.record.id) for e in events if isinstance(e, TokenEvent)])
    assert sorted(texts[0]) == sorted(texts[1])


def test_alpha_moved_in_between_acts_on_what_is_not_made_yet() -> None:
    clock, seen = Clock(), list[TokenEvent]()
    engine = make_engine(clock)
    run = engine.submit(request(pace=8))
    idle(engine)
    made = counts(run, seen)[2]
    run.set_control("alpha", 2.5)
    for _ in range(20):
        clock.now_s += 0.125
        idle(engine)
    counts(run, seen)
    alphas = [event.record.controls["alpha"] for event in seen if event.column == 2]
    assert alphas == [1.0] * made + [2.5] * (12 - made)


def test_a_pause_holds_a_step_gives_one_token_and_going_on_goes_on() -> None:
    clock, seen = Clock(), list[TokenEvent]()
    engine = make_engine(clock)
    run = engine.submit(request(pace=0))
    for _ in range(3):
        engine.step()
    run.pace.set(paused=True)
    idle(engine)
    held = counts(run, seen)
    clock.now_s += 60
    idle(engine)
    assert counts(run, seen) == held and held[0] > 0
    run.pace.set(step=True)
    idle(engine)
    assert counts(run, seen) == [held[0] + 1] * 3
    run.pace.set(paused=False)
    idle(engine)
    assert counts(run, seen) == [12] * 3


def test_a_held_run_can_be_stopped() -> None:
    engine = make_engine(Clock())
    run = engine.submit(request(pace=1))
    idle(engine)
    run.cancel()
    idle(engine)
    assert [e.finish_reason for e in run.events() if isinstance(e, EndEvent)] == ["cancelled"] * 3
    assert engine.active_sequences == 0


def test_no_run_is_held_back_while_others_wait_for_its_place() -> None:
    engine = make_engine(Clock(), Settings(max_sequences=3))
    slow, next_one = engine.submit(request(pace=1)), engine.submit(request(pace=0))
    idle(engine)
    assert slow.done and next_one.done


def test_a_run_without_pace_does_not_wait_for_one_with() -> None:
    engine = make_engine(Clock())
    slow, fast = engine.submit(request(pace=1)), engine.submit(request(pace=0))
    idle(engine)
    assert fast.done and not slow.done


def test_time_held_back_counts_neither_as_the_engines_nor_towards_the_limit() -> None:
    pace = Pace(rate=8)
    pace.note(True, 100.0)
    pace.note(True, 103.0)
    pace.note(False, 104.0)
    pace.note(False, 110.0)
    assert pace.held_s == 4.0 and pace.held_until(200.0) == 4.0


def test_a_run_is_held_back_no_longer_than_the_limit() -> None:
    clock = Clock()
    engine = make_engine(clock, Settings(hold_s=30))
    run = engine.submit(request(pace=0))
    engine.step()
    run.pace.set(paused=True)
    idle(engine)
    assert not run.done
    clock.now_s += 31
    idle(engine)
    assert run.done


def test_a_pace_may_end_while_it_is_asked() -> None:
    """A person's thread may set full speed after the engine's thread has found the run held back."""
    pace = Pace(paused=True)
    assert pace.acts(1.0)
    pace.set(paused=False)
    assert 0 < pace.rest_s(1.0) <= 1


def test_what_a_page_posts_is_checked() -> None:
    pace = Pace()
    for rate in (-1, 1e9, math.nan, "8", True, [8]):
        with pytest.raises(InputError):
            pace.set(rate=rate)
    with pytest.raises(InputError):
        pace.set(paused="yes")
    for _ in range(1000):
        pace.set(step=1)
    assert pace.steps <= 64 and pace.rate == 0.0
