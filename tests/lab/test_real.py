"""The benchmark of real checkpoints, on tiny ones of the same layout."""

import json
from pathlib import Path

import pytest
import yaml

from eft_demo.errors import FamilyError, InputError
from eft_demo.lab.real import bench_real, family_file, to_markdown
from eft_demo.settings import Settings
from tests.checkpoints import make_real_family

FP32 = Settings(dtype="fp32", threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_real_family(tmp_path_factory.mktemp("real"), "llama3").parent


def test_every_way_is_measured_and_gives_the_same_text(folder: Path) -> None:
    result = json.loads(json.dumps(bench_real(FP32, folder, rounds=1, new_tokens=6)))
    # These models have different widths, with which transformers refuses an assistant.
    assert set(result["tokens_per_s"]) == set(result["first_token_s"]) == {"one", "three", "loop", "generate"}
    assert all(value > 0 for name in ("tokens_per_s", "first_token_s") for value in result[name].values())
    assert result["decode_over_one"]["one"] == result["prefill_over_one"]["one"] == 1
    assert all(result["same_text"].values())
    assert result["long_prompt_tokens"] == 64 - 6  # its context is short
    table = to_markdown(result)
    assert "nan" not in table and "| yes |" in table and "| no |" not in table


def test_one_checkpoint_in_every_role_is_measured_with_an_assistant_too(folder: Path) -> None:
    entry = yaml.safe_load((folder / "llama3.yaml").read_text(encoding="utf-8"))
    entry["roles"] = {role: {"path": "../large_base"} for role in ("large_base", "small_base")}
    entry["roles"]["polite"] = {"same_as": "small_base"}
    own = folder / "own"
    own.mkdir()
    (own / "family.yaml").write_text(yaml.safe_dump(entry), encoding="utf-8")
    result = bench_real(FP32, own, rounds=1, new_tokens=4)
    assert "assisted" in result["tokens_per_s"] and "assisted" not in result["first_token_s"]
    assert all(result["same_text"].values()) and "assistant" in to_markdown(result)


def test_the_family_file_is_found_or_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FamilyError, match=r"there is none.*family\.yaml"):
        family_file(tmp_path)
    for name in ("a.yaml", "._a.yaml"):  # macOS adds the second one on other systems' disks
        (tmp_path / name).touch()
    assert family_file(tmp_path) == tmp_path / "a.yaml"
    (tmp_path / "b.yml").touch()
    with pytest.raises(FamilyError, match="there are 2"):
        family_file(tmp_path)
    assert family_file(tmp_path / "a.yaml") == tmp_path / "a.yaml"
    (tmp_path / "family.yaml").touch()
    assert family_file(tmp_path) == tmp_path / "family.yaml"


def test_a_text_that_does_not_fit_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"--new-tokens must be at most \d+.*got 64"):
        bench_real(FP32, folder / "llama3.yaml", rounds=1, new_tokens=64)
