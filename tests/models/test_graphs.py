"""Recorded steps: the same logits as without them, whatever rows are beside, and no harm where none can be.

CUDA graphs themselves are tried by scripts/gpu_check.sh; here a recording of the operations stands in for them.
"""

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from eft_demo.models import graphs
from eft_demo.models.graphs import Graphs, Recorder
from eft_demo.models.hf import TransformersModel
from eft_demo.models.kv_cache import FIRST_ROWS
from eft_demo.models.protocol import Slot
from tests.recording import record, with_graphs
from tests.tiny import TINY_LARGE, make_model

VOCAB, CONTEXT = 97, 40


def fresh() -> TransformersModel:
    return TransformersModel("large_base", make_model(TINY_LARGE, VOCAB, CONTEXT, 3), CONTEXT, VOCAB)


def replays(model: TransformersModel) -> list[int]:
    """Count in the returned list's only entry how often the model replays a graph."""
    assert model.graphs
    counted = [0]

    def counting(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        recorded = record(work)

        def replay() -> Tensor:
            counted[0] += 1
            return recorded()

        return replay

    model.graphs = Graphs(model.cache, model._logits, counting)
    return counted


def test_a_random_day_gives_the_logits_of_plain_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows join, leave, roll back and step in changing company; the storage grows on the way."""
    plain, recorded = fresh(), with_graphs(fresh(), monkeypatch)
    counted = replays(recorded)
    rows: list[tuple[Slot, Slot]] = []
    dice = random.Random(5)
    for _ in range(120):
        what = dice.random()
        if (what < 0.3 and len(rows) < 7) or not rows:
            rows.append((plain.join(), recorded.join()))
            text = torch.tensor([[dice.randrange(VOCAB) for _ in range(dice.randrange(1, 20))]])
            chosen = [rows[-1]]
        elif what < 0.4:
            left = rows.pop(dice.randrange(len(rows)))
            plain.leave(left[0])
            recorded.leave(left[1])
            continue
        else:
            chosen = dice.sample(rows, dice.randrange(1, len(rows) + 1)) if what < 0.6 else list(rows)
            chosen.sort(key=lambda pair: pair[0].index)
            for one, other in chosen:
                if one.length > 3 and dice.random() < 0.2 or one.length > CONTEXT - 3:
                    one.length = other.length = one.length // 2
            block = dice.choice((1, 1, 1, 3))
            text = torch.tensor([[dice.randrange(VOCAB) for _ in range(block)] for _ in chosen])
        expected = plain.forward([one for one, _ in chosen], text)
        found = recorded.forward([other for _, other in chosen], text)
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
        assert all(one.length == other.length for one, other in chosen)
    assert counted[0] > 60
    assert recorded.cache.growths, "the storage never moved"


def test_a_graph_serves_fewer_rows_and_shorter_texts_than_it_was_made_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = with_graphs(fresh(), monkeypatch)
    assert model.graphs
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
    assert model.graphs
    slots = [model.join() for _ in range(6)]
    model.forward([slots[5]], torch.ones(1, CONTEXT, dtype=torch.int64))
    before = [store[5].clone() for store in model.cache.store]
    model.forward(slots[:5], torch.ones(5, 2, dtype=torch.int64))
    assert all(store[5].equal(kept) for store, kept in zip(model.cache.store, before, strict=True))
    assert list(model.graphs._graphs) == [(0, 5, 2, CONTEXT, 1)]


def test_a_shape_is_recorded_when_it_comes_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_graphs(fresh(), monkeypatch)
    monkeypatch.setattr(graphs, "SEEN", 3)
    assert model.graphs
    slot = model.join()
    model.forward([slot], torch.ones(1, graphs.MAX_BLOCK + 1, dtype=torch.int64))
    for step in range(1, 5):
        model.forward([slot], torch.ones(1, 1, dtype=torch.int64))
        assert len(model.graphs._graphs) == (step >= 3)
    monkeypatch.setattr(graphs, "MAX_GRAPHS", 1)
    for _ in range(3):
        model.forward([slot], torch.ones(1, 2, dtype=torch.int64))
    assert list(model.graphs._graphs) == [(0, 1, 2, CONTEXT, 1)]


def cannot(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    raise RuntimeError("operation not permitted when stream is capturing")


def wrongly(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    recorded = record(work)
    return lambda: recorded().flip(-1)


@pytest.mark.parametrize("recorder", [cannot, wrongly])
def test_a_model_that_cannot_be_recorded_rightly_goes_on_without(
    recorder: Callable[[Callable[[], Tensor]], Callable[[], Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, model = fresh(), with_graphs(fresh(), monkeypatch)
    model.graphs = Graphs(model.cache, model._logits, recorder)
    slot, other = model.join(), plain.join()
    for token in (1, 2, 3):
        expected = plain.forward([other], torch.tensor([[token]]))
        assert model.forward([slot], torch.tensor([[token]])).equal(expected)
    assert slot.length == 3
    assert not model.graphs._graphs


def test_models_on_a_cpu_have_no_graphs() -> None:
    assert fresh().graphs is None
    assert Recorder(torch.device("cpu"))._stream is None  # nothing of CUDA is touched before it is needed
    assert FIRST_ROWS in graphs.ROW_COUNTS
