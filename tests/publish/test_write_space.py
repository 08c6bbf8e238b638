"""Repositories for Spaces: complete, pinned, with a torch that the hardware has; the app in them starts."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from huggingface_hub.cli.hf import app as hf

from eft_demo.errors import EFTError
from eft_demo.families.catalogue import find_entry
from eft_demo.families.hub import RepoFacts
from eft_demo.families.hub_faults import HubUnreachable
from eft_demo.publish import space
from eft_demo.publish.space import HARDWARE, ROOT, write_space
from eft_demo.settings import Settings
from tests.command_line import run_cli

COMMIT = "0123456789" * 4
FILES = {"config.json": 1, "model.safetensors": 2, "pytorch_model.bin": 2, "modeling.py": 1}
KEYS = {
    "title", "emoji", "sdk", "sdk_version", "python_version", "app_file", "license", "short_description",
    "suggested_hardware", "startup_duration_timeout", "tags",
}  # fmt: skip
OWN = """\
title: Mine
licence: MIT
context: 64
prompt: "{{prompt}}"
roles:
  large_base: {0}
  small_base:
    repo: me/small
  polite:
    repo: me/polite
behaviours:
  - {{role: polite, title: Polite, description: Says please.}}
"""


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that has every repository."""
    monkeypatch.setattr(space, "look_up", lambda repo, revision: RepoFacts(COMMIT, "mit", FILES))


def card_of(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1]))


def pins(folder: Path) -> list[str]:
    return [line.split(" ")[0] for line in (folder / "requirements.txt").read_text().splitlines()]


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A written Space with the bundled family. Do not write into it."""
    out = tmp_path_factory.mktemp("space") / "a space"
    assert write_space(Settings(), out, "cpu", "atlas").flavor == "cpu-basic"
    return out


def test_a_space_on_a_cpu_has_the_app_and_cpu_builds(on_cpu: Path) -> None:
    card = card_of(on_cpu)
    assert card.keys() == KEYS | {"colorFrom", "colorTo"}
    assert card["suggested_hardware"] == "cpu-basic" and isinstance(card["python_version"], str)
    assert pins(on_cpu)[0] == "--extra-index-url" and "torch==2.13.0" in pins(on_cpu)
    assert f"gradio=={card['sdk_version']}" in pins(on_cpu)
    files = {str(path.relative_to(on_cpu)) for path in on_cpu.rglob("*") if path.is_file()}
    assert {"app.py", "LICENSE", "assets/web/main.js", "assets/atlas/large_base/model.safetensors"} <= files
    assert not [name for name in files if re.search(r"^tests/|\.test\.|\.d\.ts$|__pycache__|^\.git/", name)]
    readme = (on_cpu / "README.md").read_text(encoding="utf-8")
    assert "paid plan" in readme and "Duplicate this Space" in readme and "$" not in readme


def test_a_space_on_zerogpu_has_pinned_models_and_a_torch_that_is_known_there(tmp_path: Path) -> None:
    out = tmp_path / "space"
    written = write_space(Settings(), out, "zerogpu", "qwen2.5")
    card = card_of(out)
    assert not written.notes and card["suggested_hardware"] == written.flavor == "zero-a10g"
    assert card["models"] == ["Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B-Instruct"]
    wanted = [f"{repo} config.json,model.safetensors {COMMIT}" for repo in card["models"]]
    assert card["preload_from_hub"] == wanted
    entry = find_entry("qwen2.5", Settings(assets=out / "assets"))
    assert {role.revision for role in entry.roles.values() if not role.optional} == {COMMIT}
    assert {"torch==2.11.0", "spaces"} <= set(pins(out)) and "torch==2.13.0" not in pins(out)
    ours = [pin for pin in pins(ROOT) if not pin.startswith("torch==")]
    assert [pin for pin in pins(out) if pin != "spaces" and not pin.startswith("torch==")] == ours
    assert '"EFT_FAMILY", "qwen2.5"' in (out / "app.py").read_text()


def test_without_the_hub_models_are_named_but_not_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(repo: str, revision: str | None) -> RepoFacts:
        raise HubUnreachable("No network.")

    monkeypatch.setattr(space, "look_up", unreachable)
    words = ["space", "--out", str(tmp_path / "s"), "--hardware", "gpu", "--family", "llama-2", "--json"]
    assert run_cli(monkeypatch, *words) == 0
    said = json.loads(capsys.readouterr().out)
    card = card_of(tmp_path / "s")
    assert len(said["notes"]) == 1
    assert said["flavor"] == card["suggested_hardware"] and said["flavor"] in HARDWARE["gpu"]
    # Its repositories are gated, and the build of a Space has no token.
    assert "meta-llama/Llama-2-13b-hf" in card["models"] and "preload_from_hub" not in card
    assert "HF_TOKEN" in said["commands"][1] and "HF_TOKEN" in (tmp_path / "s" / "README.md").read_text()


def test_a_family_of_ones_own_comes_along(tmp_path: Path) -> None:
    (tmp_path / "atlas.yaml").write_text(OWN.format("\n    repo: me/large"))
    written = write_space(Settings(), tmp_path / "s", "cpu", str(tmp_path / "atlas.yaml"))
    assert len(written.notes) == 1 and "no `shape` for large_base" in written.notes[0]
    assert '"EFT_FAMILY", "atlas-own-file"' in (tmp_path / "s" / "app.py").read_text()
    assert find_entry("atlas-own-file", Settings(assets=tmp_path / "s" / "assets")).title == "Mine"


def test_its_tokenizer_comes_along(tmp_path: Path) -> None:
    own = OWN.format("\n    repo: me/large").replace("context: 64", "context: 64\ntokenizer: mine.json")
    (tmp_path / "mine.yaml").write_text(own)
    (tmp_path / "mine.json").write_text("{}")
    write_space(Settings(), tmp_path / "s", "cpu", str(tmp_path / "mine.yaml"))
    assert find_entry("mine", Settings(assets=tmp_path / "s" / "assets")).tokenizer == "mine.json"
    assert (tmp_path / "s" / "assets" / "families" / "mine.json").read_text() == "{}"


def test_a_tokenizer_elsewhere_is_refused(tmp_path: Path) -> None:
    own = OWN.format("\n    repo: me/large").replace("context: 64", "context: 64\ntokenizer: ../mine.json")
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "mine.yaml").write_text(own)
    with pytest.raises(EFTError, match="Please put it beside the family file"):
        write_space(Settings(), tmp_path / "s", "cpu", str(tmp_path / "families" / "mine.yaml"))


@pytest.mark.parametrize(("file", "name"), [("---", "own-file"), ("auto", "auto-own-file"), (".a b", "a-b")])
def test_a_family_has_a_name_that_the_start_can_take(tmp_path: Path, file: str, name: str) -> None:
    (tmp_path / f"{file}.yaml").write_text(OWN.format("\n    repo: me/large"))
    write_space(Settings(), tmp_path / "s", "cpu", str(tmp_path / f"{file}.yaml"))
    assert f'"EFT_FAMILY", "{name}"' in (tmp_path / "s" / "app.py").read_text()
    assert find_entry(name, Settings(assets=tmp_path / "s" / "assets")).title == "Mine"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what a Space is made of, to be spoiled. Files that nobody may change are as good."""
    copied = tmp_path / "repository"
    copied.mkdir()
    for name in space.SOURCES:
        space._copy(ROOT / name, copied / name)
    monkeypatch.setattr(space, "ROOT", copied)
    return copied


def test_locks_of_editors_stay_behind(repository: Path, tmp_path: Path) -> None:
    (repository / "assets" / "lessons" / ".#ten-steps.yaml").symlink_to("me@host.1234")
    write_space(Settings(), tmp_path / "s", "cpu", "atlas")
    assert not list((tmp_path / "s").rglob(".#*"))


def test_what_cannot_be_copied_is_named(repository: Path, tmp_path: Path) -> None:
    (repository / "assets" / "old").symlink_to("nowhere")
    with pytest.raises(EFTError, match=r"assets/old cannot be read \(not a regular file\)"):
        write_space(Settings(), tmp_path / "s", "cpu", "atlas")
    assert not (tmp_path / "s").exists()


def test_a_copy_of_what_nobody_may_change_can_be_changed(repository: Path, tmp_path: Path) -> None:
    for path in repository.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    write_space(Settings(), tmp_path / "s", "cpu", "smollm2-tiny")
    assert all(path.stat().st_mode & 0o200 for path in (tmp_path / "s").rglob("*"))
    for path in repository.rglob("*"):
        path.chmod(0o755)  # so that it can be deleted


@pytest.mark.parametrize(
    ("hardware", "family", "says"),
    [
        ("static", "atlas", "zerogpu, gpu, cpu; got 'static'"),
        ("gpu", "atlas", "would cost money"),
        ("cpu", "llama-2", "does not fit into 16 GB"),
        ("cpu", "{path: large}", "Please push it to the hub"),
        ("cpu", "{repo: me/large, gguf: large.gguf}", "needs llama.cpp"),
    ],
)
def test_what_could_not_start_is_refused(hardware: str, family: str, says: str, tmp_path: Path) -> None:
    if family.startswith("{"):
        (tmp_path / "mine.yaml").write_text(OWN.format(family))
        family = str(tmp_path / "mine.yaml")
    with pytest.raises(EFTError, match=says):
        write_space(Settings(), tmp_path / "s", hardware, family)
    assert not (tmp_path / "s").exists()


def test_half_a_space_is_removed(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN.format("{repo: me/large}"))
    with pytest.raises(EFTError, match="line 6: .* every entry on its own line"):
        write_space(Settings(), tmp_path / "s", "cpu", str(tmp_path / "mine.yaml"))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("out", [ROOT / "assets" / "space", ROOT / "tests"])
def test_nothing_is_written_over(out: Path) -> None:
    with pytest.raises(EFTError, match="Please choose (another|a new folder with) --out"):
        write_space(Settings(), out, "cpu", "atlas")


def test_the_commands_that_push_it_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in write_space(Settings(), tmp_path / "s", "zerogpu", "gemma-2").commands:
        command, _, rest = line.removeprefix("hf ").partition(" USER/")
        hf.main([*command.split(), "--help"], "hf", standalone_mode=False)
        said = capsys.readouterr().out
        assert f"Usage: hf {command} " in said
        assert set(re.findall(r"--[a-z-]+", rest)) <= set(re.findall(r"--[a-z-]+", said))


@pytest.mark.slow
def test_the_written_app_starts_from_any_folder(on_cpu: Path, tmp_path: Path) -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("EFT_")}
    app = subprocess.Popen(
        [sys.executable, str(on_cpu / "app.py")],
        cwd=tmp_path,
        env={**ours, "SPACE_ID": "me/eft-demo", "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert app.stdout
    address = app.stdout.readline().removeprefix("EFT Demo is at ").split("#")[0].strip()
    try:
        assert httpx.get(f"{address}/readyz", trust_env=False, timeout=60).status_code == 200
    finally:
        app.terminate()
        said, complaints = app.communicate(timeout=60)
    assert app.returncode == 0 and complaints == "", said
