"""GGUF files: what their headers say, families that name them, and damaged files that are refused."""

import random
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from eft_demo.errors import FamilyError, InputError
from eft_demo.families.catalogue import read_entry
from eft_demo.families.checkpoint import Checkpoint, check
from eft_demo.families.family import Family, encode_prompt, load_family
from eft_demo.families.gguf import FORMATS, read_gguf
from eft_demo.families.gguf_model import (
    END_TOKENS,
    SPLITS,
    gguf_bos_id,
    gguf_codec,
    gguf_stop_ids,
    gguf_template,
    gguf_token_bytes,
    gguf_vocabulary,
    model_size,
)
from eft_demo.families.hub import QUIET, cached_folder, download
from eft_demo.families.tokens import make_codec
from eft_demo.lab import baseline
from eft_demo.lab.quantisation import report
from eft_demo.models import llama_cpp
from eft_demo.models.open import open_family
from eft_demo.models.plan import make_plan
from eft_demo.models.provenance import made_with
from eft_demo.settings import Settings
from tests.checkpoints import CHAT, ROLES, byte_level, sentencepiece
from tests.gguf import convert, make_gguf_family, text_bytes, tokenizer_entries, value_bytes, write_gguf
from tests.hub import folder_hub

FP32 = Settings(dtype="fp32", threads=1)
TENSOR = {"token_embd.weight": np.ones((4, 8), "<f4")}
TEXTS = ["Who flows?", "Köln 東京 🙂 1234", " \n\t  x", "it's <|end|> a\r\n\r\n  test"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A family of three GGUF files, beside the checkpoints that they were made from."""
    folder = tmp_path_factory.mktemp("gguf")
    make_gguf_family(folder, "llama2")
    return folder


@pytest.fixture(scope="module")
def family(folder: Path) -> Family:
    return load_family(read_entry(folder / "gguf.yaml"), FP32)


def tokenizer_file(folder: Path, **changes: Any) -> Path:
    """A file with a tokenizer and no weights worth mentioning."""
    entries = tokenizer_entries(byte_level(), 400) | {"general.architecture": "llama"}
    return write_gguf(folder / "tokens.gguf", entries | changes, TENSOR)


def test_a_header_is_read(tmp_path: Path) -> None:
    entries = {"a": "text", "b": 7, "c": 0.5, "d": True, "e": ["x", "y"], "f": [1, -2], "g": "東京"}
    for version in (2, 3):
        file = read_gguf(write_gguf(tmp_path / f"{version}.gguf", entries, TENSOR, version))
        assert (file.text("a"), file.integer("b"), file.flag("d")) == ("text", 7, True)
        assert (file.texts("e"), file.integers("f"), file.entries["c"]) == (["x", "y"], [1, -2], 0.5)
        assert file.tensors["token_embd.weight"].shape == (8, 4)
        assert (file.weights_bytes, file.format) == (4 * 8 * 4, "F32")
        assert (file.text("missing"), file.integer("missing"), file.flag("missing")) == ("", None, None)
    for getter, key in ((file.text, "b"), (file.integer, "d"), (file.flag, "b"), (file.texts, "f")):
        with pytest.raises(ValueError, match=key):
            getter(key)


def test_the_formats_have_the_sizes_of_the_gguf_package() -> None:
    constants = pytest.importorskip("gguf.constants", reason="the package gguf is not installed")
    for number, (name, block, size) in FORMATS.items():
        kind = constants.GGMLQuantizationType(number)
        assert (kind.name, constants.GGML_QUANT_SIZES[kind]) == (name, (block, size))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends too early"),
        (b"GGML" + bytes(40), "does not start like"),
        (b"GGUF" + struct.pack("<IQQ", 3_744_550_828, 0, 0), "version 3,744,550,828"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1), "ends too early"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "entries"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62), "bytes"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text_bytes("a") + struct.pack("<I", 99), "unknown kind 99"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text_bytes("a") + struct.pack("<IIQ", 9, 8, 1 << 40),
            "too long",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text_bytes("a") + struct.pack("<IIQ", 9, 4, 1 << 40),
            "too long",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text_bytes("a") + struct.pack("<IIQ", 9, 9, 1),
            "unknown kind 9",
        ),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + 2 * (text_bytes("a") + value_bytes("x")), "'a' twice"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2) + b"\xff\xff", "utf-8"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_gguf(path)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1;.* 2 and 3.*newer file"),
        (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "version 4;.* 2 and 3"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), r"big-endian .*version 3.*little-endian"),
        (struct.pack("<II", 0x67676D6C, 1) + bytes(40), "GGML"),
        (struct.pack("<II", 0x67676A74, 3) + bytes(40), "GGML"),
        (None, "is a folder"),
    ],
)
def test_an_intact_file_of_another_form_is_not_called_damaged(
    tmp_path: Path, content: bytes | None, fact: str
) -> None:
    path = tmp_path / "x.gguf"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(FamilyError, match=f"x.gguf.*{fact}") as caught:
        check(Checkpoint("large_base", path, advice="Restore it."), 10)
    assert "damaged" not in str(caught.value) and "Please" in str(caught.value)


def tensor_bytes(
    name: str = "a",
    shape: tuple[int, ...] = (8,),
    kind: int = 0,
    offset: int = 0,
    dimensions: int | None = None,
) -> bytes:
    count = len(shape) if dimensions is None else dimensions
    return text_bytes(name) + struct.pack(f"<I{len(shape)}QIQ", count, *shape, kind, offset)


@pytest.mark.parametrize("kind", [4, 36, 99])  # no longer in use, and not yet
def test_a_tensor_in_an_unknown_format_is_not_called_damaged(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "x.gguf"
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor_bytes(kind=kind)
    path.write_bytes(header + bytes(-len(header) % 32) + bytes(256))
    with pytest.raises(FamilyError, match=f"x.gguf .*format number {kind}, .*Q8_0"):
        read_gguf(path)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ([tensor_bytes(kind=1 << 31)], "format number 2,147,483,648"),
        ([tensor_bytes(kind=2)], "shape"),  # blocks of 32
        ([tensor_bytes(shape=(0,))], "shape"),
        ([tensor_bytes(shape=(1 << 62, 1 << 62))], "not all in the file"),
        ([tensor_bytes(shape=(65,))], "not all in the file"),
        ([tensor_bytes(offset=1 << 63)], "not all in the file"),
        ([tensor_bytes(offset=4)], "where it may"),
        ([tensor_bytes(dimensions=0)], "0 dimensions"),
        ([tensor_bytes(dimensions=5)], "5 dimensions"),
        ([tensor_bytes(), tensor_bytes(offset=32)], "twice"),
        ([tensor_bytes(), tensor_bytes("b")], "not all in the file"),  # in the same place
    ],
)
def test_a_tensor_that_is_not_in_the_file_is_refused(
    tmp_path: Path, tensors: list[bytes], reason: str
) -> None:
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0) + b"".join(tensors)
    path = tmp_path / "x.gguf"
    path.write_bytes(header + bytes(-len(header) % 32) + bytes(256))
    with pytest.raises(ValueError, match=reason):
        read_gguf(path)


@pytest.mark.parametrize("align", [0, 3, 1 << 20, "32"])
def test_an_alignment_that_is_no_power_of_two_is_refused(tmp_path: Path, align: object) -> None:
    with pytest.raises(ValueError, match="alignment"):
        read_gguf(write_gguf(tmp_path / "x.gguf", {"general.alignment": align}, TENSOR))


@given(st.randoms(use_true_random=False))
def test_a_damaged_header_raises_only_what_callers_expect(folder: Path, rng: random.Random) -> None:
    content = bytearray((folder / "polite.gguf").read_bytes())
    header = content.index(b"blk.1")
    for _ in range(rng.randint(1, 4)):
        content[rng.randrange(header)] = rng.randrange(256)
    if rng.random() < 0.3:
        del content[rng.randrange(len(content)) :]
    path = folder / "damaged.gguf"
    path.write_bytes(content)
    readers = (model_size, gguf_vocabulary, gguf_token_bytes, gguf_stop_ids, gguf_template, gguf_bos_id)
    try:
        file = read_gguf(path)
    except (ValueError, FamilyError):
        return
    for reader in readers:
        try:
            reader(file)
        except (ValueError, KeyError, FamilyError):
            pass


def test_the_rebuilt_tokenizer_equals_the_original(folder: Path) -> None:
    original, rebuilt = make_codec(byte_level()), gguf_codec(read_gguf(folder / "polite.gguf"))
    assert rebuilt.token_bytes == original.token_bytes
    assert rebuilt.control_ids == original.control_ids
    for text in TEXTS:
        assert rebuilt.encode(text) == original.encode(text)
        around = ["<|user|>\n", "<|end|>\n<|assistant|>\n"]
        assert rebuilt.encode_around(around, [text]) == original.encode_around(around, [text])


def pieces(kind: str, text: str) -> list[str]:
    return [piece for piece, _ in SPLITS[kind].pre_tokenize_str(text)]


def test_each_kind_splits_texts_like_its_models() -> None:
    assert pieces("gpt-2", "in 1234 it's\n\n1") == ["in", "Ġ1234", "Ġit", "'s", "Ċ", "Ċ", "1"]
    assert pieces("smollm", "in 1234\n\n1") == ["in", "Ġ", "1", "2", "3", "4", "ĊĊ", "1"]
    assert pieces("llama-bpe", "in 1234 IT'S\n\n1") == ["in", "Ġ", "123", "4", "ĠIT", "'S", "ĊĊ", "1"]
    assert pieces("qwen2", "in 1234 IT'S!\n\n1") == [
        "in", "Ġ", "1", "2", "3", "4", "ĠIT", "'S", "!ĊĊ", "1",
    ]  # fmt: skip


def test_user_defined_tokens_have_bytes_and_control_tokens_have_none(tmp_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    entries = tokenizer_entries(tokenizer, 400)
    tool = int(tokenizer.token_to_id("<tool>") or 0)
    entries["tokenizer.ggml.token_type"][tool] = 4
    file = read_gguf(write_gguf(tmp_path / "x.gguf", entries, TENSOR))
    codec = gguf_codec(file)
    assert codec.token_bytes[tool] == b"<tool>" and tool not in codec.control_ids.values()
    assert codec.token_bytes[0] == b"" and codec.control_ids["<|endoftext|>"] == 0
    assert codec.encode("a <tool>")[-1] == tool
    assert tool not in gguf_token_bytes(file)


@pytest.mark.parametrize(
    ("changes", "bos"),
    [
        ({}, None),
        ({"tokenizer.ggml.add_bos_token": True}, 0),
        ({"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 1 << 30}, None),
    ],
)
def test_the_first_token_is_the_one_the_file_names(
    tmp_path: Path, changes: dict[str, Any], bos: int | None
) -> None:
    assert gguf_codec(read_gguf(tokenizer_file(tmp_path, **changes))).bos_id == bos


@pytest.mark.parametrize(("pre", "bos"), [("llama-bpe", 0), ("smollm", None)])
def test_without_a_word_about_it_the_kind_decides_on_the_first_token(
    tmp_path: Path, pre: str, bos: int | None
) -> None:
    entries = tokenizer_entries(byte_level(), 400) | {"tokenizer.ggml.pre": pre}
    del entries["tokenizer.ggml.add_bos_token"]
    assert gguf_codec(read_gguf(write_gguf(tmp_path / "x.gguf", entries, TENSOR))).bos_id == bos


def test_stop_tokens_are_those_named_and_those_known(tmp_path: Path) -> None:
    tokenizer = byte_level(["<|im_end|>", "<|eot_id|>", "<|user|>"])
    ids = {token: tokenizer.token_to_id(token) for token in ("<|im_end|>", "<|eot_id|>", "<|user|>")}
    entries = tokenizer_entries(tokenizer, 400) | {"tokenizer.ggml.eot_token_id": ids["<|user|>"]}
    file = read_gguf(write_gguf(tmp_path / "x.gguf", entries, TENSOR))
    assert gguf_stop_ids(file) == {0, *ids.values()}
    assert {"<|im_end|>", "<|eot_id|>"} <= set(END_TOKENS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tokenizer.ggml.pre": "tekken"}, "'tekken'.*tokenizer: tokenizer.json"),
        ({"tokenizer.ggml.model": "llama"}, "'llama'.*tokenizer: tokenizer.json"),
        ({"tokenizer.ggml.model": "bert"}, "bert"),
        ({"tokenizer.ggml.merges": ["ab"]}, "merge"),
        ({"tokenizer.ggml.token_type": [1, 1]}, "2 kinds"),
        ({"tokenizer.ggml.tokens": ["a", "a"], "tokenizer.ggml.token_type": [1, 1]}, "twice"),
        ({"tokenizer.ggml.tokens": [], "tokenizer.ggml.token_type": []}, "tokens"),
    ],
)
def test_a_tokenizer_that_cannot_be_rebuilt_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises((FamilyError, ValueError), match=reason):
        gguf_codec(read_gguf(tokenizer_file(tmp_path, **changes)))


def test_a_family_of_gguf_files_needs_nothing_beside_them(folder: Path, family: Family) -> None:
    assert family.vocab == byte_level().get_vocab_size()
    assert family.stop_ids == {0, byte_level().token_to_id("<|end|>")}
    from_folders = load_family(read_entry(folder / "llama2.yaml"), FP32)
    assert family.token_bytes == from_folders.token_bytes
    assert family.banned_ids == from_folders.banned_ids
    for role in ROLES:
        for text in TEXTS:
            assert encode_prompt(family, role, text) == encode_prompt(from_folders, role, text)
    template = gguf_template(read_gguf(folder / "polite.gguf"))
    assert template is not None and template.text == CHAT
    assert template.tokens == {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    assert gguf_template(read_gguf(folder / "large_base.gguf")) is None


def changed(folder: Path, text: str, name: str = "own.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_gguf_file_beside_folders_uses_their_tokenizer(folder: Path, tmp_path: Path) -> None:
    entry = yaml.safe_load((folder / "llama2.yaml").read_text())
    entry["roles"]["large_base"] = {"gguf": "large_base.gguf"}
    found = read_entry(changed(folder, yaml.safe_dump(entry)))
    assert found.tokenizer == "small_base"
    assert load_family(found, FP32).vocab == byte_level().get_vocab_size()
    entry["roles"]["large_base"] = "large_base.gguf"  # the short form
    assert read_entry(changed(folder, yaml.safe_dump(entry))).roles["large_base"].is_gguf


def test_vocabularies_are_compared_id_by_id(folder: Path) -> None:
    entry = yaml.safe_load((folder / "llama2.yaml").read_text())
    entry["roles"]["large_base"] = {"gguf": "other.gguf"}
    path = changed(folder, yaml.safe_dump(entry))
    vocabulary = byte_level().get_vocab(with_added_tokens=True)
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    tokens[300], tokens[301] = tokens[301], tokens[300]
    tokens += [f"[PAD{i}]" for i in range(len(tokens), 512)]
    other: dict[str, Any] = {"tokenizer.ggml.tokens": tokens}
    convert(folder / "large_base", folder / "other.gguf", byte_level(), **other)
    with pytest.raises(
        FamilyError, match=r"differ in 2 of .*id 300 is .* in small_base and .* in large_base"
    ):
        load_family(read_entry(path), FP32)


def test_tokens_that_are_spelled_alike_but_have_other_bytes_are_refused(folder: Path) -> None:
    entry = yaml.safe_load((folder / "llama2.yaml").read_text())
    entry["roles"]["large_base"] = {"gguf": "spelled.gguf"}
    path = changed(folder, yaml.safe_dump(entry))
    kind = {"tokenizer.ggml.model": "llama"}  # where Ġ is a letter, not a space
    convert(folder / "large_base", folder / "spelled.gguf", byte_level(), **kind)
    with pytest.raises(FamilyError, match=r"small_base and large_base differ in 2.. ids .id 95 is"):
        load_family(read_entry(path), FP32)


def test_a_sentencepiece_vocabulary_is_compared_but_not_rebuilt(tmp_path: Path) -> None:
    tokenizer = sentencepiece()
    original = make_codec(Tokenizer.from_str(tokenizer.to_str()))
    tokens = sorted(tokenizer.get_vocab(), key=lambda token: tokenizer.get_vocab()[token])
    kinds = [3 if token in ("<unk>", "<s>", "</s>") else 1 for token in tokens]
    entries = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.bos_token_id": 1,
    }
    file = read_gguf(write_gguf(tmp_path / "x.gguf", entries, TENSOR))
    assert gguf_vocabulary(file) == tokenizer.get_vocab()
    assert all(original.token_bytes[i] == found for i, found in gguf_token_bytes(file).items())
    assert gguf_bos_id(file) == 1
    assert gguf_stop_ids(file) == {2}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"general.architecture": "mamba"}, "'mamba'.*one of these kinds: .*qwen2"),
        ({"general.type": "adapter"}, "an? adapter, not a model"),
        ({"split.count": 3}, "one of 3 parts.*llama-gguf-split --merge"),
        ({"llama.block_count": 1 << 31}, "block_count"),
        ({"llama.block_count": 500}, "500 layers"),
        ({"llama.block_count": 0}, "block_count"),
        ({"llama.attention.head_count": 0}, "head_count"),
        ({"llama.embedding_length": 65}, "token_embd"),
        # Each of these ends the process in llama.cpp.
        ({"llama.attention.layer_norm_rms_epsilon": -1.0}, "epsilon is -1.0"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "epsilon is nan"),
        ({"llama.rope.scaling.type": "x"}, "rope.scaling.type is 'x'"),
        ({"llama.expert_count": 1}, "expert_count is 1"),
        ({"llama.nextn_predict_layers": 31}, "nextn_predict_layers is 31"),
        ({"llama.attention.causal": False}, "causal"),
        ({"tokenizer.ggml.model": "bert"}, "'bert'"),
        ({"tokenizer.chat_template": "x" * 1_000_001}, "template"),
        ({"tokenizer.ggml.eos_token_id": "0"}, "eos_token_id"),
    ],
)
def test_a_file_that_llama_cpp_should_not_see_is_refused(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    entry = yaml.safe_load((folder / "gguf.yaml").read_text())
    entry["roles"]["large_base"]["gguf"] = "refused.gguf"
    path = changed(folder, yaml.safe_dump(entry))
    convert(folder / "large_base", folder / "refused.gguf", byte_level(), **changes)
    with pytest.raises(FamilyError, match=reason) as caught:
        load_family(read_entry(path), FP32)
    assert "refused.gguf" in str(caught.value)
    intact = ("causal", "expert_count", "nextn_predict_layers", "mamba", "adapter", "3 parts", "bert")
    assert ("damaged" in str(caught.value)) != any(word in reason for word in intact)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing.*set another file"),
        (b"", "damaged"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
    ],
)
def test_a_file_that_is_not_there_or_something_else_is_reported(
    folder: Path, content: bytes | None, reason: str
) -> None:
    entry = yaml.safe_load((folder / "gguf.yaml").read_text())
    entry["roles"]["large_base"]["gguf"] = "absent.gguf"
    (folder / "absent.gguf").unlink(missing_ok=True)
    if content is not None:
        (folder / "absent.gguf").write_bytes(content)
    with pytest.raises(FamilyError, match=reason):
        load_family(read_entry(changed(folder, yaml.safe_dump(entry))), FP32)


OWN = """\
title: Mine
licence: MIT
context: 128
prompt: "Q: {prompt}\\nA:"
roles:
  large_base: {repo: me/big, gguf: Q4/big.gguf}
  small_base: {gguf: small.gguf}
  polite: {path: polite}
behaviours:
  - {role: polite, title: Polite, description: Says please.}
"""


def test_a_family_file_names_gguf_files(tmp_path: Path) -> None:
    entry = read_entry(changed(tmp_path, OWN))
    large, small = entry.roles["large_base"], entry.roles["small_base"]
    assert (large.repo, large.gguf, large.path, large.source) == (
        "me/big", "Q4/big.gguf", None, "me/big/Q4/big.gguf",
    )  # fmt: skip
    assert (small.path, small.is_gguf, entry.roles["polite"].is_gguf) == (
        tmp_path / "small.gguf", True, False,
    )  # fmt: skip
    assert entry.tokenizer == "large_base"  # both bases are GGUF files


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("small.gguf", "small.bin", "line 7: roles.small_base.gguf must be the name of a .gguf file"),
        ("Q4/big.gguf", "../big.gguf", "line 6: .*gguf must be"),
        ("Q4/big.gguf", "/big.gguf", "line 6: .*gguf must be"),
        ("{gguf: small.gguf}", "{path: x, gguf: small.gguf}", "line 7: .*one of these: a repo"),
        ("{gguf: small.gguf}", "{gguf: ''}", "line 7: .*empty"),
        ("{path: polite}", "{path: polite, adapter_of: large_base}", "line 8: .*convert the result to GGUF"),
        ("{path: polite}", "{gguf: a.gguf, adapter_of: small_base}", "line 8: .*adapter"),
    ],
)
def test_a_mistake_in_a_family_file_is_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in OWN
    with pytest.raises(FamilyError, match=sentence):
        read_entry(changed(tmp_path, OWN.replace(old, new)))


def test_the_plan_counts_the_files_bytes_and_the_cache(folder: Path) -> None:
    entry = read_entry(folder / "gguf.yaml")
    plan = make_plan(entry, Settings(dtype="fp32", max_sequences=4), free={"cpu": 10**9})
    large = plan.of("large_base")
    file = read_gguf(folder / "large_base.gguf")
    assert large.weights_bytes == file.weights_bytes
    assert abs(large.weights_bytes - (folder / "large_base.gguf").stat().st_size) < 40_000  # the header
    cache = 4 * 64 * 2 * 2 * 4 * 16 * 4  # rows, tokens, k and v, layers, heads, width, bytes
    assert large.cache_bytes == cache + (llama_cpp.BATCH + 4) * 512 * 4  # and logits
    assert (large.quantisation, large.device, large.here) == ("F32", "cpu", True)
    assert "GGUF" in large.reason and large.parameters == file.weights_bytes // 4


@pytest.mark.parametrize(
    ("offers", "free", "device", "expected"),
    [
        (True, {"cpu": 10**9, "cuda:0": 2 * 10**9}, "auto", "cuda:0"),
        (False, {"cpu": 10**9, "cuda:0": 2 * 10**9}, "auto", "cpu"),  # only torch knows the card
        (True, {"cpu": 10**9}, "auto", "gpu"),  # only llama.cpp does
        (True, {"cpu": 10**9}, "cpu", "cpu"),
        (False, {"cpu": 10**9}, "auto", "cpu"),
    ],
)
def test_a_file_goes_to_a_gpu_if_llama_cpp_offers_one(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    offers: bool,
    free: dict[str, int],
    device: str,
    expected: str,
) -> None:
    monkeypatch.setattr(llama_cpp, "offers_gpu", lambda: offers)
    plan = make_plan(read_entry(folder / "gguf.yaml"), Settings(dtype="fp32", device=device), free=free)
    assert {place.device for place in plan.placements} == {expected}
    assert plan.fits and set(plan.needed_bytes) == {expected.replace("gpu", "cpu")}


def test_a_file_comes_from_a_repository_and_nothing_else(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = tmp_path / "hub" / "me" / "big"
    repo.mkdir(parents=True)
    for name in ("large.Q4.gguf", "large.Q8.gguf"):
        shutil.copy(folder / "large_base.gguf", repo / name)
    (repo / "config.json").write_text("{}")
    with folder_hub(tmp_path / "hub", tmp_path / "cache", monkeypatch) as hub:
        assert cached_folder("me/big", None, gguf="large.Q4.gguf") is None
        path = download("me/big", None, QUIET, gguf="large.Q4.gguf")
        assert path.name == "large.Q4.gguf" and read_gguf(path).format == "F32"
        assert [file.name for file in path.parent.iterdir()] == ["large.Q4.gguf"]
        hub.asked.clear()
        assert download("me/big", None, QUIET, gguf="large.Q4.gguf") == path and not hub.asked
        with pytest.raises(FamilyError, match=r"has no file large.Q5.gguf.*large.Q4.gguf, large.Q8.gguf"):
            download("me/big", None, QUIET, gguf="large.Q5.gguf")
        entry = yaml.safe_load((folder / "gguf.yaml").read_text())
        entry["roles"]["large_base"] = {"repo": "me/big", "gguf": "large.Q4.gguf"}
        found = read_entry(changed(folder, yaml.safe_dump(entry)))
        family, plan = load_family(found, FP32), make_plan(found, FP32)
    assert plan.of("large_base").here and plan.of("large_base").quantisation == "F32"
    made = made_with(family, plan, ["large_base", "small_base"]).models
    assert made["large_base"].revision == path.parent.name
    assert (made["large_base"].source, made["large_base"].number_format) == ("me/big", "F32")
    assert len(made["small_base"].revision) == 12  # a fingerprint of the file


def test_what_reads_only_safetensors_refuses_a_gguf_file(folder: Path) -> None:
    with pytest.raises(InputError, match="large_base of Real is a GGUF file"):
        report(FP32, str(folder / "gguf.yaml"), "nf4")
    with pytest.raises(FamilyError, match="is a GGUF file"):
        baseline.load(folder / "large_base.gguf", torch.float32)


def test_without_llama_cpp_the_command_that_installs_it_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp, "find_spec", lambda name: None)
    with pytest.raises(FamilyError, match=r"large_base.*GGUF.*pip install 'llama-cpp-python>="):
        open_family(read_entry(folder / "gguf.yaml"), FP32)
