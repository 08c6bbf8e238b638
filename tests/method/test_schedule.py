"""Schedules: the factor of each token, and a text form that parses back to the same value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import InputError
from eft_demo.method.schedule import CONSTANT, Schedule, parse_schedule

schedules = st.one_of(
    st.just(CONSTANT),
    st.builds(Schedule, st.sampled_from(["warmup", "first"]), st.integers(1, 10_000)),
    st.builds(
        lambda factors: Schedule("list", factors=tuple(factors)),
        st.lists(st.floats(0, 1), min_size=1, max_size=64),
    ),
)


@pytest.mark.parametrize(
    ("text", "curve"),
    [
        ("constant", [1, 1, 1, 1]),
        ("warmup 3", [1 / 3, 2 / 3, 1, 1]),
        ("first 2", [1, 1, 0, 0]),
        ("list 0 0.5 1", [0, 0.5, 1, 1]),
    ],
)
def test_the_factor_of_each_token(text: str, curve: list[float]) -> None:
    assert parse_schedule(text).curve(4) == curve


@given(schedules)
def test_a_schedule_survives_its_text_form(schedule: Schedule) -> None:
    assert parse_schedule(str(schedule)) == schedule
    assert all(0 <= factor <= 1 for factor in schedule.curve(20))


@pytest.mark.parametrize(
    "text",
    ["", "often", "constant 3", "warmup", "warmup 0", "warmup x", "warmup 1.5", "first -1", "first 1 2",
     "list", "list 2", "list nan", "list x", "list " + "1 " * 65, "x" * 2000, None, 5],
)  # fmt: skip
def test_an_invalid_schedule_is_refused(text: object) -> None:
    with pytest.raises(InputError):
        parse_schedule(text)


def test_a_list_that_cannot_be_read_is_refused_without_the_word_that_the_page_adds() -> None:
    with pytest.raises(InputError, match="'0 x' cannot be read.* such as 0 0.5 1"):
        parse_schedule("list 0 x")


@given(st.text(max_size=30))
def test_any_text_parses_or_raises_an_input_error(text: str) -> None:
    try:
        parse_schedule(text)
    except InputError as refusal:
        assert str(refusal)
