"""The rooms of the package: imports run one way, fences hold, functions stay small."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "eft_demo"
# A room imports only from itself and from rooms on earlier lines, not from rooms on its own line.
ORDER = [
    ["errors"],
    ["host"],
    ["settings"],
    ["method"],
    ["runs"],
    ["classroom", "families", "figures"],
    ["models"],
    ["engine"],
    ["atlas", "lessons"],
    ["lab", "ui"],
    ["publish"],
    ["api"],
    ["mcp_server"],
    ["cli"],
    ["__main__"],
]
FENCES = {
    "transformers": {"models", "families", "atlas", "lab"},
    "gradio": {"ui"},
    "spaces": {"ui"},
    "mcp": {"mcp_server"},
}
MAX_FUNCTION_LINES = 60

FILES = sorted(PACKAGE.rglob("*.py"))
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}


def room_of(path: Path) -> str:
    """The room of a file: its folder in the package, or its own name at the top level."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@lru_cache(maxsize=1)  # the tests of one file follow one another, see `every_file`
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(path: Path) -> Iterator[str]:
    """Every absolute module name that a file imports, at the top level or in a function."""
    folder = ["eft_demo", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from eft_demo import recipe` names a room only in its second half.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


every_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)), scope="module"
)


@every_file
def test_imports_run_one_way(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":  # imports nothing by itself, see below
        return
    assert room in LEVEL, f"{room} has no place in the order of rooms: give it one"
    for name in imported(path):
        other = name.split(".")[1] if name.startswith("eft_demo.") else room
        if other not in (room, "__version__"):
            assert LEVEL[other] < LEVEL[room], f"{path.name} may not import {name}"


@every_file
def test_libraries_are_imported_only_in_their_rooms(path: Path) -> None:
    for name in imported(path):
        package = name.split(".")[0]
        assert room_of(path) in FENCES.get(package, {room_of(path)}), f"{path.name} may not import {name}"


@every_file
def test_only_two_rooms_read_the_environment(path: Path) -> None:
    if room_of(path) in ("host", "settings"):
        return
    names = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert not names & {"os.environ", "os.getenv", "os.environb", "os.putenv"}
    assert not set(imported(path)) & {"os.environ", "os.getenv", "os.environb", "os.putenv"}


@every_file
def test_every_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


@every_file
def test_functions_stay_small(path: Path) -> None:
    long = {f.name: lines for f in functions(path) if (lines := lines_of(f)) > MAX_FUNCTION_LINES}
    assert not long


@every_file
def test_every_function_is_annotated(path: Path) -> None:
    assert not [f.name for f in functions(path) if f.returns is None]


def test_importing_the_package_imports_nothing_else() -> None:
    # Its only imports are for type checkers or happen on first use.
    code = "import sys, eft_demo; sys.exit(any(n[:9] == 'eft_demo.' or n == 'torch' for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    offered = set(imported(PACKAGE / "__init__.py")) - {"typing.TYPE_CHECKING"}
    assert offered == {"eft_demo.api.load", "eft_demo.models.logits_processor.EmulatedFineTuning"}
    assert {"errors", "settings", "method", "runs"} <= {room_of(path) for path in FILES}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import os.path", ["os.path"]),
        ("from eft_demo.engine import run", ["eft_demo.engine.run"]),
        ("from eft_demo import ui", ["eft_demo.ui"]),
        ("from . import kv_cache", ["eft_demo.models.kv_cache"]),
        ("from ..engine.core import Engine", ["eft_demo.engine.core.Engine"]),
        ("def f():\n    import gradio", ["gradio"]),
    ],
)
def test_every_form_of_import_is_found(
    source: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "tree_of", lambda path: ast.parse(source))
    assert list(imported(PACKAGE / "models" / "some.py")) == names
