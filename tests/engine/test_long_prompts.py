"""Long prompts: how far reading is, what it leaves to others, how long it may take, and what ends it."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from eft_demo.engine.engine import LONE_CHUNK, MIN_CHUNK, PREFILL_CHUNK, READ_S, Engine
from eft_demo.engine.run import Run, RunRequest
from eft_demo.errors import OutOfMemory
from eft_demo.method.sampling import Sampling
from eft_demo.models.protocol import LanguageModel
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.settings import Settings
from tests.asking import changed, make_request, three
from tests.faults import ERRORS
from tests.toy import ToyModel, is_free

ROLES = ("large_base", "small_base", "assistant")
COLUMNS = three("assistant")
LONG = 1 + 3 * PREFILL_CHUNK  # the last token is read in the first step of writing


class TimedModel(ToyModel):
    """A toy that takes a second of a clock for every token it reads, and notes the sizes of its blocks."""

    def __init__(self, name: str, clock: "Clock", seconds: float = 0.0) -> None:
        super().__init__(name, 40, context=2000)
        self.clock, self.seconds = clock, seconds
        self.blocks: list[int] = []

    def forward(self, slots: Any, tokens: Tensor, keep: int = 1) -> Tensor:
        self.clock.now_s += self.seconds * tokens.numel()
        if tokens.shape[1] > 1:
            self.blocks.append(tokens.shape[1])
        return super().forward(slots, tokens, keep)


class Clock:
    """A clock that only moves when somebody moves it."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(time, "thread_time", clock)
    return clock


@pytest.fixture
def make_engine(clock: Clock) -> Callable[..., Engine]:
    def make(seconds: float = 0.0, **fields: Any) -> Engine:
        models: dict[str, LanguageModel] = {role: TimedModel(role, clock, seconds) for role in ROLES}
        return Engine(models, [], Settings(**fields), [bytes([64 + i]) for i in range(40)])

    return make


def request(tokens: int, length: int = 8) -> RunRequest:
    prompts = dict.fromkeys(ROLES, tuple(i % 40 for i in range(tokens)))
    return make_request(prompts, COLUMNS, {"alpha": 1.0}, Sampling(0.8, seed=3), length)


def ends(run: Run) -> list[EndEvent]:
    return [event for event in run.events() if isinstance(event, EndEvent)]


def test_a_run_says_how_much_of_its_prompt_is_read(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    run, other = engine.submit(request(LONG)), engine.submit(request(5))
    assert run.reading is None
    found: list[tuple[int, int] | None] = []
    for _ in range(3):
        engine.step()
        found.append(run.reading)
    assert found == [(3 * PREFILL_CHUNK * part, 9 * PREFILL_CHUNK) for part in (1, 2)] + [None]
    assert other.reading is None, "it waits for its turn to be read"
    while engine.step():
        pass
    assert [end.finish_reason for end in ends(run)] == ["length"] * 3


def test_others_write_a_token_in_every_step_of_reading(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    other = engine.submit(request(5, length=30))
    engine.step()
    run = engine.submit(request(10 * PREFILL_CHUNK))
    other.events()
    for _ in range(9):
        engine.step()
        tokens = [event for event in other.events() if isinstance(event, TokenEvent)]
        assert len(tokens) == 3 and run.reading
    run.cancel()
    other.cancel()
    engine.step()
    assert is_free(engine)


def test_a_fast_machine_reads_more_at_once_while_nobody_writes(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(1e-6)
    model = engine.models["large_base"]
    assert isinstance(model, TimedModel)
    runs = [engine.submit(request(LONG + LONE_CHUNK))]
    while runs[0].reading or not runs[0].events():
        engine.step()
    assert model.blocks == [PREFILL_CHUNK, LONE_CHUNK, 2 * PREFILL_CHUNK]
    runs.append(engine.submit(request(LONG + 1)))
    del model.blocks[:]
    engine.step()
    assert model.blocks == [PREFILL_CHUNK], "another run writes"
    for run in runs:
        run.cancel()
    engine.step()


def test_a_slow_machine_reads_less_at_once_while_others_write(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(READ_S / 90)  # a chunk of 30 tokens takes READ_S for all three models
    model = engine.models["large_base"]
    assert isinstance(model, TimedModel)
    alone = engine.submit(request(LONG))
    while alone.reading or not alone.events():
        engine.step()
    assert model.blocks == [PREFILL_CHUNK] * 3, "nobody waits"
    run = engine.submit(request(LONG + 1))
    del model.blocks[:]
    engine.step()
    assert model.blocks == [30]
    run.cancel()
    alone.cancel()
    engine.step()
    slowest = make_engine(READ_S)
    slow = slowest.models["large_base"]
    assert isinstance(slow, TimedModel)
    first = slowest.submit(request(5, length=50))
    slowest.step()
    second = slowest.submit(request(LONG))
    slowest.step()
    assert slow.blocks[-1] == MIN_CHUNK
    first.cancel()
    second.cancel()
    slowest.step()


def test_the_time_limit_counts_from_the_first_token(make_engine: Callable[..., Engine], clock: Clock) -> None:
    engine = make_engine(deadline_s=7.0)
    run = engine.submit(request(LONG, length=1000))
    for _ in range(2):
        engine.step()
        clock.now_s += 100.0
    assert run.reading and not run.done
    engine.step()
    clock.now_s += 6.9
    engine.step()
    assert not run.done
    clock.now_s += 0.2
    engine.step()
    assert run.done
    assert all("7 s" in str(end.error) for end in ends(run))
    assert is_free(engine)


@pytest.mark.parametrize("kind", ["memory", "full GPU", "full CPU", "sentence of the model"])
def test_the_error_says_how_far_reading_came_when_memory_ended(
    kind: str, make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    other = engine.submit(request(5))
    run = engine.submit(request(LONG))
    engine.step()
    engine.step()
    assert run.reading
    model = engine.models["assistant"]
    forward = model.forward

    def full(slots: Any, tokens: Tensor, keep: int = 1) -> Tensor:
        if tokens.shape[1] > 1:
            raise OutOfMemory("assistant is full.") if kind not in ERRORS else ERRORS[kind]()
        return forward(slots, tokens, keep)

    monkeypatch.setattr(model, "forward", full)
    while engine.step():
        pass
    found = {end.column: end for end in ends(run)}
    assert found[0].finish_reason == "length", "the large base alone can go on"
    for column in (1, 2):
        message = str(found[column].error)
        assert "not enough memory for assistant" in message
        assert "248 of the prompt's 384 tokens" in message  # 120 beside the short prompt, then 128
        assert "Please shorten" in message
    assert [end.finish_reason for end in ends(other)] == ["length"] * 3
    assert is_free(engine)


def test_what_stops_while_it_is_read_reads_no_more(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    run = engine.submit(request(LONG))
    engine.step()
    run.cancel()
    model = engine.models["large_base"]
    assert isinstance(model, TimedModel)
    read = len(model.blocks)
    while engine.step():
        pass
    assert len(model.blocks) == read
    assert [end.finish_reason for end in ends(run)] == ["cancelled"] * 3
    assert engine.submit(changed(request(LONG), length=1)).reading is None
