"""Who stands where in a step: the fixed part of the batch, worked out once each time the set of rows changes.

The log-probs of a step are one stack of rows of the vocabulary: first those of each model, role by role, then
the mixed ones of the rows whose recipe has terms. Everything here is an index into that stack.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eft_demo.engine.sequence import Row
from eft_demo.method.sampling import Sampling
from eft_demo.method.weight_filter import WeightFilter
from eft_demo.models.protocol import Slot


@dataclass(frozen=True, slots=True)
class Feed:
    """One model's share of a step: rows in the order of its slots, so that they are one view of the cache."""

    role: str
    rows: tuple[Row, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows without terms stand first, `plain` of them; the rest are mixed."""

    rows: tuple[Row, ...]
    plain: int
    feeds: tuple[Feed, ...]
    places: Tensor  # (rows, 1 + roles) stack index of the row's final log-probs, then of each of its roles
    anchors: Tensor  # (mixed,) stack index
    plus: Tensor  # (terms, mixed) stack index; rows with fewer terms repeat their anchor, a delta of 0
    minus: Tensor  # (terms, mixed)
    samplings: tuple[Sampling, ...]
    filters: tuple[WeightFilter, ...]  # of the mixed rows


def arrange(rows: list[Row]) -> Layout:
    """The layout of a step over `rows`."""
    ordered = tuple(sorted(rows, key=lambda row: bool(row.recipe.terms)))
    plain = sum(not row.recipe.terms for row in ordered)
    feeds = tuple(
        dense(role, [row for row in ordered if role in row.roles])
        for role in dict.fromkeys(role for row in ordered for role in row.roles)
    )
    place: dict[tuple[str, Row], int] = {}
    for feed in feeds:
        for row in feed.rows:
            place[feed.role, row] = len(place)
    mixed = ordered[plain:]
    width = max(len(row.roles) for row in ordered)
    terms = max((len(row.recipe.terms) for row in mixed), default=0)
    places = []
    for i, row in enumerate(ordered):
        at = [place[role, row] for role in row.roles]
        final = at[0] if i < plain else len(place) + i - plain
        places.append([final, *at, *at[:1] * (width - len(at))])
    sides: dict[str, list[list[int]]] = {"plus": [], "minus": []}
    for k in range(terms):
        for side, table in sides.items():
            table.append([place[_role_of(row, k, side), row] for row in mixed])
    return Layout(
        rows=ordered,
        plain=plain,
        feeds=feeds,
        places=torch.tensor(places),
        anchors=torch.tensor([place[row.recipe.anchor, row] for row in mixed], dtype=torch.int64),
        plus=torch.tensor(sides["plus"], dtype=torch.int64).view(terms, len(mixed)),
        minus=torch.tensor(sides["minus"], dtype=torch.int64).view(terms, len(mixed)),
        samplings=tuple(row.run.request.spec.sampling for row in ordered),
        filters=tuple(row.run.request.spec.weight_filter for row in mixed),
    )


def dense(role: str, rows: Sequence[Row]) -> Feed:
    """A feed of `rows` in the order of their slots."""
    mine = sorted(rows, key=lambda row: row.slots[role].index)
    return Feed(role, tuple(mine), tuple(row.slots[role] for row in mine))


def _role_of(row: Row, term: int, side: str) -> str:
    if term >= len(row.recipe.terms):
        return row.recipe.anchor
    return row.recipe.terms[term].plus if side == "plus" else row.recipe.terms[term].minus
