"""A role's folder: are its files there, whole and of a kind that is loaded here; what it says of prompts."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eft_demo.errors import FamilyError
from eft_demo.families.files import MAX_JSON_BYTES, MAX_TEMPLATE_BYTES, is_file, read_text
from eft_demo.families.prompt import ChatTemplate
from eft_demo.families.tokens import Codec
from eft_demo.families.weights import BROKEN, Header, headers, missing_files
from eft_demo.settings import show_value

# What the library's own code runs and tests here hold against it. Anything else is refused unbuilt.
MODEL_TYPES = (
    "falcon", "gemma", "gemma2", "gemma3_text", "gpt_neox", "llama", "olmo2", "qwen2", "qwen3",
)  # fmt: skip
# How large the largest that could be true is. Beyond, something would be built that no memory holds.
NUMBERS = {
    "vocab_size": 10_000_000, "hidden_size": 1_000_000, "num_attention_heads": 10_000,
    "num_hidden_layers": 10_000, "num_key_value_heads": 10_000, "num_kv_heads": 10_000, "head_dim": 100_000,
    "intermediate_size": 10_000_000, "max_position_embeddings": 1_000_000_000,
}  # fmt: skip
REQUIRED_NUMBERS = ("vocab_size", "hidden_size", "num_attention_heads", "num_hidden_layers")
PLAIN = ("F64", "F32", "F16", "BF16")  # kinds of numbers that mean what they say
# Of quantised checkpoints, by what the library calls them in config.json. It reads each with a package of its
# own and asks for that package by name.
QUANT_METHODS = (
    "aqlm", "auto-round", "awq", "bitnet", "bitsandbytes_4bit", "bitsandbytes_8bit",
    "compressed-tensors", "eetq", "fbgemm_fp8", "fouroversix", "fp8", "fp_quant", "gemma", "gguf", "gptq",
    "higgs", "hqq", "metal", "mxfp4", "mxfp8", "nvfp4", "quanto", "quark", "sinq", "spqr", "torchao", "vptq",
)  # fmt: skip
LAYER = re.compile(r"(?:^|\.)(?:layers|h)\.(\d+)\.")  # in a weight's name, of every architecture above
TOKEN_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where one role's weights lie: a folder with config.json and safetensors, in one file or with an index.

    That of an adapter has adapter_config.json and adapter_model.safetensors; `adapter_of` is its base's role.
    """

    role: str
    path: Path
    adapter_of: str | None = None
    way_out: str = ""  # what to do if its files are damaged
    repo: str = ""  # its repository, if it is of the hub


def check(checkpoint: Checkpoint, vocab: int) -> None:
    """The files are there, can be opened and fit the tokenizer. The weights themselves are not read."""
    if missing := missing_files(checkpoint.path):
        raise FamilyError(
            f"{missing[0]}, part of the model {checkpoint.role}, is missing. {checkpoint.way_out}"
        )
    try:
        config = read_config(checkpoint.path)
        _check_kind(checkpoint, config)
        found = headers(checkpoint.path)
        _check_numbers(checkpoint, config, len(found))
        _check_plain(checkpoint, config, found)
        _check_layers(checkpoint, config, found)
        width = int(config["vocab_size"])
    except BROKEN as error:
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} is damaged ({_brief(error)}). "
            + checkpoint.way_out
        ) from None
    if width < vocab:
        raise FamilyError(
            f"The model {checkpoint.role} knows {width:,} tokens and the tokenizer {vocab:,}: "
            f"they do not belong together. {checkpoint.way_out}"
        )


def check_adapter(adapter: Checkpoint, roles: Mapping[str, Checkpoint]) -> None:
    """Its base is a model of this family and the files are there. The weights themselves are not read."""
    base = roles.get(adapter.adapter_of or "")
    if base is None or base.adapter_of is not None:
        models = ", ".join(role for role, other in roles.items() if other.adapter_of is None)
        raise FamilyError(
            f"The adapter {adapter.role} names {adapter.adapter_of!r} as its base, and that is no whole "
            f"model of this family. Please choose one of {models}."
        )
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        path = adapter.path / name
        if not is_file(path):
            raise FamilyError(f"{path}, part of the adapter {adapter.role}, is missing. {adapter.way_out}")


def read_config(folder: Path) -> Mapping[str, Any]:
    """config.json as data. Raises what weights.BROKEN lists."""
    config = json.loads(read_text(folder / "config.json", MAX_JSON_BYTES))
    if not isinstance(config, dict):
        raise ValueError("config.json is no table of entries")
    return config


def chat_template(checkpoint: Checkpoint) -> ChatTemplate | None:
    """The template in chat_template.jinja or tokenizer_config.json, or None if there is none.

    Raises FamilyError for a file that is damaged.
    """
    config = _read_optional(checkpoint, "tokenizer_config.json")
    path = checkpoint.path / "chat_template.jinja"
    text = read_text(path, MAX_TEMPLATE_BYTES) if path.exists() else config.get("chat_template")
    if isinstance(text, list):  # older files hold several by name
        named = {str(item.get("name")): item.get("template") for item in text if isinstance(item, dict)}
        text = named.get("default")
    if not isinstance(text, str):
        return None
    return ChatTemplate(text, {name: _token(config.get(name)) for name in TOKEN_NAMES if config.get(name)})


def stop_ids(checkpoint: Checkpoint, codec: Codec) -> set[int]:
    """Every id that the checkpoint's files call the end of a text or of a turn. Raises FamilyError."""
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        ends = _read_optional(checkpoint, name).get("eos_token_id")
        found |= {end for end in (ends if isinstance(ends, list) else [ends]) if isinstance(end, int)}
    end_token = _token(_read_optional(checkpoint, "tokenizer_config.json").get("eos_token"))
    if (end := codec.tokenizer.token_to_id(end_token)) is not None:
        found.add(end)
    return found


def _check_kind(checkpoint: Checkpoint, config: Mapping[str, Any]) -> None:
    kind = config.get("model_type")
    if kind not in MODEL_TYPES:
        wants_code = " It asks to run code of its own, which is never done." if config.get("auto_map") else ""
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} is of the kind {kind!r}, and only "
            f"{', '.join(MODEL_TYPES)} are loaded here.{wants_code} Please choose a model of one of these."
        )
    if kind == "falcon" and config.get("alibi"):
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} is a Falcon with ALiBi positions, which rows "
            "of different lengths cannot share. Please choose one with rotary positions, such as falcon-7b."
        )


def _check_numbers(checkpoint: Checkpoint, config: Mapping[str, Any], tensors: int) -> None:
    """The numbers that say how large a model is are there and can be true. Raises FamilyError."""
    for name, high in NUMBERS.items():
        value = config.get(name)
        if value is None and name not in REQUIRED_NUMBERS:
            continue
        # Each layer has several tensors: whoever names more would have as many built before that shows.
        high = min(high, tensors) if name == "num_hidden_layers" else high
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
            raise FamilyError(
                f"The config.json of {checkpoint.role} in {checkpoint.path} is damaged: {name} must be a "
                f"whole number from 1 to {high:,}; it is {show_value(value)}. {checkpoint.way_out}"
            )


def _check_layers(checkpoint: Checkpoint, config: Mapping[str, Any], found: Mapping[str, Header]) -> None:
    """The weights have no more layers than the config: the library would ignore those, and answer."""
    stored = 1 + max((int(match[1]) for name in found if (match := LAYER.search(name))), default=-1)
    if stored > (layers := int(config["num_hidden_layers"])):
        raise FamilyError(
            f"The weights of the model {checkpoint.role} have {stored} layers, and its config.json says "
            f"{layers}: they do not belong together. {checkpoint.way_out}"
        )


def _check_plain(checkpoint: Checkpoint, config: Mapping[str, Any], found: Mapping[str, Header]) -> None:
    """Weights that are whole numbers mean something only with scales that plain loading knows nothing of."""
    if quantised := config.get("quantization_config"):
        _check_method(checkpoint, quantised)
        return  # the library knows what they mean
    odd = [name for name, header in found.items() if name.endswith(".weight") and header.dtype not in PLAIN]
    if odd:
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} holds {odd[0]} as {found[odd[0]].dtype}, and "
            f"only {', '.join(PLAIN)} are loaded as they are. Please choose the repository that it was made "
            "from."
        )


def _check_method(checkpoint: Checkpoint, quantised: Any) -> None:
    """The library passes over a way of quantising that it does not know, and reads the weights as plain."""
    table = quantised if isinstance(quantised, dict) else {}
    if table.get("load_in_8bit") or table.get("load_in_4bit"):
        return  # bitsandbytes, which the library knows by these alone
    method = table.get("quant_method")
    if method not in QUANT_METHODS:
        raise FamilyError(
            f"The config.json of {checkpoint.role} in {checkpoint.path} says that its weights are "
            f"quantised by {show_value(method)} (quantization_config, quant_method), unknown here. "
            "Please choose the repository that it was made from."
        )


def _token(value: Any) -> str:
    """A token as tokenizer_config.json names it: a text, or a table with one."""
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def _read_optional(checkpoint: Checkpoint, name: str) -> Mapping[str, Any]:
    """A JSON file that need not be there. Without what a damaged one says, a model would never stop."""
    path = checkpoint.path / name
    try:
        content = json.loads(read_text(path, MAX_JSON_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise FamilyError(f"{path} is damaged ({_brief(error)}). {checkpoint.way_out}") from None
    if not isinstance(content, dict):
        raise FamilyError(f"{path} is damaged: it is no table of entries. {checkpoint.way_out}")
    return content


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
