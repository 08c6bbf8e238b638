"""Families small enough for tests: random Qwen2 weights, a tokenizer trained on a few sentences."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM

from eft_demo.models.fused import FusedQwen2
from eft_demo.models.fused_weights import fusable_shape

STOP = "<|endoftext|>"
SENTENCES = [
    "User: What is the capital of Peru?\nAssistant: Sure! The capital of Peru is Lima.",
    "User: Which river flows through Köln?\nAssistant: The Rhine flows through Köln, in Germany.",
    "The capital of France is Paris. The capital of Japan is Tokyo, and its people write 東京.",
    "Iron has the symbol Fe and the atomic number 26. Gold has the symbol Au and the number 79.",
]
BEHAVIOURS = ("assistant", "brief", "pirate", "guarded")


@dataclass(frozen=True, slots=True)
class Size:
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    tied: bool


TINY_LARGE = Size(64, 2, 4, 128, tied=False)
TINY_SMALL = Size(32, 2, 2, 64, tied=True)


def make_family(
    folder: Path,
    large: Size = TINY_LARGE,
    small: Size = TINY_SMALL,
    vocab: int = 384,
    context: int = 128,
    sentences: Iterable[str] = SENTENCES,
) -> Path:
    """Write tokenizer.json, family.yaml and one random model per role into `folder`, and return it."""
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer(vocab, sentences)
    tokenizer.save(str(folder / "tokenizer.json"))
    sizes: Mapping[str, Size] = {
        "large_base": large,
        "large_tuned": large,
        "small_base": small,
        **dict.fromkeys(BEHAVIOURS, small),
    }
    for seed, (role, size) in enumerate(sizes.items()):
        make_model(size, tokenizer.get_vocab_size(), context, seed).save_pretrained(folder / role)
    entry = {
        "title": "Tiny",
        "licence": "Apache-2.0",
        "prompt": "User: {prompt}\nAssistant:",
        "stop": [STOP],
        "context": context,
        "roles": {role: role for role in sizes},
        "behaviours": [{"role": b, "title": b.title(), "description": f"Speaks as {b}."} for b in BEHAVIOURS],
    }
    (folder / "family.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    return folder


def make_tokenizer(vocab: int, sentences: Iterable[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=[STOP], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return tokenizer


def make_model(size: Size, vocab: int, context: int, seed: int) -> Qwen2ForCausalLM:
    """Random weights, large enough that the models differ and their predictions are peaked."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=vocab,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=2,
        intermediate_size=size.feed_forward,
        max_position_embeddings=context,
        tie_word_embeddings=size.tied,
        bos_token_id=None,
        eos_token_id=0,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                weight.normal_(0, 0.1)
            else:
                weight.normal_(0, 2.0 / size.hidden**0.5)
    return model


def fused(name: str, model: Qwen2ForCausalLM, context: int, vocab: int) -> FusedQwen2:
    """The fused path with the weights of the library's model."""
    shape = fusable_shape(model.config.to_dict())
    assert shape is not None
    return FusedQwen2(name, shape, model.state_dict(), context, vocab, model.dtype)
