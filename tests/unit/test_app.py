"""app.py: costs nothing to import, and says in a sentence why it cannot start."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start_app(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run app.py, which must end by itself."""
    return subprocess.run(
        [sys.executable, str(ROOT / "app.py"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_missing_weights_are_a_sentence(tmp_path: Path) -> None:
    ended = start_app(EFT_ASSETS=str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr.startswith("EFT Demo cannot start. There is no family 'atlas'")
    assert "Traceback" not in ended.stderr


def test_a_wrong_setting_is_a_sentence() -> None:
    ended = start_app(EFT_PORT="seventy")
    assert ended.returncode == 1
    assert "EFT_PORT" in ended.stderr and "Traceback" not in ended.stderr


def test_importing_the_app_builds_nothing() -> None:
    code = "import sys, app; sys.exit('demo' in vars(app))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
