"""Every damaged or hostile part of a family gives an error message in time."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from eft_demo.errors import EFTError, FamilyError, OutOfMemory
from eft_demo.families import rendering
from eft_demo.families.catalogue import read_entry
from eft_demo.families.checkpoint import QUANT_METHODS
from eft_demo.families.files import MAX_YAML_BYTES
from eft_demo.families.prompt import ChatTemplate, Frame, around
from eft_demo.families.tokens import read_codec
from eft_demo.models.memory import is_out_of_memory
from eft_demo.models.open import open_family
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.settings import Settings
from eft_demo.ui.family_switch import load_first
from tests.checkpoints import byte_level, make_real_family

FP32 = Settings(dtype="fp32", threads=1, max_sequences=4)
CHAT = PromptFormat("chat", "")
QUESTION = "{{ messages[0].content }}"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 268290112\n"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    for kind in ("qwen2", "llama3"):  # one is loaded by the hand-written path, one by the library
        make_real_family(folder / kind, kind)
    return folder


@pytest.fixture
def family(originals: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The family file of a fresh copy of a family of this kind."""

    def copy(kind: str) -> Path:
        return shutil.copytree(originals / kind, tmp_path / kind) / f"{kind}.yaml"

    return copy


def test_templates_have_the_environment_of_transformers_and_a_fixed_clock() -> None:
    template = (
        "{% generation %}" + QUESTION + "{% endgeneration %}{% for x in [1, 2] %}{% if x == 2 %}{% break %}"
        "{% endif %}{% endfor %}{{ strftime_now('%d %b %Y') }}{{ {'a': '<ü>'} | tojson }}"
        "{% set ns = namespace(n=1) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}"
    )
    assert around(CHAT, ChatTemplate(template, {})) == Frame("", '26 Jul 2024{"a": "<ü>"}2')


@pytest.mark.parametrize(
    ("template", "cause"),
    [
        ("{{ 1/0 }}", "ZeroDivisionError"),
        ("{% if %}", "TemplateSyntaxError in line 1"),
        ("{{ nothing.at.all }}", "UndefinedError.*'nothing' is undefined"),
        ("{{ raise_exception('only users speak') }}", "only users speak"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{% include '/etc/passwd' %}", "TypeError"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
        ("{{ " + "(" * 9000, "RecursionError"),
        ("{{ 'x' * 10 ** 10 }}", "too much memory"),
        ("{{ 'x' | center(10 ** 10) }}", "too much memory"),
        (
            "{% set ns = namespace(a='x' * 99) %}{% for i in range(99) %}{% set ns.a = ns.a ~ ns.a %}"
            "{% endfor %}",
            "too much memory",
        ),
        (QUESTION + "{{ 'y' * 300000 }}", "300,0.. characters, and the limit is 200,000"),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
            "{% endfor %}{% endfor %}{% endfor %}",
            "more than 1 second",
        ),
        ("{{ lipsum(n=10 ** 6) }}", "more than 1 second"),
        ("{{ (10 ** 9999999) % 7 }}", "more than 1 second|0 times"),
    ],
)
def test_a_hostile_template_is_refused_in_time(
    monkeypatch: pytest.MonkeyPatch, template: str, cause: str
) -> None:
    around(CHAT, ChatTemplate(QUESTION, {}))  # the process has started
    # Only what takes long has little time: on a busy machine, the memory would be full a second later.
    monkeypatch.setattr(rendering, "RENDER_S", 1.0 if "1 second" in cause else 60.0)
    with pytest.raises(FamilyError, match=f"(?s)chat template.*({cause}).*plain format"):
        around(CHAT, ChatTemplate(template, {}))
    assert around(CHAT, ChatTemplate(QUESTION + "!", {})) == Frame("", "!")


def test_advice_mentions_the_system_prompt_only_if_there_is_one() -> None:
    template = ChatTemplate("{{ raise_exception('no') }}", {})
    with pytest.raises(FamilyError, match="Please leave the system prompt empty, or choose"):
        around(PromptFormat("chat", "Be brief."), template)
    with pytest.raises(FamilyError, match="Please choose the plain format"):
        around(CHAT, template)


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("kind", ["qwen2", "llama3"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_attention_heads", 0),
        ("num_attention_heads", -4),
        ("num_attention_heads", "4"),
        ("num_attention_heads", None),
        ("num_attention_heads", 10**30),
        ("num_key_value_heads", -1),
        ("num_key_value_heads", 3),
        ("num_hidden_layers", 0),
        ("num_hidden_layers", 5000),
        ("num_hidden_layers", True),
        ("hidden_size", 10**12),
        ("hidden_size", 0.5),
        ("hidden_size", float("inf")),
        ("vocab_size", "x"),
        ("head_dim", 7),
        ("intermediate_size", 100),
        ("max_position_embeddings", -1),
        ("max_position_embeddings", 1),
        ("rms_norm_eps", []),
        ("hidden_act", "no_such"),
        ("rope_parameters", [[]]),
        ("model_type", None),
    ],
)
def test_an_implausible_configuration_is_refused(
    family: Callable[[str], Path], kind: str, name: str, value: object
) -> None:
    file = family(kind)
    change_json(file.parent / "small_base" / "config.json", **{name: value})
    with pytest.raises(EFTError, match="(?s)small_base|This needs"):
        open_family(read_entry(file), FP32)


@pytest.mark.parametrize("kind", ["qwen2", "llama3"])
@pytest.mark.parametrize(
    ("quantised", "named"),
    [
        ({"quant_method": "no_such"}, "'no_such'"),
        ({"quant_method": ["awq"]}, "a list"),
        ({"quant_method": "bitsandbytes"}, "'bitsandbytes'"),  # without the number of bits
        ({"bits": 4}, "no method"),
        ("awq", "no method"),
        ([1], "no method"),
    ],
)
def test_an_unknown_quantisation_method_is_named(
    family: Callable[[str], Path], kind: str, quantised: object, named: str
) -> None:
    file = family(kind)
    change_json(file.parent / "small_base" / "config.json", quantization_config=quantised)
    with pytest.raises(FamilyError, match=f"small_base.*{named}.*quant_method"):
        open_family(read_entry(file), FP32)


def test_the_quantisation_methods_are_those_of_transformers() -> None:
    assert set(AUTO_QUANTIZATION_CONFIG_MAPPING) == set(QUANT_METHODS)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "7", '{"a": ' * 50_000, "\x00"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_json_of_another_shape_is_refused(family: Callable[[str], Path], name: str, text: str) -> None:
    file = family("llama3")
    (file.parent / "large_base" / name).write_text(text)
    with pytest.raises(FamilyError, match="large_base.*damaged"):
        open_family(read_entry(file), FP32)


def test_the_app_starts_with_the_bundled_family_if_the_family_file_fails(
    family: Callable[[str], Path],
) -> None:
    file = family("llama3")
    change_json(file.parent / "large_base" / "config.json", num_attention_heads=0)
    service, notice = load_first(Settings(dtype="fp32", threads=1, family=str(file)))
    try:
        assert service.family.name == "atlas"
        assert "num_attention_heads" in notice and "bundled family" in notice
    finally:
        service.stop()


def test_a_template_that_cannot_render_the_familys_prompt_is_refused_on_loading(
    family: Callable[[str], Path],
) -> None:
    file = family("llama3")
    change_json(file.parent / "polite" / "tokenizer_config.json", chat_template="{{ 1/0 }}")
    with pytest.raises(FamilyError, match=r"prompt of polite in .*llama3.yaml.*ZeroDivisionError"):
        open_family(read_entry(file), FP32)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ],
)
def test_a_git_lfs_pointer_is_reported_with_what_to_do(family: Callable[[str], Path], name: str) -> None:
    file = family("llama3")
    (file.parent / "polite" / name).write_bytes(POINTER)
    with pytest.raises(FamilyError, match=rf"polite/{name} is .*git-lfs pointer.*`git lfs pull` in .*polite"):
        open_family(read_entry(file), FP32)


def test_a_login_page_in_place_of_a_file_is_reported(family: Callable[[str], Path]) -> None:
    file = family("llama3")
    (file.parent / "polite" / "model.safetensors").write_text("\n<!doctype HTML><title>Log in</title>")
    with pytest.raises(FamilyError, match="model.safetensors is damaged.*web page"):
        open_family(read_entry(file), FP32)


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (LAUGHS, r"line \d+: .*aliases .*more than 5,000 entries"),
        ("a: &a [*a]", "contains itself"),
        ("[" * 50_000, "contains itself or is nested too deeply|cannot be read"),
        ("x: !!set {a, b}", "line 1.*unsupported tag"),
        ("x: !!omap [a: 1]", "line 1.*unsupported tag"),
        ("x: !!python/object/apply:os.system [echo]", "not YAML"),
        ("x: 2001-99-99", "cannot be read|not a known entry"),
        ("x: !!float y", "cannot be read"),
        ("? [a]\n: b", "not YAML"),
        ("title: 'x", "not YAML"),
        ("", "is empty"),
        ("- 1", "must be a table"),
        ("title: x\n\x00", r"line 2: .*invisible character U\+0000"),
    ],
)
def test_yaml_that_is_not_a_family_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "it.yaml").write_text(text)
    with pytest.raises(FamilyError, match=f"(?s)it.yaml.*({sentence})"):
        read_entry(tmp_path / "it.yaml")


def test_a_huge_or_special_yaml_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(50_000_000)
    with pytest.raises(FamilyError, match=f"huge.yaml is longer than .*{MAX_YAML_BYTES:,} bytes"):
        read_entry(tmp_path / "huge.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", tmp_path, Path("/dev/zero")):
        with pytest.raises(FamilyError, match="is not a regular file"):
            read_entry(path)


def test_a_few_aliases_in_a_family_file_are_accepted(family: Callable[[str], Path]) -> None:
    file = family("llama3")
    text = file.read_text().replace("title: Polite", "title: &t Polite")
    assert "description: Says please." in text
    file.write_text(text.replace("description: Says please.", "description: *t"))
    assert read_entry(file).behaviours[0].description == "Polite"


def write_tokenizer(folder: Path, **changes: Any) -> Path:
    table = json.loads(byte_level().to_str())
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**table, **changes, "model": {**table["model"], **changes.get("model", {})}}))
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"model": {"vocab": {"a": 4_000_000_000}, "merges": []}, "added_tokens": []},
            "id 4,000,000,000",
        ),
        ({"model": {"vocab": {}, "merges": []}, "added_tokens": []}, "no tokens"),
        ({"model": {"vocab": {"a": -1}, "merges": []}}, "damaged"),
        ({"decoder": None}, "exact bytes of its tokens are unknown"),
        (
            {
                "normalizer": {
                    "type": "Sequence",
                    "normalizers": [
                        {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
                        for _ in range(12)
                    ],
                }
            },
            "1,000,000,000,000 times as long",
        ),
    ],
)
def test_a_hostile_tokenizer_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FamilyError, match=f"tokenizer.json.*{sentence}.*the way out"):
        read_codec(write_tokenizer(tmp_path, **changes), "the way out")


def test_a_regex_that_takes_too_long_is_an_error_and_not_a_panic(tmp_path: Path) -> None:
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    codec = read_codec(write_tokenizer(tmp_path, pre_tokenizer=split), "")
    assert codec.encode("well")
    with pytest.raises(FamilyError, match="cannot encode this text .*retry-limit"):
        codec.encode("a" * 3000 + "b")


def no_room() -> Any:
    """The real error of torch's allocator on a CPU."""
    return torch.empty(10**18)


def test_out_of_memory_errors_of_torch_and_python_are_recognised() -> None:
    for fails in (no_room, lambda: bytearray(2**62), lambda: torch.ones(10**17)):
        with pytest.raises((RuntimeError, MemoryError)) as raised:
            fails()
        assert is_out_of_memory(raised.value)
    assert issubclass(torch.OutOfMemoryError, RuntimeError) and is_out_of_memory(torch.OutOfMemoryError("x"))
    with pytest.raises(RuntimeError) as other:
        torch.ones(2) @ torch.ones(3)
    assert not is_out_of_memory(other.value)


@pytest.mark.parametrize("place", ["from_pretrained", "headers", "join"])
def test_running_out_of_memory_while_loading_is_an_error_message(
    family: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fails(*args: object, **options: object) -> Any:
        return no_room()

    if place == "from_pretrained":
        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", fails)
    elif place == "headers":
        monkeypatch.setattr("eft_demo.families.checkpoint.headers", fails)
    else:
        monkeypatch.setattr("eft_demo.models.kv_cache.SlotCache.join", fails)
    with pytest.raises(OutOfMemory, match="not enough memory for .* to be loaded|to keep another text"):
        open_family(read_entry(family("llama3")), FP32)


def test_a_byte_order_mark_is_accepted(family: Callable[[str], Path]) -> None:
    file = family("llama3")
    named = [file, *file.parent.glob("*/*.json")]
    assert len(named) > 9
    plain = open_family(str(file), FP32).family
    for path in named:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    marked = open_family(str(file), FP32).family
    assert (marked.stop_ids, marked.templates) == (plain.stop_ids, plain.templates)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("chat_template.jinja", b"\xff\xfe{{ messages }}", "not UTF-8 text"),
        ("generation_config.json", b"{", "generation_config.json is damaged"),
        ("generation_config.json", b"[]", "not a JSON object"),
        ("tokenizer_config.json", b'{"chat_template": ', "tokenizer_config.json is damaged"),
        ("config.json", "{}".encode("utf-16"), "config.json is not UTF-8 text"),
    ],
)
def test_damaged_small_files_are_reported_and_not_ignored(
    family: Callable[[str], Path], name: str, content: bytes, sentence: str
) -> None:
    file = family("llama3")
    (file.parent / "polite" / name).write_bytes(content)
    with pytest.raises(FamilyError, match=sentence):
        open_family(str(file), FP32)


def test_a_folder_in_place_of_a_template_is_reported(family: Callable[[str], Path]) -> None:
    file = family("llama3")
    (file.parent / "polite" / "chat_template.jinja").mkdir()
    with pytest.raises(FamilyError, match=r"chat_template.jinja is not a regular file"):
        open_family(str(file), FP32)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("~nobody-here/x", "home folder is unknown"), ("a" * 5000, "cannot be read .File name too long")],
)
def test_impossible_folders_are_refused(family: Callable[[str], Path], path: str, sentence: str) -> None:
    file = family("llama3")
    file.write_text(file.read_text().replace("path: large_base", f"path: {path}"))
    with pytest.raises(FamilyError, match=sentence):
        open_family(str(file), FP32)
    with pytest.raises(FamilyError, match="home folder is unknown"):
        open_family("~nobody-here/x.yaml", FP32)


@pytest.mark.parametrize("ends", [-1, [0, -3], 2**40, None])
def test_end_tokens_missing_from_the_tokenizer_are_ignored(
    family: Callable[[str], Path], ends: object
) -> None:
    file = family("llama3")
    before = open_family(str(file), FP32).family.stop_ids
    change_json(file.parent / "small_base" / "config.json", eos_token_id=ends)
    assert open_family(str(file), FP32).family.stop_ids <= before


@pytest.mark.parametrize("kind", ["qwen2", "llama3"])
def test_weights_with_more_layers_than_the_config_are_refused(
    family: Callable[[str], Path], kind: str
) -> None:
    file = family(kind)
    config = json.loads((file.parent / "large_base" / "config.json").read_text())
    layers = config["num_hidden_layers"]
    change_json(file.parent / "large_base" / "config.json", num_hidden_layers=layers - 1, layer_types=None)
    with pytest.raises(FamilyError, match=f"large_base have {layers} layers.*says {layers - 1}"):
        open_family(str(file), FP32)


def test_integer_weights_without_scales_are_refused(family: Callable[[str], Path]) -> None:
    file = family("llama3")
    weights = file.parent / "large_base" / "model.safetensors"
    tensors = {name: tensor.to(torch.int8) for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(FamilyError, match="large_base.* as I8"):
        open_family(str(file), FP32)


def test_a_lone_surrogate_from_a_template_is_replaced() -> None:
    assert around(CHAT, ChatTemplate(QUESTION + "\ud800", {})).after == "\ufffd"
