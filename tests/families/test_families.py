"""Families: prompts become the right tokens, and missing or damaged files are errors that say what to do."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from eft_demo.errors import FamilyError
from eft_demo.families.bytelevel import byte_alphabet
from eft_demo.families.family import Family, encode_prompt, load_family
from eft_demo.models.load import load_models
from eft_demo.settings import Settings
from tests.tiny import STOP

TEXTS = [
    "What is the capital of Peru?",
    "Köln 東京 🙂",
    "<script>${x}</script>",
    " \n\t",
    "\x00\x7f",
    "a" * 500,
]


def decoded(family: Family, ids: list[int]) -> str:
    return b"".join(family.token_bytes[i] for i in ids).decode("utf-8", errors="replace")


@pytest.mark.parametrize("text", TEXTS)
def test_a_prompt_is_written_in_the_familys_format(tiny_family: Family, text: str) -> None:
    ids = encode_prompt(tiny_family, "large_base", text)
    assert decoded(tiny_family, ids) == f"User: {text}\nAssistant:"


@pytest.mark.parametrize("text", [STOP, f"a{STOP}b", f"{STOP}{STOP}", "<|endoftext"])
def test_control_tokens_typed_as_text_stay_text(tiny_family: Family, text: str) -> None:
    ids = encode_prompt(tiny_family, "assistant", text)
    assert tiny_family.stop_ids.isdisjoint(ids)
    assert text in decoded(tiny_family, ids)


def test_braces_in_a_prompt_are_just_text(tiny_family: Family) -> None:
    ids = encode_prompt(tiny_family, "assistant", "{prompt} {0} {}")
    assert decoded(tiny_family, ids) == "User: {prompt} {0} {}\nAssistant:"


def test_lone_surrogates_are_replaced_and_pairs_are_joined(tiny_family: Family) -> None:
    assert "a\ufffdb" in decoded(tiny_family, encode_prompt(tiny_family, "assistant", "a\ud800b"))
    assert "a\ufffdb" in decoded(tiny_family, encode_prompt(tiny_family, "assistant", "a\udfffb"))
    assert "🙂" in decoded(tiny_family, encode_prompt(tiny_family, "assistant", "\ud83d\ude42"))


def test_an_unknown_role_is_named(tiny_family: Family) -> None:
    with pytest.raises(FamilyError, match="has no wizard; it has assistant"):
        encode_prompt(tiny_family, "wizard", "hello")


def test_the_byte_alphabet_has_all_bytes() -> None:
    assert sorted(byte_alphabet().values()) == list(range(256))


def test_control_tokens_have_no_bytes(tiny_family: Family) -> None:
    assert tiny_family.stop_ids == {0}
    assert tiny_family.token_bytes[0] == b""
    assert all(tiny_family.token_bytes[1:])


def test_an_unknown_family_names_the_known_ones(tiny_settings: Settings) -> None:
    with pytest.raises(FamilyError, match="no family 'atlantis'.*found: tiny"):
        load_family("atlantis", tiny_settings)


@pytest.fixture
def broken(tiny_assets: Path, tmp_path: Path) -> tuple[Path, Settings]:
    """A copy of the tiny family to damage, and settings that use it."""
    shutil.copytree(tiny_assets / "tiny", tmp_path / "tiny")
    return tmp_path / "tiny", Settings(assets=tmp_path, dtype="fp32")


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "large_base/config.json", "assistant/model.safetensors", "small_base"]
)
def test_a_missing_file_is_named_with_what_to_do(broken: tuple[Path, Settings], name: str) -> None:
    folder, settings = broken
    shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    with pytest.raises(FamilyError, match=f"{name}.* missing.*train-atlas"):
        load_family("tiny", settings)


@pytest.mark.parametrize(
    "name", ["family.yaml", "tokenizer.json", "large_base/config.json", "assistant/model.safetensors"]
)
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe garbage {", b"version https://git-lfs.github.com/spec/v1\n", b"[]"]
)
def test_a_damaged_file_is_reported(broken: tuple[Path, Settings], name: str, content: bytes) -> None:
    folder, settings = broken
    (folder / name).write_bytes(content)
    with pytest.raises(FamilyError, match="(?s)tiny.*(train-atlas|git lfs|save it as UTF-8)"):
        load_family("tiny", settings)


def test_truncated_weights_are_reported(broken: tuple[Path, Settings]) -> None:
    folder, settings = broken
    weights = folder / "pirate" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(FamilyError, match="pirate .* damaged"):
        load_family("tiny", settings)


def test_weights_of_another_size_are_reported(broken: tuple[Path, Settings]) -> None:
    folder, settings = broken
    shutil.copy(folder / "large_base" / "model.safetensors", folder / "brief" / "model.safetensors")
    with pytest.raises(FamilyError, match="brief"):
        load_models(load_family("tiny", settings), torch.float32)


def test_a_vocabulary_that_does_not_match_is_reported(broken: tuple[Path, Settings]) -> None:
    folder, settings = broken
    config = json.loads((folder / "brief" / "config.json").read_text())
    (folder / "brief" / "config.json").write_text(json.dumps(config | {"vocab_size": 300}))
    with pytest.raises(FamilyError, match="brief knows 300 tokens.* do not belong together"):
        load_family("tiny", settings)


def changed(broken: tuple[Path, Settings], **entries: object) -> Settings:
    """Settings that use the tiny family with other entries in its file."""
    folder, settings = broken
    path = folder / "family.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | entries))
    return settings


@pytest.mark.parametrize(("entry", "value"), [("stop", ["<|nobody|>"]), ("bos", "<|nobody|>")])
def test_a_token_that_the_tokenizer_lacks_is_named(
    broken: tuple[Path, Settings], entry: str, value: object
) -> None:
    named = rf"{entry} token <\|nobody\|> of .*family.yaml is not in the tokenizer"
    with pytest.raises(FamilyError, match=named):
        load_family("tiny", changed(broken, **{entry: value}))


def test_a_bos_token_is_put_first(broken: tuple[Path, Settings]) -> None:
    assert load_family("tiny", changed(broken, bos=None)).bos_id is None
    family = load_family("tiny", changed(broken, bos=STOP))
    assert family.bos_id == family.codec.tokenizer.token_to_id(STOP)
    assert encode_prompt(family, "brief", "Hi")[0] == family.bos_id


def test_a_folder_without_an_adapter_is_none(broken: tuple[Path, Settings]) -> None:
    roles = {role: role for role in ("large_base", "small_base", "assistant", "pirate", "guarded")}
    adapter = {"brief": {"path": "brief", "adapter_of": "small_base"}}
    with pytest.raises(FamilyError, match="adapter_config.json, part of the adapter brief, is missing"):
        load_family("tiny", changed(broken, roles=roles | adapter))


def test_only_the_roles_asked_for_are_loaded(tiny_family: Family) -> None:
    models = load_models(replace(tiny_family), torch.float32, ["small_base", "brief"])
    assert list(models) == ["small_base", "brief"]
    assert models["brief"].vocab == tiny_family.vocab
