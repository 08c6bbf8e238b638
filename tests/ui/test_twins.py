"""What the page works out itself as the server does: both copies give the same on the same inputs.

The counterfactual, the largest of them, is in test_counterfactual.py.
"""

import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import InputError
from eft_demo.figures.contributions import tick_label
from eft_demo.method.schedule import parse_schedule
from tests.hostile import HOSTILE
from tests.javascript import Modules, find_node, modules

pytestmark = pytest.mark.skipif(find_node() is None, reason="these tests need Node.js")
LENGTH = 12
SCHEDULES = [
    *("constant", "warmup 1", "warmup 5", "warmup 40", "first 1", "first 7", "first 40"),
    *("list 0", "list 0 0.5 1", "list 1 0 1", "list " + " ".join(["0.25"] * 20)),
    # What a person may have typed so far: neither has a curve.
    *(
        "constant 3",
        "warmup",
        "warmup 0",
        "warmup -1",
        "warmup 1.5",
        "warmup x",
        "warmup 2 3",
        "first",
        "first 0",
    ),
    *("first 2.5", "list", "list 2", "list -0.1", "list 0.5 x", "list 0.5 1.01", "list nan"),
]


@pytest.fixture(scope="module")
def page() -> Iterator[Modules]:
    with modules("lib/schedule.js", "lib/formats.js") as loaded:
        yield loaded


def curve(schedule: str) -> list[float]:
    try:
        return parse_schedule(schedule).curve(LENGTH)
    except InputError:
        return []


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_has_one_curve(page: Modules, schedule: str) -> None:
    drawn = page.evaluate(f"(text) => factorsOf(text, {LENGTH})", schedule)
    assert drawn == pytest.approx(curve(schedule))


@given(factors=st.lists(st.floats(0, 1).map(lambda x: round(x, 3)), min_size=1, max_size=LENGTH + 3))
def test_a_list_of_factors_has_one_curve(page: Modules, factors: list[float]) -> None:
    schedule = " ".join(["list", *map(str, factors)])
    assert page.evaluate(f"(text) => factorsOf(text, {LENGTH})", schedule) == pytest.approx(curve(schedule))


@pytest.mark.parametrize("longest", [5, 12, 40])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_token_has_one_label(page: Modules, text: str, longest: int) -> None:
    assert page.evaluate(f"(text) => tickLabel(text, {longest})", text) == tick_label(text, longest)


@given(text=st.text(max_size=20))
def test_any_text_has_one_label(page: Modules, text: str) -> None:
    if any(unicodedata.category(character) == "Cn" for character in text):
        return  # one of the two may know a newer Unicode, in which it is a letter
    assert page.evaluate("(text) => tickLabel(text)", text) == tick_label(text)
