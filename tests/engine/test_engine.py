"""The engine compared with transformers.generate; sequences, slots, cancelling and faults."""

import math
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from eft_demo.engine.engine import Engine
from eft_demo.engine.fairness import FEW
from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.service import Service
from eft_demo.engine.thread import EngineThread
from eft_demo.errors import InputError, Overloaded
from eft_demo.families.family import Family, encode_prompt
from eft_demo.lab import baseline
from eft_demo.method.recipe import BASE, DOWNSCALED, TUNED, UPSCALED, Recipe, blend, parse
from eft_demo.method.sampling import Sampling
from eft_demo.models.load import load_models
from eft_demo.models.protocol import LanguageModel
from eft_demo.runs.events import EndEvent, Event, TokenEvent
from eft_demo.runs.trace import TokenRecord
from eft_demo.settings import Settings
from tests.asking import changed, make_request, spec, three
from tests.toy import FaultyModel, ToyModel, is_free
from tests.waiting import PATIENCE_S, until

GREEDY, WARM = Sampling(temperature=0), Sampling(temperature=0.9, top_p=0.95, seed=7)
COLUMNS = three("assistant")
PROMPTS = ["What is the capital of Peru?", "Which river flows through Köln?", "Gold 🙂"]
TOY_ROLES = ("large_base", "small_base", "assistant")
TOY_VOCAB = 40


@dataclass
class Column:
    records: list[TokenRecord] = field(default_factory=list)
    text: str = ""
    end: EndEvent | None = None

    @property
    def ids(self) -> list[int]:
        return [record.id for record in self.records]


def sort_events(events: list[Event], count: int) -> list[Column]:
    columns = [Column() for _ in range(count)]
    for event in events:
        column = columns[event.column]
        assert column.end is None, "an event after the end"
        column.text += event.text
        if isinstance(event, TokenEvent):
            column.records.append(event.record)
        else:
            column.end = event
    return columns


def drive(engine: Engine, *runs: Run) -> list[list[Column]]:
    """Step until idle and return the columns of each run."""
    while engine.step():
        pass
    return [sort_events(run.events(), len(run.request.spec.columns)) for run in runs]


# -- with real (tiny) models in float32 --


@pytest.fixture(scope="module")
def models(tiny_family: Family) -> dict[str, LanguageModel]:
    return load_models(tiny_family, torch.float32, [*TOY_ROLES, "large_tuned"])


@pytest.fixture
def engine(
    models: dict[str, LanguageModel], tiny_family: Family, tiny_settings: Settings
) -> Iterator[Engine]:
    engine = Engine(models, tiny_family.stop_ids, tiny_settings, tiny_family.token_bytes)
    yield engine
    assert is_free(engine)


def ask(
    family: Family,
    text: str = PROMPTS[0],
    columns: tuple[tuple[str, Recipe], ...] = COLUMNS,
    sampling: Sampling = WARM,
    alpha: float = 1.0,
    length: int = 24,
) -> RunRequest:
    prompts = {role: tuple(encode_prompt(family, role, text)) for role in family.roles}
    return make_request(prompts, columns, {"alpha": alpha}, sampling, length)


@pytest.fixture(scope="module")
def reference(tiny_family: Family) -> Mapping[str, Any]:
    return {role: baseline.load(tiny_family.roles[role].path, torch.float32) for role in TOY_ROLES}


@pytest.mark.parametrize("text", PROMPTS)
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.5])
def test_greedy_tokens_equal_those_of_generate(
    engine: Engine, tiny_family: Family, reference: Mapping[str, Any], text: str, alpha: float
) -> None:
    (columns,) = drive(engine, engine.submit(ask(tiny_family, text, sampling=GREEDY, alpha=alpha)))
    prompt = encode_prompt(tiny_family, "large_base", text)
    processor = baseline.EFTProcessor(reference["assistant"], reference["small_base"], alpha)
    for column, role, extra in zip(
        columns, ("large_base", "assistant", "large_base"), ([], [], [processor]), strict=True
    ):
        expected = list(baseline.generate(reference[role], prompt, 24, extra, do_sample=False))
        stop = expected.index(0) + 1 if 0 in expected else 24
        assert column.ids == expected[:stop]


def test_cached_equals_uncached(engine: Engine, tiny_family: Family, reference: Mapping[str, Any]) -> None:
    (columns,) = drive(engine, engine.submit(ask(tiny_family)))
    prompt = encode_prompt(tiny_family, "large_base", PROMPTS[0])
    for record in columns[2].records:
        history = torch.tensor([prompt + columns[2].ids[: record.position]])
        with torch.inference_mode():
            for role, logprob in record.by_role.items():
                exact = reference[role](history, use_cache=False).logits[0, -1].log_softmax(-1)
                assert logprob == pytest.approx(float(exact[record.id]), abs=1e-4)


def test_a_sequence_in_a_batch_equals_it_alone(engine: Engine, tiny_family: Family) -> None:
    requests = [ask(tiny_family, text, sampling=replace(WARM, seed=i)) for i, text in enumerate(PROMPTS)]
    alone = [drive(engine, engine.submit(request))[0] for request in requests]
    runs = []
    for request in requests:  # each joins while the others are running
        runs.append(engine.submit(request))
        engine.step()
        engine.step()
    together = drive(engine, *runs)
    for before, after in zip(alone, together, strict=True):
        assert [column.ids for column in before] == [column.ids for column in after]
        assert [column.text for column in before] == [column.text for column in after]


def test_a_prompt_may_be_read_in_chunks(
    engine: Engine, tiny_family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(tiny_family)
    (whole,) = drive(engine, engine.submit(request))
    monkeypatch.setattr("eft_demo.engine.engine.PREFILL_CHUNK", 3)
    (chunked,) = drive(engine, engine.submit(request))
    assert [column.ids for column in whole] == [column.ids for column in chunked]


def test_alpha_0_is_the_base_column_bit_for_bit(engine: Engine, tiny_family: Family) -> None:
    (columns,) = drive(engine, engine.submit(ask(tiny_family, alpha=0.0)))
    base, _, upscaled = columns
    assert base.text == upscaled.text
    for one, other in zip(base.records, upscaled.records, strict=True):
        assert (one.id, one.logprob, one.entropy_nats) == (other.id, other.logprob, other.entropy_nats)
        assert (other.bars, other.neg_log_z) == ((0.0,), 0.0)


def test_the_attribution_of_every_token_sums_to_its_logprob(engine: Engine, tiny_family: Family) -> None:
    columns = (*COLUMNS, ("Down", DOWNSCALED.with_roles({})), ("Blend", parse(
        "large_base + 0.5*alpha*(assistant - small_base) - 0.25*(small_base - assistant)")))  # fmt: skip
    (ended,) = drive(engine, engine.submit(ask(tiny_family, columns=columns, alpha=1.7)))
    for column, (_, recipe) in zip(ended, columns, strict=True):
        for record in column.records:
            assert set(record.by_role) == set(recipe.roles)
            assert len(record.bars) == len(recipe.terms)
            total = record.anchor_logprob + sum(record.bars) + record.neg_log_z
            assert total == pytest.approx(record.logprob, abs=1e-4)
            deltas = [record.by_role[t.plus] - record.by_role[t.minus] for t in recipe.terms]
            expected = [c * d for c, d in zip(recipe.coefficients({"alpha": 1.7}), deltas, strict=True)]
            assert record.bars == pytest.approx(expected, abs=1e-4)
            logprobs = [candidate.logprob for candidate in record.candidates]
            assert logprobs == sorted(logprobs, reverse=True)
            assert record.id in [candidate.id for candidate in record.candidates]
            assert record.base_first in [candidate.id for candidate in record.candidates]
            assert 8 <= len(logprobs) <= 9 + 3 * len(recipe.roles)
            assert 1 <= record.rank <= 384 and 0 <= record.entropy_nats <= math.log(384)


def test_columns_share_one_prefill_and_one_forward(
    engine: Engine, tiny_family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int]] = []
    for role, model in engine.models.items():
        forward = model.forward

        def counted(slots: Any, tokens: Any, keep: int = 1, role: str = role, forward: Any = forward) -> Any:
            calls.append((role, tokens.shape[0] * tokens.shape[1]))
            return forward(slots, tokens, keep)

        monkeypatch.setattr(model, "forward", counted)
    run = engine.submit(ask(tiny_family))
    engine.step()
    prompt = len(run.request.prompts["large_base"]) - 1
    prefills, steps = calls[:3], calls[3:]
    assert sorted(prefills) == sorted((role, prompt) for role in TOY_ROLES)
    assert sorted(steps) == [("assistant", 2), ("large_base", 2), ("small_base", 1)]
    drive(engine, run)


def test_a_text_ends_where_the_context_ends(engine: Engine, tiny_family: Family) -> None:
    (columns,) = drive(engine, engine.submit(ask(tiny_family, "a b c d " * 11, length=250, sampling=GREEDY)))
    prompt = len(encode_prompt(tiny_family, "large_base", "a b c d " * 11))
    for column in columns:
        assert column.end is not None
        full = column.end.finish_reason == "length" and len(column.ids) == tiny_family.context - prompt + 1
        assert full or column.end.finish_reason == "stop"


# -- with toys: sequences, slots, cancelling, faults --


def toy_engine(settings: Settings | None = None, **models: LanguageModel) -> Engine:
    toys = {role: ToyModel(role, TOY_VOCAB, seed=seed) for seed, role in enumerate(TOY_ROLES)}
    token_bytes = [b""] + [bytes([64 + i]) for i in range(1, TOY_VOCAB)]
    return Engine({**toys, **models}, [], settings or Settings(), token_bytes)


def toy_request(length: int = 12, **changes: Any) -> RunRequest:
    request = make_request(dict.fromkeys(TOY_ROLES, (1, 2, 3)), COLUMNS, {"alpha": 1.0}, WARM, length)
    return changed(request, **changes)


def reasons(columns: list[Column]) -> list[str]:
    return [column.end.finish_reason if column.end else "" for column in columns]


def test_a_control_applies_from_the_next_token_and_is_recorded() -> None:
    engine = toy_engine()
    run = engine.submit(toy_request())
    for _ in range(4):
        engine.step()
    run.set_control("alpha", 2.5)
    (columns,) = drive(engine, run)
    upscaled = columns[2].records
    assert [record.controls["alpha"] for record in upscaled] == [1.0] * 4 + [2.5] * 8
    for record in upscaled:
        delta = record.by_role["assistant"] - record.by_role["small_base"]
        assert record.bars[0] == pytest.approx(record.controls["alpha"] * delta, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "value"), [("alpha", 5.5), ("alpha", -0.5), ("alpha", math.nan), ("alpha", "2"), ("gamma", 1.0)]
)
def test_a_bad_control_is_rejected_and_changes_nothing(name: str, value: Any) -> None:
    engine = toy_engine()
    run = engine.submit(toy_request(2))
    with pytest.raises(InputError):
        run.set_control(name, value)
    assert run.controls == {"alpha": 1.0}


def test_cancel_takes_effect_within_one_token_and_frees_the_slots() -> None:
    engine = toy_engine()
    run, other = engine.submit(toy_request()), engine.submit(toy_request())
    for _ in range(3):
        engine.step()
    run.events()
    run.cancel()
    run.cancel()
    engine.step()
    late = run.events()
    assert [type(event) for event in late] == [EndEvent] * 3
    assert {event.finish_reason for event in late if isinstance(event, EndEvent)} == {"cancelled"}
    assert run.done and engine.active_sequences == 3
    assert reasons(drive(engine, other)[0]) == ["length"] * 3
    assert is_free(engine)


def test_cancel_between_the_forwards_of_a_step_stops_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = toy_engine()
    run = engine.submit(toy_request())
    engine.step()
    run.events()
    large, small = engine.models["large_base"], engine.models["small_base"]
    assert isinstance(small, ToyModel)
    forward = large.forward

    def cancelling(*args: Any) -> torch.Tensor:
        run.cancel()
        return forward(*args)

    monkeypatch.setattr(large, "forward", cancelling)
    before = small.forwards
    engine.step()
    engine.step()
    assert small.forwards == before
    assert [type(event) for event in run.events()] == [EndEvent] * 3
    assert is_free(engine)


def test_cancel_while_waiting_and_while_reading_the_prompt() -> None:
    engine = toy_engine(Settings(max_sequences=3))
    long = {role: tuple(range(1, 39)) * 8 for role in TOY_ROLES}
    first, second = engine.submit(toy_request(prompts=long)), engine.submit(toy_request())
    engine.step()
    assert (engine.active_sequences, engine.waiting) == (3, 1)
    first.cancel()
    second.cancel()
    for columns in drive(engine, first, second):
        assert reasons(columns) == ["cancelled"] * 3
    assert is_free(engine)


@pytest.mark.parametrize("after", [1, 2, 6])
@pytest.mark.parametrize(
    ("role", "hit"), [("small_base", [2]), ("assistant", [1, 2]), ("large_base", [0, 2])]
)
def test_nan_ends_only_the_sequences_of_its_model(role: str, hit: list[int], after: int) -> None:
    healthy = toy_engine()
    (expected,) = drive(healthy, healthy.submit(toy_request()))
    seed = TOY_ROLES.index(role)
    engine = toy_engine(None, **{role: FaultyModel(role, TOY_VOCAB, after=after, seed=seed)})
    (columns,) = drive(engine, engine.submit(toy_request()))
    for i, column in enumerate(columns):
        assert column.end is not None
        if i in hit:
            assert column.end.finish_reason == "error"
            assert f"The model {role} " in str(column.end.error) and "NaN" in str(column.end.error)
            assert column.ids == expected[i].ids[: len(column.ids)]
        else:
            assert column.ids == expected[i].ids
    assert is_free(engine)


@pytest.mark.parametrize("after", [1, 4])
def test_an_exception_ends_only_the_sequences_of_its_model(
    after: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Raising(FaultyModel):
        def logits_after(self, history: Any) -> torch.Tensor:
            if self.forwards >= self.after:
                raise RuntimeError("out of memory")
            return super().logits_after(history)

    engine = toy_engine(assistant=Raising("assistant", TOY_VOCAB, after=after))
    (columns,) = drive(engine, engine.submit(toy_request()))
    assert reasons(columns) == ["length", "error", "error"]
    assert columns[1].end is not None and "The model assistant failed" in str(columns[1].end.error)
    assert "out of memory" in caplog.text
    assert is_free(engine)


def test_runs_without_free_sequences_wait_and_get_their_own_text() -> None:
    engine = toy_engine(Settings(max_sequences=7))
    runs = [engine.submit(toy_request(sampling=replace(WARM, seed=seed))) for seed in range(5)]
    engine.step()
    assert (engine.active_sequences, engine.waiting) == (6, 3)
    alone = toy_engine()
    for seed, columns in enumerate(drive(engine, *runs)):
        (expected,) = drive(alone, alone.submit(toy_request(sampling=replace(WARM, seed=seed))))
        assert [column.ids for column in columns] == [column.ids for column in expected]


@pytest.mark.parametrize(("step_s", "at_once"), [(1e9, 60), (0.0, FEW)])
def test_more_runs_start_where_a_step_of_many_is_quick(
    monkeypatch: pytest.MonkeyPatch, step_s: float, at_once: int
) -> None:
    monkeypatch.setattr("eft_demo.engine.fairness.STEP_S", step_s)
    engine = toy_engine(Settings(max_sequences=60))
    runs = [engine.submit(toy_request()) for _ in range(20)]
    engine.step()
    assert engine.active_sequences == FEW, "nothing was measured yet"
    while len(runs) * 3 - 3 * engine.waiting < at_once:
        engine.step()
    assert engine.max_sequences == at_once
    for columns in drive(engine, *runs):
        assert reasons(columns) == ["length"] * 3


def test_a_waiting_run_knows_its_place_and_how_long_turns_take(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    engine = toy_engine(Settings(max_sequences=3))
    runs = [engine.submit(toy_request()) for _ in range(4)]
    engine.step()
    assert [engine.place_of(run) for run in runs] == [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0)]
    clock[0] += 6.0
    while engine.place_of(runs[1])[0]:
        engine.step()
    assert [engine.place_of(run) for run in runs] == [(0, 0.0), (0, 0.0), (1, 6.0), (2, 12.0)]
    drive(engine, *runs)


def test_surplus_waiting_runs_are_rejected_and_others_unaffected() -> None:
    engine = toy_engine(Settings(max_sequences=3, max_waiting=2))
    first = engine.submit(toy_request())
    engine.step()
    runs = [engine.submit(toy_request()) for _ in range(2)]
    with pytest.raises(Overloaded, match="2 others .* try again"):
        engine.submit(toy_request())
    for columns in drive(engine, first, *runs):
        assert reasons(columns) == ["length"] * 3


def test_runs_that_fit_into_free_sequences_do_not_count_as_waiting() -> None:
    engine = toy_engine(Settings(max_sequences=6, max_waiting=0))
    runs = [engine.submit(toy_request()) for _ in range(2)]
    with pytest.raises(Overloaded, match="EFT_MAX_WAITING"):
        engine.submit(toy_request())
    for columns in drive(engine, *runs):
        assert reasons(columns) == ["length"] * 3


def test_a_run_past_its_deadline_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    engine = toy_engine(Settings(max_sequences=3, deadline_s=7.0))
    runs = [engine.submit(toy_request(10_000)) for _ in range(2)]
    engine.step()
    clock[0] = 8.0
    for columns in drive(engine, *runs):
        assert reasons(columns) == ["error"] * 3
        assert all("7 s" in str(column.end.error) for column in columns if column.end)
    assert columns[0].end and "waited" in str(columns[0].end.error)  # the second run
    assert is_free(engine)


def test_requests_that_can_never_run_are_rejected_with_limit_and_value() -> None:
    engine = toy_engine()
    with pytest.raises(InputError, match="'small_tuned' .*large_base") as refused:
        engine.submit(toy_request(columns=(("T", TUNED), ("U", UPSCALED))))
    assert refused.value.code == "unknown_role"
    with pytest.raises(InputError, match="600 .*512 ") as refused:
        engine.submit(toy_request(prompts=dict.fromkeys(TOY_ROLES, (1,) * 600)))
    assert refused.value.code == "prompt_too_long"
    with pytest.raises(InputError, match="large_base") as refused:
        engine.submit(toy_request(prompts=dict.fromkeys(TOY_ROLES, ())))
    assert refused.value.code == "prompt_empty"
    with pytest.raises(InputError, match="1 to 192 .* 0") as refused:
        engine.submit(toy_request(columns=()))
    assert refused.value.code == "columns_range"
    with pytest.raises(InputError, match="Alpha must be"):
        engine.submit(toy_request(controls={"alpha": 99.0}))
    assert is_free(engine)


def test_one_token_prompts_and_one_token_answers() -> None:
    engine = toy_engine()
    (columns,) = drive(engine, engine.submit(toy_request(1, prompts=dict.fromkeys(TOY_ROLES, (5,)))))
    assert [len(column.ids) for column in columns] == [1, 1, 1]
    assert reasons(columns) == ["length"] * 3


def test_the_stop_token_ends_the_text_and_adds_nothing_to_it() -> None:
    saying = ToyModel("large_base", TOY_VOCAB, says=(5, 6, 7), stop_id=0)
    engine = toy_engine(large_base=saying)
    engine.stop_ids = frozenset([0])
    (columns,) = drive(engine, engine.submit(toy_request(columns=(("Base", BASE),), sampling=GREEDY)))
    assert columns[0].ids == [5, 6, 7, 0]
    assert (columns[0].text, reasons(columns)) == ("EFG", ["stop"])
    assert columns[0].end is not None and columns[0].end.ttft_s > 0


# -- with the thread --


@pytest.fixture
def running() -> Iterator[Engine]:
    engine = toy_engine()
    thread = EngineThread(engine)
    thread.start()
    yield engine
    thread.stop()
    assert not thread.alive and is_free(engine)


def read_all(run: Run) -> list[Column]:
    events: list[Event] = []
    while not run.done or not events or not isinstance(events[-1], EndEvent):
        new = run.events(PATIENCE_S)
        assert new, "the engine fell silent"
        events += new
        if sum(isinstance(event, EndEvent) for event in events) == len(run.request.spec.columns):
            break
    return sort_events(events, len(run.request.spec.columns))


def test_many_threads_at_once_get_their_own_text(running: Engine) -> None:
    alone = toy_engine()
    expected = [drive(alone, alone.submit(toy_request(sampling=replace(WARM, seed=s))))[0] for s in range(8)]
    found: dict[int, list[Column]] = {}

    def user(seed: int) -> None:
        found[seed] = read_all(running.submit(toy_request(sampling=replace(WARM, seed=seed))))

    threads = [threading.Thread(target=user, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(8):
        assert [column.ids for column in found[seed]] == [column.ids for column in expected[seed]]


def test_an_owner_that_disappears_leaves_no_sequences(running: Engine) -> None:
    def consumer() -> Generator[Event, None, None]:
        run = running.submit(toy_request(100_000))
        try:
            while True:
                yield from run.events(PATIENCE_S)
        finally:
            run.cancel()

    reading = consumer()
    next(reading)
    reading.close()
    until(lambda: is_free(running))


def test_stop_and_run_20_times_in_a_row(running: Engine) -> None:
    for _ in range(20):
        run = running.submit(toy_request(100_000))
        assert run.events(PATIENCE_S)
        run.cancel()
        assert reasons(read_all_after_cancel(run)) == ["cancelled"] * 3


def read_all_after_cancel(run: Run) -> list[Column]:
    deadline, events = time.monotonic() + PATIENCE_S, []
    while not run.done and time.monotonic() < deadline:
        events += run.events(0.1)
    return sort_events([*events, *run.events()], len(run.request.spec.columns))


def test_a_bug_in_a_step_ends_its_runs_and_not_the_thread(
    running: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("eft_demo.engine.decode.attribute", None)
        columns = read_all(running.submit(toy_request()))
        assert reasons(columns) == ["error"] * 3
        assert all("(TypeError)" in str(column.end.error) for column in columns if column.end)
    assert reasons(read_all(running.submit(toy_request()))) == ["length"] * 3


def test_stopping_the_engine_ends_its_runs() -> None:
    engine = toy_engine(Settings(max_sequences=3))
    thread = EngineThread(engine)
    thread.start()
    runs = [engine.submit(toy_request(100_000)) for _ in range(2)]
    assert runs[0].events(PATIENCE_S)
    thread.stop()
    for run in runs:
        assert run.done
        assert all("stopping" in str(e.error) for e in run.events() if isinstance(e, EndEvent))


# -- the service --


@pytest.fixture(scope="module")
def service(tiny_settings: Settings) -> Iterator[Service]:
    service = Service.load(tiny_settings, "tiny")
    yield service
    service.stop()
    assert not service.alive


def test_the_service_runs_a_prompt_to_its_end(service: Service) -> None:
    run = service.start_run(spec(PROMPTS[0], "pirate", seed=3, length=6))
    columns = read_all(run)
    assert [recipe.roles for _, recipe in run.request.spec.columns][1] == ("small_base", "pirate")
    assert all(column.records for column in columns)
    again = read_all(service.start_run(spec(PROMPTS[0], "pirate", seed=3, length=6)))
    assert [column.text for column in columns] == [column.text for column in again]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": ""}, "empty"),
        ({"prompt": " \n "}, "empty"),
        ({"prompt": None}, "must be text; got nothing"),
        ({"prompt": "a" * 100_000}, "100,000 characters; the limit is 4,000"),
        ({"prompt": "7 ¥ " * 900}, "tokens long"),
        ({"behaviour": "wizard"}, "no behaviour 'wizard'. Choose one of assistant"),
        ({"behaviour": ["pirate"]}, "name of a behaviour"),
        ({"temperature": math.nan}, "Temperature must be"),
        ({"top_p": "x"}, "Top-p must be"),
        ({"top_k": 1.5}, "Top-k must be"),
        ({"seed": -1}, "Seed must be"),
        ({"length": 0}, "Length must be a whole number from 1"),
        ({"controls": {"alpha": math.inf}}, "Alpha must be"),
        ({"columns": (("X", blend(["pirate"])),)}, "alpha_pirate is empty"),
        ({"columns": (("X", Recipe("wizard")),)}, "no model wizard"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_input_is_rejected(service: Service, change: dict[str, Any], sentence: str) -> None:
    asked = {"prompt": PROMPTS[0], "behaviour": "assistant", **change}
    with pytest.raises(Exception, match=sentence) as caught:
        service.start_run(spec(asked.pop("prompt"), asked.pop("behaviour"), **asked))
    assert type(caught.value).__module__ == "eft_demo.errors"
    assert service.engine.active_sequences == 0


@pytest.mark.parametrize(
    "prompt", ["<|endoftext|>", "a\ud800", "🙂 東京", "<script>alert(1)</script>", "${x}"]
)
def test_odd_prompts_are_answered(service: Service, prompt: str) -> None:
    columns = read_all(service.start_run(spec(prompt, "assistant", length=3)))
    assert all(column.records for column in columns)


def test_its_own_thread_may_stop_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = toy_engine()
    thread = EngineThread(engine)
    ended = threading.Event()

    def step() -> bool:  # as when the last owner of a family is collected while the engine computes
        thread.stop()
        ended.set()
        return True

    monkeypatch.setattr(engine, "step", step)
    thread.start()
    assert ended.wait(PATIENCE_S)
    thread.stop()
    assert not thread.alive and not caplog.records
