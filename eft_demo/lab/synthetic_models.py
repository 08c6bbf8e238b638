"""A trio of models larger than the bundled one, for measurements: real architecture, random weights.

The large base is about 50 times the size of the small pair and mostly agrees with it. Independent random
models would never accept each other's drafts, so all three share a core, a random table of which token
follows which, and their layers add only little to it. They are written as ordinary checkpoints and loaded
like real ones. Does not know what is measured.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from eft_demo.families.checkpoint import Checkpoint
from eft_demo.families.family import Family

HEAD_DIM = 64
SPREAD = 6.0  # standard deviation of the core's logits: the next token is about as uncertain as in real text
# How much the layers add to the core: 7 of 10 drafts by the tuned model are accepted.
LARGE_SCALE, SMALL_SCALE, TUNING = 0.04, 0.1, 0.1


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a Qwen2 with at most 4 query heads per key head."""

    hidden: int
    layers: int
    feed_forward: int
    kv_heads: int


LARGE = Size(1280, 12, 3584, 5)
SMALL = Size(256, 4, 768, 2)


def larger_family(like: Family, folder: Path, large: Size = LARGE, small: Size = SMALL) -> Family:
    """Write two bases and a behaviour into `folder`: a family with the tokenizer and prompts of `like`."""
    tuned = like.behaviours[0].role
    generator = torch.Generator().manual_seed(0)
    core = torch.randn(2, like.vocab, small.hidden, generator=generator)
    small_base = _weights(small, core, SMALL_SCALE, generator)
    small_tuned = {
        name: weight + TUNING * weight.std() * torch.randn(weight.shape, generator=generator)
        if ".layers." in name and weight.dim() == 2
        else weight
        for name, weight in small_base.items()
    }
    for role, size, weights in (
        ("small_base", small, small_base),
        (tuned, small, small_tuned),
        ("large_base", large, _weights(large, core, LARGE_SCALE, generator)),
    ):
        _write(folder / role, size, like, weights)
    roles = {role: Checkpoint(role, folder / role) for role in ("large_base", "small_base", tuned)}
    return replace(like, name="larger", title="Larger, random", roles=roles, behaviours=like.behaviours[:1])


def _weights(size: Size, core: Tensor, scale: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights of one model; `core` (2, vocab, small hidden) holds the input and output embeddings."""
    vocab, shared = core.shape[1:]

    def widened(table: Tensor) -> Tensor:
        return torch.cat([table, torch.zeros(vocab, size.hidden - shared)], 1)

    def random(out: int, of: int, scale: float = 1.0) -> Tensor:
        return torch.randn(out, of, generator=generator).mul_(scale / of**0.5)

    hidden, kv = size.hidden, size.kv_heads * HEAD_DIM
    weights = {
        "model.embed_tokens.weight": widened(core[0]),
        # Its input has norm sqrt(hidden), and only the shared dimensions count.
        "lm_head.weight": widened(core[1]) * SPREAD / hidden**0.5,
        "model.norm.weight": torch.ones(hidden),
    }
    for i in range(size.layers):
        layer = {
            "input_layernorm.weight": torch.ones(hidden),
            "post_attention_layernorm.weight": torch.ones(hidden),
            "self_attn.q_proj.weight": random(hidden, hidden),
            "self_attn.k_proj.weight": random(kv, hidden),
            "self_attn.v_proj.weight": random(kv, hidden),
            "self_attn.q_proj.bias": torch.zeros(hidden),
            "self_attn.k_proj.bias": torch.zeros(kv),
            "self_attn.v_proj.bias": torch.zeros(kv),
            "self_attn.o_proj.weight": random(hidden, hidden, scale),
            "mlp.gate_proj.weight": random(size.feed_forward, hidden),
            "mlp.up_proj.weight": random(size.feed_forward, hidden),
            "mlp.down_proj.weight": random(hidden, size.feed_forward, scale),
        }
        weights |= {f"model.layers.{i}.{name}": weight for name, weight in layer.items()}
    return weights


def qwen2_config(
    hidden: int, layers: int, feed_forward: int, heads: tuple[int, int], rope_theta: float = 10000.0
) -> dict[str, object]:
    """The config.json of a Qwen2 in bfloat16, except its context and vocabulary.

    `heads` has the number of query heads and that of key and value heads.
    """
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "num_hidden_layers": layers,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": rope_theta, "rope_type": "default"},
        "tie_word_embeddings": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": "bfloat16",
    }


def _write(folder: Path, size: Size, like: Family, weights: Mapping[str, Tensor]) -> None:
    folder.mkdir()
    heads = size.hidden // HEAD_DIM
    config = qwen2_config(size.hidden, size.layers, size.feed_forward, (heads, size.kv_heads))
    config |= {"max_position_embeddings": like.context, "vocab_size": like.vocab}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    stored = {name: weight.bfloat16().contiguous() for name, weight in weights.items()}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
