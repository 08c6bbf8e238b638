"""Pinning: commits and licences are written if all checks pass, and no other line changes."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from eft_demo import cli
from eft_demo.errors import FamilyError
from eft_demo.families.catalogue import read_entry
from eft_demo.families.hub import RepoFacts
from eft_demo.lab.checks import Check
from eft_demo.lab.pin import NO_REPOSITORY, UNREACHABLE, pin, write_pins
from eft_demo.settings import Settings
from tests.checkpoints import ROLES, WIDTHS, make_real_family
from tests.hub import SHA, FolderHub, drop, folder_hub, status

FILE = """\
# Where this comes from.
title: Real
licence: MIT
context: 64
prompt: "Q: {{prompt}}\\nA:"
roles:
  large_base:
    repo: me/large_base   # the large one
    shape: {{parameters: 100000, width: {0}, hidden: 64, layers: 2, kv_heads: 2, head_dim: 16}}
  small_base:
    repo: me/small_base
    revision: {3}
    shape: {{parameters: 100000, width: {1}, hidden: 64, layers: 2, kv_heads: 2, head_dim: 16}}
  polite:
    repo: me/polite
    prompt: chat
    shape: {{parameters: 100000, width: {2}, hidden: 64, layers: 2, kv_heads: 2, head_dim: 16}}
behaviours:
  - {{role: polite, title: Polite, description: Says please.}}
"""
OLD = "f" * 40


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    make_real_family(folder / "me", "qwen2")
    return folder


@pytest.fixture
def hub(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderHub]:
    shutil.copytree(originals, tmp_path / "hub")
    with folder_hub(tmp_path / "hub", tmp_path / "cache", monkeypatch) as hub:
        yield hub


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An assets folder whose catalogue has one family, `real`."""
    (tmp_path / "assets" / "families").mkdir(parents=True)
    (tmp_path / "assets" / "families" / "real.yaml").write_text(FILE.format(*WIDTHS, OLD))
    return Settings(assets=tmp_path / "assets")


def failed(checks: list[Check]) -> list[Check]:
    return [check for check in checks if not check.ok]


def test_a_family_is_pinned_and_the_rest_of_its_file_is_unchanged(hub: FolderHub, settings: Settings) -> None:
    path = settings.assets / "families" / "real.yaml"
    before = path.read_text().splitlines()
    checks = pin(settings)
    assert not failed(checks) and checks[-1].name == "real pinned"
    assert any(f"me/polite at {SHA[:7]}, licence mit" in check.detail for check in checks)
    after = path.read_text().splitlines()
    added = [f"    revision: {SHA}", "    licence: mit"]
    assert [line for line in after if line not in added] == [line for line in before if OLD not in line]
    assert [after.count(line) for line in added] == [3, 3]
    entry = read_entry(path)
    assert entry.pinned and {role.licence for role in entry.roles.values()} == {"mit"}
    once = path.read_text()
    assert not failed(pin(settings, "real")) and path.read_text() == once
    names = {file.name for role in ROLES for file in hub.folder_of(f"me/{role}").iterdir()}
    assert not any(name.endswith("safetensors") for name in names), "weights are not needed to pin"


def test_without_network_only_the_schema_is_checked(hub: FolderHub, settings: Settings) -> None:
    hub.fault = drop
    path = settings.assets / "families" / "real.yaml"
    (settings.assets / "families" / "wrong.yaml").write_text("title: 7\n")
    before = path.read_text()
    network, *checks = pin(settings)
    assert (network.name, network.ok) == ("network", False)
    assert UNREACHABLE in network.detail
    assert [(check.name, check.ok) for check in checks] == [("real schema", True), ("wrong", False)]
    assert "wrong.yaml, line 1" in checks[1].detail
    assert path.read_text() == before and len(hub.asked) == 1


def test_errors_are_reported_and_nothing_is_pinned(hub: FolderHub, settings: Settings) -> None:
    path = settings.assets / "families" / "real.yaml"
    path.write_text(path.read_text().replace(f"width: {WIDTHS[1]}", "width: 999"))
    before = path.read_text()
    hub.fault = status(403, X_Error_Code="GatedRepo")
    hub.faulty = "me/polite"
    small, polite = failed(pin(settings))
    assert small.detail.startswith(f"me/small_base: width is {WIDTHS[1]}, not 999.")
    assert "me/polite is gated" in polite.detail
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("stored", "said", "problem"),
    [
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}, "nf4", ""),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}, "", "nf4"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4", "without double quantisation"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, "nf4", "is fp4, not nf4"),
        ({"quant_method": "awq", "bits": 4}, "", "is awq"),
        (None, "nf4", "is nothing, not nf4"),
    ],
)
def test_whether_the_weights_are_stored_quantised_is_checked(
    hub: FolderHub, settings: Settings, stored: object, said: str, problem: str
) -> None:
    config = hub.root / "me" / "large_base" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "quantization_config": stored}))
    path = settings.assets / "families" / "real.yaml"
    ending = f"head_dim: 16, quantised: {said}}}" if said else "head_dim: 16}"
    path.write_text(path.read_text().replace("head_dim: 16}", ending, 1))
    found = failed(pin(settings))
    assert bool(found) == bool(problem), found
    assert all(check.name == "real large_base" and problem in check.detail for check in found)


def test_tokenizers_that_disagree_are_reported(hub: FolderHub, settings: Settings) -> None:
    path = hub.root / "me" / "polite" / "tokenizer.json"
    path.write_text(path.read_text().replace('"!"', '"@@"').replace('"\\""', '"!"').replace('"@@"', '"\\""'))
    (only,) = failed(pin(settings))
    assert only.name == "real tokenizers" and "large_base and polite differ in 2 of" in only.detail
    for role in ROLES:
        (hub.root / "me" / role / "tokenizer.json").unlink()
    shutil.rmtree(hub.cache)
    assert "large_base of real has no tokenizer.json" in failed(pin(settings))[0].detail


def test_a_family_of_local_folders_needs_no_pin(hub: FolderHub, settings: Settings, tmp_path: Path) -> None:
    own = make_real_family(tmp_path / "own", "llama3")
    schema, only = pin(settings, str(own))
    assert schema.ok and only.ok and only.detail == NO_REPOSITORY
    assert [check.detail for check in pin(Settings(), "atlas")][1:] == [NO_REPOSITORY]
    assert not hub.asked


def test_a_local_folder_beside_repositories_is_compared(hub: FolderHub, settings: Settings) -> None:
    path = settings.assets / "families" / "real.yaml"
    local = hub.root / "me" / "large_base"
    path.write_text(path.read_text().replace("repo: me/large_base", f"path: {local}"))
    checks = pin(settings, "real")
    assert not failed(checks) and not any("resolve" in asked and "large_base" in asked for asked in hub.asked)
    path.write_text(path.read_text() + "tokenizer: words.json\n")
    shutil.copy(local / "tokenizer.json", path.parent / "words.json")
    assert not failed(pin(settings, "real"))


def test_an_unknown_family_name_lists_the_known_ones(settings: Settings) -> None:
    (only,) = pin(settings, "rael")
    assert not only.ok and "no family 'rael'" in only.detail and "found: real" in only.detail


def test_a_reference_that_is_not_on_the_hub_is_not_called_incomplete(
    hub: FolderHub, settings: Settings
) -> None:
    shutil.rmtree(hub.root / "me" / "large_base")
    missing, tokenizers = failed(pin(settings))
    assert "no repository me/large_base" in missing.detail
    assert "not found on the hub" in tokenizers.detail and "tokenizer.json" not in tokenizers.detail


def test_entries_on_one_line_cannot_be_pinned(tmp_path: Path) -> None:
    table = yaml.safe_load(FILE.format(*WIDTHS, OLD))
    (tmp_path / "flow.yaml").write_text(yaml.safe_dump(table, default_flow_style=True))
    with pytest.raises(FamilyError, match="flow.yaml, line "):
        write_pins(tmp_path / "flow.yaml", {"large_base": RepoFacts(SHA, "mit", {})})


def test_the_command_pins_and_reports(
    hub: FolderHub, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EFT_ASSETS", str(settings.assets))
    monkeypatch.setattr(sys, "argv", ["eft_demo", "doctor", "--pin", "--json"])
    cli.app(standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["ok"]
    hub.fault = drop
    with pytest.raises(SystemExit):
        cli.app(standalone_mode=False)
    assert not json.loads(capsys.readouterr().out)["ok"]
