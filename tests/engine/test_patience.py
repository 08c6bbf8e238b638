"""Tokens that are told together: the same records, and nobody waits for the first or the last."""

import math
import random
from dataclasses import replace

import pytest

from eft_demo.engine.engine import Engine
from eft_demo.engine.run import Run, RunRequest
from eft_demo.method.recipe import parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import parse_schedule
from eft_demo.method.speculation import Speculation
from eft_demo.method.weight_filter import parse_weight_filter
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.settings import Settings
from tests.asking import make_request
from tests.toy import ToyModel

VOCAB, STOPS = 40, (0, 3)
ROLES = ("large_base", "small_base", "assistant")
RECIPES = [
    "large_base",
    "assistant",
    "large_base + alpha*(assistant - small_base)",
    "assistant + beta*(large_base - small_base)",
    "large_base + 0.7*(assistant - small_base) + alpha*(large_base - small_base)",
]

Told = dict[int, list[TokenEvent | EndEvent]]


def engine_of(patience_s: float) -> Engine:
    toys = {role: ToyModel(role, VOCAB, seed=seed) for seed, role in enumerate(ROLES)}
    return Engine(toys, STOPS, Settings(), [b"x"] * VOCAB, patience_s=patience_s)


def request_of(dice: random.Random, length: int = 20) -> RunRequest:
    panels = tuple((str(i), parse(dice.choice(RECIPES))) for i in range(dice.randint(1, 3)))
    return make_request(
        dict.fromkeys(ROLES, tuple(dice.randrange(VOCAB) for _ in range(dice.randint(1, 6)))),
        panels,
        {"alpha": 1.0, "beta": 1.0},
        Sampling(temperature=dice.choice([0, 0.8]), seed=dice.randrange(1000)),
        dice.randint(1, length),
        weight_filter=parse_weight_filter(dice.choice(["off", "top-p 0.9", "mask 0.05"])),
        schedule=parse_schedule(dice.choice(["constant", "warmup 5", "list 1 0 0.5"])),
        speculation=dice.choice([Speculation("off"), Speculation("off"), Speculation("on", 3)]),
    )


def told_of(run: Run) -> Told:
    told: Told = {panel: [] for panel in range(len(run.request.spec.columns))}
    for event in run.events():
        told[event.panel].append(event)
    return told


def play(seed: int, patience_s: float) -> list[Told]:
    """Some runs that join, change their alpha and leave at ticks that the dice choose."""
    dice, engine, runs = random.Random(seed), engine_of(patience_s), []
    joins = sorted(dice.randrange(12) for _ in range(3))
    changes = {dice.randrange(16): dice.choice([0.0, 0.5, 3.0]) for _ in range(2)}
    for tick in range(200):
        runs += [engine.submit(request_of(dice)) for join in joins if join == tick]
        if tick in changes and runs:
            runs[0].set_control("alpha", changes[tick])
        engine.tick()
    assert all(run.done for run in runs) and not engine.active_rows
    return [told_of(run) for run in runs]


@pytest.mark.parametrize("seed", range(40))
def test_together_as_one_by_one(seed: int) -> None:
    for patient, prompt in zip(play(seed, math.inf), play(seed, 0.0), strict=True):
        assert patient.keys() == prompt.keys()
        for panel, events in prompt.items():
            assert len(events) == len(patient[panel])
            for event, other in zip(events, patient[panel], strict=True):
                if isinstance(event, EndEvent):
                    assert isinstance(other, EndEvent) and other.finish_reason == event.finish_reason
                    continue
                assert isinstance(other, TokenEvent) and other.text == event.text
                entropy = other.record.entropy_nats  # a sum, which may round otherwise in another batch
                assert entropy == pytest.approx(event.record.entropy_nats, abs=1e-6)
                assert replace(other.record, entropy_nats=0) == replace(event.record, entropy_nats=0)


def endless(length: int) -> RunRequest:
    """Nothing that ends before its length."""
    engine_prompts = dict.fromkeys(ROLES, (1, 2))
    panels = (("P", parse("large_base + alpha*(assistant - small_base)")),)
    return make_request(engine_prompts, panels, {"alpha": 1.0}, Sampling(temperature=0), length)


def toy_engine(patience_s: float) -> Engine:
    engine = engine_of(patience_s)
    engine.stop_ids = frozenset()
    return engine


def test_the_first_token_and_the_last_do_not_wait() -> None:
    engine = toy_engine(math.inf)
    run = engine.submit(endless(5))
    told = []
    while not run.done:
        engine.tick()
        told.append(len(run.events()))
    assert told == [1, 0, 0, 0, 5]  # the last four and the end
    assert engine.tick() is False


def test_a_run_that_ends_or_joins_lets_nobody_wait() -> None:
    engine = toy_engine(math.inf)
    long, short = engine.submit(endless(9)), engine.submit(endless(3))
    counts = []
    for _ in range(4):
        engine.tick()
        counts.append((len(long.events()), len(short.events())))
    # Prompts are read in order of arrival, so the long one's first token comes alone.
    assert counts == [(1, 0), (1, 1), (0, 0), (2, 3)]
    engine.tick()
    engine.submit(endless(1))
    engine.tick()
    assert len(long.events()) == 2


def test_what_was_drawn_for_a_run_that_is_cancelled_is_not_told() -> None:
    engine = toy_engine(math.inf)
    run, other = engine.submit(endless(9)), engine.submit(endless(9))
    for _ in range(4):
        engine.tick()
    run.events(), other.events()
    run.cancel()
    engine.tick()
    assert [type(event) for event in run.events()] == [EndEvent]
    assert {type(event) for event in other.events()} == {TokenEvent}


def test_without_patience_every_tick_tells() -> None:
    engine = toy_engine(0.0)
    run = engine.submit(endless(4))
    told = []
    while not run.done:
        engine.tick()
        told.append(len(run.events()))
    assert told == [1, 1, 1, 2]
