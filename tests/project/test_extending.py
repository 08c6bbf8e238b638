"""docs/extending.md does what it says: its code, put into a copy of the program, adds all five things.

What the copy can do is checked by `extended.py`, which runs inside of it.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoints import make_real_family
from tests.tiers import exhaustive

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
CHECKS, ROOMS = "tests/project/extended.py", "tests/project/test_rooms.py"
NAMES = [
    node.name
    for node in ast.parse((ROOT / CHECKS).read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
]


def blocks() -> Iterator[tuple[str, str, str]]:
    """(file, language, text) of every block; the file is the last one named before it."""
    for found in re.finditer(r"```(python|yaml|diff)\n(.*?)```", DOCUMENT, re.DOTALL):
        named = re.findall(r"`((?:eft_demo|assets)/[\w./]+\.\w+)`", DOCUMENT[: found.start()])
        yield named[-1], found[1], found[2]


def change(path: Path, diff: str) -> None:
    """Apply a block of lines that begin with a space, + or -."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name} has no such place:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with everything in it that the document adds."""
    folder = tmp_path_factory.mktemp("extended")
    for part in ("eft_demo", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("web", "ui", "export", "families"):
        shutil.copytree(ROOT / "assets" / part, folder / "assets" / part)
    for part in ("atlas", "runs"):
        (folder / "assets" / part).symlink_to(ROOT / "assets" / part)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, language, text in blocks():
        path = folder / name
        if language == "diff":
            change(path, text)
        else:
            assert not path.exists(), f"{name} is not new"
            path.write_text(text, encoding="utf-8")
    made = folder / "assets" / "families" / "mine"
    make_real_family(made, "gpt_neox")
    return folder


@pytest.fixture(scope="module")
def outcome(copy: Path) -> str:
    """Of all checks, and of the rooms with the new files in it."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "--tb=short"]
    command += [CHECKS, ROOMS]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_the_guide_adds_five_extensions_with_one_file_and_one_line_each() -> None:
    titles = re.findall(r"^## .+$", DOCUMENT, re.MULTILINE)
    assert len(titles) == 5
    sections = re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)[1:]
    found = list(blocks())
    for section in sections:
        mine = [(name, language) for name, language, text in found if text in section]
        new = {name for name, language in mine if language != "diff"}
        changed = {name for name, language in mine if language == "diff"}
        assert mine and len(new) <= 1 and len(changed) <= 1, section
        lines = [
            line
            for _, kind, text in found
            if kind == "diff" and text in section
            for line in text.splitlines()
        ]
        added = [line[1:].strip() for line in lines if line.startswith("+")]
        assert len([line for line in added if not line.startswith("from ")]) <= 1


@exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if "browser" not in name])
def test_the_extended_copy_passes_its_tests(name: str, outcome: str) -> None:
    assert re.search(rf"::{name} PASSED", outcome), outcome[-8000:]


@exhaustive
@pytest.mark.browser
def test_the_extended_copy_shows_the_extensions_in_the_browser(outcome: str) -> None:
    (name,) = [name for name in NAMES if "browser" in name]
    if f"::{name} SKIPPED" in outcome:
        pytest.skip("it was skipped in the copy: this needs Debian's chromium, playwright and axe")
    assert f"::{name} PASSED" in outcome, outcome[-8000:]


@exhaustive
def test_the_added_files_pass_the_linters(copy: Path, outcome: str) -> None:
    """The code shown is as the rest of the program has to be."""
    assert "test_rooms.py" in outcome and "FAILED tests/project/test_rooms.py" not in outcome
    names = sorted({name for name, _, _ in blocks() if name.endswith(".py")})
    for command in (["check", "-q"], ["format", "-q", "--check"]):
        words = [sys.executable, "-m", "ruff", *command, *names]
        done = subprocess.run(words, cwd=copy, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
