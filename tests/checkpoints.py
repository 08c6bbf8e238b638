"""Checkpoint folders as on the hub: small random models of every kind, with two kinds of tokenizer."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tests.tiny import SENTENCES, make_tokenizer

# Matrices are multiples of 64 by 32, as quantising on a CPU requires; windows are shorter than the texts.
COMMON = {"hidden_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 96, "intermediate_size": 128}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip
HUNYUAN_ROPE = {"rope_type": "dynamic", "rope_theta": 10000.0, "alpha": 1000.0, "factor": 1.0}
PARTIAL_LONGROPE = {
    "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
    "long_factor": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
}  # fmt: skip
KINDS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2Config", {**COMMON, **HEADS}),
    "qwen2-sliding": (
        "Qwen2Config",
        {**COMMON, **HEADS, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {**COMMON, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32}),
    # This architecture ignores a window, as in configs that were converted from Mistral's.
    "llama2": ("LlamaConfig", {**COMMON, "num_attention_heads": 4, "sliding_window": 6}),
    "llama3": ("LlamaConfig", {**COMMON, **HEADS, "rope_parameters": LLAMA3_ROPE}),
    "olmo2": ("Olmo2Config", {**COMMON, **HEADS}),
    "gemma": ("GemmaConfig", {**COMMON, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32}),
    "gemma2": (
        "Gemma2Config",
        {**COMMON, **HEADS, "head_dim": 32, "sliding_window": 6, "query_pre_attn_scalar": 32},
    ),
    "gemma3": (
        "Gemma3TextConfig",
        {
            **COMMON, **HEADS, "head_dim": 32, "sliding_window": 6, "query_pre_attn_scalar": 32,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "falcon-7b": ("FalconConfig", {**COMMON, "num_attention_heads": 2, "ffn_hidden_size": 256}),
    "falcon-40b": (
        "FalconConfig",
        {**COMMON, "num_attention_heads": 4, "num_kv_heads": 2, "new_decoder_architecture": True},
    ),
    "gpt_neox": ("GPTNeoXConfig", {**COMMON, "num_attention_heads": 4, "rotary_pct": 0.25}),
    "granite": (
        "GraniteConfig",
        {
            **COMMON, **HEADS, "embedding_multiplier": 3.0, "residual_multiplier": 0.5,
            "attention_multiplier": 0.1, "logits_scaling": 2.0,
        },
    ),
    "hunyuan": (
        "HunYuanDenseV1Config",
        {**COMMON, **HEADS, "head_dim": 32, "rope_parameters": HUNYUAN_ROPE},
    ),
    "mistral": ("MistralConfig", {**COMMON, **HEADS, "head_dim": 32, "sliding_window": None}),
    "mistral-sliding": ("MistralConfig", {**COMMON, **HEADS, "sliding_window": 6}),
    "olmo3": (
        "Olmo3Config",
        {**COMMON, **HEADS, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "phi3": ("Phi3Config", {**COMMON, **HEADS, "sliding_window": None}),
    "phi3-sliding": ("Phi3Config", {**COMMON, **HEADS, "sliding_window": 6}),
    "phi4-mini": (
        "Phi3Config",
        {
            **COMMON, **HEADS, "rope_parameters": PARTIAL_LONGROPE,
            "original_max_position_embeddings": 48,
        },
    ),
    "apertus": ("ApertusConfig", {**COMMON, **HEADS}),
    "smollm3": ("SmolLM3Config", {**COMMON, **HEADS, "no_rope_layers": [1, 0]}),
}  # fmt: skip
CHAT = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] | trim }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
BOS, END_OF_TURN, ROLES = "<|endoftext|>", "<|end|>", ("large_base", "small_base", "polite")
WIDTHS = (512, 448, 480)  # the tokenizer is shorter than each


def make_checkpoint(
    folder: Path, kind: str, seed: int = 0, width: int = 512, shard_size: str | None = None, **changes: Any
) -> Path:
    """Write a random model of this kind into `folder`, with weights large enough for peaked predictions."""
    torch.manual_seed(seed)
    name, options = KINDS[kind]
    config = getattr(transformers, name)(
        **{
            "vocab_size": width,
            "bos_token_id": None,
            "eos_token_id": 0,
            "pad_token_id": 0,
            **options,
            **changes,
        }
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter_name, weight in model.named_parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn_like(weight) * 0.1)
            else:
                weight.normal_(0, (0.5 if "embed" in parameter_name else 1.5) / weight.shape[1] ** 0.5)
    model.save_pretrained(folder, **({"max_shard_size": shard_size} if shard_size else {}))
    return folder


def byte_level(
    specials: Iterable[str] = (END_OF_TURN, "<|user|>", "<|assistant|>", "<|system|>"),
) -> Tokenizer:
    """A byte-level BPE tokenizer; its id 0 is <|endoftext|>."""
    tokenizer = make_tokenizer(384, SENTENCES)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return tokenizer


def sentencepiece(scheme: str = "legacy") -> Tokenizer:
    """A tokenizer like Llama-2's: U+2581 for spaces, bytes as <0xAB>, and a BOS token that it adds itself.

    `legacy` puts a space before every piece between control tokens, `first` only before the text, and `gemma`
    nowhere.
    """
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:?'|<>[]/"
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("▁", "▁"), ("i", "s"), ("▁", "is"), ("a", "n")]
    vocab = {piece: i for i, piece in enumerate([*pieces, *letters, *("".join(pair) for pair in merges)])}
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", "▁")
    steps = [normalizers.Prepend("▁"), replace] if scheme == "legacy" else [replace]
    tail = [] if scheme == "gemma" else [decoders.Strip(" ", 1, 0)]
    if scheme == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *tail]
    )
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def save_tokenizer(
    folder: Path, tokenizer: Tokenizer, template: str | None = None, bos: str = BOS, eos: str = BOS
) -> None:
    """Write the tokenizer's files as in a repository."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "bos_token": bos,
        "eos_token": {"content": eos, "special": True},
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**config, "chat_template": template} if template else config)
    )


def make_real_family(folder: Path, kind: str, shard_size: str | None = None, **changes: Any) -> Path:
    """Write a family file and three checkpoints of different widths; the tuned one has a chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_level()
    for seed, (role, width) in enumerate(zip(ROLES, WIDTHS, strict=True)):
        make_checkpoint(
            folder / role, kind, seed, width, shard_size if role == "large_base" else None, **changes
        )
        save_tokenizer(folder / role, tokenizer, CHAT if role == "polite" else None)
    ends = [0, tokenizer.token_to_id(END_OF_TURN)]
    (folder / "polite" / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    entry = {
        "title": "Real",
        "licence": "MIT",
        "context": 64,
        "prompt": "User: {prompt}\nAssistant:",
        "roles": {
            "large_base": {"path": "large_base"},
            "small_base": {"path": "small_base"},
            "polite": {"path": "polite", "prompt": "chat"},
        },
        "behaviours": [{"role": "polite", "title": "Polite", "description": "Says please."}],
    }
    path = folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(entry, sort_keys=False), encoding="utf-8")
    return path
