"""docs/api.md is true: its examples run against the real server and print what the document shows."""

import contextlib
import importlib.util
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from eft_demo.ui import server
from eft_demo.ui.endpoints import ENDPOINTS, parameters_of
from eft_demo.ui.page import build_demo
from tests.javascript import find_node

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
# (language, example, what it prints) of every example that is followed by its output.
EXAMPLES = re.findall(
    r"```(\w+)\n((?:(?!\n```).)*)\n```\n\n```text\n((?:(?!\n```).)*)\n```", DOCUMENT, re.DOTALL
)
ADDRESS = "http://localhost:7860"
NUMBER = re.compile(r"-?\d+\.\d+")
ROUNDING = 0.101  # of one digit after the point


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server with the bundled family and the endpoints."""
    settings = replace(Settings(), port=0, api=True, dtype="fp32")
    service = Service.load(settings)
    demo = build_demo(service, settings)
    yield server.start(demo, settings)
    server.stop(demo)
    service.stop()


def run_python(example: str) -> str:
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(example, names)  # noqa: S102
    return printed.getvalue()


def run_shell(example: str) -> str:
    if shutil.which("curl") is None:
        pytest.skip("this needs curl")
    return subprocess.run(["sh", "-c", example], capture_output=True, text=True, check=True).stdout


def run_node(example: str) -> str:
    node = find_node()
    if node is None:
        pytest.skip("this needs Node.js")
    command = [node, "--input-type=module", "-e", example]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


RUNNERS = {"python": run_python, "sh": run_shell, "js": run_node}


def test_every_example_of_a_client_shows_its_output() -> None:
    assert [language for language, _, _ in EXAMPLES] == ["python", "sh", "js", "python"]
    assert len(re.findall(r"```(?:python|js)\n|```sh\n(?=url)", DOCUMENT)) == len(EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "example", "shown"), EXAMPLES, ids=["gradio_client", "curl", "JavaScript", "MCP"]
)
def test_every_example_prints_what_the_document_shows(
    address: str, language: str, example: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "import Client\nfrom mcp" in example and importlib.util.find_spec("mcp") is None:
        pytest.skip("this needs the package mcp")
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setenv("NO_PROXY", "localhost")
    printed = RUNNERS[language](example.replace(ADDRESS, address)).strip()
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", shown)
    there, here = ([float(number) for number in NUMBER.findall(text)] for text in (shown, printed))
    assert here == pytest.approx(there, abs=ROUNDING)


def test_the_table_has_the_endpoints_with_their_parameters() -> None:
    for act in ENDPOINTS:
        (row,) = re.findall(rf"^\| `{act.__name__}` \|.*\|([^|]*)\|$", DOCUMENT, re.MULTILINE)[:1]
        assert re.findall(r"`(\w+)`", row) == list(parameters_of(act))
