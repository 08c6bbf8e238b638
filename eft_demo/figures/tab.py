"""The interface of a plot tab: its texts, and a function from one or two columns' tokens to a figure.

Knows records and colours; needs no models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eft_demo.figures.contributions import base_layout, tick_label
from eft_demo.method.recipe import Recipe
from eft_demo.runs.trace import TokenRecord


@dataclass(frozen=True, slots=True)
class ShownColumn:
    """A column that a tab shows."""

    index: int  # which column of the run
    name: str
    recipe: Recipe
    records: Sequence[TokenRecord]
    labels: Sequence[str]  # the tokens as text, one per record
    palette: Mapping[str, str]  # as `contributions.LIGHT` names the colours


@dataclass(frozen=True, slots=True)
class PlotTab:
    """A tab beside the attribution. Its figure is drawn when a run has ended.

    The figure is plotly's {"data", "layout"}, where x counts tokens from 0. It may add a "note", one
    sentence, and "of", the index of the column whose tokens these are; without it, the first one chosen.
    """

    name: str  # used in element ids: letters only
    label: str  # on the tab
    title: str  # over the plot
    # Under the title. "{column}" becomes the choice of a column, "{other}" (if it is there) of a second one.
    hint: str
    # One `ShownColumn` for each choice -> the figure. None: the page draws it (assets/web/views/tabs.js).
    figure: Callable[..., dict[str, Any]] | None

    @property
    def columns(self) -> int:
        """How many columns it shows."""
        return 2 if "{other}" in self.hint else 1


def token_layout(palette: Mapping[str, str], labels: Sequence[str]) -> dict[str, Any]:
    """The layout of a plot with one place per token along x, and no y axis yet."""
    layout = base_layout(palette, height=300, left=56, top=20)
    layout["xaxis"] |= {
        "tickvals": list(range(len(labels))),
        "ticktext": [tick_label(label) for label in labels],
    }
    return layout
