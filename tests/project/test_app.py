"""app.py is cheap to import and prints one message if it cannot start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def start_app(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run app.py, which must exit without being stopped."""
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_missing_weights_leave_a_page_of_recorded_runs(tmp_path: Path) -> None:
    app = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py")],
        env={**os.environ, "EFT_ASSETS": str(tmp_path), "EFT_PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert app.stdout
    said = app.stdout.readline()
    app.terminate()
    _, complained = app.communicate(timeout=60)
    assert said.startswith("EFT Demo is at http://localhost:") and app.returncode == 0
    assert complained.startswith("There is no family 'atlas'") and "Traceback" not in complained


def test_an_invalid_setting_is_an_error_message() -> None:
    ended = start_app(EFT_PORT="seventy")
    assert ended.returncode == 1
    assert "EFT_PORT" in ended.stderr and "Traceback" not in ended.stderr


def test_importing_the_app_builds_nothing() -> None:
    code = "import sys, app; sys.exit('demo' in vars(app))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
