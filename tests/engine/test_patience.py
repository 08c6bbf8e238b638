"""Tokens sent in batches: the records are the same, and the first and last token are sent immediately."""

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

Sent = dict[int, list[TokenEvent | EndEvent]]


def engine_of(patience_s: float) -> Engine:
    toys = {role: ToyModel(role, VOCAB, seed=seed) for seed, role in enumerate(ROLES)}
    return Engine(toys, STOPS, Settings(), [b"x"] * VOCAB, patience_s=patience_s)


def request_of(rng: random.Random, length: int = 20) -> RunRequest:
    columns = tuple((str(i), parse(rng.choice(RECIPES))) for i in range(rng.randint(1, 3)))
    return make_request(
        dict.fromkeys(ROLES, tuple(rng.randrange(VOCAB) for _ in range(rng.randint(1, 6)))),
        columns,
        {"alpha": 1.0, "beta": 1.0},
        Sampling(temperature=rng.choice([0, 0.8]), seed=rng.randrange(1000)),
        rng.randint(1, length),
        weight_filter=parse_weight_filter(rng.choice(["off", "top-p 0.9", "mask 0.05"])),
        schedule=parse_schedule(rng.choice(["constant", "warmup 5", "list 1 0 0.5"])),
        speculation=rng.choice([Speculation("off"), Speculation("off"), Speculation("on", 3)]),
    )


def sent_by(run: Run) -> Sent:
    sent: Sent = {column: [] for column in range(len(run.request.spec.columns))}
    for event in run.events():
        sent[event.column].append(event)
    return sent


def play(seed: int, patience_s: float) -> list[Sent]:
    """Runs that join, change their alpha and leave at random steps."""
    rng, engine, runs = random.Random(seed), engine_of(patience_s), []
    joins = sorted(rng.randrange(12) for _ in range(3))
    changes = {rng.randrange(16): rng.choice([0.0, 0.5, 3.0]) for _ in range(2)}
    for step in range(200):
        runs += [engine.submit(request_of(rng)) for join in joins if join == step]
        if step in changes and runs:
            runs[0].set_control("alpha", changes[step])
        engine.step()
    assert all(run.done for run in runs) and not engine.active_sequences
    return [sent_by(run) for run in runs]


@pytest.mark.parametrize("seed", range(40))
def test_tokens_sent_in_batches_have_the_same_records(seed: int) -> None:
    for patient, prompt in zip(play(seed, math.inf), play(seed, 0.0), strict=True):
        assert patient.keys() == prompt.keys()
        for column, events in prompt.items():
            assert len(events) == len(patient[column])
            for event, other in zip(events, patient[column], strict=True):
                if isinstance(event, EndEvent):
                    assert isinstance(other, EndEvent) and other.finish_reason == event.finish_reason
                    continue
                assert isinstance(other, TokenEvent) and other.text == event.text
                entropy = other.record.entropy_nats  # a sum, which may round otherwise in another batch
                assert entropy == pytest.approx(event.record.entropy_nats, abs=1e-6)
                assert replace(other.record, entropy_nats=0) == replace(event.record, entropy_nats=0)


def endless(length: int) -> RunRequest:
    """Runs that all reach their length."""
    engine_prompts = dict.fromkeys(ROLES, (1, 2))
    columns = (("P", parse("large_base + alpha*(assistant - small_base)")),)
    return make_request(engine_prompts, columns, {"alpha": 1.0}, Sampling(temperature=0), length)


def toy_engine(patience_s: float) -> Engine:
    engine = engine_of(patience_s)
    engine.stop_ids = frozenset()
    return engine


def test_the_first_and_last_token_are_sent_immediately() -> None:
    engine = toy_engine(math.inf)
    run = engine.submit(endless(5))
    sent = []
    while not run.done:
        engine.step()
        sent.append(len(run.events()))
    assert sent == [1, 0, 0, 0, 5]  # the last four and the end
    assert engine.step() is False


def test_tokens_are_sent_when_a_run_ends_or_joins() -> None:
    engine = toy_engine(math.inf)
    long = engine.submit(endless(9))
    counts = []
    for _ in range(5):
        engine.step()
        counts.append(len(long.events()))
        if len(counts) == 2:
            short = engine.submit(endless(3))
    # Its second token is sent when the short run joins, the rest when that one ends.
    assert counts == [1, 0, 2, 0, 2] and len(short.events()) == 4
    engine.step()
    engine.submit(endless(1))
    engine.step()
    assert len(long.events()) == 2


def test_unsent_tokens_of_a_cancelled_run_are_dropped() -> None:
    engine = toy_engine(math.inf)
    run, other = engine.submit(endless(9)), engine.submit(endless(9))
    for _ in range(4):
        engine.step()
    run.events(), other.events()
    run.cancel()
    engine.step()
    assert [type(event) for event in run.events()] == [EndEvent]
    assert {type(event) for event in other.events()} == {TokenEvent}


def test_without_patience_every_step_sends_its_tokens() -> None:
    engine = toy_engine(0.0)
    run = engine.submit(endless(4))
    sent = []
    while not run.done:
        engine.step()
        sent.append(len(run.events()))
    assert sent == [1, 1, 1, 2]
