"""Prefix reuse: what a model has read is not read again, and the text is the same as without reuse."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from eft_demo.engine.engine import Engine
from eft_demo.engine.prefix_cache import MIN_TOKENS, PrefixCache, common_length
from eft_demo.engine.run import RunRequest
from eft_demo.families.family import Family, encode_prompt
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.models.hf import TransformersModel
from eft_demo.models.load import group_models
from eft_demo.models.lora import AdapterGroup, LowRank
from eft_demo.models.protocol import LanguageModel, SavesRows
from eft_demo.runs.events import EndEvent
from eft_demo.runs.trace import ColumnTrace
from eft_demo.settings import Settings
from tests.asking import changed, finished, ids_of, make_request, three
from tests.faults import ERRORS
from tests.tiny import TINY_LARGE, TINY_SMALL, fused, make_model
from tests.toy import ToyModel, slots_in_use

ROLES = ("large_base", "small_base", "assistant")
COLUMNS = three("assistant")
WARM = Sampling(temperature=0.8, seed=4)
FOLLOW_UP = (60, 61, 62, 63, 64)
QUESTION = "What is the capital of Peru? Which river flows through Köln? The capital of Japan is Tokyo."


@pytest.fixture
def make_engine(
    models: dict[str, LanguageModel], tiny_family: Family, tiny_settings: Settings
) -> Iterator[Callable[..., Engine]]:
    """Engines on the same models; by default with reuse."""
    engines = []

    def make(megabytes: int = 256, groups: bool = True) -> Engine:
        parts = (models, (), replace(tiny_settings, prefix_cache_mb=megabytes), tiny_family.token_bytes)
        engines.append(Engine(*parts, groups=group_models(models) if groups else ()))
        return engines[-1]

    yield make
    for engine in engines:
        assert engine.active_sequences == 0
    assert not any(slots_in_use(model) for model in models.values())


@pytest.fixture
def first(tiny_family: Family) -> RunRequest:
    """The first turn of a conversation."""
    prompts = {role: tuple(encode_prompt(tiny_family, role, QUESTION)) for role in ROLES}
    return make_request(prompts, COLUMNS, {"alpha": 1.3}, WARM, 12)


def logprobs_of(column: ColumnTrace) -> list[float]:
    return [value for record in column.tokens for value in (record.logprob, *record.by_role.values())]


def second_turn(asked: RunRequest, columns: list[ColumnTrace], shared: int | None = None) -> RunRequest:
    """The next turn: each column goes on from its own answer, or all from that of the column `shared`."""
    answers = [ids_of(columns[i if shared is None else shared]) for i in range(len(columns))]
    own = tuple(
        {role: (*ids, *answer, *FOLLOW_UP) for role, ids in asked.prompts_of(i).items()}
        for i, answer in enumerate(answers)
    )
    if shared is None:
        return replace(asked, prompts=own[0], column_prompts=own)
    return replace(asked, prompts=own[0], column_prompts=())


class Reading:
    """Counts the tokens that every model reads in blocks, as prompts are read."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: dict[str, list[int]] = {role: [] for role in engine.models}
        for role, model in engine.models.items():
            monkeypatch.setattr(model, "forward", partial(self._noted, role, model.forward))

    def _noted(self, role: str, forward: Any, slots: Any, tokens: Tensor, *more: Any) -> Any:
        if tokens.shape[1] > 1:
            self.sizes[role].append(tokens.numel())
        return forward(slots, tokens, *more)


@pytest.mark.parametrize("shared", [None, 0, 2])
@pytest.mark.parametrize("speculation", [Speculation("off"), Speculation("on", 4)], ids=str)
def test_the_next_turn_is_the_same_text_with_and_without_reuse(
    make_engine: Callable[..., Engine], first: RunRequest, speculation: Speculation, shared: int | None
) -> None:
    first = changed(first, speculation=speculation)
    engine, without = make_engine(), make_engine(0)
    columns = finished(engine, first)
    asked = second_turn(first, columns, shared)
    for _ in range(2):
        reused, expected = finished(engine, asked), finished(without, asked)
        for mine, theirs in zip(reused, expected, strict=True):
            assert ids_of(mine) == ids_of(theirs) and len(mine.tokens) == 12
            assert logprobs_of(mine) == pytest.approx(logprobs_of(theirs), abs=2e-4)
        asked = second_turn(asked, reused, shared)


def test_the_next_turn_reads_only_what_is_new(
    make_engine: Callable[..., Engine], first: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    columns = finished(engine, first)
    reading = Reading(engine, monkeypatch)
    finished(engine, second_turn(first, columns))
    # Of each text, the last token of the answer was not read yet; the prompt's last one is read in a step.
    new = len(FOLLOW_UP) + 1 - 1
    assert reading.sizes == {"large_base": [new, new], "small_base": [new], "assistant": [new, new]}


def test_a_shared_history_reuses_what_each_model_has_of_the_chosen_answer(
    make_engine: Callable[..., Engine], first: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    columns = finished(engine, first)
    reading = Reading(engine, monkeypatch)
    finished(engine, second_turn(first, columns, shared=0))
    (size,) = reading.sizes["large_base"]
    assert size == len(FOLLOW_UP)
    # The small models have not read the answer of the large base alone, only the question before it.
    for role in ("small_base", "assistant"):
        (size,) = reading.sizes[role]
        assert len(FOLLOW_UP) < size <= len(FOLLOW_UP) + 12


def test_a_prompt_asked_again_is_not_read_and_gives_the_same_bits(
    make_engine: Callable[..., Engine], first: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    once = finished(engine, first)
    reading = Reading(engine, monkeypatch)
    again = finished(engine, first)
    assert not any(reading.sizes.values())
    for mine, theirs in zip(again, once, strict=True):
        assert mine.tokens == theirs.tokens


def test_alpha_0_stays_the_base_column_bit_for_bit(
    make_engine: Callable[..., Engine], first: RunRequest
) -> None:
    engine = make_engine()
    first = changed(first, controls={"alpha": 0.0})
    base, _, upscaled = finished(engine, second_turn(first, finished(engine, first)))
    for one, other in zip(base.tokens, upscaled.tokens, strict=True):
        assert (one.id, one.logprob, one.entropy_nats) == (other.id, other.logprob, other.entropy_nats)


def test_how_much_was_reused_is_reported(make_engine: Callable[..., Engine], first: RunRequest) -> None:
    def ends(asked: RunRequest) -> list[tuple[int, int]]:
        run = engine.submit(asked)
        while engine.step():
            pass
        found = [event for event in run.events() if isinstance(event, EndEvent)]
        return [(event.prompt_tokens, event.reused_tokens) for event in sorted(found, key=lambda e: e.column)]

    engine = make_engine()
    columns = finished(engine, first)
    asked = second_turn(first, columns)
    sizes = [
        len(asked.prompts_of(i)[role]) for i, role in enumerate(("large_base", "assistant", "large_base"))
    ]
    assert ends(asked) == [(size, size - len(FOLLOW_UP) - 1) for size in sizes]
    engine.fail_all("")
    assert ends(asked) == [(size, 0) for size in sizes]


@pytest.mark.parametrize(
    ("ann", "bob"),
    [({"owner": "ann"}, {"owner": "bob"}), ({"owner": "a", "session": "1"}, {"owner": "a", "session": "2"})],
    ids=["owners", "sessions of one address"],
)
def test_only_the_reader_of_a_text_reuses_it(
    make_engine: Callable[..., Engine],
    first: RunRequest,
    monkeypatch: pytest.MonkeyPatch,
    ann: dict[str, str],
    bob: dict[str, str],
) -> None:
    """Otherwise the time to the first token would show what others have asked."""
    engine = make_engine()
    asked = second_turn(first, finished(engine, changed(first, **ann)))
    reading = Reading(engine, monkeypatch)
    finished(engine, changed(asked, **bob))
    whole = len(asked.prompts_of(1)["assistant"]) - 1
    assert whole in reading.sizes["assistant"]
    for sizes in reading.sizes.values():
        sizes.clear()
    finished(engine, changed(asked, **ann))
    assert reading.sizes["assistant"] == [len(FOLLOW_UP)] * 2


def test_branches_and_scored_texts_reuse_the_prompt(
    make_engine: Callable[..., Engine], first: RunRequest
) -> None:
    engine, without = make_engine(), make_engine(0)
    columns = finished(engine, first)
    asked = changed(second_turn(first, columns), forced=(70, 71, 72))
    for mine, theirs in zip(finished(engine, asked), finished(without, asked), strict=True):
        assert ids_of(mine) == ids_of(theirs) and ids_of(mine)[:3] == (70, 71, 72)
        assert logprobs_of(mine) == pytest.approx(logprobs_of(theirs), abs=2e-4)


def test_a_prompt_that_was_stopped_while_it_was_read_goes_on_from_there(
    make_engine: Callable[..., Engine], first: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREFILL_CHUNK", "LONE_CHUNK"):
        monkeypatch.setattr(f"eft_demo.engine.engine.{name}", MIN_TOKENS)
    engine = make_engine()
    long = {role: tuple(range(5, 65)) for role in ROLES}
    asked = changed(first, prompts=long)
    expected = finished(make_engine(0), asked)
    run = engine.submit(asked)
    engine.step()
    engine.step()
    run.cancel()
    engine.step()
    reading = Reading(engine, monkeypatch)
    found = finished(engine, asked)
    assert sum(reading.sizes["large_base"]) == 59 - 2 * MIN_TOKENS
    assert [ids_of(column) for column in found] == [ids_of(column) for column in expected]


@pytest.mark.parametrize("reader", [{}, {"owner": "a", "session": "1"}], ids=["nobody", "a session"])
def test_a_drafter_reuses_what_it_has_read(
    make_engine: Callable[..., Engine],
    first: RunRequest,
    monkeypatch: pytest.MonkeyPatch,
    reader: dict[str, str],
) -> None:
    """The small base drafts for the column of the large base, whose history only that column has."""
    engine = make_engine(groups=False)
    asked = changed(first, columns=(COLUMNS[0],), speculation=Speculation("on", 4), **reader)
    columns = finished(engine, asked)
    reading = Reading(engine, monkeypatch)
    finished(engine, second_turn(asked, columns))
    assert reading.sizes["small_base"][0] <= len(FOLLOW_UP) + 4


# -- who may use what, and how much is kept --


def kept_in(cache: PrefixCache, role: str, tokens: tuple[int, ...], owner: str = "") -> int:
    """How many of the tokens a new row gets."""
    model = cache._models[role]
    slot = model.join()
    count = cache.restore(owner, role, tokens, slot)
    assert slot.length == count
    model.leave(slot)
    return count


def keep(cache: PrefixCache, role: str, tokens: tuple[int, ...], owner: str = "") -> None:
    model = cache._models[role]
    slot = model.join()
    model.forward([slot], torch.tensor([tokens]))
    cache.keep(owner, role, tokens, slot)
    model.leave(slot)


def text(seed: int, length: int = 20) -> tuple[int, ...]:
    return tuple((seed + i) % 40 for i in range(length))


@pytest.fixture
def toys() -> dict[str, LanguageModel]:
    return {role: ToyModel(role, 40, seed=seed) for seed, role in enumerate(ROLES)}


def test_the_least_recently_used_texts_make_room(toys: dict[str, LanguageModel]) -> None:
    cache = PrefixCache(toys, 3 * 20 * 8)  # a toy takes eight bytes a token
    for seed in range(3):
        keep(cache, "small_base", text(seed))
    assert kept_in(cache, "small_base", text(0)) == 20
    keep(cache, "small_base", text(7))
    assert cache.size_bytes == 3 * 20 * 8
    found = [kept_in(cache, "small_base", text(seed)) for seed in (0, 1, 2, 7)]
    assert found == [20, 0, 20, 20]
    keep(cache, "small_base", text(9, 100))  # larger than the limit
    assert kept_in(cache, "small_base", text(9, 100)) == 0
    assert kept_in(cache, "small_base", text(7)) == 20


def test_a_longer_text_takes_the_place_of_its_beginning(toys: dict[str, LanguageModel]) -> None:
    cache = PrefixCache(toys, 10**6)
    keep(cache, "small_base", text(0, 20))
    keep(cache, "small_base", text(0, 30))
    keep(cache, "small_base", text(0, 25))
    assert cache.size_bytes == 30 * 8
    assert kept_in(cache, "small_base", (*text(0, 28), 39, 39)) == 28
    assert kept_in(cache, "small_base", text(0, 17)) == 17


def test_a_row_serves_one_model_and_one_owner(toys: dict[str, LanguageModel]) -> None:
    cache = PrefixCache(toys, 10**6)
    keep(cache, "small_base", text(0), "ann")
    assert kept_in(cache, "assistant", text(0), "ann") == 0
    assert kept_in(cache, "small_base", text(0), "bob") == 0
    assert kept_in(cache, "small_base", text(0), "ann") == 20


def test_nothing_is_kept_of_short_texts_without_room_or_by_models_that_cannot() -> None:
    class Plain:
        """A model of the protocol that cannot save rows."""

    toys: dict[str, Any] = {"small_base": ToyModel("small_base", 40), "plain": Plain()}
    cache = PrefixCache(toys, 10**6)
    keep(cache, "small_base", text(0, MIN_TOKENS - 1))
    assert not isinstance(toys["plain"], SavesRows)
    cache.keep("", "plain", text(0), toys["small_base"].join())
    assert cache.restore("", "plain", text(0), toys["small_base"].join()) == 0
    off = PrefixCache(toys, 0)
    keep(off, "small_base", text(0))
    assert cache.size_bytes == off.size_bytes == 0


def test_common_length() -> None:
    assert common_length((), (1,)) == 0
    assert common_length((1, 2, 3), (1, 2)) == 2
    assert common_length((1, 2, 3), (1, 4, 3)) == 1


# -- when something fails --


def test_ending_the_runs_drops_what_was_kept(make_engine: Callable[..., Engine], first: RunRequest) -> None:
    """As when the family is switched, or when the engine fails."""
    for end in (Engine.close, Engine.fail_all):
        engine = make_engine()
        finished(engine, first)
        assert engine._prefixes.size_bytes > 0
        end(engine, "over")
        assert engine._prefixes.size_bytes == 0


def long_toy_request(owner: str = "") -> RunRequest:
    prompts = dict.fromkeys(ROLES, text(3, 60))
    return make_request(prompts, COLUMNS, {"alpha": 1.0}, WARM, 12, owner=owner)


def toy_engine(**models: LanguageModel) -> Engine:
    toys = {role: ToyModel(role, 40, seed=seed) for seed, role in enumerate(ROLES)}
    return Engine({**toys, **models}, [], Settings(), [bytes([64 + i]) for i in range(40)])


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if kind not in ("exit", "interrupt")])
@pytest.mark.parametrize("place", ["save", "restore"])
def test_a_copy_that_fails_ends_no_text(place: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = toy_engine()
    expected = finished(engine, long_toy_request())

    def broken(*given: Any) -> Any:
        raise ERRORS[kind]()

    with monkeypatch.context() as patch:
        patch.setattr(engine.models["large_base"], place, broken)
        asked = [long_toy_request(), second_turn(long_toy_request(), expected)]
        for request in asked:
            found = finished(engine, request)
            assert [column.finish_reason for column in found] == ["length"] * 3
            assert [ids_of(column) for column in found] == [
                ids_of(column) for column in finished(toy_engine(), request)
            ]
    assert [column.tokens for column in finished(engine, long_toy_request())] == [c.tokens for c in expected]


@pytest.mark.parametrize("method", ["join", "forward"])
def test_kept_texts_make_room_when_memory_ends(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = toy_engine()
    finished(engine, long_toy_request("ann"))
    model = engine.models["large_base"]
    works = getattr(model, method)

    def full(*given: Any) -> Any:
        if engine._prefixes.size_bytes:
            raise MemoryError
        return works(*given)

    monkeypatch.setattr(model, method, full)
    found = finished(engine, changed(long_toy_request("bob"), length=1))
    assert [column.finish_reason for column in found] == ["length"] * 3


# -- several roles in one cache, and the library's own cache --


@pytest.mark.parametrize("ranks", [3, 0])
def test_an_adapter_and_its_base_reuse_only_their_own_rows(
    ranks: int, tiny_family: Family, first: RunRequest
) -> None:
    """Rank 0 is a role of the same model: its rows are in the base's cache too."""
    vocab, context = tiny_family.vocab, 128
    base = TransformersModel("small_base", make_model(TINY_SMALL, vocab, context, 3).eval(), context, vocab)
    torch.manual_seed(0)
    size = TINY_SMALL.hidden
    adapter = {"model.layers.0.self_attn.q_proj": LowRank(torch.randn(ranks, size), torch.randn(size, ranks))}
    group = AdapterGroup(base, {"assistant": adapter if ranks else {}})
    large = fused("large_base", make_model(TINY_LARGE, vocab, context, 4), context, vocab)
    models: dict[str, LanguageModel] = {"large_base": large, "small_base": base, **group.models()}
    engine, without = (
        Engine(models, (), Settings(threads=1, prefix_cache_mb=size), tiny_family.token_bytes, groups=[group])
        for size in (256, 0)
    )
    asked = second_turn(first, finished(engine, first))
    assert engine._prefixes.size_bytes > 0
    for mine, theirs in zip(finished(engine, asked), finished(without, asked), strict=True):
        assert ids_of(mine) == ids_of(theirs)
        assert logprobs_of(mine) == pytest.approx(logprobs_of(theirs), abs=2e-4)
    assert base.cache.slots == []
