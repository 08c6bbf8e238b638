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

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
CHECKS = ROOT / "tests" / "project" / "extended.py"
NAMES = [node.name for node in ast.parse(CHECKS.read_text()).body if isinstance(node, ast.FunctionDef)]
CHECK_NAMES = [name for name in NAMES if name.startswith("test_")]


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
    """What pytest says of the checks, run inside of the copy."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "--tb=short", "-q"]
    checks = str(CHECKS.relative_to(ROOT))
    done = subprocess.run([*command, checks], cwd=copy, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_it_adds_five_things_with_one_file_and_one_place_each() -> None:
    titles = [title for title in re.findall(r"^## (.+)$", DOCUMENT, re.MULTILINE)]
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


@pytest.mark.parametrize("name", CHECK_NAMES)
def test_the_copy_has_it(name: str, outcome: str) -> None:
    if re.search(rf"^SKIPPED .*{CHECKS.name}", outcome, re.MULTILINE) and "browser" in name:
        pytest.skip("the browser tests need Debian's chromium in /usr/bin")
    assert re.search(rf"^PASSED \S*::{name}$", outcome, re.MULTILINE), outcome[-8000:]


def test_what_it_adds_is_clean(copy: Path) -> None:
    """The code shown keeps the rules that the rest of the program keeps."""
    names = sorted({name for name, _, _ in blocks() if name.endswith(".py")})
    for command in (["check", "-q"], ["format", "-q", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *names],
            cwd=copy, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    rooms = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "tests/project/test_rooms.py"]
    done = subprocess.run(rooms, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
