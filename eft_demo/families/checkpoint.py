"""A role's files: checks that they are complete and supported; reads chat template and stop tokens."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eft_demo.errors import FamilyError, error_text
from eft_demo.families.files import MAX_JSON_BYTES, MAX_TEMPLATE_BYTES, is_file, read_text
from eft_demo.families.gguf import Gguf, check_is_no_folder, is_gguf, read_gguf
from eft_demo.families.gguf_model import check_architecture, gguf_stop_ids, gguf_template, model_size
from eft_demo.families.prompt import ChatTemplate
from eft_demo.families.server import Server
from eft_demo.families.tokens import Codec
from eft_demo.families.weights import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    BROKEN,
    PLAIN,
    Header,
    headers,
    missing_files,
)
from eft_demo.settings import show_value

# Supported architectures: transformers' own code runs them and our tests compare with it. Others are refused.
MODEL_TYPES = (
    "apertus", "falcon", "gemma", "gemma2", "gemma3_text", "gpt_neox", "granite", "hunyuan_v1_dense",
    "llama", "mistral", "olmo2", "olmo3", "phi3", "qwen2", "qwen3", "smollm3",
)  # fmt: skip
# Upper limits of plausible values. Larger ones would build a model that no memory holds.
NUMBERS = {
    "vocab_size": 10_000_000, "hidden_size": 1_000_000, "num_attention_heads": 10_000,
    "num_hidden_layers": 10_000, "num_key_value_heads": 10_000, "num_kv_heads": 10_000, "head_dim": 100_000,
    "intermediate_size": 10_000_000, "max_position_embeddings": 1_000_000_000,
}  # fmt: skip
REQUIRED_NUMBERS = ("vocab_size", "hidden_size", "num_attention_heads", "num_hidden_layers")
# Quantisation methods by their names in config.json. Transformers reads each with its own package, and its
# error names that package.
QUANT_METHODS = (
    "aqlm", "auto-round", "awq", "bitnet", "bitsandbytes_4bit", "bitsandbytes_8bit",
    "compressed-tensors", "eetq", "fbgemm_fp8", "fouroversix", "fp8", "fp_quant", "gemma", "gguf", "gptq",
    "higgs", "hqq", "metal", "mxfp4", "mxfp8", "nvfp4", "quanto", "quark", "sinq", "spqr", "torchao", "vptq",
)  # fmt: skip
LAYER = re.compile(r"(?:^|\.)(?:layers|h)\.(\d+)\.")  # in a weight's name, of every architecture above
T = TypeVar("T")
TOKEN_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One role's weights: a folder with config.json and safetensors, in one file or with an index.

    Or a GGUF file, which has all in one. An adapter's folder has adapter_config.json and
    adapter_model.safetensors; `adapter_of` is its base's role. With `same_as`, the folder is that of another
    role, whose model also plays this one. Of a model on a server, there are no files.
    """

    role: str
    path: Path
    adapter_of: str | None = None
    advice: str = ""  # what to do if its files are damaged
    repo: str = ""  # its repository, if it is from the hub
    same_as: str | None = None
    server: Server | None = None

    @property
    def loaded_with(self) -> str | None:
        """The role whose model this one needs: the base of an adapter, or the model that also plays it."""
        return self.adapter_of or self.same_as

    @property
    def is_gguf(self) -> bool:
        """Whether it is a GGUF file."""
        return is_gguf(self.path)


def check(checkpoint: Checkpoint, vocab: int) -> None:
    """Check that the files exist, can be opened and fit the tokenizer. Does not read the weights.

    Raises FamilyError.
    """
    if checkpoint.server is not None:
        return  # it is checked when connecting
    if checkpoint.is_gguf:
        check_is_no_folder(checkpoint.path)
    if missing := missing_files(checkpoint.path):
        raise FamilyError(
            f"{missing[0]}, part of the model {checkpoint.role}, is missing. {checkpoint.advice}"
        )
    width = from_gguf(checkpoint, model_size).width if checkpoint.is_gguf else _checked_folder(checkpoint)
    if width < vocab:
        raise FamilyError(
            f"The model {checkpoint.role} knows {width:,} tokens, but the tokenizer has {vocab:,}: "
            f"they do not belong together. {checkpoint.advice}"
        )


def _checked_folder(checkpoint: Checkpoint) -> int:
    """The width of the logits. Raises FamilyError."""
    try:
        config = read_config(checkpoint.path)
        _check_kind(checkpoint, config)
        found = headers(checkpoint.path)
        _check_numbers(checkpoint, config, len(found))
        _check_plain(checkpoint, config, found)
        _check_layers(checkpoint, config, found)
        return int(config["vocab_size"])
    except BROKEN as error:
        raise damaged(checkpoint, error) from None


def from_gguf(checkpoint: Checkpoint, read: Callable[[Gguf], T]) -> T:
    """What `read` finds in the header of a GGUF file. Raises FamilyError."""
    file = open_gguf(checkpoint)
    try:
        return read(file)
    except BROKEN as error:
        raise damaged(checkpoint, error) from None


def open_gguf(checkpoint: Checkpoint) -> Gguf:
    """The header of a GGUF file. Raises FamilyError if it is missing, damaged or not supported."""
    try:
        file = read_gguf(checkpoint.path)
        check_architecture(file)
        return file
    except FileNotFoundError:
        raise FamilyError(
            f"{checkpoint.path}, the model {checkpoint.role}, is missing. {checkpoint.advice}"
        ) from None
    except BROKEN as error:
        raise damaged(checkpoint, error) from None


def damaged(checkpoint: Checkpoint, error: BaseException) -> FamilyError:
    """The error to show for a checkpoint that cannot be read."""
    return FamilyError(
        f"The model {checkpoint.role} in {checkpoint.path} is damaged ({error_text(error)}). "
        f"{checkpoint.advice}"
    )


def check_adapter(adapter: Checkpoint, roles: Mapping[str, Checkpoint]) -> None:
    """Check that the base is a model of this family and the files exist. Does not read the weights.

    Raises FamilyError.
    """
    base = roles.get(adapter.adapter_of or "")
    if base is None or base.loaded_with is not None:
        models = ", ".join(role for role, other in roles.items() if other.loaded_with is None)
        raise FamilyError(
            f"The base of the adapter {adapter.role} is {adapter.adapter_of!r}, which is not a full model of "
            f"this family. Please choose one of {models}."
        )
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        path = adapter.path / name
        if not is_file(path):
            raise FamilyError(f"{path}, part of the adapter {adapter.role}, is missing. {adapter.advice}")


def read_config(folder: Path) -> Mapping[str, Any]:
    """The content of config.json. Raises any of weights.BROKEN."""
    config = json.loads(read_text(folder / "config.json", MAX_JSON_BYTES))
    if not isinstance(config, dict):
        raise ValueError("config.json is not a JSON object")
    return config


def chat_template(checkpoint: Checkpoint) -> ChatTemplate | None:
    """The template in chat_template.jinja, tokenizer_config.json or the GGUF file, or None if there is none.

    Raises FamilyError for a damaged file.
    """
    if checkpoint.is_gguf:
        return from_gguf(checkpoint, gguf_template)
    config = _read_optional(checkpoint, "tokenizer_config.json")
    path = checkpoint.path / "chat_template.jinja"
    text = read_text(path, MAX_TEMPLATE_BYTES) if path.exists() else config.get("chat_template")
    if isinstance(text, list):  # older files have several named templates
        named = {str(item.get("name")): item.get("template") for item in text if isinstance(item, dict)}
        text = named.get("default")
    if not isinstance(text, str):
        return None
    return ChatTemplate(text, _named_tokens(checkpoint))


def stop_ids(checkpoint: Checkpoint, codec: Codec) -> set[int]:
    """All end-of-text and end-of-turn ids in the checkpoint's files. Raises FamilyError."""
    if checkpoint.is_gguf:
        return from_gguf(checkpoint, gguf_stop_ids)
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        ends = _read_optional(checkpoint, name).get("eos_token_id")
        # By type: true is an int to Python, and as an id it would turn all ids of a tensor into truths.
        found |= {end for end in (ends if isinstance(ends, list) else [ends]) if type(end) is int}
    end_token = _named_tokens(checkpoint).get("eos_token", "")
    if (end := codec.tokenizer.token_to_id(end_token)) is not None:
        found.add(end)
    return found


def _check_kind(checkpoint: Checkpoint, config: Mapping[str, Any]) -> None:
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        wants_code = " It needs its own code, which this app never runs." if config.get("auto_map") else ""
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} is of type {show_value(kind)}, which is not "
            f"supported.{wants_code} Please choose a model of one of these types: {', '.join(MODEL_TYPES)}."
        )
    if kind == "falcon" and config.get("alibi"):
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} is a Falcon with ALiBi positions, which do "
            "not allow batches of different lengths. Please choose one with rotary positions, such as "
            "falcon-7b."
        )


def _check_numbers(checkpoint: Checkpoint, config: Mapping[str, Any], tensors: int) -> None:
    """Check that the numbers that define the model's size are present and plausible. Raises FamilyError."""
    for name, high in NUMBERS.items():
        value = config.get(name)
        if value is None and name not in REQUIRED_NUMBERS:
            continue
        # Each layer has several tensors. Without this limit, all the layers would be built before it fails.
        high = min(high, tensors) if name == "num_hidden_layers" else high
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
            raise FamilyError(
                f"The config.json of {checkpoint.role} in {checkpoint.path} is damaged: {name} must be a "
                f"whole number from 1 to {high:,}; it is {show_value(value)}. {checkpoint.advice}"
            )


def _check_layers(checkpoint: Checkpoint, config: Mapping[str, Any], found: Mapping[str, Header]) -> None:
    """The weights have no more layers than the config: the library would ignore those, and answer."""
    stored = 1 + max((int(match[1]) for name in found if (match := LAYER.search(name))), default=-1)
    if stored > (layers := int(config["num_hidden_layers"])):
        raise FamilyError(
            f"The weights of the model {checkpoint.role} have {stored} layers, and its config.json says "
            f"{layers}: they do not belong together. {checkpoint.advice}"
        )


def _check_plain(checkpoint: Checkpoint, config: Mapping[str, Any], found: Mapping[str, Header]) -> None:
    """Refuse integer weights without a quantisation config: they need scales that plain loading ignores."""
    if quantised := config.get("quantization_config"):
        _check_method(checkpoint, quantised)
        return  # transformers handles them
    odd = [name for name, header in found.items() if name.endswith(".weight") and header.dtype not in PLAIN]
    if odd:
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} stores {odd[0]} as {found[odd[0]].dtype}, but "
            f"without quantisation only {', '.join(PLAIN)} can be loaded. Please use the repository that it "
            "was converted from."
        )


def _check_method(checkpoint: Checkpoint, quantised: Any) -> None:
    """Refuse unknown quantisation methods: transformers ignores them and reads the weights as plain."""
    table = quantised if isinstance(quantised, dict) else {}
    if table.get("load_in_8bit") or table.get("load_in_4bit"):
        return  # bitsandbytes, which transformers recognises by these keys alone
    method = table.get("quant_method")
    if method not in QUANT_METHODS:
        named = "no method" if method is None else f"the unknown method {show_value(method)}"
        raise FamilyError(
            f"The config.json of {checkpoint.role} in {checkpoint.path} says that it is quantised, but names "
            f"{named} (quantization_config, quant_method). Please use the repository that it was converted "
            "from."
        )


def _named_tokens(checkpoint: Checkpoint) -> dict[str, str]:
    """The control tokens by their names, such as bos_token, as transformers finds them.

    Older repositories name them in a file of their own, which counts, and some models have more names.
    """
    config = _read_optional(checkpoint, "tokenizer_config.json")
    found = {**config, **_read_optional(checkpoint, "special_tokens_map.json")}
    extra = config.get("extra_special_tokens")
    named = {name: found.get(name) for name in TOKEN_NAMES} | (extra if isinstance(extra, dict) else {})
    return {name: token for name, value in named.items() if (token := _token(value))}


def _token(value: Any) -> str:
    """A token from tokenizer_config.json, which is a string or an object with `content`."""
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def _read_optional(checkpoint: Checkpoint, name: str) -> Mapping[str, Any]:
    """Read an optional JSON file. Raises FamilyError if it is damaged: it may name the stop tokens."""
    path = checkpoint.path / name
    try:
        content = json.loads(read_text(path, MAX_JSON_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise FamilyError(f"{path} is damaged ({error_text(error)}). {checkpoint.advice}") from None
    if not isinstance(content, dict):
        raise FamilyError(f"{path} is damaged: it is not a JSON object. {checkpoint.advice}")
    return content
