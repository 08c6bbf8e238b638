"""A role's folder: are its files there, whole and of a kind that is loaded here; what it says of prompts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from eft_demo.errors import FamilyError
from eft_demo.families.prompt import ChatTemplate
from eft_demo.families.tokens import Codec
from eft_demo.families.weights import BROKEN, missing_files, weight_files

# What the library's own code runs and tests here hold against it. Anything else is refused unbuilt.
MODEL_TYPES = (
    "falcon", "gemma", "gemma2", "gemma3_text", "gpt_neox", "llama", "olmo2", "qwen2", "qwen3",
)  # fmt: skip
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
        width = int(config["vocab_size"])
        for path in weight_files(checkpoint.path):
            with safe_open(path, framework="pt"):
                pass
    except BROKEN as error:
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} is damaged ({_brief(error)}). "
            + checkpoint.way_out
        ) from None
    _check_kind(checkpoint, config)
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
        if not path.is_file():
            raise FamilyError(f"{path}, part of the adapter {adapter.role}, is missing. {adapter.way_out}")


def read_config(folder: Path) -> Mapping[str, Any]:
    """config.json as data. Raises what weights.BROKEN lists."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError("config.json is no table of entries")
    return config


def chat_template(checkpoint: Checkpoint) -> ChatTemplate | None:
    """The template in chat_template.jinja or tokenizer_config.json, or None if there is none."""
    config = _read_optional(checkpoint.path / "tokenizer_config.json")
    path = checkpoint.path / "chat_template.jinja"
    text = path.read_text(encoding="utf-8") if path.is_file() else config.get("chat_template")
    if isinstance(text, list):  # older files hold several by name
        named = {str(item.get("name")): item.get("template") for item in text if isinstance(item, dict)}
        text = named.get("default")
    if not isinstance(text, str):
        return None
    return ChatTemplate(text, {name: _token(config.get(name)) for name in TOKEN_NAMES if config.get(name)})


def stop_ids(checkpoint: Checkpoint, codec: Codec) -> set[int]:
    """Every id that the checkpoint's files call the end of a text or of a turn."""
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        ends = _read_optional(checkpoint.path / name).get("eos_token_id")
        found |= {end for end in (ends if isinstance(ends, list) else [ends]) if isinstance(end, int)}
    end_token = _token(_read_optional(checkpoint.path / "tokenizer_config.json").get("eos_token"))
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


def _token(value: Any) -> str:
    """A token as tokenizer_config.json names it: a text, or a table with one."""
    return str(value.get("content", "")) if isinstance(value, dict) else str(value or "")


def _read_optional(path: Path) -> Mapping[str, Any]:
    """A JSON file that need not be there. What cannot be read counts as not there."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
