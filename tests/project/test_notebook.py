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
