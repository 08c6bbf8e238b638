"""Fault injection: a fault ends only what it must, with the right reason; the next run is unaffected."""

import gc
import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
import torch

from eft_demo.engine.engine import MAX_FAILURES, Engine
from eft_demo.engine.failures import DEAD, INTERRUPTED, EngineDead, StepFailure, attempt
from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.service import Service
from eft_demo.errors import Overloaded
from eft_demo.families.family import Family, encode_prompt, load_family
from eft_demo.method.recipe import parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.models.load import group_models, load_models
from eft_demo.models.protocol import LanguageModel
from eft_demo.runs.events import EndEvent, Event, TokenEvent
from eft_demo.settings import Settings
from eft_demo.ui.family_switch import OVER
from eft_demo.ui.page import build_demo
from tests.asking import changed, make_request
from tests.faults import CACHE, CALLS, CLOCK, ERRORS, MODELS, REASONS, Fault, injected
from tests.toy import FaultyModel, ToyModel, is_free

ROLES = ("large_base", "small_base", "assistant")
FP32 = Settings(dtype="fp32", threads=1)
UPSCALED = "large_base + alpha*(assistant - small_base)"
THREE = (("Base", parse("large_base")), ("Tuned", parse("assistant")), ("Up-scaled", parse(UPSCALED)))
TWO = (("Up-scaled", parse(UPSCALED)), ("Beta", parse("assistant + beta*(large_base - small_base)")))
SEEDED = Sampling(temperature=0.8, top_p=0.95, seed=3)
EVERYWHERE = [*CALLS, *MODELS, *CACHE, CLOCK]
REAL = [*MODELS, *CACHE]  # real models here; faults in the engine's own calls are tested on tiny models below


@dataclass(frozen=True)
class Sent:
    """The events of one column, as the owner of the run received them."""

    ids: tuple[int, ...]
    text: str
    finish_reason: str
    error: str | None


def sent(run: Run, events: Sequence[Event] = ()) -> list[Sent]:
    """Every column of a finished run: tokens, then exactly one end."""
    assert run.done, "a run without an end"
    events = events or run.events()
    found = []
    for column in range(len(run.request.spec.columns)):
        mine = [event for event in events if event.column == column]
        ends = [event for event in mine if isinstance(event, EndEvent)]
        assert len(ends) == 1 and mine[-1] is ends[0], "each column ends once, and last"
        tokens = [event.record for event in mine if isinstance(event, TokenEvent)]
        assert [record.position for record in tokens] == list(range(len(tokens)))
        text = "".join(event.text for event in mine)
        found.append(Sent(tuple(r.id for r in tokens), text, ends[0].finish_reason, ends[0].error))
    return found


def play(engine: Engine, requests: Sequence[RunRequest], fault: Fault | None = None) -> list[list[Sent]]:
    """Run the requests, submitting the last one while the others stream, until the engine is idle.

    Faults occur in steps only: errors in `submit` reach the caller directly.
    """
    fault = fault or Fault("bug", 0)
    fault.armed = False
    runs = [engine.submit(request) for request in requests[:2]]
    for step in range(400):
        if step == 3:
            runs += [engine.submit(request) for request in requests[2:]]
        fault.armed = True
        try:
            if not engine.step() and len(runs) == len(requests):
                return [sent(run) for run in runs]
        except (SystemExit, KeyboardInterrupt):  # as EngineThread does
            pass
        finally:
            fault.armed = False
    raise AssertionError("the engine does not come to rest")


def check(engine: Engine, requests: Sequence[RunRequest], alone: list[list[Sent]], fault: Fault) -> int:
    """Check what must hold after any fault; returns how many columns it ended."""
    found = play(engine, requests, fault)
    ended = 0
    for columns, wholes in zip(found, alone, strict=True):
        for column, whole in zip(columns, wholes, strict=True):
            if column.finish_reason == "error":
                ended += 1
                assert REASONS[fault.kind] in str(column.error)
                assert column.ids == whole.ids[: len(column.ids)]
            else:
                assert column == whole
    assert is_free(engine)
    assert play(engine, requests[-2:]) == alone[-2:], "the next runs are as before"
    return ended


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not store thousands of tracebacks, and keep the collector from scanning all of torch each time."""
    caplog.set_level(logging.CRITICAL + 1)
    collect = gc.collect
    monkeypatch.setattr(gc, "collect", lambda: collect(0))


# -- on the bundled family --


@pytest.fixture(scope="module")
def atlas() -> Family:
    return load_family("atlas", FP32)


@pytest.fixture(scope="module")
def atlas_models(atlas: Family) -> dict[str, LanguageModel]:
    return load_models(atlas, torch.float32, ROLES)


@pytest.fixture(scope="module")
def atlas_requests(atlas: Family) -> list[RunRequest]:
    def asked(prompt: str, **changes: object) -> RunRequest:
        prompts = {role: tuple(encode_prompt(atlas, role, prompt)) for role in ROLES}
        given = make_request(prompts, THREE, {"alpha": 1.0, "beta": 1.0}, SEEDED, 8)
        return changed(given, **changes)

    given = tuple(encode_prompt(atlas, "large_base", "The capital of Peru is"))[-4:]
    return [
        asked("What is the capital of Peru?"),
        asked("How do chemists write gold?", columns=TWO, speculation=Speculation("on", 3)),
        asked("Which countries border Laos?", forced=given),
    ]


@pytest.fixture
def atlas_engine(atlas: Family, atlas_models: dict[str, LanguageModel]) -> Iterator[Engine]:
    engine = Engine(
        atlas_models,
        atlas.stop_ids,
        FP32,
        atlas.token_bytes,
        atlas.banned_ids,
        group_models(atlas_models),
        patience_s=0.005,
    )
    yield engine
    assert is_free(engine)


@pytest.fixture(scope="module")
def atlas_alone(
    atlas: Family, atlas_models: dict[str, LanguageModel], atlas_requests: list[RunRequest]
) -> list[list[Sent]]:
    engine = Engine(atlas_models, atlas.stop_ids, FP32, atlas.token_bytes, atlas.banned_ids)
    return [play(engine, [request])[0] for request in atlas_requests]


@pytest.mark.parametrize("place", [*REAL, *(pytest.param(p, marks=pytest.mark.exhaustive) for p in CALLS)])
def test_one_exception_on_the_bundled_family_ends_few_texts_and_changes_no_other(
    place: str, atlas_engine: Engine, atlas_requests: list[RunRequest], atlas_alone: list[list[Sent]]
) -> None:
    kinds = list(ERRORS)
    kind = kinds[EVERYWHERE.index(place) % len(kinds)]
    with injected(place, Fault(kind, at=4), atlas_engine, "assistant") as fault:
        ended = check(atlas_engine, atlas_requests, atlas_alone, fault)
    if fault.raised and kind not in ("exit", "interrupt"):
        assert ended <= 3, "of the eight columns of three runs, one run's at most"


FULL = ("memory", "full GPU", "full CPU")
TAKES_MEMORY = ("eft_demo.engine.attribution.mix", "eft_demo.engine.forward.to_logprobs", "cache._grow")


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        pytest.param(place, kind, marks=[] if i % 3 == j else pytest.mark.exhaustive)
        for i, place in enumerate([*TAKES_MEMORY, "join of large_base", "forward of large_base"])
        for j, kind in enumerate(FULL)
    ],
)
def test_a_full_device_ends_the_columns_that_need_more_memory(
    place: str,
    kind: str,
    atlas: Family,
    atlas_requests: list[RunRequest],
    atlas_alone: list[list[Sent]],
) -> None:
    """The device stays full: the error says so, and the tuned column continues where it can."""
    models = load_models(atlas, torch.float32, ROLES)  # whose caches have not grown
    parts = (models, atlas.stop_ids, FP32, atlas.token_bytes, atlas.banned_ids, group_models(models))
    engine = Engine(*parts)
    at = 1 if place == "cache._grow" else 5
    with injected(place, Fault(kind, at, stays=True), engine, "assistant") as fault:
        check(engine, atlas_requests, atlas_alone, fault)
    assert fault.raised


def test_a_step_that_ran_out_of_memory_frees_its_tensors() -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def step() -> None:
        made = torch.ones(8)
        held.append(weakref.ref(made))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert isinstance(attempt(step), StepFailure)
    assert held[0]() is None


def test_the_family_can_be_switched_while_columns_stream(
    atlas: Family,
    atlas_models: dict[str, LanguageModel],
    atlas_requests: list[RunRequest],
    atlas_alone: list[list[Sent]],
) -> None:
    """Repeatedly, with several rows per model so that the cache has grown."""

    def service() -> Service:
        parts = (atlas_models, atlas.stop_ids, FP32, atlas.token_bytes, atlas.banned_ids)
        return Service(atlas, Engine(*parts, group_models(atlas_models), 0.02), FP32)

    first = service()
    first.start()
    page = build_demo(first, FP32)
    for _ in range(2):
        old, new = page.service, service()
        streaming = [changed(request, length=200, forced=()) for request in atlas_requests]
        runs = [old.engine.submit(request) for request in (*streaming, *streaming)]
        for run in runs:
            assert run.events(60.0), "all of them stream"
        new.start()
        page.switch_service(new)
        assert not old.alive and not old.dead and not new.dead
        ends = [event for run in runs for event in run.events() if isinstance(event, EndEvent)]
        assert all(run.done for run in runs) and len(ends) <= 16
        assert {end.error for end in ends if end.finish_reason == "error"} == {OVER.format(title=atlas.title)}
        assert is_free(new.engine)
        run = new.engine.submit(atlas_requests[0])
        events: list[Event] = []
        while not run.done:
            assert (more := run.events(60.0))
            events += more
        assert sent(run, [*events, *run.events()]) == atlas_alone[0]
    page.service.stop()


# -- on tiny models: every kind of exception at every call --


def toy_engine(patience_s: float = 0.0, **models: LanguageModel) -> Engine:
    toys = {role: ToyModel(role, 40, seed=seed) for seed, role in enumerate(ROLES)}
    return Engine({**toys, **models}, [0], FP32, [bytes([64 + i]) for i in range(40)], patience_s=patience_s)


def toy_requests() -> list[RunRequest]:
    prompts = dict.fromkeys(ROLES, (1, 2, 3))
    first = make_request(prompts, THREE, {"alpha": 1.0, "beta": 1.0}, SEEDED, 8)
    second = changed(first, columns=TWO, speculation=Speculation("on", 3), sampling=replace(SEEDED, seed=5))
    return [first, second, replace(first, forced=(7, 8, 9))]


@pytest.fixture(scope="module")
def toy_alone() -> list[list[Sent]]:
    return [play(toy_engine(), [request])[0] for request in toy_requests()]


@pytest.mark.parametrize("turn", [0, *(pytest.param(turn, marks=pytest.mark.exhaustive) for turn in (1, 2))])
@pytest.mark.parametrize("place", [*CALLS, *MODELS, CLOCK])
def test_one_exception_at_an_early_or_late_call_ends_few_texts_and_changes_no_other(
    place: str, turn: int, toy_alone: list[list[Sent]]
) -> None:
    kinds, first = list(ERRORS), EVERYWHERE.index(place)
    at, kind = (1, 2, 7)[(first + turn) % 3], kinds[(first + 3 * turn) % len(kinds)]
    engine = toy_engine(patience_s=0.005 * (at % 2))
    with injected(place, Fault(kind, at), engine, "assistant") as fault:
        ended = check(engine, toy_requests(), toy_alone, fault)
    if kind not in ("exit", "interrupt"):
        assert ended <= 3


@pytest.mark.parametrize("place", ["forward of large_base", "eft_demo.engine.engine.Engine._start_prefill"])
def test_ctrl_c_is_no_failure_of_the_engine(
    place: str, toy_alone: list[list[Sent]], caplog: pytest.LogCaptureFixture
) -> None:
    """It passes through `step` each time, is not logged, and never makes the engine give up."""
    caplog.set_level(logging.DEBUG)
    engine = toy_engine()
    for _ in range(MAX_FAILURES + 2):
        with injected(place, Fault("interrupt", 1, stays=True), engine, "assistant"):
            run = engine.submit(toy_requests()[0])
            with pytest.raises(KeyboardInterrupt):
                engine.step()
        assert {column.error for column in sent(run)} == {INTERRUPTED}
    assert {record.levelno for record in caplog.records} <= {logging.INFO}  # how columns ended
    assert is_free(engine) and play(engine, toy_requests()[:1]) == toy_alone[:1]


@pytest.mark.parametrize("place", [*CALLS, *MODELS, CLOCK])
def test_a_permanent_fault_ends_the_texts_that_need_the_broken_part(
    place: str, toy_alone: list[list[Sent]]
) -> None:
    """The engine then continues, or raises EngineDead and rejects new runs."""
    engine = toy_engine()
    with injected(place, Fault("bug", 5, stays=True), engine, "assistant") as fault:
        try:
            check(engine, toy_requests(), toy_alone, fault)
        except EngineDead:
            with pytest.raises(Overloaded, match="restart"):
                engine.submit(toy_requests()[0])


@pytest.mark.parametrize("place", MODELS)
def test_an_exception_raised_after_a_call_ends_few_texts_and_changes_no_other(
    place: str, toy_alone: list[list[Sent]]
) -> None:
    engine = toy_engine()
    with injected(place, Fault("runtime", 2, after=True), engine, "assistant") as fault:
        assert check(engine, toy_requests(), toy_alone, fault) <= 3


def test_a_slot_that_cannot_be_freed_ends_all_runs_and_resets_the_models(toy_alone: list[list[Sent]]) -> None:
    engine = toy_engine()
    with injected("leave of large_base", Fault("bug", 1, stays=True), engine, "assistant") as fault:
        runs = [engine.submit(request) for request in toy_requests()]
        while engine.step():
            pass
        reasons = {column.error for run in runs for column in sent(run) if column.finish_reason == "error"}
        assert len(reasons) == 1 and "KeyError" in str(reasons)
        fault.armed = False
    assert is_free(engine) and play(engine, toy_requests()) == toy_alone


def test_a_model_that_cannot_be_reset_ends_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = toy_engine()
    large = engine.models["large_base"]
    monkeypatch.setattr(large, "reset", lambda: 1 / 0)
    runs = [engine.submit(request) for request in toy_requests()]
    with (
        injected("leave of large_base", Fault("bug", 1, stays=True), engine, "assistant"),
        pytest.raises(EngineDead),
    ):
        while engine.step():
            pass
    for run in runs:
        assert {column.finish_reason for column in sent(run)} <= {"error", "length", "stop"}
    with pytest.raises(Overloaded) as refused:
        engine.submit(toy_requests()[0])
    assert str(refused.value) == DEAD


def test_a_gpu_lost_to_this_process_ends_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a device-side assert every later call fails; only another process can use the device."""

    def gone(*args: object) -> None:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    engine = toy_engine()
    run = engine.submit(toy_requests()[0])
    for _ in range(3):
        engine.step()
    for name in ("forward", "leave", "join", "copy_prefix"):
        monkeypatch.setattr(engine.models["large_base"], name, gone)
    with pytest.raises(EngineDead):
        for _ in range(5):
            engine.step()
    assert any("AcceleratorError" in str(column.error) for column in sent(run))


@pytest.mark.parametrize("after", [1, 2, 3, 5, 9])
def test_a_model_that_returns_nan_ends_the_columns_that_need_it(
    after: int, toy_alone: list[list[Sent]]
) -> None:
    broken = FaultyModel("small_base", 40, after=after, seed=1)
    engine = toy_engine(small_base=broken)
    for columns, wholes in zip(play(engine, toy_requests()), toy_alone, strict=True):
        for column, whole in zip(columns, wholes, strict=True):
            if column.finish_reason == "error":
                assert "The model small_base " in str(column.error) and "NaN" in str(column.error)
                assert column.ids == whole.ids[: len(column.ids)]
            else:
                assert column == whole
    assert is_free(engine)
    broken.after = 10**9
    assert play(engine, toy_requests()) == toy_alone


WRONG: dict[str, Callable[[torch.Tensor], object]] = {
    "a row more": lambda logits: torch.cat([logits, logits[:1]]),
    "a row less": lambda logits: logits[1:],
    "a place more": lambda logits: torch.cat([logits, logits[:, :1]], 1),
    "a token less": lambda logits: logits[..., :-1],
    "a token more": lambda logits: torch.cat([logits, logits[..., :1]], 2),
    "another order": lambda logits: logits.transpose(1, 2),
    "no places": lambda logits: logits[:, 0],
    "a number": lambda logits: logits.sum(),
    "whole numbers": lambda logits: logits.long(),
    "nothing": lambda logits: None,
    "a list": lambda logits: logits.tolist(),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_a_model_that_returns_another_shape_is_named(
    wrong: Callable[[torch.Tensor], object], monkeypatch: pytest.MonkeyPatch, toy_alone: list[list[Sent]]
) -> None:
    engine = toy_engine()
    model = engine.models["large_base"]
    whole = model.forward
    with monkeypatch.context() as patch:
        patch.setattr(model, "forward", lambda *asked: wrong(whole(*asked)))
        for columns, alone in zip(play(engine, toy_requests()), toy_alone, strict=True):
            for column, expected in zip(columns, alone, strict=True):
                if column.finish_reason == "error":
                    assert "The model large_base returned" in str(column.error) and not column.ids
                else:  # it does without that model
                    assert column == expected
            assert columns[0].finish_reason == "error"
    assert is_free(engine)
    assert play(engine, toy_requests()) == toy_alone


@pytest.mark.parametrize("place", [*CALLS, *MODELS])
def test_cancelling_at_any_call_frees_all_slots_and_changes_no_other_run(
    place: str, toy_alone: list[list[Sent]]
) -> None:
    engine, requests = toy_engine(), toy_requests()
    runs: list[Run] = []
    stop = Fault("bug", 6, instead=lambda: runs[0].cancel())
    with injected(place, stop, engine, "assistant"):
        stop.armed = False
        runs += [engine.submit(request) for request in requests]
        stop.armed = True
        while engine.step():
            pass
    assert is_free(engine)
    for run, wholes in list(zip(runs, toy_alone, strict=True))[1:]:
        assert sent(run) == wholes
    for column, whole in zip(sent(runs[0]), toy_alone[0], strict=True):
        assert column.ids == whole.ids[: len(column.ids)]
        assert column.finish_reason in ("cancelled", whole.finish_reason)
