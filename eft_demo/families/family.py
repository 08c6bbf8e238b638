"""A family: which checkpoint plays which role, one tokenizer, how a prompt is written, when an answer ends.

Reads `family.yaml` and `tokenizer.json` of a folder in assets and checks that all is there. Knows files and
tokens; does not know how a model runs. What is missing or damaged is a FamilyError with the file's name and
the way out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from eft_demo.errors import FamilyError
from eft_demo.families.bytelevel import bytes_of_tokens
from eft_demo.settings import Settings

PLACEHOLDER = "{prompt}"
WAY_OUT = "Please restore the file from the repository or run `python -m eft_demo train-atlas`."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where one role's weights lie: a folder with config.json and model.safetensors.

    That of an adapter has adapter_config.json and adapter_model.safetensors; `adapter_of` is its base's role.
    """

    role: str
    path: Path
    adapter_of: str | None = None


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A manner that a small model was tuned to; its role in recipes, and what to call it."""

    role: str
    title: str
    description: str


@dataclass(frozen=True, slots=True)
class Family:
    """Models that share a tokenizer. `token_bytes[id]` are the bytes of a token; control tokens have none."""

    name: str
    title: str
    licence: str
    roles: Mapping[str, Checkpoint]
    behaviours: tuple[Behaviour, ...]
    prompt_format: str  # holds {prompt} once; the same for every role of this family
    stop_ids: frozenset[int]
    context: int  # tokens, prompt and answer together
    tokenizer: Tokenizer
    token_bytes: tuple[bytes, ...]
    banned_ids: frozenset[int] = frozenset()  # control tokens that end nothing: no answer may hold them

    @property
    def vocab(self) -> int:
        return len(self.token_bytes)


def load_family(name: str, settings: Settings) -> Family:
    """Read the family in the folder `name` of the assets. Raises FamilyError."""
    folder = settings.assets / name
    known = sorted(path.parent.name for path in settings.assets.glob("*/family.yaml"))
    if name not in known:
        raise FamilyError(
            f"There is no family {name!r} in {settings.assets}; found: {', '.join(known) or 'none'}. "
            "Choose one of these with --family, or set EFT_ASSETS to the folder that holds it."
        )
    entry = _read_catalogue(folder / "family.yaml")
    tokenizer = _read_tokenizer(folder / "tokenizer.json")
    token_bytes = bytes_of_tokens(tokenizer)
    try:
        roles = {role: _checkpoint(role, given, folder) for role, given in entry["roles"].items()}
        behaviours = tuple(Behaviour(**behaviour) for behaviour in entry["behaviours"])
        stop_ids = frozenset(_stop_id(tokenizer, token, folder) for token in entry["stop"])
        prompt_format, context = str(entry["prompt"]), int(entry["context"])
        title, licence = str(entry["title"]), str(entry["licence"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FamilyError(f"{folder / 'family.yaml'} is not as it should be ({error!r}). {WAY_OUT}") from None
    if prompt_format.count(PLACEHOLDER) != 1:
        raise FamilyError(
            f"The prompt format in {folder / 'family.yaml'} must hold {PLACEHOLDER} once. {WAY_OUT}"
        )
    for checkpoint in roles.values():
        if checkpoint.adapter_of is None:
            _check_checkpoint(checkpoint, len(token_bytes))
        else:
            _check_adapter(checkpoint, roles)
    banned_ids = frozenset(i for i, piece in enumerate(token_bytes) if not piece) - stop_ids
    return Family(
        name,
        title,
        licence,
        roles,
        behaviours,
        prompt_format,
        stop_ids,
        context,
        tokenizer,
        token_bytes,
        banned_ids,
    )


def encode_prompt(family: Family, role: str, text: str) -> list[int]:
    """The token ids that ask `role` the question `text`.

    Control tokens typed as text stay text, and lone surrogates, which no encoding knows, become U+FFFD.
    """
    if role not in family.roles:
        raise FamilyError(f"The family {family.title} has no {role}; it has {', '.join(family.roles)}.")
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    before, after = family.prompt_format.split(PLACEHOLDER)
    # Encoded as one text, because the models were trained on the merges across the seams.
    return family.tokenizer.encode(before + clean + after, add_special_tokens=False).ids


def _read_catalogue(path: Path) -> dict[str, Any]:
    try:
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FamilyError(f"{path} cannot be read ({type(error).__name__}). {WAY_OUT}") from None
    if not isinstance(entry, dict):
        raise FamilyError(f"{path} is not a table of entries. {WAY_OUT}")
    return entry


def _read_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise FamilyError(f"The tokenizer {path} is missing. {WAY_OUT}")
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises plain Exception for a file it cannot read
        raise FamilyError(f"The tokenizer {path} is damaged ({_brief(error)}). {WAY_OUT}") from None
    # Without this a person who types <|endoftext|> would end the prompt there.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _stop_id(tokenizer: Tokenizer, token: str, folder: Path) -> int:
    stop_id = tokenizer.token_to_id(token)
    if stop_id is None:
        raise FamilyError(f"The stop token {token} is not in {folder / 'tokenizer.json'}. {WAY_OUT}")
    return stop_id


def _checkpoint(role: str, given: str | Mapping[str, str], folder: Path) -> Checkpoint:
    """From `role: folder`, or for an adapter `role: {path: folder, adapter_of: role of its base}`."""
    if isinstance(given, str):
        return Checkpoint(role, folder / given)
    return Checkpoint(role, folder / given["path"], given["adapter_of"])


def _check_adapter(adapter: Checkpoint, roles: Mapping[str, Checkpoint]) -> None:
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
            raise FamilyError(f"{path}, part of the adapter {adapter.role}, is missing. {WAY_OUT}")


def _check_checkpoint(checkpoint: Checkpoint, vocab: int) -> None:
    """The files are there, can be opened and fit the tokenizer. The weights themselves are not read."""
    config, weights = checkpoint.path / "config.json", checkpoint.path / "model.safetensors"
    for path in (config, weights):
        if not path.is_file():
            raise FamilyError(f"{path}, part of the model {checkpoint.role}, is missing. {WAY_OUT}")
    try:
        width = int(json.loads(config.read_text(encoding="utf-8"))["vocab_size"])
        with safe_open(weights, framework="pt"):
            pass
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise FamilyError(
            f"The model {checkpoint.role} in {checkpoint.path} is damaged ({_brief(error)}). {WAY_OUT}"
        ) from None
    if width < vocab:
        raise FamilyError(
            f"The model {checkpoint.role} knows {width:,} tokens and the tokenizer {vocab:,}: "
            f"they do not belong together. {WAY_OUT}"
        )


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
