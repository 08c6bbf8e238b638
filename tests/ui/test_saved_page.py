"""The saved page: texts lie in it as data only, and it allows its one script and its one style alone."""

import base64
import hashlib
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.runs.text import END_LABEL
from eft_demo.ui import stream as wire
from eft_demo.ui.saved_page import to_html, to_worksheet
from tests.hostile import HOSTILE
from tests.saying import run_that_says, storable


def data_of(page: str) -> tuple[str, str, str]:
    """What stands before the data, the data, and what stands behind them."""
    head, _, rest = page.partition('<script type="application/json" id="run">')
    data, _, tail = rest.partition("</script>")
    return head, data, tail


@pytest.mark.parametrize("written", [to_html, to_worksheet])
@given(text=st.text(alphabet=st.characters(), max_size=60) | st.sampled_from(HOSTILE))
def test_a_saved_page_contains_texts_as_data_only(written: Callable[..., str], text: str) -> None:
    page = written(run_that_says(text))
    page.encode("utf-8")
    head, data, tail = data_of(page)
    plain_head, _, plain_tail = data_of(written(run_that_says("x")))
    assert (head, tail) == (plain_head, plain_tail)  # the text changes the data block and nothing else
    assert "<" not in data
    first, *lines = json.loads(data)["lines"]
    assert first["prompt"] == text
    said = "".join(line["s"] for line in lines if line["k"] == "t" and line["p"] == 0)
    assert said == storable(text) + "\ufffd"
    assert any(line.get("w", {}).get("5") == [END_LABEL, ""] for line in lines)


@pytest.mark.parametrize("written", [to_html, to_worksheet])
def test_the_policy_of_a_saved_page_allows_only_its_own_script(written: Callable[..., str]) -> None:
    page = written(run_that_says("x"))
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert found
    policy = found.group(1)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert len(scripts) == len(styles) == 1
    for text in (*scripts, *styles):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert not re.search(r"\son\w+=|(src|href)=|https?:|url\(", page)


def test_a_saved_page_contains_the_lines_and_constants_of_a_live_page() -> None:
    run = run_that_says("Lima")
    for negative in (False, True):
        data = json.loads(data_of(to_html(run, negative))[1])
        assert [wire.line(line.pop("k"), **line) for line in data["lines"]] == wire.trace_lines(run)
        assert data["rules"] == wire.rules(negative) and data["rules"]["lowest"] == (-3 if negative else 0)
    assert (
        "family atlas · alpha 1 · " in data["details"]
        and "large base had its own prompt format" in data["details"]
    )
