"""Recorded steps: the same logits as without them, whatever rows are beside, and no harm where none can be.

CUDA graphs themselves are tried by scripts/gpu_check.sh; a recording of the operations stands in for them.
"""

import random
from collections.abc import Callable, Mapping
from functools import partial

import pytest
import torch
from torch import Tensor

from eft_demo.engine.engine import Engine
from eft_demo.method.recipe import parse
from eft_demo.method.sampling import Sampling
from eft_demo.models import graphs
from eft_demo.models.graphs import CudaRecorder
from eft_demo.models.hf import GraphedModel, TransformersModel
from eft_demo.models.kv_cache import FIRST_ROWS
from eft_demo.models.protocol import Elsewhere, LanguageModel, Slot, Starts
from eft_demo.runs.events import TokenEvent
from eft_demo.settings import Settings
from tests.asking import make_request
from tests.recording import CpuRecorder, with_graphs
from tests.tiny import TINY_LARGE, make_model

VOCAB, CONTEXT = 97, 40


def fresh() -> TransformersModel:
    return TransformersModel("large_base", make_model(TINY_LARGE, VOCAB, CONTEXT, 3), CONTEXT, VOCAB)


def test_a_random_day_gives_the_logits_of_plain_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows join, leave, roll back and step in changing company; the storage grows on the way."""
    recorder = CpuRecorder()
    plain, recorded = fresh(), with_graphs(fresh(), monkeypatch, recorder)
    rows: list[tuple[Slot, Slot]] = []
    rng = random.Random(5)
    for _ in range(40):
        what = rng.random()
        if (what < 0.3 and len(rows) < 7) or not rows:
            rows.append((plain.join(), recorded.join()))
            text = torch.tensor([[rng.randrange(VOCAB) for _ in range(rng.randrange(1, 20))]])
            chosen = [rows[-1]]
        elif what < 0.4:
            left = rows.pop(rng.randrange(len(rows)))
            plain.leave(left[0])
            recorded.leave(left[1])
            continue
        else:
            chosen = rng.sample(rows, rng.randrange(1, len(rows) + 1)) if what < 0.6 else list(rows)
            chosen.sort(key=lambda pair: pair[0].index)
            for one, other in chosen:
                if one.length > 3 and rng.random() < 0.2 or one.length > CONTEXT - 3:
                    one.length = other.length = one.length // 2
            block = rng.choice((1, 1, 1, 3))
            text = torch.tensor([[rng.randrange(VOCAB) for _ in range(block)] for _ in chosen])
        expected = plain.forward([one for one, _ in chosen], text)
        found = recorded.forward([other for _, other in chosen], text)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
        assert all(one.length == other.length for one, other in chosen)
    assert recorder.replays > 15 and not recorder.unread
    assert recorded.cache.growths, "the storage never moved"


def test_a_graph_serves_fewer_rows_and_shorter_texts_than_it_was_made_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = with_graphs(fresh(), monkeypatch)
    slots = [model.join() for _ in range(5)]
    for step in range(6):
        model.forward(slots, torch.full((5, 1), step))
    assert list(model.graphs._graphs) == [(0, 6, 1, CONTEXT, 1)]
    model.leave(slots.pop())
    model.forward(slots[:3], torch.zeros(3, 1, dtype=torch.int64))
    assert len(model.graphs._graphs) == 2, "four rows of the graph would be more than the next count"


def test_a_row_beside_keeps_its_tokens_even_at_the_end_of_its_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = with_graphs(fresh(), monkeypatch)
    slots = [model.join() for _ in range(6)]
    model.forward([slots[5]], torch.ones(1, CONTEXT, dtype=torch.int64))
    before = [store[5].clone() for store in model.cache.store]
    model.forward(slots[:5], torch.ones(5, 2, dtype=torch.int64))
    assert all(store[5].equal(kept) for store, kept in zip(model.cache.store, before, strict=True))
    assert list(model.graphs._graphs) == [(0, 5, 2, CONTEXT, 1)]


def test_a_shape_is_recorded_when_it_comes_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_graphs(fresh(), monkeypatch)
    monkeypatch.setattr(graphs, "SEEN", 3)
    slot = model.join()
    model.forward([slot], torch.ones(1, graphs.MAX_BLOCK + 1, dtype=torch.int64))
    for step in range(1, 5):
        model.forward([slot], torch.ones(1, 1, dtype=torch.int64))
        assert len(model.graphs._graphs) == (step >= 3)
    monkeypatch.setattr(graphs, "MAX_GRAPHS", 1)
    for _ in range(3):
        model.forward([slot], torch.ones(1, 2, dtype=torch.int64))
    assert list(model.graphs._graphs) == [(0, 1, 2, CONTEXT, 1)]


class Unable(CpuRecorder):
    """A recorder of what reads a result on its way."""

    def record(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")


class Wrong(CpuRecorder):
    """A recorder whose recordings give other logits."""

    def record(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        recorded = super().record(work)
        return lambda: recorded().flip(-1)


@pytest.mark.parametrize("recorder", [Unable(), Wrong()])
def test_a_model_that_cannot_be_recorded_rightly_goes_on_without(
    recorder: CpuRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, model = fresh(), with_graphs(fresh(), monkeypatch, recorder)
    slot, other = model.join(), plain.join()
    for token in (1, 2, 3):
        expected = plain.forward([other], torch.tensor([[token]]))
        assert model.forward([slot], torch.tensor([[token]])).equal(expected)
    assert slot.length == 3
    assert not model.graphs._graphs and recorder.replays <= 1


def test_nothing_of_cuda_is_touched_before_it_is_needed() -> None:
    CudaRecorder(torch.device("cuda:0"))
    assert FIRST_ROWS in graphs.ROW_COUNTS


def test_the_engine_starts_all_models_before_it_reads_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    models: dict[str, LanguageModel] = {}
    started: list[str] = []
    for role in ("large_base", "small_base", "tuned"):
        model = models[role] = with_graphs(
            TransformersModel(role, make_model(TINY_LARGE, VOCAB, CONTEXT, len(models)), CONTEXT, VOCAB),
            monkeypatch,
        )
        monkeypatch.setattr(model.graphs, "start", partial(noted, started, role, model.graphs.start))
        assert isinstance(model, Starts) and not isinstance(model, Elsewhere)
    plain = {
        role: TransformersModel(role, model.model, CONTEXT, VOCAB)
        for role, model in models.items()
        if isinstance(model, GraphedModel)
    }
    texts = [written(kind) for kind in (models, plain)]
    assert texts[0] == texts[1]
    steps = [started[i : i + 6] for i in range(6, len(started), 6)]  # the first six read the prompt
    assert len(steps) == 12
    assert all(set(step[:3]) == {"starts " + role for role in models} for step in steps)


def noted(
    started: list[str], role: str, start: Callable[..., Callable[[], Tensor] | None], *args: object
) -> Callable[[], Tensor] | None:
    started.append("starts " + role)
    finish = start(*args)
    if finish is None:
        return None

    def finished() -> Tensor:
        started.append("read " + role)
        return finish()

    return finished


def written(models: Mapping[str, LanguageModel]) -> list[int]:
    engine = Engine(models, (), Settings(dtype="fp32", threads=1), [b"x"] * VOCAB)
    columns = (("x", parse("large_base + alpha*(tuned - small_base)")),)
    prompts = dict.fromkeys(models, (5, 17, 3))
    run = engine.submit(make_request(prompts, columns, {"alpha": 1.0}, Sampling(seed=4), 12))
    while engine.step():
        pass
    return [event.record.id for event in run.events() if isinstance(event, TokenEvent)]
