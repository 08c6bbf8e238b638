"""The contribution figure is valid, its bars add up, and building it at once or by token gives the same."""

import math
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from eft_demo.figures.contributions import contribution_figure, contribution_point, tick_label
from eft_demo.method.recipe import AMPLIFIED, BASE, DOWNSCALED, PAD, UPSCALED, Recipe, blend, parse
from tests.records import make_record

TWO = {
    1: {"large_base": -0.1, "small_tuned": -2.0, "small_base": -1.0},
    2: {"large_base": -2.4, "small_tuned": -0.2, "small_base": -1.5},
}
RECORDS = [make_record(UPSCALED, 1 + i % 2, TWO, alpha=i / 2, position=i) for i in range(6)]


def test_bars_add_up_to_the_line() -> None:
    figure = contribution_figure(UPSCALED, RECORDS, ["a"] * 6)
    *bars, line = (trace["y"] for trace in figure["data"])
    for i in range(6):
        assert sum(bar[i] for bar in bars) == pytest.approx(line[i], abs=2e-3)


def test_plotly_accepts_the_figure() -> None:
    figure = go.Figure(contribution_figure(UPSCALED, RECORDS, list("abcdef")))
    assert [trace.name for trace in figure.data] == [
        "large base",
        "α · (small tuned − small base)",
        "normaliser",
        "final log p",
    ]
    assert figure.layout.barmode == "relative"


def test_a_figure_grown_point_by_point_equals_the_whole_figure() -> None:
    grown = contribution_figure(UPSCALED)
    for record in RECORDS:
        for trace, height in zip(grown["data"], contribution_point(record), strict=True):
            trace["x"].append(record.position)
            trace["y"].append(height)
        grown["layout"]["xaxis"]["tickvals"].append(record.position)
        grown["layout"]["xaxis"]["ticktext"].append(tick_label("x"))
    assert grown == contribution_figure(UPSCALED, RECORDS, ["x"] * 6)


@pytest.mark.parametrize(
    "text", ["large_base + alpha*(brief - small_base) - 0.5*(pirate - small_base)", "large_base"]
)
def test_one_bar_per_part_of_any_recipe(text: str) -> None:
    recipe = parse(text)
    assert len(contribution_figure(recipe)["data"]) == 3 + len(recipe.terms)


@pytest.mark.parametrize(
    "recipe",
    [
        AMPLIFIED,
        DOWNSCALED,
        PAD,
        blend(["assistant", "pirate", "brief", "guarded"]),
        parse("assistant + 0.5*(pirate - small_base)"),
        parse("large_base + beta*(large_base - small_base)"),
    ],
    ids=str,
)
def test_bars_of_one_figure_are_distinguishable(recipe: Recipe) -> None:
    *bars, _ = contribution_figure(recipe)["data"]
    looks = [(bar["marker"]["color"], bar["marker"].get("pattern", {}).get("shape", "")) for bar in bars]
    assert len(set(looks)) == len(bars)
    assert len({bar["name"] for bar in bars}) == len(bars)
    go.Figure(contribution_figure(recipe))


def test_a_term_of_a_blend_is_named_by_its_behaviour() -> None:
    names = [trace["name"] for trace in contribution_figure(blend(["pirate", "brief"]))["data"]]
    assert names[1:3] == ["α · (pirate − small base)", "α · (brief − small base)"]


def test_infinities_leave_a_gap() -> None:
    assert contribution_point(replace(make_record(BASE, 1, TWO), logprob=-math.inf))[-1] is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (" Peru", "Peru"),
        ("<b>x</b>", "&lt;b&gt;x&lt;/b&gt;"),
        ('"Swiss', '"Swiss'),
        ("\n", "↵"),
        (" ", "␣"),
        ("", "␣"),
        ("x\x00", "x�"),
    ],
)
def test_labels_hold_no_markup(text: str, label: str) -> None:
    assert tick_label(text) == label


def test_long_labels_are_cut() -> None:
    assert tick_label("x" * 40) == "x" * 11 + "…"
