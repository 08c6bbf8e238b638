"""Tiny models on the device and on the CPU: the mistakes that only another device shows.

Every architecture and quantisation gives the same logits on both, and runs of a whole family, with drafts,
branched and scored, write the same texts. The models are those of the tests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file

from eft_demo.families.catalogue import read_entry
from eft_demo.families.family import Family, load_family
from eft_demo.models.backend import LoadOptions
from eft_demo.models.load import load_model
from eft_demo.settings import Settings
from scripts.gpu_runs import THREE, Found, Steps, device, need, open_family, run_columns
from tests.checkpoints import KINDS, make_real_family

FEW_KINDS = ("qwen2", "llama3", "gemma3", "falcon-7b")
QUANTISED_KINDS = ("qwen2", "llama3", "gemma3")
LOGITS_OFF = 2e-3  # of their standard deviation: float32 on two devices
QUANTISED_OFF = {"int8": 0.6, "nf4": 0.05, "fp4": 0.05}  # int8 rounds activations, and kernels differ
SCORES_OFF = 1e-3  # nats
LENGTH, KEPT = 12, 6  # tokens of a run, and of those a branch keeps
# Where the tuned model comes from: a checkpoint, a LoRA on the small base, or the small base with a prompt.
ROLE_SOURCES: Mapping[str, Mapping[str, str]] = {
    "checkpoints": {"path": "polite", "prompt": "chat"},
    "LoRA": {"path": "adapter", "adapter_of": "small_base"},
    "two prompts": {"same_as": "small_base", "prompt": "Please.\nUser: {prompt}\nAssistant:"},
}


def steps(folder: Path, small: bool) -> Steps:
    """The checks by name; they write their models into `folder`."""
    for kind in FEW_KINDS if small else KINDS:
        yield f"logits {kind}", partial(compare_logits, folder / kind, kind, "none")
    for kind in QUANTISED_KINDS[:1] if small else QUANTISED_KINDS:
        for quantisation in QUANTISED_OFF:
            name = f"{kind} {quantisation}"
            yield f"logits {name}", partial(compare_logits, folder / name, kind, quantisation)
    for name, source in ROLE_SOURCES.items():
        yield f"runs, {name}", partial(compare_runs, folder / name, source)


def compare_logits(folder: Path, kind: str, quantisation: str) -> Found:
    """The logits of one model on the CPU and on the device: two prompts, joint steps, a rollback."""
    if quantisation != "none":
        need("bitsandbytes")
    family = _tiny_family(folder, kind)
    found = []
    for place in ("cpu", device()):
        options = LoadOptions(torch.float32, quantisation, place, by_library=True)
        model = load_model(family, family.roles["large_base"], options)
        slots = [model.join(), model.join()]
        parts = [model.forward([slots[0]], torch.tensor([list(range(30, 41))]), keep=11)[0]]
        parts.append(model.forward([slots[1]], torch.tensor([[7, 5, 9]]), keep=3)[0])
        slots[0].length -= 2
        parts += list(model.forward(slots, torch.tensor([[3, 4], [5, 6]]), keep=2))
        for token in range(30, 36):  # often enough to become a CUDA graph
            parts += list(model.forward(slots, torch.tensor([[token], [token + 9]])))
        found.append(torch.cat(parts).float().cpu())
    off = float((found[0] - found[1]).std() / found[0].std())
    allowed = QUANTISED_OFF.get(quantisation, LOGITS_OFF)
    if not off <= allowed:
        raise AssertionError(f"the logits are {off:.2g} of their spread apart; allowed are {allowed:g}")
    return {"off": off}


def _tiny_family(folder: Path, kind: str) -> Family:
    return load_family(read_entry(make_real_family(folder, kind)), Settings(dtype="fp32"))


def compare_runs(folder: Path, source: Mapping[str, str]) -> Found:
    """Greedy runs of a tiny family on the CPU and on the device, with drafts, scored and branched."""
    path = make_real_family(folder, "qwen3")
    described = yaml.safe_load(path.read_text(encoding="utf-8"))
    described["roles"]["polite"] = dict(source)
    path.write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
    if "adapter_of" in source:
        _write_adapter(folder / source["path"], folder / source["adapter_of"])
    texts: list[list[list[int]]] = []
    texts_with_drafts: list[list[list[int]]] = []
    scores: list[list[float]] = []
    for place in ("cpu", "auto"):
        service = open_family(path, place, "none", "fp32")
        try:
            plain = run_columns(service, THREE, LENGTH, "off", temperature=0)
            texts.append([[token.id for token in column.tokens] for column in plain])
            drafted = run_columns(service, THREE, LENGTH, "on 4", temperature=0)
            texts_with_drafts.append([[token.id for token in column.tokens] for column in drafted])
            kept = texts[-1][2][:KEPT]
            branch = run_columns(service, THREE, LENGTH, "off", temperature=0, forced=kept)
            if [token.id for token in branch[2].tokens] != texts[-1][2]:
                raise AssertionError(f"on {place}, a branch goes on otherwise than the run that it came from")
            scores.append([token.logprob for token in branch[2].tokens[:KEPT]])
        finally:
            service.stop()
    if texts[0] != texts[1] or texts_with_drafts != texts:
        raise AssertionError(f"the texts differ: {texts} without, {texts_with_drafts} with drafts")
    off = max(abs(a - b) for a, b in zip(*scores, strict=True))
    if off > SCORES_OFF:
        raise AssertionError(f"the scores are {off:.2g} nats apart")
    return {"tokens": sum(map(len, texts[0])), "scores_off_nats": off}


def _write_adapter(folder: Path, base: Path, rank: int = 4) -> None:
    """Write a random LoRA on the query projections, in the files that PEFT writes."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, weight in load_file(base / "model.safetensors").items():
        if name.endswith("q_proj.weight"):
            start = f"base_model.model.{name.removesuffix('.weight')}"
            tensors[f"{start}.lora_A.weight"] = torch.randn(rank, weight.shape[1], generator=generator) * 0.3
            tensors[f"{start}.lora_B.weight"] = torch.randn(weight.shape[0], rank, generator=generator) * 0.3
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
