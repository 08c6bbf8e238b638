"""Forced tokens: scored as sampled ones are, in every column; branches continue with the same noise."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from eft_demo.engine import score
from eft_demo.engine.engine import Engine
from eft_demo.engine.run import Run, RunRequest
from eft_demo.errors import InputError
from eft_demo.families.family import Family, encode_prompt
from eft_demo.method.recipe import parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import parse_schedule
from eft_demo.method.speculation import Speculation
from eft_demo.method.weight_filter import WeightFilter
from eft_demo.models.protocol import LanguageModel
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.runs.trace import TokenRecord
from eft_demo.settings import Settings
from tests.asking import changed, make_request, three
from tests.toy import FaultyModel, ToyModel

ROLES = ("large_base", "small_base", "assistant")
COLUMNS = three("assistant")
WARM = Sampling(temperature=0.9, top_p=0.95, seed=7)
COLD = Sampling(temperature=0)
LENGTH = 40
VOCAB = 40


class Column:
    """The events of one column of a run."""

    def __init__(self) -> None:
        self.records: list[TokenRecord] = []
        self.text = ""
        self.ended: EndEvent | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(record.id for record in self.records)

    @property
    def end(self) -> EndEvent:
        assert self.ended is not None, "the column has not ended"
        return self.ended


def read(run: Run) -> list[Column]:
    columns = [Column() for _ in run.request.spec.columns]
    for event in run.events():
        column = columns[event.column]
        column.text += event.text
        if isinstance(event, TokenEvent):
            column.records.append(event.record)
        else:
            column.ended = event
    return columns


def drive(engine: Engine, *runs: Run) -> list[list[Column]]:
    while engine.step():
        pass
    return [read(run) for run in runs]


@pytest.fixture(scope="module")
def asked(tiny_family: Family) -> RunRequest:
    text = "What is the capital of Peru?"
    prompts = {role: tuple(encode_prompt(tiny_family, role, text)) for role in ROLES}
    return make_request(prompts, COLUMNS, {"alpha": 1.3}, WARM, LENGTH)


def assert_alike(ours: list[TokenRecord], theirs: list[TokenRecord]) -> None:
    """Assert equality up to float32 rounding, candidate by candidate."""
    assert [record.id for record in ours] == [record.id for record in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.logprob == pytest.approx(other.logprob, abs=2e-4)
        assert mine.anchor_logprob == pytest.approx(other.anchor_logprob, abs=2e-4)
        assert mine.bars == pytest.approx(other.bars, abs=2e-4)
        assert mine.neg_log_z == pytest.approx(other.neg_log_z, abs=2e-4)
        assert mine.entropy_nats == pytest.approx(other.entropy_nats, abs=2e-4)
        assert mine.by_role == pytest.approx(other.by_role, abs=2e-4)
        assert (mine.position, mine.rank, mine.base_first) == (other.position, other.rank, other.base_first)
        here, there = ({c.id: c for c in record.candidates} for record in (mine, other))
        for token in here.keys() & there.keys():
            assert here[token].logprob == pytest.approx(there[token].logprob, abs=2e-4)
        # Where two tokens tie for the last place of a model's list, rounding decides which is listed.
        ours_alone, theirs_alone = here.keys() - there.keys(), there.keys() - here.keys()
        assert len(ours_alone) == len(theirs_alone) <= 1
        for ours_one, theirs_one in zip(ours_alone, theirs_alone, strict=True):
            one, tied = here[ours_one].by_role, there[theirs_one].by_role
            assert any(one[role] == pytest.approx(tied[role], abs=2e-4) for role in one)
        assert mine.controls == other.controls


def same_text(asked: RunRequest, ids: tuple[int, ...]) -> RunRequest:
    return changed(asked, forced=ids, length=len(ids))


@pytest.mark.parametrize("column", range(3))
def test_scoring_a_finished_text_repeats_its_records(engine: Engine, asked: RunRequest, column: int) -> None:
    (original,) = drive(engine, engine.submit(asked))
    (scored,) = drive(engine, engine.submit(same_text(asked, original[column].ids)))
    assert_alike(scored[column].records, original[column].records)
    for other in scored:
        assert other.ids == original[column].ids
        assert other.text == original[column].text
        assert other.end.finish_reason == "length"


def test_scoring_takes_one_forward_per_model_and_chunk(
    engine: Engine, asked: RunRequest, models: Mapping[str, LanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    (original,) = drive(engine, engine.submit(asked))
    forwards: list[str] = []
    for role, model in models.items():

        def noting(*args: Any, role: str = role, forward: Any = model.forward, **options: Any) -> Any:
            forwards.append(role)
            return forward(*args, **options)

        monkeypatch.setattr(model, "forward", noting)
    drive(engine, engine.submit(same_text(asked, original[2].ids)))
    chunks = -(-LENGTH // score.CHUNK)
    assert {role: forwards.count(role) for role in ROLES} == dict.fromkeys(
        ROLES, chunks + 1
    )  # and the prompt


@pytest.mark.parametrize("kept", [1, 2, score.CHUNK, score.CHUNK + 1, LENGTH - 1])
def test_an_unchanged_branch_equals_the_original(engine: Engine, asked: RunRequest, kept: int) -> None:
    for column in COLUMNS:
        alone = changed(asked, columns=(column,))
        (original,) = drive(engine, engine.submit(alone))
        (branch,) = drive(engine, engine.submit(changed(alone, forced=original[0].ids[:kept])))
        assert_alike(branch[0].records, original[0].records)
        assert branch[0].text == original[0].text


@pytest.mark.parametrize("kept", [1, 7, score.CHUNK + 3])
def test_scoring_reproduces_a_text_made_under_load_and_with_drafts(
    engine: Engine, asked: RunRequest, kept: int
) -> None:
    """In float32, with the same controls and noise, neither drafts nor other runs change the text."""
    drafted = changed(asked, speculation=Speculation("on", 4))
    original, *_ = drive(engine, engine.submit(drafted), engine.submit(changed(asked, sampling=COLD)))
    ids = original[2].ids
    regenerated = [changed(how, columns=(COLUMNS[2],), forced=ids[:kept]) for how in (asked, drafted)]
    beside = changed(asked, sampling=replace(WARM, seed=8))
    for runs in (regenerated, [*regenerated, beside]):
        for (branch, *_), _ in zip(drive(engine, *map(engine.submit, runs)), regenerated, strict=False):
            assert branch.ids == ids and branch.text == original[2].text


def test_samples_of_a_branch_share_its_forced_tokens_and_differ_by_seed(
    engine: Engine, asked: RunRequest
) -> None:
    (original,) = drive(engine, engine.submit(asked))
    kept = (*original[2].ids[:5], 50)
    seeds = [changed(asked, forced=kept, sampling=replace(WARM, seed=seed)) for seed in (1, 2, 3)]
    samples = drive(engine, *map(engine.submit, seeds))
    texts = {columns[2].ids for columns in samples}
    assert len(texts) == 3
    assert all(ids[:6] == kept for ids in texts)


def test_scoring_leaves_other_runs_unchanged(engine: Engine, asked: RunRequest) -> None:
    (alone,) = drive(engine, engine.submit(asked))
    running = engine.submit(asked)
    for _ in range(5):
        engine.step()
    scoring = engine.submit(same_text(asked, alone[0].ids))
    beside, scored = drive(engine, running, scoring)
    for mine, other in zip(beside, alone, strict=True):
        assert_alike(mine.records, other.records)
    assert_alike(scored[0].records, alone[0].records)


def test_a_cancelled_scoring_frees_its_rows(engine: Engine, asked: RunRequest) -> None:
    (original,) = drive(engine, engine.submit(asked))
    run = engine.submit(same_text(asked, original[0].ids))
    engine.step()
    run.cancel()
    (columns,) = drive(engine, run)
    assert [column.end.finish_reason for column in columns] == ["cancelled"] * 3


# -- with toy models --


def toys(**other: ToyModel) -> dict[str, ToyModel]:
    return {role: ToyModel(role, VOCAB, seed=seed) for seed, role in enumerate(ROLES)} | other


def toy_engine(models: Mapping[str, ToyModel], settings: Settings, stop_ids: tuple[int, ...] = ()) -> Engine:
    return Engine(models, stop_ids, settings, [b"x"] * VOCAB)


def toy_request(forced: tuple[int, ...], length: int = 40) -> RunRequest:
    return make_request(dict.fromkeys(ROLES, (1, 2, 3)), COLUMNS, {"alpha": 1.0}, WARM, length, forced=forced)


def test_a_forced_stop_token_ends_the_text(tiny_settings: Settings) -> None:
    engine = toy_engine(toys(), tiny_settings, stop_ids=(9,))
    (columns,) = drive(engine, engine.submit(toy_request((4, 5, 9, 6))))
    for column in columns:
        assert column.ids == (4, 5, 9)
        assert column.end.finish_reason == "stop"
        assert column.text == "xx"


@pytest.mark.parametrize("after", [2, 3])
def test_a_fault_ends_only_the_columns_of_its_model(tiny_settings: Settings, after: int) -> None:
    forced = tuple(range(4, 4 + 2 * score.CHUNK))
    (sound,) = drive(e := toy_engine(toys(), tiny_settings), e.submit(toy_request(forced)))
    models = toys(assistant=FaultyModel("assistant", VOCAB, after=after, seed=2))
    engine = toy_engine(models, tiny_settings)
    (columns,) = drive(engine, engine.submit(toy_request(forced)))
    assert [column.end.finish_reason for column in columns] == ["length", "error", "error"]
    assert "assistant" in (columns[1].end.error or "")
    assert columns[0].ids == sound[0].ids
    assert_alike(columns[0].records, sound[0].records)
    assert not any(model.histories for model in models.values())


def test_a_prefill_continues_with_another_sequence_when_its_own_ends(tiny_settings: Settings) -> None:
    """Columns of a run share one prefill per model; a fault ends the first sequence between two chunks."""
    columns = (("One", parse("large_base + 1*(assistant - small_base)")), ("Two", parse("large_base")))
    forced = tuple(range(4, 4 + 2 * score.CHUNK + 1))
    asked = changed(toy_request(forced), columns=columns)
    (sound,) = drive(e := toy_engine(toys(), tiny_settings), e.submit(asked))
    engine = toy_engine(toys(assistant=FaultyModel("assistant", VOCAB, after=3, seed=2)), tiny_settings)
    (found,) = drive(engine, engine.submit(asked))
    assert [column.end.finish_reason for column in found] == ["error", "length"]
    assert len(found[0].records) == score.CHUNK
    assert_alike(found[1].records, sound[1].records)


def test_a_column_with_a_smaller_context_ends_first(tiny_settings: Settings) -> None:
    forced = tuple(range(4, 4 + score.CHUNK + 5))
    models = toys(assistant=ToyModel("assistant", VOCAB, context=3 + score.CHUNK, seed=2))
    engine = toy_engine(models, tiny_settings)
    (columns,) = drive(engine, engine.submit(toy_request(forced)))
    assert [len(column.records) for column in columns] == [40, score.CHUNK + 1, score.CHUNK + 1]
    assert columns[0].ids[: len(forced)] == forced
    assert not any(model.histories for model in models.values())


@pytest.mark.parametrize("bad", [-1, VOCAB, 2**40, True, "5", 1.0, None])
def test_a_forced_token_outside_the_vocabulary_is_rejected(tiny_settings: Settings, bad: Any) -> None:
    engine = toy_engine(toys(), tiny_settings)
    with pytest.raises(InputError, match="39"):
        engine.submit(toy_request((1, bad)))


def test_too_many_forced_tokens_are_rejected(tiny_settings: Settings) -> None:
    engine = toy_engine(toys(), tiny_settings)
    with pytest.raises(InputError, match="5 tokens .* 4[.]"):
        engine.submit(toy_request((1,) * 5, length=4))


# -- what other controls would have drawn --

ALPHAS = (0.0, 0.4, 1.0, 1.3, 2.0)
BLEND = (("Blend", parse("large_base + alpha*(assistant - small_base) + beta*(large_base - small_base)")),)


def with_alternatives(asked: RunRequest, records: list[TokenRecord], values: tuple[float, ...]) -> RunRequest:
    """The request that scores these records' text at their own controls, then at other alphas."""
    schedule = asked.spec.schedule
    own_and_others = tuple(
        (
            record.controls,
            *({**record.controls, "alpha": value * schedule.factor(record.position)} for value in values),
        )
        for record in records
    )
    return replace(same_text(asked, tuple(record.id for record in records)), what_if=own_and_others)


@pytest.mark.parametrize(
    "fields",
    [
        {"sampling": WARM},
        {"sampling": COLD},
        {"sampling": Sampling(temperature=1.4, seed=3)},
        {"sampling": Sampling(temperature=1, top_k=5, min_p=0.02, seed=4)},
        {"weight_filter": WeightFilter("top_p", 0.8)},
        {"weight_filter": WeightFilter("mask", 0.05)},
        {"schedule": parse_schedule("warmup 8")},
        {"columns": BLEND, "controls": {"alpha": 1.3, "beta": 0.5}},
    ],
)
def test_other_controls_draw_what_a_run_with_them_draws(
    engine: Engine, asked: RunRequest, fields: dict[str, Any]
) -> None:
    """Until its first other token, a run at another alpha has the same text before each token."""
    alone = changed(asked, **{"columns": (COLUMNS[2],), **fields})
    ((original,),) = drive(engine, engine.submit(alone))
    run = engine.submit(with_alternatives(alone, original.records, ALPHAS))
    drive(engine, run)
    own, *others = zip(*(run.choices[0, n] for n in range(LENGTH)), strict=True)
    assert own == original.ids
    assert others[ALPHAS.index(1.3)] == original.ids
    for alpha, scored in zip(ALPHAS, others, strict=True):
        controls = {**alone.spec.controls, "alpha": alpha}
        ((rerun,),) = drive(engine, engine.submit(changed(alone, controls=controls)))
        same = next((n for n in range(LENGTH) if rerun.ids[n] != original.ids[n]), LENGTH)
        assert scored[: same + 1] == rerun.ids[: same + 1]


def test_at_alpha_0_every_token_is_the_one_that_the_base_column_draws(
    engine: Engine, asked: RunRequest
) -> None:
    hot = changed(asked, columns=(COLUMNS[2],), sampling=Sampling(temperature=1.2, seed=11))
    ((original,),) = drive(engine, engine.submit(hot))
    run = engine.submit(with_alternatives(hot, original.records, (0.0,)))
    drive(engine, run)
    base = changed(hot, columns=(COLUMNS[0],), controls={})
    forced = [changed(base, forced=original.ids[:n], length=n + 1) for n in range(LENGTH)]
    drawn = [drive(engine, engine.submit(one))[0][0].ids[-1] for one in forced]
    assert [run.choices[0, n][1] for n in range(LENGTH)] == drawn
    assert tuple(drawn) != original.ids


def test_a_run_that_asks_for_no_other_controls_finds_none(engine: Engine, asked: RunRequest) -> None:
    (original,) = drive(engine, engine.submit(asked))
    run = engine.submit(same_text(asked, original[2].ids))
    drive(engine, run)
    assert not run.choices
