"""The attribution plot as a plain dict for plotly's JS or `plotly.graph_objects.Figure`.

Knows what the bars of a token's attribution mean and how they look. Knows no models, no page and no Gradio. A
palette maps colour names to colours; the page passes CSS variables that the browser resolves, so one figure
works in dark and light mode.
"""

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from eft_demo.method.recipe import Recipe
from eft_demo.method.roles import is_base, is_large, role_title
from eft_demo.runs.trace import TokenRecord

LIGHT: Mapping[str, str] = {
    "base": "#2a6a9b",
    "tuned": "#ad5c14",
    "up": "#5646b3",
    "small": "#5d6677",
    "second": "#00806b",
    "third": "#b8437f",
    "fourth": "#7d6b00",
    "rest": "#a9aeb9",
    "ink": "#1b1f27",
    "soft": "#5d6677",
    "line": "#e5e1da",
    "card": "#ffffff",
}
# Colours of behaviours, in the order of their terms: distinguishable with any colour vision, and hatched too.
_BEHAVIOURS = ("tuned", "second", "third", "fourth")
_HATCHES = ("", "/", "x", ".", "\\", "+")


def contribution_figure(
    recipe: Recipe,
    records: Sequence[TokenRecord] = (),
    labels: Sequence[str] = (),
    palette: Mapping[str, str] = LIGHT,
) -> dict[str, Any]:
    """Each model's contribution to each token: stacked bars, in nats, that add up to the line.

    `labels` are the tokens' texts, one per record. Without records the figure is empty; it grows by appending
    `contribution_point` to the traces' y, the position to x and `tick_label` to the axis.
    """
    points = [contribution_point(record) for record in records]
    positions = [record.position for record in records]
    traces = _bar_traces(recipe, palette) + [_line_trace(palette)]
    for index, trace in enumerate(traces):
        trace["x"] = list(positions)
        trace["y"] = [point[index] for point in points]
    layout = _layout(palette)
    layout["xaxis"] |= {"tickvals": list(positions), "ticktext": [tick_label(label) for label in labels]}
    return {"data": traces, "layout": layout}


def contribution_point(record: TokenRecord) -> list[float | None]:
    """One token's heights in trace order: anchor, terms, normaliser, line. None where infinite."""
    heights = [record.anchor_logprob, *record.bars, record.neg_log_z, record.logprob]
    return [round(height, 3) if math.isfinite(height) else None for height in heights]


def tick_label(text: str, longest: int = 12) -> str:
    """A token as an axis label: stripped of spaces, with invisible characters shown and markup escaped."""
    shown = text.strip(" ").replace("\n", "↵").replace("\t", "⇥") or "␣"
    shown = "".join(c if c.isprintable() else "�" for c in shown)
    # plotly decodes &lt; but not &quot;
    return html.escape(shown if len(shown) <= longest else shown[: longest - 1] + "…", quote=False)


def _bar_traces(recipe: Recipe, palette: Mapping[str, str]) -> list[dict[str, Any]]:
    roles = [recipe.anchor, *(term.plus for term in recipe.terms)]
    behaviours = list(dict.fromkeys(role for role in roles if not is_base(role)))
    colours = [_role_colour(role, behaviours) for role in roles]
    bars = [_bar(role_title(recipe.anchor), palette[colours[0]])]
    for index, (term, colour) in enumerate(zip(recipe.terms, colours[1:], strict=True)):
        sign, size = term.sign_and_size
        name = term_name(size) if sign == "+" else f"− {term_name(size)}"
        bar = _bar(name, palette[colour])
        bar["marker"]["pattern"] = {
            "shape": _HATCHES[(index + (colour == colours[0])) % len(_HATCHES)],
            "solidity": 0.3,
            "fgcolor": palette["card"],
            "bgcolor": palette[colour],
        }
        bars.append(bar)
    return [*bars, _bar("normaliser", palette["rest"])]


def _role_colour(role: str, behaviours: Sequence[str]) -> str:
    if is_base(role):
        return "base" if is_large(role) else "small"
    return _BEHAVIOURS[behaviours.index(role) % len(_BEHAVIOURS)]


def term_name(size: str) -> str:
    """A term as shown to users: `alpha*(brief - small_base)` -> `α · (brief − small base)`.

    `alpha_pirate*(pirate - small_base)` also gets a plain `α`, because the bracket names the behaviour.
    """
    greek = re.sub(r"\balpha(_\w+)?\b", "α", size).replace("beta", "β")
    return role_title(greek.replace("*", " · ").replace(" - ", " − "))


def _bar(name: str, colour: str) -> dict[str, Any]:
    hover = f"%{{y:+.2f}} nats<extra>{html.escape(name)}</extra>"
    return {
        "type": "bar",
        "name": name,
        "marker": {"color": colour, "line": {"width": 0}},
        "hovertemplate": hover,
    }


def _line_trace(palette: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "final log p",
        "line": {"color": palette["up"], "width": 2.5},
        "marker": {"color": palette["up"], "size": 8},
        "hovertemplate": "%{y:+.2f} nats<extra>final log p</extra>",
    }


def base_layout(palette: Mapping[str, str], height: int, left: int, top: int) -> dict[str, Any]:
    """What every plot over tokens shares; `height` and the margins are in pixels."""
    return {
        "template": "none",
        "height": height,
        "margin": {"l": left, "r": 8, "t": top, "b": 60},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 14, "color": palette["ink"]},
        "dragmode": "pan",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": palette["soft"], "activecolor": palette["up"]},
        "xaxis": {
            "tickmode": "array",
            "tickangle": -40,
            "ticklabeloverflow": "allow",  # else plotly measures every label: half of a drawing's time
            "showgrid": False,
            "zeroline": False,
            "color": palette["ink"],
        },
        "uirevision": "one run",  # keeps zoom and hidden traces when a run is updated
    }


def _layout(palette: Mapping[str, str]) -> dict[str, Any]:
    grid = {"gridcolor": palette["line"], "zerolinecolor": palette["soft"], "color": palette["soft"]}
    return {
        **base_layout(palette, height=350, left=48, top=34),
        "barmode": "relative",  # stacks positive parts above zero and negative parts below
        "bargap": 0.45,
        "hovermode": "x unified",
        "showlegend": True,
        "hoverlabel": {
            "bgcolor": palette["card"],
            "bordercolor": palette["line"],
            "font": {"color": palette["ink"]},
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"color": palette["soft"]},
        },
        "yaxis": {
            "title": {"text": "nats"},
            "zeroline": True,
            "fixedrange": True,
            "autorangeoptions": {"include": [-2, 0.5]},  # keeps the small bars of a certain token small
            **grid,
        },
    }
