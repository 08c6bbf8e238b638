"""Quantised models: sizes match the plan, prequantised checkpoints load, and changes are reported."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from eft_demo.errors import FamilyError, InputError
from eft_demo.families.catalogue import Entry, Shape, read_entry
from eft_demo.families.family import Family, load_family
from eft_demo.families.weights import headers
from eft_demo.lab.quantisation import compare, report, to_text, weights_bytes
from eft_demo.models.backend import LoadOptions
from eft_demo.models.hf import TransformersModel
from eft_demo.models.load import load_model, load_models
from eft_demo.models.plan import make_plan, menu_entry
from eft_demo.models.quantise import count_weights
from eft_demo.settings import Settings
from tests.checkpoints import byte_level, make_checkpoint, make_real_family, save_tokenizer
from tests.quantising import BITS
from tests.tiers import exhaustive

ROOT = Path(__file__).resolve().parents[2]
FP32 = Settings(dtype="fp32", threads=1, max_sequences=4)


@pytest.fixture(scope="module")
def family_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family whose large model is wide enough that scales and tables hardly count."""
    folder = tmp_path_factory.mktemp("wide")
    path = make_real_family(folder, "llama3")
    make_checkpoint(folder / "large_base", "llama3", hidden_size=256, intermediate_size=512, head_dim=64)
    save_tokenizer(folder / "large_base", byte_level())
    return path


@pytest.mark.parametrize("quantisation", ["none", "int8", "nf4", "fp4"])
def test_a_loaded_model_takes_the_planned_memory(family_file: Path, quantisation: str) -> None:
    entry = read_entry(family_file)
    plan = make_plan(entry, replace(FP32, quantisation=quantisation))
    family = load_family(entry, FP32)
    model = load_models(family, torch.float32, ["large_base"], plan=plan)["large_base"]
    assert isinstance(model, TransformersModel)
    place = plan.of("large_base")
    assert place.quantisation == quantisation
    assert (
        plan.of("small_base").quantisation == "none"
        and "twice" in plan.of("polite").reason
        or quantisation == "none"
    )
    assert weights_bytes(model) == pytest.approx(place.weights_bytes, rel=0.04)
    model.forward([model.join()], torch.tensor([[1, 2]]))
    assert sum(store.nbytes for store in model.cache.store) == place.cache_bytes


def test_a_tied_head_counts_once(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "gemma", "gemma")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "gemma", dtype=torch.float32)
    found = count_weights(headers(tmp_path / "gemma"), tied=True)
    assert found.parameters == sum(p.numel() for p in model.parameters())


def store_quantised(family_file: Path, folder: Path, bits: BitsAndBytesConfig, dtype: torch.dtype) -> Entry:
    """The family with its large model stored quantised, as those who publish 4-bit checkpoints do."""
    options = {"quantization_config": bits, "device_map": {"": "cpu"}, "dtype": dtype}
    source = family_file.parent / "large_base"
    AutoModelForCausalLM.from_pretrained(source, **options).save_pretrained(folder)
    save_tokenizer(folder, byte_level())
    entry = read_entry(family_file)
    stored = replace(entry.roles["large_base"], path=folder)
    return replace(entry, roles={**entry.roles, "large_base": stored})


@pytest.mark.parametrize("quantisation", ["int8", "nf4"])
def test_a_prequantised_checkpoint_is_loaded_as_it_is(
    family_file: Path, tmp_path: Path, quantisation: str
) -> None:
    entry = store_quantised(family_file, tmp_path / "stored", BITS[quantisation], torch.float32)
    plan = make_plan(entry, replace(FP32, quantisation="fp4"))
    place = plan.of("large_base")
    assert place.quantisation == "none" and "already quantised" in place.reason
    family = load_family(entry, FP32)
    model = load_models(family, torch.float32, ["large_base"], plan=plan)["large_base"]
    assert isinstance(model, TransformersModel)
    assert weights_bytes(model) == pytest.approx(place.weights_bytes, rel=0.02)
    original = load_family(read_entry(family_file), FP32)
    fresh = load_model(original, original.roles["large_base"], LoadOptions(torch.float32, quantisation))
    tokens = torch.tensor([[5, 6, 7, 8]])
    expected = fresh.forward([fresh.join()], tokens, keep=4)
    torch.testing.assert_close(model.forward([model.join()], tokens, keep=4), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_4_bit_checkpoint_is_planned_before_and_after_its_download(
    family_file: Path, tmp_path: Path, dtype: str
) -> None:
    # As on the hub: everything else in bfloat16, and computed in it.
    bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    entry = store_quantised(family_file, tmp_path / "stored", bits, torch.bfloat16)
    settings = replace(FP32, dtype=dtype)
    here = make_plan(entry, settings).of("large_base")
    shape = Shape(here.parameters, 512, 256, 2, 2, 64, quantised="nf4")
    remote = replace(entry.roles["large_base"], path=None, repo="owner/large-bnb-4bit", shape=shape)
    before = replace(entry, roles={**entry.roles, "large_base": remote})
    place = make_plan(before, settings).of("large_base")
    full = AutoModelForCausalLM.from_pretrained(family_file.parent / "large_base")
    assert here.parameters == place.parameters == sum(p.numel() for p in full.parameters())
    assert "already quantised" in place.reason and "already quantised" in here.reason
    # Tables of so small a model are a larger share than those of a real one.
    assert place.weights_bytes == pytest.approx(here.weights_bytes, rel=0.05)
    files = sum(path.stat().st_size for path in (tmp_path / "stored").glob("*.safetensors"))
    download = menu_entry(before, settings).download_bytes
    assert download == pytest.approx(files, rel=0.1)
    family = load_family(entry, settings)
    models = load_models(family, here.dtype, ["large_base"], plan=make_plan(entry, settings))
    model = models["large_base"]
    assert isinstance(model, TransformersModel)
    assert weights_bytes(model) == pytest.approx(here.weights_bytes, rel=0.02)
    logits = model.forward([model.join()], torch.tensor([[5, 6, 7, 8]]), keep=4)
    assert logits.isfinite().all() and logits.std() > 0.1


def test_shapes_that_the_kernels_do_not_support_are_rejected(tmp_path: Path) -> None:
    path = make_real_family(tmp_path, "qwen2", hidden_size=80, intermediate_size=100)
    family = load_family(read_entry(path), FP32)
    for quantisation in ("int8", "nf4", "fp4"):
        with pytest.raises(FamilyError, match="large_base .* 64 and 32.*--quantisation none"):
            load_model(family, family.roles["large_base"], LoadOptions(torch.float32, quantisation))
    assert load_model(family, family.roles["large_base"], LoadOptions(torch.float32))


def test_the_report_has_sizes_divergence_and_changed_share(
    tiny_settings: Settings, tiny_family: Family
) -> None:
    found = {kind: report(tiny_settings, "tiny", kind) for kind in ("int8", "nf4")}
    for kind, result in found.items():
        assert (result.family, result.quantisation, result.tokens) == ("tiny", kind, tiny_family.context)
        assert result.quantised_bytes < result.full_bytes
        assert 0 < result.mean_kl_nats < 1 and 0 <= result.changed_share < 0.8
        assert f"{result.mean_kl_nats:.4f} nats" in to_text(result)
    assert found["int8"].mean_kl_nats < found["nf4"].mean_kl_nats
    with pytest.raises(InputError, match="'none'.* int8, nf4, fp4"):
        report(tiny_settings, "tiny", "none")


@pytest.mark.slow
@exhaustive
def test_the_command_prints_no_advice_of_libraries(tiny_assets: Path) -> None:
    """In a process of its own: the library advises when it is imported."""
    command = [sys.executable, "-m", "eft_demo", "quantisation", "int8", "--family", "tiny"]
    env = {**os.environ, "EFT_ASSETS": str(tiny_assets), "EFT_DTYPE": "fp32", "EFT_THREADS": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "times smaller" in ended.stdout and ended.stderr == ""


def test_kl_and_changed_share_equal_their_definitions() -> None:
    full = torch.tensor([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]]).log()
    assert compare(full, full) == (0.0, 0.0)
    kl, changed = compare(full, torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.9, 0.0]]).log())
    assert kl == pytest.approx(0.8 * torch.tensor(9.0).log().item() / 2) and changed == 0.5


def test_sharded_checkpoints_are_read(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "one", "qwen3")
    make_checkpoint(tmp_path / "many", "qwen3", shard_size="100KB")
    assert (
        len(
            set(
                json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())[
                    "weight_map"
                ].values()
            )
        )
        > 2
    )
    assert headers(tmp_path / "many") == headers(tmp_path / "one")
