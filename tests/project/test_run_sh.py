"""run.sh: which build of PyTorch it installs, from indexes that the tests make, and its help. No network."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

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


def run_sh(
    copy: Path, *words: str, shell: str = "bash", file: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the copy, or `file`, with these variables and no other settings of pip."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "EFT_"))}
    own = {"PIP_CONFIG_FILE": os.devnull, "PIP_CONSTRAINT": os.devnull, "EFT_VENV": str(copy / "venv")}
    variables = {**own, **variables}
    command = [shell, str(file or copy / "run.sh"), *words]
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
    own: dict[str, Any] = {"PIP_INDEX_URL": usual, "PIP_EXTRA_INDEX_URL": (copy / "extra").as_uri()}
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


@pytest.mark.usefixtures("real_pip")
@pytest.mark.parametrize("setting", ["PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_DRY_RUN"])
def test_settings_of_pip_for_other_places_do_not_leave_the_environment_empty(
    copy: Path, indexes: tuple[str, str], setting: str
) -> None:
    value = "1" if setting in ("PIP_USER", "PIP_DRY_RUN") else str(copy / "elsewhere")
    done = run_sh(copy, PIP_INDEX_URL=indexes[0], EFT_TORCH_INDEX="", file=None, **{setting: value})
    assert done.stdout == "started\n", done.stderr
    assert installed(copy) == {"torch-9.1.0", "cuda-1.0"}


@pytest.mark.usefixtures("real_pip")
def test_a_file_of_pip_that_names_the_users_folder_does_not_either(
    copy: Path, indexes: tuple[str, str]
) -> None:
    (copy / "pip.conf").write_text("[global]\nuser = true\n")
    own: dict[str, Any] = {"PIP_CONFIG_FILE": str(copy / "pip.conf"), "EFT_TORCH_INDEX": ""}
    own["PIP_INDEX_URL"] = indexes[0]
    assert run_sh(copy, **own).stdout == "started\n"
    assert installed(copy) == {"torch-9.1.0", "cuda-1.0"}


@pytest.mark.usefixtures("real_pip")
def test_one_that_names_another_folder_is_named_at_each_start(copy: Path, indexes: tuple[str, str]) -> None:
    (copy / "pip.conf").write_text(f"[global]\ntarget = {copy / 'elsewhere'}\n")
    own: dict[str, Any] = {"PIP_CONFIG_FILE": str(copy / "pip.conf"), "EFT_TORCH_INDEX": ""}
    own["PIP_INDEX_URL"] = indexes[0]
    for _ in range(2):
        done = run_sh(copy, **own)
        assert (done.returncode, done.stdout) == (1, "")
        assert "pip installed nothing into" in done.stderr and "target" in done.stderr


def test_sh_a_link_and_cdpath_find_it_too(copy: Path) -> None:
    (copy / "bin").mkdir()
    (copy / "bin" / "eft").symlink_to(copy / "run.sh")
    (copy / "elsewhere" / "bin").mkdir(parents=True)
    for file in (copy / "bin" / "eft", Path(os.path.relpath(copy / "run.sh"))):
        asked_of_pip(copy, shell="sh", file=file, CDPATH=str(copy / "elsewhere"))
        (copy / "asked").unlink()


def test_a_python_that_is_too_new_is_named(copy: Path) -> None:
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15))):
        is_there = name == "python3"
        add_tool(
            copy / "tools",
            name,
            '[ "$1" = --version ] && echo Python 3.15.0; exit 1' if is_there else "exit 127",
        )
    done = run_sh(copy, PATH=f"{copy / 'tools'}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "Python 3.11 to 3.14 was not found, only Python 3.15.0" in done.stderr


def test_git_for_windows_keeps_its_line_ends(tmp_path: Path) -> None:
    git = shutil.which("git") or pytest.skip("no git")
    for name in (".gitattributes", "run.sh"):
        shutil.copy(ROOT / name, tmp_path)
    own = [git, "-c", "core.autocrlf=true", "-C", str(tmp_path)]
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run([*own, *words], check=True, capture_output=True)
    (tmp_path / "run.sh").unlink()
    subprocess.run([*own, "checkout-index", "run.sh"], check=True, capture_output=True)
    assert b"\r" not in (tmp_path / "run.sh").read_bytes()


def add_tool(folder: Path, name: str, does: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{does}\n")
    (folder / name).chmod(0o755)


def asked_of_pip(copy: Path, **variables: Any) -> list[str]:
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
