"""Models: the fused path against the library's, the choice of dtype, and toy models."""

import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config

from eft_demo.errors import FamilyError
from eft_demo.families.catalogue import find_entry
from eft_demo.families.checkpoint import Checkpoint
from eft_demo.families.family import Family
from eft_demo.models import dtype as dtype_module
from eft_demo.models.backend import LoadOptions
from eft_demo.models.base import SlotModel
from eft_demo.models.dtype import choose_dtype, compare_speed
from eft_demo.models.fused import FusedQwen2, group_equal_shapes
from eft_demo.models.fused_weights import fusable_shape
from eft_demo.models.hf import TransformersModel
from eft_demo.models.load import load_model, load_models
from eft_demo.models.plan import make_plan
from eft_demo.models.protocol import Slot
from eft_demo.settings import Settings
from tests.tiny import Size, fused, make_model
from tests.toy import FaultyModel, ToyModel

SIZES = [Size(64, 2, 4, 128, True), Size(96, 3, 2, 64, False), Size(128, 2, 8, 192, False)]


def steps_of(path: SlotModel) -> Tensor:
    """The logits of rows of different lengths over several steps."""
    slots = [path.join() for _ in range(3)]
    for slot, length in zip(slots, (9, 2, 5), strict=True):
        path.forward([slot], torch.arange(length)[None])
    steps = [path.forward(slots, torch.tensor([[t], [t + 1], [50 - t]])) for t in range(5)]
    return torch.stack(steps).float()  # (steps, rows, 1, vocab)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_fused_path_equals_the_librarys(size: Size) -> None:
    model = make_model(size, 101, 64, 5)
    logits, expected = steps_of(fused("m", model, 64, 101)), steps_of(TransformersModel("m", model, 64, 101))
    torch.testing.assert_close(logits, expected, atol=3e-5, rtol=1e-5)
    assert expected.abs().max() > 1  # the comparison compares something


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_in_bf16_the_fused_path_is_as_accurate_as_the_librarys(size: Size) -> None:
    exact = steps_of(TransformersModel("m", make_model(size, 101, 64, 5), 64, 101))
    model = make_model(size, 101, 64, 5).bfloat16()
    paths = (fused("m", model, 64, 101), TransformersModel("m", model, 64, 101))
    own_error, library_error = ((steps_of(path) - exact).abs().mean() for path in paths)
    assert own_error < 1.2 * library_error < 0.1


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 3e-5), (torch.bfloat16, 0.05)], ids=str)
def test_models_side_by_side_equal_each_alone(dtype: torch.dtype, atol: float) -> None:
    weights = [make_model(SIZES[0], 101, 64, seed).to(dtype) for seed in range(3)]
    alone = [fused(name, model, 64, 101) for name, model in zip("abc", weights, strict=True)]
    beside = [fused(name, model, 64, 101) for name, model in zip("abc", weights, strict=True)]
    group_equal_shapes([*beside, fused("d", make_model(SIZES[1], 101, 64, 9), 64, 101)])
    group = beside[0].group
    assert group is not None and group.members == {"a", "b", "c"}
    texts: dict[str, list[tuple[int, ...]]] = {
        "c": [(1, 2, 3), (4, 5)],
        "a": [(6, 7, 8, 9)],
        "b": [(10,), (11, 12), (13, 14, 15)],
    }
    slots: dict[str, list[tuple[Slot, Slot]]] = {}
    for name, rows in texts.items():
        for row in rows:
            own, shared = (paths["abc".index(name)] for paths in (alone, beside))
            pair = own.join(), shared.join()
            own.forward([pair[0]], torch.tensor([row]))
            shared.forward([pair[1]], torch.tensor([row]))
            slots.setdefault(name, []).append(pair)
    for block, keep, names in ((1, 1, "cab"), (3, 3, "ac"), (1, 1, "b"), (2, 1, "abc")):
        parts = {n: ([s for _, s in slots[n]], torch.randint(101, (len(slots[n]), block))) for n in names}
        found = group.forward(parts, keep)
        for name in names:
            expected = alone["abc".index(name)].forward([s for s, _ in slots[name]], parts[name][1], keep)
            # Not bit for bit: on some processors a sum depends on memory alignment.
            torch.testing.assert_close(found[name], expected, atol=atol, rtol=1e-5)
            assert expected.abs().max() > 1  # the comparison compares something


def test_a_padded_vocabulary_is_cut_to_the_tokenizers() -> None:
    model = make_model(SIZES[0], 128, 64, 5)
    for kind in (fused, TransformersModel):
        path = kind("m", model, 64, 101)
        slot = path.join()
        assert path.forward([slot], torch.tensor([[1, 2]])).shape == (1, 1, 101)
        assert path.forward([slot], torch.tensor([[1]])).shape == (1, 1, 101)


QWEN2 = Qwen2Config(hidden_size=64, num_attention_heads=4).to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "llama"},
        {"hidden_act": "gelu"},
        {"use_sliding_window": True},
        {"layer_types": ["full_attention", "sliding_attention"]},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}},
    ],
    ids=str,
)
def test_only_models_of_the_right_shape_are_fused(change: dict[str, Any]) -> None:
    assert fusable_shape(QWEN2) is not None
    assert fusable_shape(QWEN2 | change) is None


def test_configs_of_older_libraries_are_understood() -> None:
    old = {key: value for key, value in QWEN2.items() if key not in ("rope_parameters", "layer_types")}
    shape = fusable_shape(old | {"rope_theta": 5e5, "rope_scaling": None})
    assert shape is not None and shape.rope_theta == 5e5


def test_the_bundled_familys_models_use_the_fused_path(tiny_family: Family) -> None:
    models = load_models(tiny_family, torch.float32).values()
    assert all(isinstance(model, FusedQwen2) for model in models)


def test_other_models_take_the_librarys_path(tiny_family: Family, tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=tiny_family.vocab, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    model = load_model(tiny_family, Checkpoint("llama", tmp_path), LoadOptions(torch.float32))
    assert isinstance(model, TransformersModel)
    assert (model.context, model.vocab) == (64, tiny_family.vocab)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("model.layers.0.self_attn.q_proj.weight")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(FamilyError, match="llama .* cannot be loaded .*q_proj"):
        load_model(tiny_family, Checkpoint("llama", tmp_path), LoadOptions(torch.float32))


def test_starting_up_does_not_import_transformers() -> None:
    code = "import sys, eft_demo.engine.service; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_chosen_dtype_comes_with_its_reason() -> None:
    for setting, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        assert choose_dtype(Settings(dtype=setting)) == (dtype, f"{setting}, set by EFT_DTYPE")
    dtype, reason = choose_dtype(Settings())
    assert dtype in (torch.bfloat16, torch.float32) and "because this processor has" in reason


@pytest.mark.parametrize(
    ("has", "dtype"),
    [
        ({"avx2": True, "avx512_f": True, "avx512_vnni": True}, torch.float32),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True, "amx_tile": True}, torch.bfloat16),
        ({"neon": True, "dot": True, "bf16": False}, torch.float32),
        ({"neon": True, "bf16": True}, torch.bfloat16),
        ({"architecture": "riscv64"}, torch.float32),
    ],
)
def test_the_dtype_follows_from_the_processor(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, object], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert choose_dtype(Settings()).dtype == dtype
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert choose_dtype(Settings()).dtype == torch.float32, "nothing here would use the instructions"


def test_the_dtype_does_not_depend_on_measured_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six starts, at which one dtype or the other seems faster."""
    found = set()
    for start in range(6):
        clock = random.Random(start)
        monkeypatch.setattr("time.perf_counter", clock.random)
        monkeypatch.setattr("time.thread_time", clock.random)
        monkeypatch.setattr(dtype_module, "_timed_us", lambda *_, clock=clock: clock.random())
        entry = find_entry("atlas", Settings())
        found.add((choose_dtype(Settings()), make_plan(entry, Settings()).of("large_base").dtype))
    assert len(found) == 1


def test_the_measured_speed_is_only_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is measured with as many threads as the engine uses."""
    seen: set[int] = set()
    linear = F.linear

    def noting(rows: Tensor, weight: Tensor) -> Tensor:
        seen.add(torch.get_num_threads())
        return linear(rows, weight)

    monkeypatch.setattr(F, "linear", noting)
    before = torch.get_num_threads()
    times = r"\d+/\d+/\d+/\d+"
    assert re.fullmatch(rf"1/8/64/256 rows take {times} µs in bf16 and {times} µs in fp32", compare_speed(2))
    assert seen == {2} and torch.get_num_threads() == before


def test_a_toy_repeats_its_text_and_stops() -> None:
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


def test_a_faulty_model_fails_at_the_given_forward() -> None:
    model = FaultyModel("bad", 20, after=2)
    slot = model.join()
    assert model.forward([slot], torch.tensor([[1]])).isfinite().all()
    assert model.forward([slot], torch.tensor([[1]])).isnan().all()
