"""The weight filter as a value and as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import InputError
from eft_demo.method.weight_filter import OFF, WeightFilter, parse_weight_filter

filters = st.just(OFF) | st.builds(
    WeightFilter, st.sampled_from(["top_p", "mask"]), st.floats(0, 1, exclude_min=True)
)


@given(filters)
def test_a_filter_survives_its_text_form(rule: WeightFilter) -> None:
    assert parse_weight_filter(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "is_active"),
    [("off", False), ("top-p 0.95", True), ("top-p 1", False), ("mask 0.1", True), ("mask 1", True)],
)
def test_every_text_form_parses_to_its_kind_and_value(text: str, is_active: bool) -> None:
    assert str(parse_weight_filter(text)) == text
    assert parse_weight_filter(text).is_active == is_active


@pytest.mark.parametrize(
    "text",
    ["", "on", "off 1", "top-p", "top_p 0.5", "top-p 0", "top-p 1.1", "mask nan", "mask x", "x" * 99, None],
)
def test_an_invalid_filter_is_refused(text: object) -> None:
    with pytest.raises(InputError):
        parse_weight_filter(text)
