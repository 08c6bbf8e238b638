"""What a GGUF file says about its model: kind, size, vocabulary, stop tokens, chat template, tokenizer.

Knows llama.cpp's names; runs nothing. The tokenizer is rebuilt for the kinds in SPLITS; models with another
one need a tokenizer.json, from another role or beside the family file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from eft_demo.errors import FamilyError
from eft_demo.families.files import MAX_TEMPLATE_BYTES
from eft_demo.families.gguf import Gguf
from eft_demo.families.prompt import ChatTemplate
from eft_demo.families.tokens import (
    MAX_VOCAB,
    SPACE,
    Codec,
    make_codec,
    spell_byte_level,
    spell_sentencepiece,
)

# Decoders whose keys and values can be rolled back to any length. The tests compare each with transformers.
ARCHITECTURES = ("gemma", "gemma2", "gemma3", "llama", "olmo2", "qwen2", "qwen3")
# Upper limits of plausible values: llama.cpp ends the process for some larger ones.
NUMBERS = {
    "block_count": 512, "embedding_length": 1_000_000, "feed_forward_length": 10_000_000,
    "attention.head_count": 10_000, "attention.head_count_kv": 10_000, "attention.key_length": 10_000,
    "attention.value_length": 10_000, "context_length": 1_000_000_000, "rope.dimension_count": 10_000,
    "expert_count": 0, "expert_used_count": 0, "pooling_type": 0, "nextn_predict_layers": 0,
}  # fmt: skip
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
MAX_PARTS = 10_000  # experts and the like of an intact file
MAX_FRACTION = 1e12  # any number that is not whole
REQUIRED = ("block_count", "embedding_length", "attention.head_count", "context_length")
EMBEDDING = "token_embd.weight"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5  # kinds of tokens
PADDING = re.compile(r"\[PAD\d+\]")  # what the converter calls rows of the embedding that no token has
GPT_2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
BYTES_ONLY = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def _gpt_4(digits: str) -> pre_tokenizers.PreTokenizer:
    """Words as GPT-4's tokenizer splits them; `digits` matches the digits of one token."""
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([split, BYTES_ONLY])


LLAMA_3, QWEN_2 = _gpt_4(r"\p{N}{1,3}"), _gpt_4(r"\p{N}")
# How the kinds of byte-level BPE (tokenizer.ggml.pre) split a text into words.
SPLITS: Mapping[str, pre_tokenizers.PreTokenizer] = {
    "gpt-2": GPT_2,
    "olmo": GPT_2,
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT_2]),
    "llama-bpe": LLAMA_3,
    "dbrx": LLAMA_3,
    "qwen2": QWEN_2,
    "deepseek-r1-qwen": QWEN_2,
}
NORMALISED = ("qwen2", "deepseek-r1-qwen")  # their own tokenizers compose characters (NFC) first
WHOLE_WORDS = ("llama-bpe",)  # takes a word that is a token without merging
ADDS_BOS = ("llama-bpe",)  # unless the file says otherwise; sentencepiece does too
# Entries that name tokens which end a turn or a text.
END_ENTRIES = ("eos_token_id", "eot_token_id", "eom_token_id")
# Control tokens that always do: many files name only one of theirs.
END_TOKENS = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>",
    "<|end_of_text|>", "<end_of_utterance>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "</s>", "<eos>",
)  # fmt: skip
TEMPLATE_TOKENS = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}


@dataclass(frozen=True, slots=True)
class GgufSize:
    """What decides how much memory a model takes besides its weights."""

    width: int  # of the logits
    context: int  # tokens it was trained for
    layers: int
    kv_heads: int
    head_dim: int


def check_architecture(file: Gguf) -> None:
    """Raises FamilyError for a kind of model or file that is not supported."""
    kind, architecture = file.text("general.type", "model"), file.text("general.architecture")
    if kind != "model" or architecture not in ARCHITECTURES:
        what = f"a {kind}, not a model" if kind != "model" else f"of the kind {architecture[:40]!r}"
        raise FamilyError(
            f"{file.path} is {what}, which is not supported. Please choose a model of one of these kinds: "
            f"{', '.join(ARCHITECTURES)}."
        )
    if (parts := file.integer("split.count") or 1) > 1:
        raise FamilyError(
            f"{file.path} is one of {parts} parts of a model. Please join them with "
            "`llama-gguf-split --merge` of llama.cpp and name the joined file."
        )


def model_size(file: Gguf) -> GgufSize:
    """The model's size. Raises ValueError if a number is missing or implausible, or an entry too short."""
    numbers = {name: _number(file, name, high) for name, high in NUMBERS.items()}
    _check_others(file)
    heads, layers = numbers["attention.head_count"], numbers["block_count"]
    if layers > len(file.tensors):
        raise ValueError(f"it claims {layers} layers and has {len(file.tensors)} tensors")
    embedding = file.tensors.get(EMBEDDING)
    if embedding is None or len(embedding.shape) != 2 or embedding.shape[0] != numbers["embedding_length"]:
        raise ValueError(f"{EMBEDDING} is missing or has another width than embedding_length")
    width = embedding.shape[1]
    if width > MAX_VOCAB or len(file.texts("tokenizer.ggml.tokens")) != width:
        raise ValueError(f"it has {width:,} embeddings and not as many tokens")
    head_dim = max(numbers["attention.key_length"], numbers["attention.value_length"])
    return GgufSize(
        width=width,
        context=numbers["context_length"],
        layers=layers,
        kv_heads=numbers["attention.head_count_kv"] or heads,
        head_dim=head_dim or numbers["embedding_length"] // heads,
    )


def _check_others(file: Gguf) -> None:
    """Check the entries that are no sizes. Raises ValueError for one that would end the process.

    Raises FamilyError for a model that cannot continue a text.
    """
    prefix = f"{file.text('general.architecture')}."
    for key, value in file.entries.items():
        if key.startswith(prefix) and isinstance(value, float) and not 0 <= value <= MAX_FRACTION:
            raise ValueError(f"{key[:80]} is {value}; it must be from 0 to {MAX_FRACTION:g}")
    if (scaling := file.text(f"{prefix}rope.scaling.type", "none")) not in ROPE_SCALINGS:
        raise ValueError(f"{prefix}rope.scaling.type is {scaling[:40]!r}")
    if file.flag(f"{prefix}attention.causal") is False:
        raise FamilyError(
            f"{file.path} is a model that sees a whole text at once ({prefix}attention.causal is false), so "
            "it cannot continue one. Please choose a language model."
        )


def _number(file: Gguf, name: str, high: int) -> int:
    """A number of the model, the largest of its layers; 0 if it is not there and need not be.

    Raises ValueError for an implausible one, FamilyError for a part that is not supported.
    """
    key = f"{file.text('general.architecture')}.{name}"
    values = file.integers(key) if hasattr(file.entries.get(key), "tolist") else [file.integer(key) or 0]
    found = max(values, default=0)
    if not high and 0 < found <= MAX_PARTS:
        raise FamilyError(
            f"{key} is {found:,} in {file.path}: models with experts, with pooling or with layers that "
            "predict further tokens are not supported. Please choose another model."
        )
    if min(values, default=0) < 0 or found > high or (name in REQUIRED and not found):
        raise ValueError(f"{key} is {found:,}; it must be from {name in REQUIRED:d} to {high:,}")
    return found


def gguf_vocabulary(file: Gguf) -> dict[str, int]:
    """Token -> id, without the rows that only pad the embedding. Raises ValueError for a token twice."""
    tokens, kinds = file.texts("tokenizer.ggml.tokens"), _token_kinds(file)
    found: dict[str, int] = {}
    for token_id, (token, kind) in enumerate(zip(tokens, kinds, strict=True)):
        if kind == UNUSED and PADDING.fullmatch(token):
            continue
        if kind == USER_DEFINED and not _is_byte_level(file):
            token = token.replace(" ", SPACE)  # the converter writes these as they look
        if token in found:
            raise ValueError(f"it has the token {ascii(token[:40])} twice")
        found[token] = token_id
    if not found:
        raise ValueError("it has no tokens")
    return found


def gguf_token_bytes(file: Gguf) -> dict[int, bytes]:
    """The bytes of the ordinary tokens by id. Raises ValueError or KeyError if they make no sense."""
    spell = spell_byte_level if _is_byte_level(file) else spell_sentencepiece
    kinds = _token_kinds(file)
    return {i: spell(token) for token, i in gguf_vocabulary(file).items() if kinds[i] == NORMAL}


def gguf_codec(file: Gguf) -> Codec:
    """The tokenizer, rebuilt from the file. Raises FamilyError for a kind that is not known, ValueError."""
    kind = file.text("tokenizer.ggml.pre") or "default"
    if not _is_byte_level(file) or kind not in SPLITS:
        shown = kind if _is_byte_level(file) else file.text("tokenizer.ggml.model")
        raise FamilyError(
            f"The tokenizer in {file.path} is of the kind {shown[:40]!r}, which cannot be rebuilt from a "
            f"GGUF file (these can: {', '.join(SPLITS)}). Please put the original model's tokenizer.json "
            "beside the family file and add `tokenizer: tokenizer.json`."
        )
    vocabulary, kinds = gguf_vocabulary(file), _token_kinds(file)
    merges = [_pair(merge) for merge in file.texts("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=kind in WHOLE_WORDS))
    if kind in NORMALISED:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = SPLITS[kind]
    tokenizer.decoder = decoders.ByteLevel()
    for token, i in vocabulary.items():
        if kinds[i] in (UNKNOWN, CONTROL, USER_DEFINED):
            special = kinds[i] != USER_DEFINED
            added = AddedToken(token, special=special, normalized=False)
            tokenizer.add_special_tokens([added]) if special else tokenizer.add_tokens([added])
    return replace(make_codec(tokenizer), bos_id=gguf_bos_id(file))


def gguf_bos_id(file: Gguf) -> int | None:
    """The token that the file says is put before a text."""
    adds = file.flag("tokenizer.ggml.add_bos_token")
    if adds is None:
        adds = not _is_byte_level(file) or file.text("tokenizer.ggml.pre") in ADDS_BOS
    return _token_id(file, "bos_token_id") if adds else None


def gguf_stop_ids(file: Gguf) -> set[int]:
    """All tokens that end a text or a turn."""
    named = (_token_id(file, name) for name in END_ENTRIES)
    tokens, kinds = file.texts("tokenizer.ggml.tokens"), _token_kinds(file)
    known = {i for i, token in enumerate(tokens) if token in END_TOKENS and kinds[i] == CONTROL}
    return {i for i in named if i is not None} | known


def gguf_template(file: Gguf) -> ChatTemplate | None:
    """The chat template, or None if the file has none. Raises ValueError if it is too long."""
    text = file.text("tokenizer.chat_template")
    if len(text) > MAX_TEMPLATE_BYTES:
        raise ValueError(f"its chat template has {len(text):,} characters")
    tokens = file.texts("tokenizer.ggml.tokens")
    ids = {name: _token_id(file, f"{entry}_token_id") for name, entry in TEMPLATE_TOKENS.items()}
    return ChatTemplate(text, {n: tokens[i] for n, i in ids.items() if i is not None}) if text else None


def _is_byte_level(file: Gguf) -> bool:
    model = file.text("tokenizer.ggml.model")
    if model not in ("gpt2", "llama"):
        raise FamilyError(
            f"The tokenizer in {file.path} is of the kind {model[:40]!r}, which is not supported: it is "
            "neither byte-level BPE (gpt2) nor sentencepiece (llama). Please choose another model."
        )
    return model == "gpt2"


def _token_kinds(file: Gguf) -> list[int]:
    """The kind of every token. Raises ValueError if a list has another length."""
    tokens = len(file.texts("tokenizer.ggml.tokens"))
    kinds = file.integers("tokenizer.ggml.token_type") or [NORMAL] * tokens
    if len(kinds) != tokens:
        raise ValueError(f"it has {tokens:,} tokens and {len(kinds):,} kinds of tokens")
    return kinds


def _token_id(file: Gguf, name: str) -> int | None:
    """A token that an entry names; None if it names none that exists."""
    found = file.integer(f"tokenizer.ggml.{name}")
    return found if found is not None and 0 <= found < len(file.texts("tokenizer.ggml.tokens")) else None


def _pair(merge: str) -> tuple[str, str]:
    first, _, second = merge.partition(" ")
    if not first or not second:
        raise ValueError(f"it has the merge {ascii(merge[:40])}")
    return first, second
