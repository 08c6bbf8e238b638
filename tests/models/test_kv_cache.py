"""The KV cache: rows of different lengths, rollback, joining, leaving and copying, against recomputation."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from eft_demo.models.base import SlotModel
from eft_demo.models.hf import TransformersModel
from eft_demo.models.kv_cache import SlotCache
from eft_demo.models.protocol import Slot
from tests.tiny import TINY_LARGE, fused, make_model

VOCAB, CONTEXT = 97, 64
CLOSE: Mapping[str, Any] = {"atol": 2e-5, "rtol": 1e-5}
LIBRARY: dict[str, PreTrainedModel] = {}  # the library's models, by the names of ours


def llama() -> PreTrainedModel:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=CONTEXT,
    )  # fmt: skip
    return LlamaForCausalLM(config)


@pytest.fixture(params=["library", "fused", "llama"])
def model(request: pytest.FixtureRequest) -> SlotModel:
    """A model on the slot cache, with the library's model in LIBRARY."""
    library = llama() if request.param == "llama" else make_model(TINY_LARGE, VOCAB, CONTEXT, 3)
    kind = fused if request.param == "fused" else TransformersModel
    model = kind(request.param, library, CONTEXT, VOCAB)
    LIBRARY[request.param] = library.eval()
    return model


def ids(seed: int, length: int) -> list[int]:
    return torch.randint(0, VOCAB, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def fill(model: SlotModel, tokens: list[int]) -> Slot:
    slot = model.join()
    model.forward([slot], torch.tensor([tokens]))
    return slot


def from_scratch(model: SlotModel, tokens: list[int]) -> Tensor:
    """(vocab,) logits after `tokens`, without any cache."""
    with torch.inference_mode():
        logits: Tensor = LIBRARY[model.name](input_ids=torch.tensor([tokens]), use_cache=False).logits
        return logits[0, -1]


def test_rows_of_different_lengths_step_together(model: SlotModel) -> None:
    texts = [ids(seed, length) for seed, length in enumerate((17, 5, 9))]
    slots = [fill(model, text) for text in texts]
    for step in range(4):
        new = ids(100 + step, 3)
        logits = model.forward(slots, torch.tensor(new)[:, None])
        assert logits.shape == (3, 1, VOCAB)
        for row, token in enumerate(new):
            texts[row].append(token)
            torch.testing.assert_close(logits[row, 0], from_scratch(model, texts[row]), **CLOSE)
    assert [slot.length for slot in slots] == [21, 9, 13]


def test_a_block_gives_the_logits_of_its_last_tokens(model: SlotModel) -> None:
    texts = [ids(1, 7), ids(2, 3)]
    slots = [fill(model, text) for text in texts]
    block = torch.tensor([ids(3, 4), ids(4, 4)])
    logits = model.forward(slots, block, keep=4)
    for row in range(2):
        for i in range(4):
            expected = from_scratch(model, texts[row] + block[row, : i + 1].tolist())
            torch.testing.assert_close(logits[row, i], expected, **CLOSE)


def test_rollback_sets_a_length(model: SlotModel) -> None:
    texts = [ids(1, 7), ids(2, 3), ids(5, 12)]
    slots = [fill(model, text) for text in texts]
    block = torch.tensor([ids(6, 4), ids(7, 4), ids(8, 4)])
    model.forward(slots, block)
    for slot, text, row, accepted in zip(slots, texts, block.tolist(), (1, 4, 0), strict=True):
        slot.length -= 4 - accepted
        text += row[:accepted]
    new = ids(9, 3)
    logits = model.forward(slots, torch.tensor(new)[:, None])
    for row, text in enumerate(texts):
        torch.testing.assert_close(logits[row, 0], from_scratch(model, [*text, new[row]]), **CLOSE)


def test_rows_leave_and_join_in_any_order(model: SlotModel) -> None:
    texts = {}
    for seed in range(6):  # more than the first storage holds
        text = ids(seed, 4 + seed)
        texts[fill(model, text)] = text
    for leaver in (list(texts)[1], list(texts)[5], list(texts)[0]):
        model.leave(leaver)
        del texts[leaver]
    text = ids(50, 11)
    texts[fill(model, text)] = text
    assert sorted(slot.index for slot in texts) == [0, 1, 2, 3]
    logits = model.forward(list(texts), torch.full((4, 1), 7))
    for row, text in enumerate(texts.values()):
        torch.testing.assert_close(logits[row, 0], from_scratch(model, [*text, 7]), **CLOSE)


def test_some_rows_step_while_others_wait(model: SlotModel) -> None:
    texts = [ids(seed, 4 + seed) for seed in range(4)]
    slots = [fill(model, text) for text in texts]
    logits = model.forward([slots[3], slots[1]], torch.tensor([[5], [6]]))
    torch.testing.assert_close(logits[0, 0], from_scratch(model, [*texts[3], 5]), **CLOSE)
    torch.testing.assert_close(logits[1, 0], from_scratch(model, [*texts[1], 6]), **CLOSE)
    logits = model.forward(slots, torch.full((4, 1), 8))
    for row, text in enumerate(([*texts[0], 8], [*texts[1], 6, 8], [*texts[2], 8], [*texts[3], 5, 8])):
        torch.testing.assert_close(logits[row, 0], from_scratch(model, text), **CLOSE)


def test_a_copied_prefix_can_continue_differently(model: SlotModel) -> None:
    text = ids(1, 9)
    source, target = fill(model, text), model.join()
    model.copy_prefix(source, target)
    logits = model.forward([source, target], torch.tensor([[3], [4]]))
    torch.testing.assert_close(logits[0, 0], from_scratch(model, [*text, 3]), **CLOSE)
    torch.testing.assert_close(logits[1, 0], from_scratch(model, [*text, 4]), **CLOSE)


def test_a_saved_row_continues_in_another_place_as_it_would_have(model: SlotModel) -> None:
    text = ids(1, 9)
    first, source = fill(model, ids(2, 5)), fill(model, text)
    assert model.save(source, 1) is None
    saved = model.save(source, 10**6)
    assert saved is not None and 0 < saved.size_bytes < 10**6
    expected = model.forward([source], torch.tensor([[3]]))
    model.leave(source)
    fill(model, ids(3, 20))  # where the row was
    whole, part = model.join(), model.join()
    model.restore(whole, saved, 9)
    model.restore(part, saved, 4)
    assert (whole.length, part.length) == (9, 4)
    assert model.forward([whole], torch.tensor([[3]])).equal(expected)
    logits = model.forward([part, first], torch.tensor([[7], [8]]))
    torch.testing.assert_close(logits[0, 0], from_scratch(model, [*text[:4], 7]), **CLOSE)
    torch.testing.assert_close(logits[1, 0], from_scratch(model, [*ids(2, 5), 8]), **CLOSE)


def test_sections_stay_dense_and_in_order() -> None:
    rng, cache = random.Random(1), SlotCache(2, 1, 2, 3, torch.float32, sections=4)
    owners: dict[Slot, tuple[int, float]] = {}  # section, and the value that fills its keys and values
    for _ in range(1000):
        if not owners or (rng.random() < 0.52 and len(owners) < 20):
            section, mark = rng.randrange(4), rng.random()
            slot = cache.join(section)
            assert not any(store[slot.index].any() for store in cache.store)
            for store in cache.store:
                store[slot.index] = mark
            owners[slot] = section, mark
        else:
            leaver = rng.choice(list(owners))
            cache.leave(leaver)
            del owners[leaver]
        in_order = sorted(owners, key=lambda slot: slot.index)
        assert [slot.index for slot in in_order] == list(range(len(owners)))
        assert [owners[slot][0] for slot in in_order] == sorted(section for section, _ in owners.values())
        for slot, (_, mark) in owners.items():
            assert all((store[slot.index] == torch.tensor(mark)).all() for store in cache.store)


def test_nan_left_by_a_row_does_not_reach_the_next(model: SlotModel) -> None:
    broken = fill(model, ids(1, 30))
    for layer in model.cache.store:
        layer[broken.index] = torch.nan
    model.leave(broken)
    long, short = fill(model, ids(2, 30)), fill(model, ids(3, 4))
    logits = model.forward([long, short], torch.tensor([[3], [4]]))
    assert logits.isfinite().all()


def test_a_row_beyond_the_context_is_rejected_and_nothing_changes(model: SlotModel) -> None:
    slot = fill(model, ids(1, CONTEXT))
    with pytest.raises(ValueError, match="context"):
        model.forward([slot], torch.tensor([[1]]))
    assert slot.length == CONTEXT


def test_rows_that_joined_in_inference_mode_may_leave_outside_it() -> None:
    """Failures are handled outside inference mode, where tensors made inside it cannot be written to."""
    cache = SlotCache(2, 1, 2, 3, torch.float32, sections=2)
    with torch.inference_mode():
        slots = [cache.join(i % 2) for i in range(9)]  # more than the first storage holds
    other = cache.join()
    cache.copy_prefix(slots[8], other)
    for slot in (*slots, other):
        cache.leave(slot)
        cache.leave(slot)  # once more does nothing
    assert not cache.slots


@pytest.mark.parametrize("at", range(1, 9))
def test_a_move_that_fails_leaves_every_row_in_place(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    cache = SlotCache(1, 1, 2, 3, torch.float32, sections=3)
    owners = {cache.join(i % 3): float(i + 1) for i in range(9)}
    for slot, mark in owners.items():
        cache.store[0][slot.index] = mark
    moves = iter(range(1, 100))
    change = cache._change_places

    def breaking(slot: Slot, target: int) -> None:
        if next(moves) == at:
            raise RuntimeError("a copy failed")
        change(slot, target)

    monkeypatch.setattr(cache, "_change_places", breaking)
    for slot in list(owners)[:4]:
        for _ in range(2):  # the second time it works
            try:
                cache.leave(slot)
            except RuntimeError:
                continue
        del owners[slot]
        assert sorted(s.index for s in owners) == list(range(len(owners)))
        assert all((cache.store[0][s.index] == mark).all() for s, mark in owners.items())
