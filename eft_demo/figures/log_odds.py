"""Log-odds between two columns: their sums over a text, the figure of them as a plain dict, and their tab.

Knows token records; needs no models.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from eft_demo.errors import InputError
from eft_demo.figures.contributions import LIGHT, tick_label
from eft_demo.figures.tab import PlotTab, ShownColumn, token_layout
from eft_demo.method.recipe import lone_model
from eft_demo.runs.trace import TokenRecord


def cumulative_log_odds(ours: Sequence[TokenRecord], theirs: Sequence[TokenRecord]) -> list[float]:
    """After each token, how many nats likelier the text so far is in one column than in the other.

    Both must score the same text. Raises InputError if they do not.
    """
    if [record.id for record in ours] != [record.id for record in theirs]:
        raise InputError(
            "These two columns wrote different texts, and the run has no log-probs of one for the other's "
            "text. Please choose “shared text”, or a mixed column and one of its models alone."
        )
    return list(accumulate(our.logprob - their.logprob for our, their in zip(ours, theirs, strict=True)))


def log_odds_over_role(records: Sequence[TokenRecord], role: str) -> list[float]:
    """The same against one model of the recipe, from the log-probs recorded per role."""
    return list(accumulate(record.logprob - record.by_role[role] for record in records))


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


def log_odds_of(ours: ShownColumn, theirs: ShownColumn) -> dict[str, Any]:
    """The figure, over a text that both score, or over that of a column that recorded the other's log-probs.

    Raises InputError if neither is there.
    """
    text, sums = _text_and_sums(ours, theirs)
    figure = log_odds_figure(sums, text.labels, ours.name, theirs.name, text.palette)
    note = f"The text is that of {text.name}. Above 0, {ours.name} finds it more likely than {theirs.name}."
    return {**figure, "of": text.index, "note": note}


def _text_and_sums(ours: ShownColumn, theirs: ShownColumn) -> tuple[ShownColumn, list[float]]:
    if [record.id for record in ours.records] != [record.id for record in theirs.records]:
        for text, other, sign in ((ours, theirs, 1), (theirs, ours, -1)):
            model = lone_model(other.recipe)
            if model in text.recipe.roles:
                return text, [sign * value for value in log_odds_over_role(text.records, model)]
    return ours, cumulative_log_odds(ours.records, theirs.records)


LOG_ODDS = PlotTab(
    name="odds",
    label="log-odds",
    title="Which column finds the text more likely",
    hint="Log-odds of the text so far, {column} against {other}, in nats.",
    figure=log_odds_of,
)
