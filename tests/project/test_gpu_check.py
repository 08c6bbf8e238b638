"""The check for machines with a GPU: it runs on a CPU with small shapes, and says what it lacks."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import gpu_check
from tests.tiers import exhaustive

ROOT = Path(__file__).resolve().parents[2]


def steps_of(path: Path) -> dict[str, dict[str, object]]:
    return {step["step"]: step for step in json.loads(path.read_text())["steps"]}


@pytest.mark.slow
@exhaustive
def test_every_step_runs_on_a_cpu_with_small_shapes(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    command = ["bash", "scripts/gpu_check.sh", "--small", "--minutes", "30", "--out", str(out)]
    environment = {**os.environ, "EFT_PYTHON": sys.executable}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    found = json.loads(out.read_text())["steps"]
    names = [step["step"] for step in found]
    wanted = ("logits qwen2 nf4", "runs, LoRA", "nf4: one stream, drafts", "nf4: long prompt", "none: load")
    assert set(wanted) <= set(names) and len(set(names)) == len(names)
    skipped = [(step["step"], step["skipped"]) for step in found if "skipped" in step]
    assert [name for name, _ in skipped] == ["tests", "none: plain generate"], skipped
    rates = [step["tokens_per_s_per_column"] for step in found if "three columns" in step["step"]]
    assert len(rates) == 2 and min(rates) > 0
    (profile,) = (step for step in found if step["step"] == "nf4: profile")
    assert profile["ms_by_operation"]


def test_a_machine_that_lacks_a_package_is_told_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pydantic" else found(name))
    out = tmp_path / "found.json"
    assert gpu_check.main(["--small", "--out", str(out)]) == 1
    steps = steps_of(out)
    assert "pydantic" in str(steps["everything"]["skipped"]) and list(steps) == ["versions", "everything"]


def test_a_step_that_fails_or_comes_too_late_stops_no_other(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    report = gpu_check.Report(out, until_s=float("inf"))

    def broken() -> dict[str, object]:
        raise ZeroDivisionError("on the device")

    report.run("broken", broken)
    report.run("whole", lambda: {"tokens": 3})
    report.until_s = 0.0
    report.run("late", lambda: {"tokens": 3})
    steps = steps_of(out)
    assert "ZeroDivisionError: on the device" in str(steps["broken"]["failed"])
    assert steps["whole"]["tokens"] == 3 and "skipped" not in steps["whole"]
    assert "--minutes" in str(steps["late"]["skipped"]) and report.failed == ["broken"]
