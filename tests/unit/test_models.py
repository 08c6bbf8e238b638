"""Models: the hand-written path against the library's, dtypes, and the toys' good manners."""

import pytest
import torch

from eft_demo.families.family import Family
from eft_demo.models.dtype import choose_dtype
from eft_demo.models.fused import FusedQwen2, is_fusable
from eft_demo.models.hf import TransformersModel
from eft_demo.models.load import load_models
from eft_demo.models.toy import FaultyModel, ToyModel
from eft_demo.settings import Settings
from tests.tiny import Size, make_model
from tests.unit.test_slots import llama

SIZES = [Size(64, 2, 4, 128, True), Size(96, 3, 2, 64, False), Size(128, 2, 8, 192, False)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 3e-5), (torch.bfloat16, 0.35)])
def test_the_fused_step_equals_the_librarys(size: Size, dtype: torch.dtype, close: float) -> None:
    model = make_model(size, 101, 64, 5).to(dtype)
    paths = [kind("m", model, 64, 101) for kind in (FusedQwen2, TransformersModel)]
    logits = []
    for path in paths:
        slots = [path.join() for _ in range(3)]
        for slot, length in zip(slots, (9, 2, 5), strict=True):
            path.forward([slot], torch.arange(length)[None])
        steps = [path.forward(slots, torch.tensor([[t], [t + 1], [50 - t]])) for t in range(5)]
        logits.append(torch.stack(steps).float())
    assert (logits[0] - logits[1]).abs().max() < close
    assert logits[0].abs().max() > 1  # the comparison compares something


def test_a_vocabulary_padded_in_the_model_is_cut_to_the_tokenizers() -> None:
    model = make_model(SIZES[0], 128, 64, 5)
    for kind in (FusedQwen2, TransformersModel):
        path = kind("m", model, 64, 101)
        slot = path.join()
        assert path.forward([slot], torch.tensor([[1, 2]])).shape == (1, 1, 101)
        assert path.forward([slot], torch.tensor([[1]])).shape == (1, 1, 101)


def test_only_models_of_the_right_shape_are_fused(tiny_family: Family) -> None:
    assert not is_fusable(llama())
    assert all(isinstance(model, FusedQwen2) for model in load_models(tiny_family, torch.float32).values())


def test_the_dtype_comes_with_its_reason() -> None:
    for setting, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        assert choose_dtype(Settings(dtype=setting)) == (dtype, f"{setting}, as EFT_DTYPE says")
    dtype, reason = choose_dtype(Settings())
    assert dtype in (torch.bfloat16, torch.float32)
    assert "because" in reason and "µs" in reason


def test_a_toy_says_its_text_and_stops() -> None:
    toy = ToyModel("toy", 20, says=(5, 5, 7), stop_id=0)
    slot = toy.join()
    toy.forward([slot], torch.tensor([[3, 4]]))
    said, token = [], 9
    for _ in range(5):
        token = int(toy.forward([slot], torch.tensor([[token]]))[0, 0].argmax())
        said.append(token)
    assert said[:4] == [5, 5, 7, 0]


def test_a_toy_rolls_back_like_a_real_model() -> None:
    toy = ToyModel("toy", 20)
    slot, other = toy.join(), toy.join()
    first = toy.forward([slot], torch.tensor([[3, 4, 5]]), keep=2)
    slot.length = 1
    again = toy.forward([slot], torch.tensor([[4, 5]]), keep=2)
    assert first.equal(again)
    toy.copy_prefix(slot, other)
    both = toy.forward([slot, other], torch.tensor([[6], [6]]))
    assert both[0].equal(both[1])


def test_a_faulty_model_breaks_on_time() -> None:
    model = FaultyModel("bad", 20, after=2)
    slot = model.join()
    assert model.forward([slot], torch.tensor([[1]])).isfinite().all()
    assert model.forward([slot], torch.tensor([[1]])).isnan().all()
