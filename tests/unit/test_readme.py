"""README.md says what is true: its commands are those of CI and of the program, its tables are current."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from eft_demo import cli
from eft_demo.families.catalogue import read_entry

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
sys.path.insert(0, str(ROOT / "scripts"))
import readme_tables  # noqa: E402  # a script, not a package


def shell_blocks() -> list[str]:
    """Every ```sh block, continued lines joined."""
    return [block.replace("\\\n", " ") for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)]


def program_lines() -> list[list[str]]:
    """The words after `-m eft_demo` of every such line, comments cut."""
    lines = [line for block in shell_blocks() for line in block.splitlines() if "-m eft_demo " in line]
    return [line.split("#")[0].split("-m eft_demo ")[1].split() for line in lines]


def test_the_first_two_commands_start_and_test_and_ci_runs_the_second() -> None:
    assert [block.strip() for block in shell_blocks()[:2]] == ["bash run.sh", "bash run.sh test"]
    ci_commands = [line.split(" < ")[0] for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert "bash run.sh test" in ci_commands


@pytest.mark.parametrize("words", program_lines(), ids=lambda words: words[0])
def test_every_command_shown_exists_with_its_options(words: list[str]) -> None:
    group = typer.main.get_command(cli.app)
    options = {name for parameter in group.commands[words[0]].params for name in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= options


def test_every_command_is_shown() -> None:
    assert set(typer.main.get_command(cli.app).commands) == {words[0] for words in program_lines()}


def test_the_family_file_shown_is_right(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(shown)
    entry = read_entry(tmp_path / "mine.yaml")
    assert [behaviour.role for behaviour in entry.behaviours] == ["polite", "terse"]


def test_layout_and_limits_are_current() -> None:
    assert readme_tables.refreshed(README) == README, "run: python scripts/readme_tables.py"


def test_every_relative_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("script", ["run.sh", ".ci/run"])
def test_shell_scripts_parse(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
