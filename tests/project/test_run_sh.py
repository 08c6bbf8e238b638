"""run.sh: which build of PyTorch it installs, from indexes that the tests make, and its help. No network."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import typer

from eft_demo import cli

ROOT = Path(__file__).resolve().parents[2]
DRIVER = ("/proc/driver/nvidia/version", "/usr/lib/wsl/lib/nvidia-smi")
NO_CARD = not any(Path(path).exists() for path in DRIVER) and shutil.which("nvidia-smi") is None
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"


def add_wheel(index: Path, name: str, version: str, needs: str = "") -> None:
    """Add an empty package to a folder that serves as an index."""
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    file = f"{name}-{version}-py3-none-any.whl"
    (folder / "index.html").write_text(f'<!DOCTYPE html><a href="{file}">{file}</a>')
    with zipfile.ZipFile(folder / file, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", head + requires)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with run.sh, one requirement, and an app that prints its arguments."""
    shutil.copy(ROOT / "run.sh", tmp_path)
    (tmp_path / "requirements.txt").write_text("torch==9.1.0           # why\n")
    (tmp_path / "app.py").write_text("import sys; print('started', *sys.argv[1:])\n")
    return tmp_path


@pytest.fixture
def indexes(tmp_path: Path) -> tuple[str, str]:
    """The usual index, whose torch needs `cuda`, and one of CPU builds."""
    add_wheel(tmp_path / "usual", "torch", "9.1.0", "cuda")
    add_wheel(tmp_path / "usual", "cuda", "1.0")
    add_wheel(tmp_path / "cpu", "torch", "9.1.0+cpu")
    return (tmp_path / "usual").as_uri(), (tmp_path / "cpu").as_uri()


def run_sh(copy: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the copy with these variables and no other settings of pip."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "EFT_"))}
    variables = {"PIP_CONFIG_FILE": os.devnull, "EFT_VENV": str(copy / "venv"), **variables}
    command = ["bash", str(copy / "run.sh"), *words]
    return subprocess.run(
        command, env={**kept, **variables}, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def real_pip(copy: Path) -> None:
    """A virtual environment with the pip of the tests. (To install one takes seconds.)"""
    pip = pytest.importorskip("pip")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", copy / "venv"], check=True)
    (packages,) = copy.glob("venv/lib/*/site-packages")
    (packages / "pip").symlink_to(Path(pip.__file__).parent)


def installed(copy: Path) -> set[str]:
    return {
        path.name.removesuffix(".dist-info") for path in copy.glob("venv/lib/*/site-packages/*.dist-info")
    }


@pytest.mark.usefixtures("real_pip")
def test_cpu_builds_come_without_cuda_and_pips_own_extra_index_applies(
    copy: Path, indexes: tuple[str, str]
) -> None:
    usual, cpu = indexes
    add_wheel(copy / "extra", "other", "1.0")
    with (copy / "requirements.txt").open("a") as requirements:
        requirements.write("other==1.0\n")
    own = {"PIP_INDEX_URL": usual, "PIP_EXTRA_INDEX_URL": (copy / "extra").as_uri()}
    first = run_sh(copy, "--port", "1", EFT_TORCH_INDEX=cpu, **own)
    assert first.stdout == "started --port 1\n", first.stderr
    assert installed(copy) == {"torch-9.1.0+cpu", "other-1.0"}
    second = run_sh(copy, EFT_TORCH_INDEX=cpu, **own)
    assert (second.stdout, second.stderr) == ("started\n", "")  # nothing is installed again


@pytest.mark.usefixtures("real_pip")
def test_the_usual_build_comes_where_the_index_does_not_answer(copy: Path, indexes: tuple[str, str]) -> None:
    done = run_sh(copy, PIP_INDEX_URL=indexes[0], EFT_TORCH_INDEX="http://127.0.0.1:9/whl")
    assert done.stdout == "started\n", done.stderr
    assert installed(copy) == {"torch-9.1.0", "cuda-1.0"}
    assert "could not be reached" in done.stderr


def add_tool(folder: Path, name: str, does: str) -> None:
    folder.mkdir(parents=True)
    (folder / name).write_text(f"#!/bin/sh\n{does}\n")
    (folder / name).chmod(0o755)


def asked_of_pip(copy: Path, **variables: str) -> list[str]:
    """The options of each installation by a pip that only notes them."""
    add_tool(copy / "venv" / "bin", "python", f'echo "$@" >> "{copy}/asked"')
    assert run_sh(copy, **variables).returncode == 0
    return [line for line in (copy / "asked").read_text().splitlines() if line.startswith("-m pip install ")]


@pytest.mark.skipif(not NO_CARD, reason="this machine has an NVIDIA driver")
def test_without_an_nvidia_driver_cpu_builds_are_asked_for(copy: Path) -> None:
    torch, rest = asked_of_pip(copy)
    assert f"--no-deps --retries 1 --timeout 15 --extra-index-url {CPU_BUILDS} torch==9.1.0" in torch
    assert rest.endswith("-r requirements.txt") and "--extra-index-url" not in rest


@pytest.mark.parametrize(("tool", "prints"), [("nvidia-smi", ""), ("uname", "Darwin")])
def test_with_an_nvidia_driver_or_on_a_mac_the_usual_build_is(copy: Path, tool: str, prints: str) -> None:
    add_tool(copy / "tools", tool, f"echo {prints}")
    (rest,) = asked_of_pip(copy, PATH=f"{copy / 'tools'}:{os.environ['PATH']}")
    assert "--extra-index-url" not in rest


def test_an_empty_index_means_only_pips_own(copy: Path) -> None:
    (rest,) = asked_of_pip(copy, EFT_TORCH_INDEX="")
    assert "--extra-index-url" not in rest


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--port", "1", "--help"]])
def test_help_lists_every_option_and_installs_nothing(copy: Path, words: list[str]) -> None:
    done = run_sh(copy, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (copy / "venv").exists()
    start = typer.main.get_group(cli.app).commands["start"]
    shown = set(done.stdout.split())
    for parameter in start.params:
        assert shown & set(parameter.opts), f"{parameter.opts} is missing in the help of run.sh"
