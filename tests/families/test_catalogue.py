"""The catalogue: errors in family files name their line, and memory is planned before loading."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from eft_demo.errors import FamilyError, InputError, OutOfMemory
from eft_demo.families.catalogue import (
    EXAMPLES,
    Example,
    find_entry,
    known_files,
    list_entries,
    read_entry,
)
from eft_demo.families.prompt import ChatTemplate, Frame, around
from eft_demo.models.plan import make_plan, menu_entry
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.settings import BUNDLED, Settings

GB = 1_000_000_000
OWN = """\
title: Mine
licence: MIT
context: 128
prompt: "Q: {prompt}\\nA:"
roles:
  large_base:
    repo: me/big
    shape: {parameters: 1000000, width: 500, hidden: 64, layers: 2, kv_heads: 2, head_dim: 32}
  small_base: {path: small}
  polite:
    path: polite
    prompt: chat
behaviours:
  - {role: polite, title: Polite, description: Says please.}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_bundled_family_file_is_valid() -> None:
    entries = list_entries(Settings())
    assert entries[0].name == "atlas"
    assert len({entry.name for entry in entries}) == len(entries) > 1
    for entry in entries[1:]:
        for role in entry.roles.values():
            assert role.shape is not None, f"{entry.name} lacks the size of {role.role}"
            assert role.repo is not None


def test_a_users_family_file_is_read(tmp_path: Path) -> None:
    entry = read_entry(written(tmp_path, OWN))
    assert (entry.name, entry.pinned, entry.gated) == ("mine", False, False)
    assert entry.roles["small_base"].path == tmp_path / "small"
    assert entry.roles["small_base"].prompt == PromptFormat("plain", "Q: {prompt}\nA:")
    assert entry.roles["polite"].prompt == PromptFormat("chat", "")


@pytest.mark.parametrize("role", ["on", "no", "true", "null"])
def test_a_role_may_have_a_name_that_yaml_reads_as_something_else(tmp_path: Path, role: str) -> None:
    quoted = "" if role in ("on", "no") else '"'  # as a value these two are texts in YAML 1.2
    text = OWN.replace("  polite:", f"  {role}:").replace("role: polite", f"role: {quoted}{role}{quoted}")
    entry = read_entry(written(tmp_path, text))
    assert entry.behaviours[0].role == role and role in entry.roles


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("title: Mine\n", "", "line 1: the file has no title. Please add it"),
        ("licence: MIT", "license: MIT", "line 2: 'license'.*Did you mean licence"),
        ("context: 128", "context: long", "line 3: context must be a whole number; it is 'long'"),
        ("context: 128", "context: true", "line 3: context must be a whole number; it is true"),
        ("context: 128", "context: 3", "line 3: context must be at least 16"),
        ("{prompt}", "{question}", "line 4: .*{prompt}"),
        ("repo: me/big", "repo: big", "line 7: roles.large_base.repo must be owner/name"),
        (", layers: 2", "", "line 8: roles.large_base.shape has no layers"),
        ("hidden: 64", "hiden: 64", "line 8: 'hiden'.*shape. Did you mean hidden"),
        ("small_base:", "small:", "line 5: A family needs the roles large_base and small_base"),
        ("path: polite", "path: polite\n    repo: me/polite", "line 10: .*needs one of these: a repo"),
        ("prompt: chat", "prompt: {kind: song}", "line 12: The prompt format must be .* 'song'"),
        ("prompt: chat", "prompt: chat\n    thinking: aloud", "line 13: .*thinking must be true or false"),
        ("path: small}", "path: small, thinking: true}", "line 9: .*for chat templates, .*role is plain"),
        ("role: polite", "role: rude", "line 14: .*rude"),
        ("title: Mine", "title: ''", "line 1: title is empty"),
        ("  polite:", "  alpha:", "line 10: roles.alpha cannot be used in a recipe"),
        ("  polite:", "  beta:", "line 10: roles.beta cannot be used in a recipe"),
        ("  polite:", "  alpha_pirate:", "line 10: roles.alpha_pirate cannot be used in a recipe"),
        ("  polite:", "  Polite:", "line 10: roles.Polite cannot be used .*got 'Polite'"),
        ("  polite:", "  'very polite':", "line 10: roles.very polite cannot be used"),
        ("  polite:", "  7:", "line 10: roles.7 cannot be used"),
        ("  polite:", "  höflich:", "line 10: roles.höflich cannot be used"),
        ("  polite:", f"  {'p' * 41}:", "line 10: .*at most 40"),
        ("path: polite", "path: polite\n    adapter_of: large", "line 12: .*not a full model of this family"),
        ("path: polite", "path: polite\n    adapter_of: polite", "line 12: .*one of large_base, small"),
        (
            'prompt: "Q: {prompt}\\nA:"\n',
            "",
            "line 5: roles.large_base has no prompt, and the family has none",
        ),
        ("licence: MIT", "licence: MIT\ntokenizer: polit", "line 3: tokenizer must be one of the roles or a"),
        (
            "behaviours:\n  - {role: polite, title: Polite, description: Says please.}",
            "behaviours: []",
            "line 13: A family needs at least one behaviour",
        ),
        ("title: Mine", "title: [", r"line \d: this is not YAML"),
        ("licence: MIT", "licence:", "line 2: licence is empty; .*text"),
        ("context: 128", "context: ~", "line 3: context is empty; .*whole number"),
        ("context: 128", "context: .nan", "line 3: context must be a whole number; it is NaN"),
        ("repo: me/big", "repo:", "line 7: roles.large_base.repo is empty"),
        ("  polite:", "  on:", "line 14: The behaviour 'polite' is not one of the roles .*, on"),
        ("context: 128", "context: yes", "line 3: context must be a whole number; it is 'yes'"),
        ("role: polite", "role: null", "line 14: behaviours.1.role is empty"),
        ("role: polite", "role: [polite]", "line 14: behaviours.1.role must be text; it is a list"),
        ("licence: MIT", "licence: MIT\nlicence: MIT", "line 3: licence is there twice, first in line 2"),
        (
            "path: polite",
            "path: polite\n    'path': rude",
            "line 12: roles.polite.path is there twice, .* 11",
        ),
        ("licence: MIT", "<<: {licence: MIT, note: x}", "line 2: << merges another table"),
        (
            "  polite:",
            "  small_tuned:\n    path: x\n    prompt: chat\n  polite:",
            "line 10: small_tuned .* polite",
        ),
    ],
)
def test_an_error_names_its_line(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in OWN
    path = written(tmp_path, OWN.replace(old, new, 1))
    with pytest.raises(FamilyError, match=f"mine.yaml, {sentence}") as caught:
        read_entry(path)
    assert "Please correct the file" in str(caught.value)


@pytest.mark.parametrize("role", ["~/small", "{path: ~/small}"])
def test_the_folder_of_a_role_may_begin_at_the_home(tmp_path: Path, role: str) -> None:
    entry = read_entry(written(tmp_path, OWN.replace("{path: small}", role)))
    assert entry.roles["small_base"].path == Path.home() / "small"


def test_small_tuned_may_be_the_name_of_the_only_behaviour(tmp_path: Path) -> None:
    text = OWN.replace("  polite:", "  small_tuned:").replace("role: polite", "role: small_tuned")
    entry = read_entry(written(tmp_path, text))
    assert [behaviour.role for behaviour in entry.behaviours] == ["small_tuned"]
    other = "\n  - {role: large_base, title: Other, description: None.}"
    with pytest.raises(FamilyError, match="line 10: small_tuned .* large_base"):
        read_entry(written(tmp_path, text + other))


def test_a_behaviour_whose_slider_recipes_cannot_name_is_refused(tmp_path: Path) -> None:
    text = OWN.replace("polite:", f"{'p' * 35}:").replace("role: polite", f"role: {'p' * 35}")
    with pytest.raises(FamilyError, match="mine.yaml, line 14: 'ppp.* is too long for a behaviour"):
        read_entry(written(tmp_path, text))


@pytest.mark.parametrize("text", ["", "- 1", "just text", "a: &x [*x]", "\ud800"])
def test_a_family_file_that_is_not_a_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(FamilyError, match="mine.yaml"):
        read_entry(path)


def test_the_plan_counts_weights_and_cache_rows(tmp_path: Path) -> None:
    entry = read_entry(written(tmp_path, OWN))
    settings = Settings(dtype="fp32", max_sequences=8, prefix_cache_mb=0)
    plan = make_plan(entry, settings, ["large_base"], free={"cpu": GB})
    large = plan.of("large_base")
    assert large.weights_bytes == 4 * 1_000_000
    assert large.cache_bytes == 8 * 128 * 2 * 2 * 2 * 32 * 4  # rows, tokens, k and v, layers, heads, width
    assert plan.fits and plan.rows == 8
    # What is needed at least is stated apart from how many more texts there is room for.
    more_rows = plan.full_bytes["cpu"] - plan.needed_bytes["cpu"]
    assert more_rows == pytest.approx(1.03 * large.cache_bytes / 2, rel=1e-3)
    assert not large.here and menu_entry(entry, settings, {"cpu": GB}).download_bytes == 2_000_000


def test_a_family_that_does_not_fit_is_quantised_then_limited_then_refused() -> None:
    entry = next(entry for entry in list_entries(Settings()) if entry.name == "qwen2.5")
    bf16 = Settings(dtype="bf16")
    kinds = {
        room: make_plan(entry, bf16, free={"cpu": room * GB}).of("large_base").quantisation
        for room in (64, 14)
    }
    assert kinds == {64: "none", 14: "nf4"}
    assert make_plan(entry, bf16, free={"cpu": 640 * GB}).rows == bf16.max_sequences
    assert make_plan(entry, bf16, free={"cpu": 9 * GB}).rows < bf16.max_sequences
    none = make_plan(entry, bf16, free={"cpu": 4 * GB})
    with pytest.raises(OutOfMemory, match=r" \d+.\d GB .* 4.0 GB .*large_base"):
        none.check()
    assert make_plan(entry, Settings(dtype="bf16", quantisation="none"), free={"cpu": 14 * GB}).problem


def test_weights_that_are_stored_quantised_are_downloaded_and_planned_as_they_are() -> None:
    entry = next(entry for entry in list_entries(Settings()) if entry.name == "qwen2.5-72b-4bit")
    room = {"cpu": 64 * GB, "cuda:0": 80 * GB}
    for quantisation in ("auto", "none", "int8"):
        menu = menu_entry(entry, Settings(dtype="bf16", quantisation=quantisation), room)
        large = menu.plan.of("large_base")
        assert menu.plan.fits and (large.quantisation, large.device) == ("none", "cuda:0")
        assert large.weights_bytes == pytest.approx(41.3 * GB, rel=0.01)
        assert large.parameters == 72_706_203_648
        assert menu.download_bytes == pytest.approx(47.4 * GB, rel=0.01)


def test_on_a_gpu_the_large_model_goes_where_there_is_room() -> None:
    entry = next(entry for entry in list_entries(Settings()) if entry.name == "qwen2.5")
    settings = Settings(dtype="bf16")
    one = make_plan(entry, settings, free={"cpu": 64 * GB, "cuda:0": 80 * GB})
    assert {place.device for place in one.placements} == {"cuda:0"} and not one.warning
    spread = make_plan(
        entry,
        Settings(dtype="bf16", quantisation="none"),
        free={"cpu": GB, "cuda:0": 16 * GB, "cuda:1": 16 * GB},
    )
    assert spread.fits and spread.of("large_base").device == "auto" != spread.of("small_base").device
    offloaded = make_plan(entry, settings, free={"cpu": 64 * GB, "cuda:0": 5 * GB})
    assert offloaded.fits and offloaded.of("large_base").device == "cpu"
    assert "seconds per token" in offloaded.warning
    on_cpu = make_plan(entry, Settings(dtype="bf16", device="cpu"), free={"cpu": 64 * GB, "cuda:0": 80 * GB})
    assert on_cpu.of("large_base").device == "cpu"


def test_the_list_has_everything_the_menu_shows() -> None:
    here = Settings(dtype="fp32")
    choices = {entry.name: menu_entry(entry, here) for entry in list_entries(here)}
    atlas = choices["atlas"]
    assert atlas.here and atlas.plan.fits and atlas.download_bytes == 0
    assert atlas.parameters["large_base"] == 8_263_552
    assert atlas.plan.of("large_base").weights_bytes == 4 * 8_263_552
    assert choices["qwen2.5"].parameters["large_base"] > 7e9


TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


def test_a_chat_template_is_written_around_the_question() -> None:
    template = ChatTemplate(TEMPLATE, {"bos_token": "<s>"})
    assert around(PromptFormat("chat", ""), template) == Frame("<s><|user|>\n", "<|end|>\n<|assistant|>\n")
    trimming = ChatTemplate(TEMPLATE.replace("message.content", "message.content | trim"), {})
    assert around(PromptFormat("chat", ""), trimming) == Frame("<|user|>\n", "<|end|>\n<|assistant|>\n", True)
    assert (
        around(PromptFormat("chat", "Be brief."), template).before
        == "<s><|system|>\nBe brief.<|end|>\n<|user|>\n"
    )


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (None, "has no chat template.*choose the plain format"),
        ("{{ raise_exception('no system here') }}", "cannot render this prompt .no system here"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "writes the question 2 times"),
        ("{{ nothing.at.all }}", "cannot render this prompt"),
        ("{{ ''.__class__.__mro__ }}", "cannot render this prompt"),
        ("{% if %}", "cannot render this prompt"),
    ],
)
def test_an_unusable_chat_template_is_refused(template: str | None, sentence: str) -> None:
    with pytest.raises(FamilyError, match=sentence):
        around(PromptFormat("chat", ""), None if template is None else ChatTemplate(template, {}))


@pytest.mark.parametrize(
    ("kind", "text"),
    [("song", "{prompt}"), ("plain", "none"), ("few-shot", "{prompt}{prompt}"), ("plain", "x" * 9000)],
)
def test_an_invalid_prompt_format_is_refused(kind: str, text: str) -> None:
    with pytest.raises(InputError):
        PromptFormat(kind, text)


def test_files_written_by_hand_and_by_yaml_are_read_alike(tmp_path: Path) -> None:
    by_hand = read_entry(written(tmp_path, OWN))
    assert read_entry(written(tmp_path, yaml.safe_dump(yaml.safe_load(OWN)))) == by_hand


def test_examples_and_captions_come_from_the_family_file(tmp_path: Path) -> None:
    assert read_entry(written(tmp_path, OWN)).examples == EXAMPLES
    # Questions or requests in words, not names of code.
    assert all(re.fullmatch(r"[A-Z][a-z]+( [A-Z]?[a-z]+)+[?.]", example.prompt) for example in EXAMPLES)
    two = "['Why is ice slippery?', {prompt: 'Why?', shows: Little, behaviour: polite, alpha: 3}]"
    own = f"examples: {two}\ncaptions: {{large_base: Knows much, small_tuned: Answers}}\n"
    entry = read_entry(written(tmp_path, OWN + own))
    assert entry.examples == (Example("Why is ice slippery?"), Example("Why?", "Little", "polite", 3))
    assert entry.captions == {"large_base": "Knows much", "small_tuned": "Answers"}
    for text, sentence in (
        ("examples: []", "1 to 8 examples"),
        (f"examples: [{'x' * 201}]", "200 characters"),
        ("examples: [{prompt: Why, behaviour: nobody}]", "nobody"),
        ("examples: [{prompt: Why, alpha: 9}]", "from 0 to 3"),
        ("examples: [{prompt: Why, alpha: much}]", "a number"),
        ("examples: [{shows: Little}]", "prompt"),
        ("captions: {nobody: Knows}", "nobody"),
        (f"captions: {{polite: {'x' * 81}}}", "80 characters"),
    ):
        with pytest.raises(FamilyError, match=sentence):
            read_entry(written(tmp_path, OWN + text))


@pytest.mark.parametrize("name", ["mine.txt", "mine.YAML", "mine.yaml.txt", "mine", "my family"])
def test_a_family_file_may_have_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_text(OWN, encoding="utf-8")
    assert find_entry(str(tmp_path / name), Settings()).title == "Mine"
    monkeypatch.chdir(tmp_path)
    assert find_entry(name, Settings()).title == "Mine"


def test_a_path_without_a_file_is_reported_as_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FamilyError, match=r"nothing\.txt cannot be read"):
        find_entry(str(tmp_path / "nothing.txt"), Settings())
    with pytest.raises(FamilyError, match="There is no family 'qwen9'"):
        find_entry("qwen9", Settings())


def test_a_family_of_the_catalogue_may_be_named_by_its_file(tmp_path: Path) -> None:
    for name, file in known_files(Settings()).items():
        assert find_entry(str(file), Settings()) == find_entry(name, Settings())
    link = tmp_path / "mine.yaml"
    link.symlink_to(known_files(Settings())[BUNDLED])
    assert find_entry(str(link), Settings()).name == BUNDLED


@pytest.mark.parametrize("ending", ["yml", "YAML"])
def test_a_family_file_may_have_the_other_ending(tmp_path: Path, ending: str) -> None:
    (tmp_path / "families").mkdir()
    shutil.copy(known_files(Settings())["smollm2-tiny"], tmp_path / "families" / f"mine.{ending}")
    assert find_entry("mine", Settings(assets=tmp_path)).title == "SmolLM2 360M by 135M"
