"""Check and measure on a GPU what only a GPU shows, and write one JSON file; gpu_check.sh starts it.

The order is such that the first minutes tell the most: tiny models against the CPU, then a large base in real
shapes with a small pair. A step that fails or cannot run does not stop the others, and the file is written
after every step, so that nothing is lost if the machine goes away. On a CPU, --small runs the same steps with
small shapes. Imports what a bare machine may lack only after looking for it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package is usually not installed in a checkout

NEEDED = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "jinja2", "pydantic", "psutil")
OPTIONAL = ("bitsandbytes", "pytest", "hypothesis")
MINUTES = 8.0
TESTS, TEST_S = ("tests/method", "tests/engine"), 120
WHY_NO_FURTHER = "the time is over; see --minutes"

Step = Callable[[], Mapping[str, Any]]


@dataclass
class Report:
    """The findings so far; every new one is printed, and the file is written again."""

    path: Path
    until_s: float  # no step begins after this, by time.monotonic()
    steps: list[dict[str, Any]] = field(default_factory=list)

    def run(self, name: str, step: Step) -> None:
        """Run one step. Its result, why it was skipped, or how it failed becomes a part of the report."""
        start_s = time.monotonic()
        found: dict[str, Any] = {"step": name}
        try:
            found |= {"skipped": WHY_NO_FURTHER} if start_s > self.until_s else step()
        except Exception as error:  # the other steps still tell something
            kind = "skipped" if type(error).__name__ == "Skipped" else "failed"
            text = str(error) if kind == "skipped" else f"{type(error).__name__}: {error}"
            found[kind] = " ".join(text.split())[:600]
        found["seconds"] = round(time.monotonic() - start_s, 2)
        self.add(found)

    def add(self, found: dict[str, Any]) -> None:
        """Add one finding."""
        self.steps.append(found)
        print(json.dumps(found), flush=True)
        self.path.write_text(json.dumps({"steps": self.steps}, indent=1) + "\n", encoding="utf-8")

    def run_all(self, steps: Iterable[tuple[str, Step]]) -> None:
        """Run steps by name, one after the other."""
        for name, step in steps:
            self.run(name, step)

    @property
    def failed(self) -> list[str]:
        """The names of the steps that failed."""
        return [step["step"] for step in self.steps if "failed" in step]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all steps; the exit code is 1 if one failed or none could run."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small shapes, for a CPU")
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"), help="the file to write")
    parser.add_argument("--folder", type=Path, help="where to put 17 GB of checkpoints meanwhile")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="no step begins after this time")
    given = parser.parse_args(arguments)
    report = Report(given.out, time.monotonic() + 60 * given.minutes)
    report.add({"step": "versions", "python": platform.python_version(), **versions()})
    if lacking := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        reason = f"{', '.join(lacking)} must be installed; see gpu_check.sh on wheels"
        report.add({"step": "everything", "skipped": reason})
        return 1
    try:  # they need what was looked for above, and what that needs
        from scripts import gpu_real, gpu_tiny  # noqa: PLC0415
        from scripts.gpu_runs import device  # noqa: PLC0415
    except ImportError as error:
        report.add({"step": "everything", "skipped": f"{error}; see gpu_check.sh on wheels"})
        return 1

    if not given.small and device() == "cpu":
        report.add({"step": "everything", "skipped": "there is no GPU here; --small runs on a CPU"})
        return 1
    report.run("machine", gpu_real.machine)
    report.run("tests", partial(own_tests, given.small))
    with TemporaryDirectory(dir=given.folder, prefix="gpu_check-") as folder:
        report.run_all(gpu_tiny.steps(Path(folder) / "tiny", given.small))
        report.run_all(gpu_real.steps(Path(folder) / "real", given.small))
    print(f"{len(report.steps)} steps, failed: {', '.join(report.failed) or 'none'}; written to {given.out}")
    return 1 if report.failed else 0


def versions() -> dict[str, str]:
    """The version of every package that matters here."""
    found = {}
    for name in (*NEEDED, *OPTIONAL):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def own_tests(small: bool) -> Mapping[str, Any]:
    """The quick tests of method and engine, with this machine's versions of the libraries."""
    from scripts.gpu_runs import Skipped, need  # noqa: PLC0415

    if small:
        raise Skipped("they run by themselves where --small does")
    for package in ("pytest", "hypothesis"):
        need(package)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "quick", "-p", "no:cacheprovider", *TESTS]
    if importlib.util.find_spec("gradio") is None:  # as on a bare machine: leave out what also tests the page
        files = (file for folder in TESTS for file in sorted((ROOT / folder).glob("test_*.py")))
        command += [f"--ignore={file}" for file in files if "eft_demo.ui" in file.read_text(encoding="utf-8")]
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TEST_S, check=False)
    except subprocess.TimeoutExpired:
        raise Skipped(f"they take more than {TEST_S} s here") from None
    if ended.returncode:
        raise AssertionError((ended.stdout or ended.stderr)[-500:])
    return {"result": ended.stdout.strip().splitlines()[-1]}


if __name__ == "__main__":
    sys.exit(main())
