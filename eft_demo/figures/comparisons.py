"""Plotly figures for comparisons: log-odds between two columns, and the tokens each alpha would choose.

Plain dicts, as in `contributions`. Knows choices and sums; runs no model.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eft_demo.figures.contributions import LIGHT, tick_label
from eft_demo.runs.counterfactual import Choice

SAME, PERHAPS_SAME, PERHAPS_OTHER, OTHER = 0, 1, 2, 3
_NAMES = {
    SAME: "the same token",
    PERHAPS_SAME: "the same among the recorded candidates",
    PERHAPS_OTHER: "another among the recorded candidates",
    OTHER: "another token",
}
CELL_CHARS = 5  # fit into a cell; the hover text shows the whole token
MAX_UNSURE = 0.05  # with more probability than this on unrecorded tokens, a choice is uncertain


def log_odds_figure(
    sums: Sequence[float], labels: Sequence[str], ours: str, theirs: str, palette: Mapping[str, str] = LIGHT
) -> dict[str, Any]:
    """The cumulative log-odds, `sums` in nats, of the text in the column `ours` against `theirs`.

    The line ends where one of the columns gives the text probability 0.
    """
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": tick_label(f"{ours} against {theirs}", 80),
        "x": list(range(len(sums))),
        "y": [round(value, 3) if math.isfinite(value) else None for value in sums],
        "fill": "tozeroy",
        "line": {"color": palette["up"], "width": 2.5},
        "hovertemplate": "%{y:+.2f} nats so far<extra></extra>",
    }
    layout = _layout(palette, labels)
    layout["yaxis"] = {
        "title": {"text": "nats"},
        "gridcolor": palette["line"],
        "zerolinecolor": palette["soft"],
        "color": palette["soft"],
    }
    return {"data": [line], "layout": layout}


def strip_figure(
    rows: Sequence[Sequence[Choice]],
    values: Sequence[float],
    labels: Sequence[str],
    label_of: Callable[[int], str],
    name: str = "alpha",
    palette: Mapping[str, str] = LIGHT,
) -> dict[str, Any]:
    """A heat map of counterfactual choices: one row per value of the control, one column per token.

    Changed tokens are written into their cells, so that colour is not the only cue.
    """
    grades = [[_grade(choice) for choice in row] for row in rows]
    texts = [[_cell(choice, label_of) for choice in row] for row in rows]
    hovers = [
        [
            f"{name} {value:g}: {tick_label(label_of(choice.id), 40)} ({_NAMES[grade]})"
            for choice, grade in zip(row, line, strict=True)
        ]
        for value, row, line in zip(values, rows, grades, strict=True)
    ]
    shades = (palette["card"], palette["line"], palette["rest"], palette["tuned"])
    heat = {
        "type": "heatmap",
        "x": list(range(len(labels))),
        "y": [f"{value:g}" for value in values],
        "z": grades,
        "text": texts,
        "customdata": hovers,
        "texttemplate": "%{text}",
        "textfont": {"size": 11},
        "hovertemplate": "%{customdata}<extra></extra>",
        "zmin": SAME,
        "zmax": OTHER,
        "colorscale": [[place, shade] for k, shade in enumerate(shades) for place in (k / 4, (k + 1) / 4)],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
    }
    layout = _layout(palette, labels)
    layout["yaxis"] = {
        "title": {"text": name.replace("alpha", "α").replace("beta", "β").replace("_", " ")},
        "type": "category",
        "color": palette["soft"],
        "fixedrange": True,
    }
    return {"data": [heat], "layout": layout}


def _grade(choice: Choice) -> int:
    if choice.unrecorded is None or choice.unrecorded > MAX_UNSURE:
        return PERHAPS_OTHER if choice.changed else PERHAPS_SAME
    return OTHER if choice.changed else SAME


def _cell(choice: Choice, label_of: Callable[[int], str]) -> str:
    if not choice.changed:
        return ""
    return tick_label(label_of(choice.id), CELL_CHARS) + ("?" if _grade(choice) == PERHAPS_OTHER else "")


def _layout(palette: Mapping[str, str], labels: Sequence[str]) -> dict[str, Any]:
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
