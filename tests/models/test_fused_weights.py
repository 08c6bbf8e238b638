"""The fused weights: their order in memory, and which of a checkpoint's tensors they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from eft_demo.families.catalogue import read_entry
from eft_demo.families.family import load_family
from eft_demo.models.backend import LoadOptions
from eft_demo.models.fused_weights import _stored
from eft_demo.models.load import load_model
from eft_demo.settings import Settings
from tests.checkpoints import make_real_family


@pytest.mark.parametrize(
    ("dtype", "out", "of", "order"),
    [
        (torch.float32, 4096, 384, "in, out"),
        (torch.float32, 384, 384, "in, out"),
        (torch.float32, 384, 768, "out, in"),
        (torch.bfloat16, 4096, 384, "out, in"),  # many times faster without bf16 instructions
    ],
)
def test_the_order_in_memory_follows_from_shape_and_dtype(
    dtype: torch.dtype, out: int, of: int, order: str
) -> None:
    weight = torch.randn(out, of, generator=torch.Generator().manual_seed(0)).to(dtype)
    stored = _stored(weight)
    assert torch.equal(stored, weight.t())
    assert stored.is_contiguous() == (order == "in, out") and stored.t().is_contiguous() == (
        order == "out, in"
    )


@pytest.mark.parametrize(
    ("changed", "head", "prefix", "class_name"),
    [
        ({"tie_word_embeddings": True}, "own", "model.", "FusedQwen2"),  # an adapter was merged into the head
        ({"tie_word_embeddings": True}, "none", "model.", "FusedQwen2"),
        ({"tie_word_embeddings": False}, "own", "model.", "FusedQwen2"),
        ({"tie_word_embeddings": True}, "none", "", "TransformersModel"),  # saved without its head
        ({"tie_word_embeddings": False, "rope_parameters": None}, "own", "model.", "TransformersModel"),
    ],
)
def test_a_qwen2_that_others_saved_is_the_librarys(
    tmp_path: Path, changed: dict[str, Any], head: str, prefix: str, class_name: str
) -> None:
    file = make_real_family(tmp_path, "qwen2")
    folder = tmp_path / "small_base"
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights.pop("lm_head.weight").flip(0)
    if head == "none":
        weights.pop("lm_head.weight")
    named = {name.replace("model.", prefix, 1): tensor for name, tensor in weights.items()}
    save_file(
        {name: t.contiguous() for name, t in named.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    config = json.loads((folder / "config.json").read_text()) | changed
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))

    library: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    family = load_family(read_entry(file), Settings(dtype="fp32", threads=1))
    ours = load_model(family, family.roles["small_base"], LoadOptions(torch.float32))
    assert type(ours).__name__ == class_name
    tokens = torch.tensor([[30, 31, 32, 7, 9, 50]])
    with torch.inference_mode():
        expected = library(input_ids=tokens).logits[..., : family.vocab]
    found = ours.forward([ours.join()], tokens, keep=6)[..., : family.vocab]
    torch.testing.assert_close(found.log_softmax(-1), expected.log_softmax(-1), atol=1e-4, rtol=1e-4)
