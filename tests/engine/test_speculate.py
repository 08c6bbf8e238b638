"""Speculative decoding gives the text of plain steps, token for token, whatever is drafted or goes wrong."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
import torch

from eft_demo.engine.engine import Engine
from eft_demo.engine.run import Run, RunRequest
from eft_demo.method.recipe import parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import parse_schedule
from eft_demo.method.speculation import Speculation
from eft_demo.method.weight_filter import parse_weight_filter
from eft_demo.models.protocol import LanguageModel
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.runs.trace import TokenRecord
from eft_demo.settings import Settings
from tests.asking import changed, make_request
from tests.tiny import Size, fused, make_model
from tests.toy import is_free

VOCAB, CONTEXT, STOPS = 64, 64, (7, 9)
SIZE = Size(32, 1, 2, 48, tied=False)
UPSCALED = "large_base + alpha*(assistant - small_base)"
RECIPES = (
    UPSCALED,
    "large_base",
    "assistant + beta*(large_base - small_base)",
    "small_base + alpha*(large_tuned - large_base)",
    "large_base + alpha*(assistant - small_base) + 0.5*(pirate - small_base)",
    "small_base + alpha*(assistant - small_base) + beta*(large_base - small_base)",
    "assistant",
)
OFF = Speculation("off")


def relatives(spread: float, seed: int = 0) -> dict[str, LanguageModel]:
    """Models that are `spread` apart: the nearer, the more drafts are accepted."""
    models: dict[str, LanguageModel] = {}
    ancestor = make_model(SIZE, VOCAB, CONTEXT, seed).state_dict()
    for i, role in enumerate(("large_base", "small_base", "assistant", "pirate", "large_tuned"), 1):
        model = make_model(SIZE, VOCAB, CONTEXT, seed)
        mutation = make_model(SIZE, VOCAB, CONTEXT, seed + i).state_dict()
        model.load_state_dict({k: w + spread * (mutation[k] - w) for k, w in ancestor.items()})
        models[role] = fused(role, model.eval(), CONTEXT, VOCAB)
    return models


@pytest.fixture(scope="module")
def models() -> dict[str, LanguageModel]:
    torch.set_num_threads(1)
    return relatives(0.12)


@pytest.fixture
def engine(models: Mapping[str, LanguageModel]) -> Iterator[Engine]:
    engine = engine_of(models)
    yield engine
    assert is_free(engine)


@pytest.fixture
def endless(models: Mapping[str, LanguageModel]) -> Iterator[Engine]:
    """An engine without stop tokens."""
    engine = engine_of(models, stops=())
    yield engine
    assert is_free(engine)


def engine_of(models: Mapping[str, LanguageModel], stops: Sequence[int] = STOPS) -> Engine:
    return Engine(models, stops, Settings(dtype="fp32", threads=1), [b"x"] * VOCAB)


def random_case(rng: random.Random, recipes: Sequence[str] = RECIPES) -> RunRequest:
    prompt = tuple(rng.randrange(VOCAB) for _ in range(rng.randint(1, 9)))
    columns = (("P", parse(rng.choice(recipes))),)
    sampling = Sampling(
        temperature=rng.choice([0, 0.3, 0.7, 1, 1.5]),
        top_p=rng.choice([1, 1, 0.95, 0.6]),
        top_k=rng.choice([0, 0, 5, 30]),
        min_p=rng.choice([0, 0, 0.05]),
        seed=rng.randrange(2**32),
    )
    return make_request(
        dict.fromkeys(("large_base", "small_base", "assistant", "pirate", "large_tuned"), prompt),
        columns,
        {"alpha": rng.choice([0, 1, 1, 3]), "beta": rng.choice([0, 1, 2])},
        sampling,
        rng.choice([1, 2, 6, 12, 20]),
        weight_filter=parse_weight_filter(rng.choice(["off", "off", "top-p 0.9", "mask 0.05"])),
        schedule=parse_schedule(rng.choice(["constant", "constant", "warmup 5", "first 3", "list 1 0 2e-1"])),
    )


def read(run: Run) -> tuple[list[list[TokenRecord]], list[EndEvent]]:
    events = run.events()
    count = len(run.request.spec.columns)
    tokens = [[e.record for e in events if isinstance(e, TokenEvent) and e.column == p] for p in range(count)]
    ends = sorted((e for e in events if isinstance(e, EndEvent)), key=lambda end: end.column)
    assert [end.column for end in ends] == list(range(count))
    return tokens, ends


def drive(engine: Engine, *runs: Run) -> None:
    while engine.step():
        pass
    assert all(run.done for run in runs)


def ids_of(records: Sequence[TokenRecord]) -> list[int]:
    return [record.id for record in records]


def plain_texts(engine: Engine, cases: Sequence[RunRequest]) -> list[tuple[list[int], str]]:
    runs = [engine.submit(changed(case, speculation=OFF)) for case in cases]
    drive(engine, *runs)
    found = []
    for run in runs:
        tokens, (end,) = read(run)
        assert end.acceptance_rate is None and end.speedup is None
        found.append((ids_of(tokens[0]), end.finish_reason))
    return found


def assert_same(run: Run, expected: tuple[list[int], str]) -> tuple[int, int]:
    """Assert that the run gave the text of plain steps; returns (drafted, accepted)."""
    (records,), (end,) = read(run)
    assert (ids_of(records), end.finish_reason) == expected
    drafts = [(record.draft, record.id) for record in records if record.draft]
    assert all(0 <= draft.overlap <= 1 + 1e-5 for draft, _ in drafts)
    hits = sum(draft.id == token for draft, token in drafts)
    if drafts:
        assert end.acceptance_rate == pytest.approx(hits / len(drafts))
    return len(drafts), hits


@pytest.mark.parametrize("block", [*range(1, 9), 0])
def test_a_sequence_with_drafts_equals_plain_steps(engine: Engine, block: int) -> None:
    """28 random cases for every block."""
    rng = random.Random(block)
    cases = [random_case(rng) for _ in range(28)]
    drafted = accepted = 0
    for case, expected in zip(cases, plain_texts(engine, cases), strict=True):
        run = engine.submit(changed(case, speculation=Speculation("on", block)))
        drive(engine, run)
        some, right = assert_same(run, expected)
        drafted, accepted = drafted + some, accepted + right
    assert 0.2 * drafted < accepted < 0.95 * drafted, "both sides of the choice must be seen"


@pytest.mark.parametrize("seed", range(32))
def test_eight_sequences_together_equal_each_alone(engine: Engine, seed: int) -> None:
    """8 random cases at once, each with its own block, no drafts, or the engine's choice."""
    rng = random.Random(1000 + seed)
    cases = [random_case(rng) for _ in range(8)]
    modes = [Speculation("on", block) for block in range(1, 9)] + [Speculation("on"), Speculation(), OFF]
    expected = plain_texts(engine, cases)
    runs = []
    for case in cases:
        runs.append(engine.submit(changed(case, speculation=rng.choice(modes))))
        for _ in range(rng.choice([0, 0, 1, 2])):  # they join and leave at any time
            engine.step()
    drive(engine, *runs)
    for run, text in zip(runs, expected, strict=True):
        assert_same(run, text)


# -- three columns, live controls, branches --

THREE = (("Base", parse("large_base")), ("Tuned", parse("assistant")), ("Up-scaled", parse(UPSCALED)))
SHOWN = (THREE[0], ("Tuned", parse("small_base + 1*(assistant - small_base)")), THREE[2])
ROLES = ("large_base", "small_base", "assistant")
WARM = Sampling(temperature=0.8, top_p=0.95, seed=5)


def three(sampling: Sampling = WARM, length: int = 24, columns: object = THREE) -> RunRequest:
    return make_request(dict.fromkeys(ROLES, (1, 2, 3, 4)), columns, {"alpha": 1.5}, sampling, length)  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [THREE, SHOWN], ids=["three", "as the page shows them"])
@pytest.mark.parametrize("block", [1, 2, 4, 8])
def test_three_columns_with_drafts_equal_plain_steps(engine: Engine, block: int, columns: object) -> None:
    """The small base drafts for the base; the tuned model drafts for up-scaled and continues its own text."""
    for seed in range(4):
        case = three(replace(WARM, seed=seed), columns=columns)
        plain = engine.submit(case)
        drive(engine, plain)
        run = engine.submit(changed(case, speculation=Speculation("on", block)))
        drive(engine, run)
        (expected, _), (found, ends) = read(plain), read(run)
        assert [ids_of(records) for records in found] == [ids_of(records) for records in expected]
        assert ends[1].acceptance_rate is None
        for column in (0, 2):
            if len(found[column]) > 1:
                assert all(record.draft for record in found[column][1:]) and not found[column][0].draft


@pytest.mark.parametrize("temperature", [0, 0.8, 2])
def test_a_drafter_equal_to_the_mixture_has_every_draft_accepted(endless: Engine, temperature: float) -> None:
    """Because it uses the noise of the positions it drafts for."""
    case = changed(three(replace(WARM, temperature=temperature), length=40), controls={"alpha": 1, "beta": 0})
    columns = (("P", parse("assistant + beta*(large_base - small_base)")),)
    run = endless.submit(changed(case, columns=columns, speculation=Speculation("on", 6)))
    drive(endless, run)
    (records,), (end,) = read(run)
    assert end.acceptance_rate == 1
    assert all(record.draft.overlap == pytest.approx(1, abs=1e-4) for record in records if record.draft)


def test_the_attribution_equals_that_of_plain_steps(engine: Engine) -> None:
    plain, run = engine.submit(three()), engine.submit(changed(three(), speculation=Speculation("on", 5)))
    drive(engine, plain, run)
    for theirs, ours in zip(read(plain)[0], read(run)[0], strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            assert (mine.id, mine.position, mine.rank, mine.controls) == (
                other.id, other.position, other.rank, other.controls,
            )  # fmt: skip
            assert mine.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert mine.bars == pytest.approx(other.bars, abs=1e-4)
            assert mine.neg_log_z == pytest.approx(other.neg_log_z, abs=1e-4)
            assert mine.by_role == pytest.approx(other.by_role, abs=1e-4)


@pytest.mark.parametrize("seed", range(12))
def test_a_changed_control_applies_from_the_next_verified_token(engine: Engine, seed: int) -> None:
    """Plain steps with the control values in the records give the same text, token by token."""
    rng = random.Random(seed)
    case = changed(random_case(rng, [RECIPES[0], RECIPES[2], RECIPES[4], RECIPES[5]]), length=30)
    run = engine.submit(changed(case, speculation=Speculation("on", rng.randint(2, 8))))
    while engine.step():
        for name in run.controls:
            if rng.random() < 0.5:
                run.set_control(name, rng.choice([0, 0.5, 1, 3]))
    (records,), _ = read(run)
    assert len(records) < 10 or len({tuple(record.controls.values()) for record in records}) > 1
    alone = engine.submit(changed(case, schedule=parse_schedule("constant"), speculation=OFF))
    found: list[int] = []
    while not alone.done:
        if len(found) < len(records):
            for name, value in records[len(found)].controls.items():
                alone.set_control(name, value)
        engine.step()
        found += [event.record.id for event in alone.events() if isinstance(event, TokenEvent)]
    assert found == ids_of(records)


@pytest.mark.parametrize("kept", [1, 5, 17])
def test_a_branch_uses_drafts_and_keeps_its_text(engine: Engine, kept: int) -> None:
    whole = engine.submit(changed(three(length=30), columns=THREE[2:]))
    drive(engine, whole)
    ids = ids_of(read(whole)[0][0])
    branch = changed(three(length=30), columns=THREE[2:], forced=tuple(ids[:kept]))
    run = engine.submit(changed(branch, speculation=Speculation("on", 4)))
    drive(engine, run)
    (records,), _ = read(run)
    assert ids_of(records) == ids
    assert all(bool(record.draft) == (record.position >= kept) for record in records)


def test_scoring_beside_a_sequence_with_drafts_changes_neither(engine: Engine) -> None:
    plain = engine.submit(three())
    drive(engine, plain)
    expected = [ids_of(records) for records in read(plain)[0]]
    run = engine.submit(changed(three(), speculation=Speculation("on", 3)))
    engine.step()
    engine.step()
    scored = engine.submit(replace(three(length=20), forced=tuple(range(10, 30))))
    drive(engine, run, scored)
    assert [ids_of(records) for records in read(run)[0]] == expected


# -- ends: stop tokens, length, context, cancel, faults --


def test_a_stop_token_inside_a_block_ends_the_text(models: Mapping[str, LanguageModel]) -> None:
    """With every token as the stop token: what was drafted after it is never sent."""
    plain = engine_of(models, stops=())
    run = plain.submit(changed(three(length=12), columns=THREE[2:]))
    drive(plain, run)
    ids = ids_of(read(run)[0][0])
    for stop in dict.fromkeys(ids):
        engine = engine_of(models, stops=(stop,))
        run = engine.submit(changed(three(length=12), columns=THREE[2:], speculation=Speculation("on", 8)))
        drive(engine, run)
        (records,), (end,) = read(run)
        assert ids_of(records) == ids[: ids.index(stop) + 1] and end.finish_reason == "stop"
        assert is_free(engine)


@pytest.mark.parametrize("prompt", [1, 50, 60, 63])
def test_a_text_ends_where_the_context_ends(endless: Engine, prompt: int) -> None:
    case = replace(three(length=200), prompts=dict.fromkeys(ROLES, tuple(range(prompt))))
    plain = endless.submit(case)
    drive(endless, plain)
    run, other = (
        endless.submit(changed(request, speculation=Speculation("on", 8)))
        for request in (case, three(length=50))
    )
    drive(endless, run, other)
    (expected, _), (found, ends) = read(plain), read(run)
    assert [ids_of(records) for records in found] == [ids_of(records) for records in expected]
    assert all(len(records) == CONTEXT - prompt + 1 for records in found)
    assert {end.finish_reason for end in ends} == {"length"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("call", [1, 2, 4, 7])
def test_cancelling_between_the_forwards_of_a_round_stops_the_round(
    endless: Engine, monkeypatch: pytest.MonkeyPatch, role: str, call: int
) -> None:
    run = endless.submit(changed(three(length=40), speculation=Speculation("on", 4)))
    other = endless.submit(changed(three(), speculation=Speculation("on", 4)))
    endless.step()
    endless.step()
    model, calls = endless.models[role], 0
    forward = model.forward

    def cancelling(*args: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == call:
            run.cancel()
        return forward(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "forward", cancelling)
    drive(endless, run, other)
    assert "cancelled" in {end.finish_reason for end in read(run)[1]}
    alone = endless.submit(three())
    drive(endless, alone)
    assert [ids_of(r) for r in read(other)[0]] == [ids_of(r) for r in read(alone)[0]]


class Fault(Exception):
    pass


@pytest.mark.parametrize("kind", ["raises", "returns NaN", "returns NaN once"])
@pytest.mark.parametrize("after", [1, 2, 5, 9])
@pytest.mark.parametrize("role", ROLES)
def test_a_fault_ends_only_its_own_sequences_and_only_if_plain_steps_fail_too(
    endless: Engine, monkeypatch: pytest.MonkeyPatch, role: str, after: int, kind: str
) -> None:
    plain = endless.submit(three())
    drive(endless, plain)
    expected = [ids_of(records) for records in read(plain)[0]]
    run = endless.submit(changed(three(), speculation=Speculation("on", 4)))
    endless.step()
    model, calls = endless.models[role], 0
    forward = model.forward

    def failing(*args: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        broken = calls == after if kind == "returns NaN once" else calls >= after
        if broken and kind == "raises":
            raise Fault
        logits = forward(*args)  # type: ignore[arg-type]
        return torch.full_like(logits, torch.nan) if broken else logits

    monkeypatch.setattr(model, "forward", failing)
    drive(endless, run)
    tokens, ends = read(run)
    hit = {"large_base": {0, 2}, "small_base": {2}, "assistant": {1, 2}}[role]
    for column, (records, end) in enumerate(zip(tokens, ends, strict=True)):
        assert ids_of(records) == expected[column][: len(records)]
        if column in hit and kind != "returns NaN once":
            assert end.finish_reason == "error" and f"The model {role}" in str(end.error)
        elif column not in hit:
            assert end.finish_reason == "length"


def test_a_text_continues_without_a_failed_drafter(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model alone does not need the small base that drafts for it."""
    case = changed(three(length=20), columns=(THREE[0],))
    plain = engine.submit(case)
    drive(engine, plain)

    def failing(*args: object) -> torch.Tensor:
        raise Fault

    monkeypatch.setattr(engine.models["small_base"], "forward", failing)
    run = engine.submit(changed(case, speculation=Speculation("on", 4)))
    drive(engine, run)
    (records,), (end,) = read(run)
    assert ids_of(records) == ids_of(read(plain)[0][0]) and end.finish_reason in ("length", "stop")
    assert end.acceptance_rate is None
