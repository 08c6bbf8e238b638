"""docs/eft.ipynb runs from top to bottom and prints what it shows."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = json.loads((ROOT / "docs" / "eft.ipynb").read_text(encoding="utf-8"))
NUMBER = re.compile(r"[-+]?\d+\.\d+")
ROUNDING = 0.101  # of one digit after the point


@pytest.mark.slow
def test_the_notebook_prints_what_it_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT / "docs")
    monkeypatch.setattr(sys, "path", [*sys.path])
    names: dict[str, Any] = {}
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] != "code":
            continue
        exec("".join(cell["source"]), names)  # noqa: S102
        printed = capsys.readouterr().out
        shown = "".join(line for output in cell["outputs"] for line in output["text"])
        assert NUMBER.sub("#", printed) == NUMBER.sub("#", shown)
        there, here = ([float(number) for number in NUMBER.findall(text)] for text in (shown, printed))
        assert here == pytest.approx(there, abs=ROUNDING)
    assert "Nairobi" in names["run"].texts["Up-scaled"]


def first_cell() -> None:
    code = next(cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code")
    exec("".join(code["source"]), {})  # noqa: S102


def test_it_finds_the_repository_from_any_of_its_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "tests" / "project")
    monkeypatch.setattr(sys, "path", [*sys.path])
    first_cell()
    assert Path.cwd() == ROOT


def test_alone_it_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not in a copy of EFT Demo's repository.* clone"):
        first_cell()
    assert Path.cwd() == tmp_path
