"""Generate the tables in docs/ that follow from the code: layout, limits and families.

Run `python scripts/doc_tables.py` after changing files or limits; a test fails if the tables are outdated.
Descriptions come from the modules' docstrings and the comments in settings.py. Knows the markers in the
documents, not their prose.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package is usually not installed in a checkout

from eft_demo import settings  # noqa: E402
from eft_demo.families.catalogue import list_entries  # noqa: E402

MAX_SUMMARY_CHARS = 100
# Files without docstrings, in display order; Python folders are read from disk.
OTHERS = {
    "run.sh": "One command for everything: install on first use, then the app or the tests",
    "requirements.txt": "The app's dependencies, pinned",
    "requirements-dev.txt": "Additional dependencies of the tests",
    "pyproject.toml": "Packaging, ruff, mypy, pytest",
    "package.json": "Tools for the page's modules, pinned; see also eslint.config.js and tsconfig.json",
    "docs/api.md": "Endpoints for programs and tools for assistants, with examples that the tests run",
    "docs/deploying.md": "As a Hugging Face Space or behind a proxy: configuration, variables, health checks",
    "Dockerfile": "The app in a container, run by an unprivileged user",
    "scripts/gpu_check.sh": "Everything that needs a GPU, checked and measured in one go",
    ".ci/run": "What CI runs: the README's test command in a fresh environment",
}
FOLDERS = {
    "assets/atlas/": "Atlas: facts, tokenizer, weights",
    "assets/lessons/": "Lessons: one file each",
    "assets/families/": "The catalogue: one file per model family from the hub",
    "assets/room/": "The small page on which students vote: markup, style, script",
    "assets/space/": "The README of a Hugging Face Space, to be filled in",
    "assets/ui/": "The page's HTML skeleton, style sheet and module loader",
    "assets/web/": "The page's modules: main, store, api, dom; lib/ pure functions, views/ rendering, "
    "vendor/ what others wrote",
    "tests/<room>/": "The tests of one room",
    "tests/project/": "Command line, settings, packaging, documents, import order of the rooms",
    "tests/browser/": "The page in Chromium",
    "tests/load/": "Many concurrent users",
}


def layout(root: Path = ROOT) -> str:
    """The file tree: one line per file with the first sentence of its docstring."""
    lines = [("app.py", summary(root / "app.py"))]
    lines += [(name, text) for name, text in OTHERS.items() if (root / name).exists()]
    lines += _package_lines(root / "eft_demo", 0)
    lines += [(f"scripts/{p.name}", summary(p)) for p in sorted((root / "scripts").glob("*.py"))]
    lines += [(name, text) for name, text in FOLDERS.items() if "<" in name or (root / name).is_dir()]
    width = max(len(path) for path, _ in lines) + 2
    return "\n".join(["```", *(f"{path:<{width}}{text}".rstrip() for path, text in lines), "```"])


def _package_lines(folder: Path, depth: int) -> list[tuple[str, str]]:
    """Files first, then folders, each indented below its parent."""
    indent = "  " * depth
    lines = [(f"{indent}{folder.name}/", summary(folder / "__init__.py"))]
    files = sorted(p for p in folder.glob("*.py") if p.name != "__init__.py")
    lines += [(f"{indent}  {p.name}", summary(p)) for p in files]
    for inner in sorted(p.parent for p in folder.glob("*/__init__.py")):
        lines += _package_lines(inner, depth + 1)
    return lines


def summary(path: Path) -> str:
    """The first sentence of a module's docstring, cut at a clause if it is too long."""
    source = path.read_text(encoding="utf-8")
    text = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
    sentence = re.split(r"(?<=[^.])\.(?:\s|$)", text)[0]
    if len(sentence) <= MAX_SUMMARY_CHARS:
        return sentence
    ends = [m.start() for m in re.finditer(r"[,;:(] | \(", sentence[:MAX_SUMMARY_CHARS])]
    return sentence[: ends[-1]] if ends else sentence[: sentence.rindex(" ", 0, MAX_SUMMARY_CHARS)]


def limits(root: Path = ROOT) -> str:
    """The controls with their ranges, then every field of Settings with its default and reason."""
    rows = ["| limit | values | default | why |", "|---|---|---|---|"]
    beyond = (
        f"on the page and in links; the command line and opened runs go up to {settings.HIGHEST_WEIGHT:g}"
    )
    for control in (v for v in vars(settings).values() if isinstance(v, settings.Range)):
        why = f" {beyond}" if control in settings.CONTROLS.values() else ""
        span = f"{'above ' if control.above_low else ''}{control.low:.10g} to {control.high:.10g}"
        rows.append(f"| {control.name} | {span} | {control.default:g} |{why} |")
    source = (root / "eft_demo" / "settings.py").read_text(encoding="utf-8").partition("class Settings:")[2]
    field = re.compile(r"^    (\w+): (?:bool|int|float|str) = (\S+)(?:  # (.+))?$", re.MULTILINE)
    for name, default, why in field.findall(source):
        default = {"False": "0", "True": "1"}.get(default, default.strip('"'))
        rows.append(f"| `EFT_{name.upper()}` | | {default} | {why} |")
    return "\n".join(rows)


def families() -> str:
    """The catalogue without the bundled family."""
    rows = ["| name | large and small | behaviours | licence |", "|---|---|---|---|"]
    for entry in list_entries(settings.Settings()):
        if not entry.bundled:
            behaviours = ", ".join(behaviour.title for behaviour in entry.behaviours)
            licence = f"{entry.licence}{' (gated)' if entry.gated else ''}"
            rows.append(f"| `{entry.name}` | {entry.title} | {behaviours} | {licence} |")
    return "\n".join(rows)


# Document -> the name of its generated part and the function that writes it.
PARTS = {
    "docs/architecture.md": ("layout", layout),
    "docs/settings.md": ("limits", limits),
    "docs/models.md": ("families", families),
}


def refreshed(name: str) -> str:
    """The document `name` with its generated part updated."""
    part, write = PARTS[name]
    begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
    head, rest = (ROOT / name).read_text(encoding="utf-8").split(begin)
    return f"{head}{begin}\n{write()}\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    for document in PARTS:
        (ROOT / document).write_text(refreshed(document), encoding="utf-8")
