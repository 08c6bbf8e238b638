"""The container image, as far as it can be built without a container engine: steps, user, health check."""

import os
import shutil
import site
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image import Image, ignored, instructions
from tests.tiers import exhaustive

ROOT = Path(__file__).resolve().parents[2]
READY_S = 120.0  # a busy machine is not a failure


def test_the_dockerfile_reader_joins_lines_and_skips_comments() -> None:
    text = "# a\nFROM x\n\nRUN a \\\n    # why\n    && b\n"
    assert list(instructions(text)) == [("FROM", "x"), ("RUN", "a && b")]


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("app.py", True),
        ("eft_demo/ui/server.py", True),
        ("assets/atlas/family.yaml", True),
        ("assets/web/lib/keys.js", True),
        ("assets/web/lib/keys.test.js", False),
        ("eft_demo/__pycache__/app.pyc", False),
        ("eft_demo/ui/__pycache__/x.pyc", False),
        (".git/config", False),
        (".env", False),
        (".venv/bin/python", False),
        ("tests/image.py", False),
        ("secrets.txt", False),
    ],
)
def test_only_what_the_app_needs_is_sent_to_the_builder(path: str, kept: bool) -> None:
    assert ignored(path, (ROOT / ".dockerignore").read_text()) is not kept


def may(uid: int, *command: str) -> bool:
    """Whether a command succeeds as that user. Uses a shell, because setpriv itself can read everything."""
    who = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if os.getuid() == 0 else []
    shell = ["sh", "-c", '"$0" "$@"', *command]
    return subprocess.run([*who, *shell], capture_output=True, check=False).returncode == 0


def usable_python() -> Path | None:
    """An interpreter of this Python version that uid 1000 may run and that can make virtual environments."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (Path(vars(sys)["_base_executable"]), Path("/usr/bin") / version):
        if path.exists() and may(1000, str(path), "-c", "import ensurepip"):
            return path.resolve()
    return None


@pytest.fixture
def folder() -> Iterator[Path]:
    """A clean folder that other users may enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="eft-image-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def readable_packages(folder: Path) -> Path:
    """The installed packages, or links to them in a folder that uid 1000 can read."""
    installed = Path(site.getsitepackages()[0])
    if may(1000, "test", "-r", str(installed / "torch" / "__init__.py")):
        return installed
    subprocess.run(["cp", "-a", "--link", str(installed), str(folder / "packages")], check=True)
    return folder / "packages"


@exhaustive
@pytest.mark.slow
def test_the_steps_run_unprivileged_and_the_app_reports_healthy(folder: Path) -> None:
    if os.getuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("as root this needs setpriv (util-linux) to become uid 1000")
    python = usable_python()
    if python is None:
        pytest.skip("no interpreter of this version that uid 1000 may run")
    (folder / "image").mkdir()
    image = Image(folder / "image", ROOT, python, readable_packages(folder))
    image.build()
    assert not list((folder / "image").rglob(".git")) and (image.cwd / "app.py").is_file()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    listen = {"EFT_HOST": "127.0.0.1", "EFT_PORT": port, "HF_HUB_OFFLINE": "1"}
    app = image.run(image.entrypoint, **listen)
    try:
        give_up = time.monotonic() + READY_S
        while image.run(image.healthcheck, **listen).wait(timeout=30):
            assert app.poll() is None and time.monotonic() < give_up, app.communicate(timeout=5)[0]
        if os.getuid() == 0:
            assert os.stat(f"/proc/{app.pid}").st_uid == 1000
    finally:
        app.terminate()
        output, _ = app.communicate(timeout=30)
    assert app.returncode == 0, output
    assert image.run(image.healthcheck, **listen).wait(timeout=30) != 0  # it detects that the app is gone
