"""Log-odds: they add up over one text, plotly takes their figure, and no token becomes markup in it."""

import json
import math

import plotly.graph_objects as go
import pytest

from eft_demo.errors import InputError
from eft_demo.figures.log_odds import cumulative_log_odds, log_odds_figure, log_odds_over_role
from eft_demo.method.recipe import BASE, UPSCALED
from tests.hostile import HOSTILE
from tests.records import make_record

TWO = {
    1: {"large_base": -0.1, "small_tuned": -2.0, "small_base": -1.0},
    2: {"large_base": -2.4, "small_tuned": -0.2, "small_base": -1.5},
}


def test_log_odds_are_sums_over_one_text_and_refuse_two_texts() -> None:
    ours = [make_record(UPSCALED, chosen, TWO, position=i) for i, chosen in enumerate((1, 2, 1))]
    theirs = [make_record(BASE, chosen, TWO, position=i) for i, chosen in enumerate((1, 2, 1))]
    steps = [our.logprob - their.logprob for our, their in zip(ours, theirs, strict=True)]
    sums = cumulative_log_odds(ours, theirs)
    assert (
        sums
        == pytest.approx([sum(steps[: n + 1]) for n in range(3)])
        == log_odds_over_role(ours, "large_base")
    )
    with pytest.raises(InputError, match="different texts"):
        cumulative_log_odds(ours, theirs[::-1][:2])


def test_the_figure_draws_the_log_odds_unchanged() -> None:
    figure = log_odds_figure([0.5, -1.0], ["Li", "ma"], "Up-scaled", "Base")
    assert figure["data"][0]["y"] == [0.5, -1.0]
    assert figure["data"][0]["name"] == "Up-scaled against Base"
    go.Figure(figure)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_becomes_markup_in_the_figure(text: str) -> None:
    figure = log_odds_figure([1.0], [text], text, text)
    figure["data"][0].pop("hovertemplate")  # ours; it ends in <extra></extra>
    sent = json.dumps(figure)
    assert "<" not in sent
    assert "\\u0000" not in sent


def test_the_line_ends_where_a_text_becomes_impossible() -> None:
    figure = log_odds_figure([0.5, math.inf, math.nan], ["a", "b", "c"], "Ours", "Theirs")
    assert figure["data"][0]["y"] == [0.5, None, None]
    json.dumps(figure, allow_nan=False)
