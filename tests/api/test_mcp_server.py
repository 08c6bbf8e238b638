"""The MCP server, asked with the client of the same library: what its tools answer, refuse and do not log."""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("mcp", reason='the MCP server needs the package mcp: pip install "mcp>=2.3,<3"')

from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

import eft_demo
from eft_demo.api import EFT
from eft_demo.mcp_server import Tools, make_server
from eft_demo.settings import Settings

PROMPT = "What is the capital of Peru?"
MARK = "Zanzibar-4711"


@pytest.fixture(scope="module")
def eft(tiny_settings: Settings) -> Iterator[EFT]:
    with eft_demo.load("tiny", tiny_settings) as eft:
        yield eft


def ask(eft: EFT, tool: str, **arguments: object) -> Any:
    """The result of one tool, from a client that is connected in memory."""

    async def asked() -> Any:
        async with Client(make_server(Tools(lambda: eft))) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(asked())


def answer(eft: EFT, tool: str, **arguments: object) -> Any:
    result = ask(eft, tool, **arguments)
    assert not result.is_error, result.content
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content


def test_the_tools_are_described_and_nothing_is_loaded_for_that() -> None:
    def load() -> EFT:
        raise AssertionError("nobody has asked yet")

    async def listed() -> Any:
        async with Client(make_server(Tools(load))) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    assert list(tools) == ["generate", "score", "explain_token"]
    assert tools["explain_token"].description.startswith("Which tokens did tuning change, and why this one?")
    for tool in tools.values():
        assert "  " not in tool.description
        assert all(field["description"] for field in tool.input_schema["properties"].values())
    assert tools["score"].input_schema["required"] == ["prompt", "text"]


def test_generate_answers_with_the_texts_of_a_run_and_what_tuning_changed(eft: EFT) -> None:
    found = answer(eft, "generate", prompt=PROMPT, alpha=2, behaviour="pirate", max_tokens=12)
    run = eft.run(PROMPT, alpha=2.0, behaviour="pirate", temperature=0.0, length=12)
    assert {column["name"]: column["text"] for column in found["columns"]} == run.texts
    base, _, upscaled = found["columns"]
    assert base["changed"] == [] and upscaled["recipe"] == "large_base + alpha*(pirate - small_base)"
    for change in upscaled["changed"]:
        assert change["likeliest"] != change["anchor_choice"]


def test_score_answers_with_the_log_probs_of_the_api(eft: EFT) -> None:
    found = answer(eft, "score", prompt=PROMPT, text="Lima.", columns=["Mine:large_base"])
    (column,) = eft.score(PROMPT, "Lima.", columns=["large_base"]).trace.columns
    (shown,) = found["columns"]
    assert shown["name"] == "Mine" and shown["text"] == " Lima."
    expected = [record.logprob for record in column.tokens]
    assert [token["logprob"] for token in shown["tokens"]] == pytest.approx(expected, abs=1e-5)


def test_explain_token_explains_what_generate_wrote(eft: EFT) -> None:
    written = answer(eft, "generate", prompt=PROMPT, max_tokens=10)["columns"][2]
    for position in (0, 3, 9):
        found = answer(eft, "explain_token", prompt=PROMPT, max_tokens=10, position=position)
        assert found["text"] == written["text"] and found["changed"] == written["changed"]
        explained = found["explained"]
        assert explained["position"] == position and len(found["tokens"]) == 10
        parts = explained["anchor_logprob"] + sum(explained["contributions"]) + explained["neg_log_z"]
        assert parts == pytest.approx(explained["logprob"], abs=1e-5)


def test_explain_token_chooses_the_token_that_tuning_moved_most(eft: EFT) -> None:
    found = answer(eft, "explain_token", prompt=PROMPT, max_tokens=10)["explained"]
    run = eft.run(PROMPT, temperature=0.0, length=10)
    moved = [abs(record.logprob - record.anchor_logprob) for record in run.trace.columns[2].tokens]
    assert moved[found["position"]] == max(moved)


def test_explain_token_explains_a_given_text(eft: EFT) -> None:
    found = answer(eft, "explain_token", prompt=PROMPT, text="Paris.", position=0)
    assert found["text"] == " Paris." and "".join(found["tokens"]) == " Paris."


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("generate", {"prompt": ""}, "(prompt_empty)"),
        ("generate", {"prompt": "x", "alpha": 6}, "Alpha must be a number from 0 to 5"),
        ("generate", {"prompt": "x", "alpha": "much"}, "alpha"),
        ("generate", {"prompt": "x", "columns": ["none_such"]}, "(unknown_role)"),
        ("generate", {"prompt": "x", "behaviour": "none"}, "(unknown_behaviour)"),
        ("generate", {"prompt": "x", "max_tokens": 0}, "(length_range)"),
        ("score", {"prompt": "x", "text": " "}, "(text_empty)"),
        ("score", {"prompt": "x"}, "text"),
        ("explain_token", {"prompt": "x", "max_tokens": 4, "position": 4}, "(position_range)"),
        ("explain_token", {"prompt": "x", "max_tokens": 4, "position": -1}, "from 0 to"),
        ("none_such", {}, "none_such"),
    ],
)
def test_a_bad_argument_is_an_error_that_the_assistant_can_read(
    eft: EFT, tool: str, arguments: dict[str, object], said: str
) -> None:
    result = ask(eft, tool, **arguments)
    assert result.is_error and said in result.content[0].text


def test_nothing_that_was_asked_is_logged(
    eft: EFT, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING):
        ask(eft, "generate", prompt=MARK, max_tokens=2)
        ask(eft, "generate", prompt="x", columns=[MARK])
        ask(eft, "generate", prompt="x", alpha=MARK)
    assert MARK not in caplog.text + "".join(capfd.readouterr())


def test_a_family_that_cannot_be_loaded_is_an_error_of_the_tool(tiny_settings: Settings) -> None:
    async def asked() -> Any:
        tools = Tools(lambda: eft_demo.load("none-such", tiny_settings))
        async with Client(make_server(tools)) as client:
            return await client.call_tool("generate", {"prompt": PROMPT})

    result = asyncio.run(asked())
    assert result.is_error and "none-such" in result.content[0].text


@pytest.mark.slow
def test_the_command_serves_the_tools_on_its_standard_streams(tiny_settings: Settings) -> None:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "eft_demo", "mcp", "--family", "tiny"],
        env={"EFT_ASSETS": str(tiny_settings.assets), "EFT_DTYPE": "fp32"},
    )

    async def asked() -> Any:
        async with Client(stdio_client(command)) as client:
            return await client.call_tool("explain_token", {"prompt": PROMPT, "max_tokens": 4})

    result = asyncio.run(asked())
    assert not result.is_error and result.structured_content["explained"]["why"]
