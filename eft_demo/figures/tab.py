"""The interface of an added plot tab: its texts, and a function from one column's tokens to a figure.

Knows records and colours; asks no model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eft_demo.figures.contributions import tick_label
from eft_demo.method.recipe import Recipe
from eft_demo.runs.trace import TokenRecord


@dataclass(frozen=True, slots=True)
class Shown:
    """The column that a tab shows."""

    recipe: Recipe
    records: Sequence[TokenRecord]
    labels: Sequence[str]  # the tokens as text, one per record
    palette: Mapping[str, str]  # as `contributions.LIGHT` names the colours


@dataclass(frozen=True, slots=True)
class PlotTab:
    """A tab beside the contributions. Its figure is drawn when a run has ended."""

    name: str  # used in element ids: letters only
    label: str  # on the tab
    title: str  # over the plot
    hint: str  # under the title; "{column}" becomes the choice of the column
    # plotly's {"data", "layout"}, where x counts tokens from 0, and optionally a "note", one sentence.
    figure: Callable[[Shown], dict[str, Any]]


def token_layout(palette: Mapping[str, str], labels: Sequence[str]) -> dict[str, Any]:
    """The layout of a plot with one place per token along x, and no y axis yet."""
    return {
        "template": "none",
        "height": 300,
        "margin": {"l": 56, "r": 8, "t": 20, "b": 60},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 14, "color": palette["ink"]},
        "dragmode": "pan",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": palette["soft"], "activecolor": palette["up"]},
        "xaxis": {
            "tickmode": "array",
            "tickvals": list(range(len(labels))),
            "ticktext": [tick_label(label) for label in labels],
            "tickangle": -40,
            "showgrid": False,
            "zeroline": False,
            "color": palette["ink"],
        },
        "uirevision": "one run",
    }
