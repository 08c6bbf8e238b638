"""Values declared in several places agree, and every pin is exact."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import httpx
import pytest
import yaml
from packaging.requirements import Requirement

import eft_demo
from eft_demo.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
EXACT = re.compile(r"[A-Za-z0-9_.-]+==\d+(\.\d+)*")


def pins(name: str) -> dict[str, str]:
    """{package: version} of a requirements file without `-r` lines. Fails on pins that are not exact."""
    lines = [line.split(" #")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", "-r "))]
    for line in lines:
        assert EXACT.fullmatch(line), f"{name}: {line!r} is not an exact pin"
    return dict(line.lower().split("==") for line in lines)


def front_matter() -> dict[str, object]:
    text = (ROOT / "README.md").read_text()
    assert text.startswith("---\n")
    return dict(yaml.safe_load(text.split("---\n")[1]))


def test_every_pin_is_exact_and_named_once() -> None:
    app, dev = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {"gradio", "torch", "transformers", "bitsandbytes", "plotly"} <= set(app)
    assert not set(app) & set(dev)
    assert "-r requirements.txt" in (ROOT / "requirements-dev.txt").read_text()


def test_the_wheel_accepts_the_pinned_versions_and_none_that_may_break_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    accepted = {asked.name.lower(): asked.specifier for asked in map(Requirement, project["dependencies"])}
    app = pins("requirements.txt")
    assert accepted.keys() == app.keys()
    for name, pinned in app.items():
        major, *_ = pinned.split(".")
        assert pinned in accepted[name] and f"{int(major) + 1}.0" not in accepted[name], name
    assert "2.11.0" in accepted["torch"]  # what a Space with ZeroGPU installs
    assert "6.32.0" not in accepted["gradio"] and "5.24.0" not in accepted["transformers"]


def test_the_tools_of_the_page_are_pinned_and_name_no_registry() -> None:
    wanted = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    lock = (ROOT / "package-lock.json").read_text()
    packages = json.loads(lock)["packages"]
    assert wanted and all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    assert packages[""]["devDependencies"] == wanted
    assert all("integrity" in package for name, package in packages.items() if name)
    assert '"resolved"' not in lock


def test_the_required_versions_are_pinned() -> None:
    app = pins("requirements.txt")
    assert app["torch"] == "2.13.0"
    assert tuple(map(int, app["gradio"].split(".")))[:2] >= (6, 31)  # advisories before it
    assert app["transformers"].startswith("5.23.") and app["bitsandbytes"].startswith("0.50.")
    assert app["plotly"].startswith("7.")


def test_the_space_installs_the_pinned_gradio_and_a_python_that_the_package_allows() -> None:
    space = front_matter()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert space["sdk"] == "gradio" and space["sdk_version"] == pins("requirements.txt")["gradio"]
    assert (ROOT / str(space["app_file"])).is_file()
    assert project["requires-python"] == ">=3.11"
    assert isinstance(space["python_version"], str)  # unquoted, 3.10 would be the number 3.1
    assert tuple(map(int, space["python_version"].split("."))) >= (3, 11)
    assert len(str(space["short_description"])) <= 60  # the Hub's limit


def test_the_container_runs_the_same_python_and_requirements_unprivileged() -> None:
    docker = (ROOT / "Dockerfile").read_text()
    minor = ".".join(str(front_matter()["python_version"]).split(".")[:2])
    assert docker.startswith(f"FROM python:{minor}-slim\n")
    assert "--uid 1000" in docker and "\nUSER 1000\n" in docker
    steps = [docker.index(step) for step in ("requirements.txt .", "pip install", "eft_demo eft_demo")]
    assert steps == sorted(steps)
    assert "HEALTHCHECK" in docker and "/healthz" in docker
    # The exec form passes SIGTERM and the options of `docker run` to the app.
    assert '\nENTRYPOINT ["python", "app.py"]' in docker and "\nCMD" not in docker


def test_every_room_is_packaged() -> None:
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    rooms = {"eft_demo"} | {f"eft_demo.{p.parent.name}" for p in ROOT.glob("eft_demo/*/__init__.py")}
    assert declared - {"eft_demo.assets"} == rooms


def test_a_space_sets_the_address_unless_eft_variables_do() -> None:
    space = {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": "7000"}
    settings = Settings.from_env(space)
    assert (settings.host, settings.port) == ("0.0.0.0", 7000)
    assert Settings.from_env({**space, "EFT_HOST": "127.0.0.1"}).host == "127.0.0.1"


def test_version_and_licence() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", eft_demo.__version__)
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
    assert front_matter()["license"] == "apache-2.0"


def test_app_py_stays_small() -> None:
    assert len((ROOT / "app.py").read_text().splitlines()) <= 40


@pytest.mark.slow
def test_the_installed_package_starts_from_any_folder(tmp_path: Path) -> None:
    """The wheel without the weights, unpacked like pip does; its dependencies are already installed."""
    setuptools = pytest.importorskip("setuptools", minversion="77", reason="the wheel is built by setuptools")
    assert setuptools
    source, site, elsewhere = tmp_path / "source", tmp_path / "site", tmp_path / "elsewhere"
    for name in ("eft_demo", "assets"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
        )
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools.build_meta import build_wheel; build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    modules = {path.name for path in site.glob("eft_demo/assets/web/**/*") if path.is_file()}
    assert "main.js" in modules and not [name for name in modules if ".test." in name or ".d." in name]
    shutil.rmtree(source)
    (commands,) = site.glob("*.dist-info/entry_points.txt")
    assert "eft-demo = eft_demo.__main__:main" in commands.read_text()
    about = (commands.parent / "METADATA").read_text(encoding="utf-8")
    assert "\nRequires-Dist: gradio~=6.31.0\n" in about and "Requires-Dist: torch==" not in about
    elsewhere.mkdir()
    code = "from eft_demo.__main__ import main; main()"  # the code of the script that pip generates
    app = subprocess.Popen(
        [sys.executable, "-c", code, "start", "--port", "0", "--family", "none"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert app.stdout
    address = app.stdout.readline().removeprefix("EFT Demo is at ").strip().split("#")[0]
    try:
        assert "EFT Demo" in httpx.get(address, trust_env=False, timeout=60).text
    finally:
        app.terminate()
        _, complaints = app.communicate(timeout=60)
    assert app.returncode == 0 and complaints == ""
