"""GGUF files as llama.cpp's converter writes them, from small checkpoints of transformers, in float32."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tests.checkpoints import BOS, CHAT, ROLES, byte_level, make_real_family

ALIGN = 32
NORMAL, CONTROL, UNUSED = 1, 3, 5
# transformers' name of a weight, without its layer: llama.cpp's
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
AROUND = {  # with norms before and after
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}  # fmt: skip
ARCHITECTURES = {"gemma3_text": "gemma3"}  # by model_type, where they differ


def text_bytes(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


def value_bytes(value: Any) -> bytes:
    """The kind and the content of an entry."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text_bytes(value)
    kind, items = 8, [text_bytes(item) for item in value if isinstance(item, str)]
    if not value or not isinstance(value[0], str):
        kind, items = 5, [struct.pack("<i", item) for item in value]
    return struct.pack("<IIQ", 9, kind, len(value)) + b"".join(items)


def write_gguf(path: Path, entries: Mapping[str, Any], tensors: Mapping[str, Any], version: int = 3) -> Path:
    """Write a file whose tensors are all float32."""
    header = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(entries))]
    header += [text_bytes(key) + value_bytes(value) for key, value in entries.items()]
    offset, bodies = 0, []
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        header.append(text_bytes(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        header.append(struct.pack("<IQ", 0, offset))
        bodies.append(padded(np.ascontiguousarray(tensor, dtype="<f4").tobytes()))
        offset += len(bodies[-1])
    path.write_bytes(padded(b"".join(header)) + b"".join(bodies))
    return path


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % ALIGN)


def convert(folder: Path, path: Path, tokenizer: Tokenizer, template: str = "", **entries: Any) -> Path:
    """Write the checkpoint in `folder` as the GGUF file `path`, with this tokenizer."""
    config = json.loads((folder / "config.json").read_text())
    sizes = model_entries(config)
    tokens = tokenizer_entries(tokenizer, config["vocab_size"], template)
    return write_gguf(path, {**sizes, **tokens, **entries}, model_tensors(folder, config))


def model_entries(config: Mapping[str, Any]) -> dict[str, Any]:
    kind = config["model_type"]
    architecture = ARCHITECTURES.get(kind, kind)
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = config["rope_parameters"]
    entries = {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads,
        "attention.head_count_kv": config.get("num_key_value_heads") or heads,
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "rope.freq_base": float(rope.get("full_attention", rope)["rope_theta"]),
    }
    if architecture in ("gemma2", "gemma3"):
        entries["attention.sliding_window"] = config["sliding_window"]
    if architecture == "gemma2":
        entries["attn_logit_softcapping"] = float(config["attn_logit_softcapping"])
        entries["final_logit_softcapping"] = float(config["final_logit_softcapping"])
    general = {"general.architecture": architecture, "general.type": "model", "general.file_type": 0}
    return general | {f"{architecture}.{name}": value for name, value in entries.items()}


def tokenizer_entries(tokenizer: Tokenizer, width: int, template: str = "") -> dict[str, Any]:
    model = json.loads(tokenizer.to_str())["model"]
    by_id = {i: token for token, i in tokenizer.get_vocab(with_added_tokens=True).items()}
    tokens = [by_id.get(i, f"[PAD{i}]") for i in range(width)]
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    kinds = [CONTROL if i in special else NORMAL if i in by_id else UNUSED for i in range(width)]
    entries = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in model["merges"]],
        "tokenizer.ggml.bos_token_id": tokens.index(BOS),
        "tokenizer.ggml.eos_token_id": tokens.index(BOS),
        "tokenizer.ggml.add_bos_token": False,
    }
    return entries | ({"tokenizer.chat_template": template} if template else {})


def model_tensors(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    kind = config["model_type"]
    names = NAMES | (AROUND if kind in ("gemma2", "gemma3_text", "olmo2") else {})
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, weight in load_file(path).items():
            place, _, ending = name.rpartition(".")
            parts = place.removeprefix("model.layers.").split(".", 1)
            layer = f"blk.{parts[0]}." if place.startswith("model.layers.") else ""
            short = parts[1] if layer else place
            if kind.startswith("gemma") and "norm" in short:
                weight = weight + 1
            if kind == "llama" and short in ("self_attn.q_proj", "self_attn.k_proj"):
                heads = config["num_attention_heads" if "q_proj" in short else "num_key_value_heads"]
                weight = interleaved(weight, heads)
            found[f"{layer}{names[short]}.{ending}"] = weight
    return found


def interleaved(weight: Any, heads: int) -> Any:
    """The rows of a rotated matrix in llama.cpp's order for the kind `llama`."""
    halves = weight.reshape(heads, 2, len(weight) // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def make_gguf_family(
    folder: Path, kind: str, roles: Sequence[str] = ROLES, tokenizer: str | None = None, **changes: Any
) -> Path:
    """A family file whose `roles` are GGUF files made from the checkpoints beside them."""
    path = make_real_family(folder, kind, **changes)
    entry = yaml.safe_load(path.read_text())
    for role in roles:
        convert(folder / role, folder / f"{role}.gguf", byte_level(), CHAT if role == "polite" else "")
        entry["roles"][role]["gguf"] = f"{role}.gguf"
        del entry["roles"][role]["path"]
    if tokenizer:
        entry["tokenizer"] = tokenizer
    path = folder / "gguf.yaml"
    path.write_text(yaml.safe_dump(entry, sort_keys=False), encoding="utf-8")
    return path
