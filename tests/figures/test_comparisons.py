"""The comparison figures show the choices, are valid for plotly, and never turn tokens into markup."""

import json
import math

import plotly.graph_objects as go
import pytest

from eft_demo.figures.comparisons import (
    OTHER,
    PERHAPS_OTHER,
    PERHAPS_SAME,
    SAME,
    log_odds_figure,
    strip_figure,
)
from eft_demo.runs.counterfactual import Choice
from tests.hostile import HOSTILE

SURE, PERHAPS, UNKNOWN = Choice(5, True, 0.0), Choice(5, True, 0.2), Choice(6, False, None)
KEPT = Choice(6, False, 0.01)


def test_the_strip_shows_the_choices() -> None:
    rows = [[KEPT, KEPT], [SURE, UNKNOWN], [PERHAPS, SURE]]
    figure = strip_figure(rows, [0.0, 1.0, 2.5], ["Li", "ma"], lambda token: f"<{token}>")
    heat = figure["data"][0]
    assert heat["z"] == [[SAME, SAME], [OTHER, PERHAPS_SAME], [PERHAPS_OTHER, OTHER]]
    assert heat["text"] == [["", ""], ["&lt;5&gt;", ""], ["&lt;5&gt;?", "&lt;5&gt;"]]
    assert heat["y"] == ["0", "1", "2.5"]
    assert heat["customdata"][1][0] == "alpha 1: &lt;5&gt; (another token)"
    assert figure["layout"]["xaxis"]["ticktext"] == ["Li", "ma"]
    assert len({place for place, _ in heat["colorscale"]}) == 5  # four plain colours, no shades between
    go.Figure(figure)


def test_the_log_odds_are_drawn_unchanged() -> None:
    figure = log_odds_figure([0.5, -1.0], ["Li", "ma"], "Up-scaled", "Base")
    assert figure["data"][0]["y"] == [0.5, -1.0]
    assert figure["data"][0]["name"] == "Up-scaled against Base"
    go.Figure(figure)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_becomes_markup(text: str) -> None:
    strip = strip_figure([[SURE]], [1.0], [text], lambda token: text, name="alpha")
    odds = log_odds_figure([1.0], [text], text, text)
    for figure in (strip, odds):
        figure["data"][0].pop("hovertemplate")  # ours; it ends in <extra></extra>
        sent = json.dumps(figure)
        assert "<" not in sent
        assert "\\u0000" not in sent


def test_the_line_ends_where_a_text_has_probability_0() -> None:
    figure = log_odds_figure([0.5, math.inf, math.nan], ["a", "b", "c"], "Ours", "Theirs")
    assert figure["data"][0]["y"] == [0.5, None, None]
    json.dumps(figure, allow_nan=False)
