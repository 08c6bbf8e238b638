"""README and docs are true: commands exist, tables are current, links lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest
import typer

from eft_demo import cli
from eft_demo.families.catalogue import read_entry
from scripts import doc_tables

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in DOCUMENTS}
README, RESULTS = TEXTS["README.md"], TEXTS["docs/results.md"]


def shell_blocks(text: str) -> list[str]:
    """Every ```sh block, with continued lines joined."""
    return [block.replace("\\\n", " ") for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)]


def program_lines() -> list[list[str]]:
    """The words after `-m eft_demo` in every such line, without comments."""
    blocks = [block for text in TEXTS.values() for block in shell_blocks(text)]
    lines = [line for block in blocks for line in block.splitlines() if "-m eft_demo " in line]
    return [line.split("#")[0].split("-m eft_demo ")[1].split() for line in lines]


def test_the_readmes_first_two_commands_work_and_ci_runs_the_second() -> None:
    assert [block.strip() for block in shell_blocks(README)[:2]] == ["bash run.sh", "bash run.sh test"]
    ci_commands = [line.split(" < ")[0] for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert "bash run.sh test" in ci_commands


@pytest.mark.parametrize("words", program_lines(), ids=lambda words: words[0])
def test_every_command_shown_exists_with_its_options(words: list[str]) -> None:
    command = typer.main.get_group(cli.app).commands[words[0]]
    options = {name for parameter in command.params for name in parameter.opts}
    # lm-eval passes its options on to another program.
    known = options | ({"--model", "--tasks", "--model_args"} if words[0] == "lm-eval" else set())
    assert {word for word in words[1:] if word.startswith("--")} <= known


def test_every_command_is_shown() -> None:
    assert set(typer.main.get_group(cli.app).commands) == {words[0] for words in program_lines()}


def test_the_example_family_files_are_valid(tmp_path: Path) -> None:
    shown = re.findall(r"```yaml\n(.*?)```", TEXTS["docs/models.md"], re.DOTALL)
    for text, behaviours in zip(shown, (["polite", "terse", "pirate"], ["pirate"]), strict=True):
        (tmp_path / "mine.yaml").write_text(text)
        entry = read_entry(tmp_path / "mine.yaml")
        assert [behaviour.role for behaviour in entry.behaviours] == behaviours
    assert [role.role for role in entry.roles.values() if role.is_gguf] == list(entry.roles)


@pytest.mark.parametrize("name", doc_tables.PARTS)
def test_tables_are_current(name: str) -> None:
    assert doc_tables.refreshed(name) == TEXTS[name], "run: python scripts/doc_tables.py"


@pytest.mark.parametrize("name", TEXTS)
def test_every_relative_link_leads_somewhere(name: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXTS[name]) if not link.startswith("http")]
    broken = [link for link in links if not leads_somewhere((ROOT / name).parent, link)]
    assert broken == []


def leads_somewhere(folder: Path, link: str) -> bool:
    """Whether the file exists and, if the link names a section, has that heading."""
    file, _, section = link.partition("#")
    path = folder / file
    if not section or not path.exists():
        return path.exists()
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return section in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_the_readmes_figures_match_the_results() -> None:
    """A row has the shares of four tables: facts, facts of the separate list, style, declines."""
    shown = re.findall(
        r"^\| ([^|]+) \| (\.\d+) \| (\.\d+) \| (\.\d+) \| (\.\d*)?\s*\|$", README, re.MULTILINE
    )
    assert len(shown) == 5
    for model, factual, listed, style, declined in shown:
        rows = [line for line in RESULTS.splitlines() if line.startswith(f"| assistant | {model} | ")]
        greedy = rows[0]
        assert greedy.startswith(f"| assistant | {model} | 0{factual} (") and f"| 0{style} (" in greedy
        assert any(row.startswith(f"| assistant | {model} | 0{listed} (") for row in rows[1:])
        assert not declined or any(f"| {model} | 0{declined} (" in row for row in rows[1:])


@pytest.mark.parametrize("script", ["run.sh", ".ci/run"])
def test_shell_scripts_parse(script: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
