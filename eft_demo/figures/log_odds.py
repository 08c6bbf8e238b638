"""Log-odds between two columns: their sums over a text, and the plotly figure of them, as a plain dict.

Knows token records; needs no models.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eft_demo.errors import InputError
from eft_demo.figures.contributions import LIGHT, tick_label
from eft_demo.figures.tab import token_layout
from eft_demo.runs.trace import TokenRecord


def cumulative_log_odds(ours: Sequence[TokenRecord], theirs: Sequence[TokenRecord]) -> list[float]:
    """After each token, how many nats likelier the text so far is in one column than in the other.

    Both must score the same text. Raises InputError if they do not.
    """
    if [record.id for record in ours] != [record.id for record in theirs]:
        raise InputError(
            "These two columns have different texts, so their log-odds cannot be added up. "
            "Please choose “shared text” first."
        )
    total, sums = 0.0, []
    for our, their in zip(ours, theirs, strict=True):
        total += our.logprob - their.logprob
        sums.append(total)
    return sums


def log_odds_over_role(records: Sequence[TokenRecord], role: str) -> list[float]:
    """The same against one model of the recipe, from the log-probs recorded per role."""
    total, sums = 0.0, []
    for record in records:
        total += record.logprob - record.by_role[role]
        sums.append(total)
    return sums


def log_odds_figure(
    sums: Sequence[float], labels: Sequence[str], ours: str, theirs: str, palette: Mapping[str, str] = LIGHT
) -> dict[str, Any]:
    """How much likelier the text so far is in the column `ours` than in `theirs`; `sums` are in nats.

    The line ends where one of the two gives the text zero probability.
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
    layout = token_layout(palette, labels)
    layout["yaxis"] = {
        "title": {"text": "nats"},
        "gridcolor": palette["line"],
        "zerolinecolor": palette["soft"],
        "color": palette["soft"],
    }
    return {"data": [line], "layout": layout}
