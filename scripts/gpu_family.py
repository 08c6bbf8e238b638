"""A family of random weights in real shapes with a real vocabulary, written where it is measured.

Independent random models would never accept each other's drafts, so all three share a core, a random table of
which token follows which, and their layers add only little to it. The tokenizer is the bundled one with
made-up entries up to the real width, so that mixing, sampling and attribution see a real vocabulary. The
weights are made on the device that will run them: 15 GB take seconds on a GPU and minutes on a CPU.
Knows shapes and files; does not know what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from eft_demo.lab.synthetic_models import qwen2_config

SPREAD = 6.0  # standard deviation of the core's logits: the next token is about as uncertain as in real text
# How much all layers of a model add to the core, and how much tuning changes the small one's.
LARGE_SHARE, SMALL_SHARE, TUNING = 0.14, 0.2, 0.1
CONTEXT = 2048
SHARD_BYTES = 4_000_000_000
SPARE = 128  # rows of the embedding without a token, as in padded vocabularies
FAMILY = """\
title: Random weights in real shapes
licence: none
context: {context}
prompt: "User: {{prompt}}\\nAssistant:"
roles:
  large_base: {{path: large_base}}
  small_base: {{path: small_base}}
  tuned: {{path: tuned}}
behaviours:
  - {{role: tuned, title: Tuned, description: Random.}}
"""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a Qwen2."""

    hidden: int
    layers: int
    feed_forward: int
    heads: int
    kv_heads: int

    @property
    def head_dim(self) -> int:
        """The width of one head."""
        return self.hidden // self.heads


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a family: of its models, and the width of its vocabulary."""

    large: Size
    small: Size
    width: int


REAL = Sizes(Size(3584, 28, 18944, 28, 4), Size(896, 24, 4864, 14, 2), 152_064)  # Qwen2.5 7B by 0.5B
SMALL = Sizes(Size(256, 2, 512, 4, 2), Size(128, 2, 256, 2, 1), 8192)


def write_family(folder: Path, sizes: Sizes, device: str, tokenizer: Path, seed: int = 0) -> Path:
    """Write three checkpoints and a family file into `folder`; return the path of the family file.

    `tokenizer` is a byte-level BPE with fewer tokens than `sizes.width`.
    """
    generator = torch.Generator(device).manual_seed(seed)
    text = _widened_tokenizer(tokenizer, sizes.width - SPARE)
    core = torch.randn(
        2, sizes.width, sizes.small.hidden, generator=generator, device=device, dtype=torch.float32
    ).bfloat16()
    base = dict(_weights(sizes.small, core, SMALL_SHARE, generator))
    tuned = ((name, _tuned(name, weight, generator)) for name, weight in base.items())
    _write(folder / "small_base", sizes.small, sizes.width, base.items(), text)
    _write(folder / "tuned", sizes.small, sizes.width, tuned, text)
    large = _weights(sizes.large, core, LARGE_SHARE, generator)
    _write(folder / "large_base", sizes.large, sizes.width, large, text)
    path = folder / "family.yaml"
    path.write_text(FAMILY.format(context=CONTEXT), encoding="utf-8")
    return path


def _widened_tokenizer(path: Path, length: int) -> str:
    described = json.loads(path.read_text(encoding="utf-8"))
    vocab = described["model"]["vocab"]
    vocab |= {f"~{token}": token for token in range(len(vocab), length)}
    return json.dumps(described)


def _weights(
    size: Size, core: Tensor, share: float, generator: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    """The weights of one model; `core` (2, width, small hidden) holds the input and output embeddings."""
    hidden, kv = size.hidden, size.kv_heads * size.head_dim
    scale = share / size.layers**0.5

    def random(out: int, of: int, factor: float = 1.0) -> Tensor:
        made = torch.randn(out, of, generator=generator, device=core.device, dtype=torch.float32)
        return made.mul_(factor / of**0.5).bfloat16()

    def vector(length: int, value: float) -> Tensor:
        return torch.full((length,), value, device=core.device, dtype=torch.bfloat16)

    def widened(table: Tensor) -> Tensor:
        return torch.nn.functional.pad(table, (0, hidden - table.shape[1]))

    yield "model.embed_tokens.weight", widened(core[0])
    # Its input has norm sqrt(hidden), and only the shared dimensions count.
    yield "lm_head.weight", widened(core[1]) * (SPREAD / hidden**0.5)
    yield "model.norm.weight", vector(hidden, 1)
    for layer in range(size.layers):
        start = f"model.layers.{layer}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{start}{name}.weight", vector(hidden, 1)
        for name, out in (("q", hidden), ("k", kv), ("v", kv)):
            yield f"{start}self_attn.{name}_proj.weight", random(out, hidden)
            yield f"{start}self_attn.{name}_proj.bias", vector(out, 0)
        yield f"{start}self_attn.o_proj.weight", random(hidden, hidden, scale)
        yield f"{start}mlp.gate_proj.weight", random(size.feed_forward, hidden)
        yield f"{start}mlp.up_proj.weight", random(size.feed_forward, hidden)
        yield f"{start}mlp.down_proj.weight", random(hidden, size.feed_forward, scale)


def _tuned(name: str, weight: Tensor, generator: torch.Generator) -> Tensor:
    if ".layers." not in name or weight.dim() != 2:
        return weight
    noise = torch.randn(weight.shape, generator=generator, device=weight.device, dtype=torch.float32)
    return (weight + TUNING * weight.float().std() * noise).bfloat16()


def _write(
    folder: Path, size: Size, width: int, weights: Iterable[tuple[str, Tensor]], tokenizer: str
) -> None:
    folder.mkdir(parents=True)
    heads = size.heads, size.kv_heads
    config = qwen2_config(size.hidden, size.layers, size.feed_forward, heads, rope_theta=1_000_000.0)
    config |= {"max_position_embeddings": CONTEXT, "vocab_size": width}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    _write_shards(folder, weights)


def _write_shards(folder: Path, weights: Iterable[tuple[str, Tensor]]) -> None:
    """Write the weights as they are made, so that no more than one shard is in memory."""
    places: dict[str, str] = {}
    shard: dict[str, Tensor] = {}
    stored = 0

    def flush() -> None:
        name = f"model-{len(set(places.values())) + 1:05}.safetensors"
        save_file(shard, folder / name, {"format": "pt"})
        places.update(dict.fromkeys(shard, name))
        shard.clear()

    for name, weight in weights:
        if stored + weight.nbytes > SHARD_BYTES and shard:
            flush()
            stored = 0
        shard[name] = weight.contiguous().cpu()
        stored += weight.nbytes
    flush()
    index: Mapping[str, object] = {"metadata": {}, "weight_map": places}
    if len(set(places.values())) == 1:  # the fused backend reads one file
        (folder / places[name]).rename(folder / "model.safetensors")
    else:
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
