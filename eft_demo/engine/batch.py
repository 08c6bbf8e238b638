"""The index layout of one step's batch, computed only when the set of sequences changes.

The log-probs of a step form one stack (rows, vocab): first those of each model, role by role, then the mixed
ones of the sequences whose recipe has terms. All indices here point into that stack.
"""

from collections import abc
from dataclasses import dataclass

import torch
from torch import Tensor

from eft_demo.engine.sequence import Sequence
from eft_demo.method.sampling import Sampling
from eft_demo.method.weight_filter import WeightFilter
from eft_demo.models.protocol import Slot

Rows = slice | Tensor  # of a stack: a slice if they are consecutive, which needs no copy


@dataclass(frozen=True, slots=True)
class Feed:
    """One model's part of a step: its sequences in slot order, so that the cache can be read as one view."""

    role: str
    seqs: tuple[Sequence, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The first `plain` sequences have no terms; the rest are mixed."""

    seqs: tuple[Sequence, ...]
    plain: int
    feeds: tuple[Feed, ...]
    places: Tensor  # (rows, 1 + roles) stack index of a sequence's final log-probs, then of each of its roles
    final: Rows  # the first column of `places`
    anchors: Rows  # of the mixed sequences, in the stack
    plus: tuple[Rows, ...]  # one per term; sequences with fewer terms repeat their anchor, a delta of 0
    minus: tuple[Rows, ...]
    samplings: tuple[Sampling, ...]
    filters: tuple[WeightFilter, ...]  # one per mixed sequence

    @property
    def mixed(self) -> int:
        """How many sequences are mixed."""
        return len(self.seqs) - self.plain


def make_layout(seqs: list[Sequence]) -> Layout:
    """The layout of a step over `seqs`."""
    ordered = tuple(sorted(seqs, key=lambda seq: bool(seq.recipe.terms)))
    plain = sum(not seq.recipe.terms for seq in ordered)
    feeds = tuple(
        make_feed(role, [seq for seq in ordered if role in seq.roles])
        for role in dict.fromkeys(role for seq in ordered for role in seq.roles)
    )
    place: dict[tuple[str, Sequence], int] = {}
    for feed in feeds:
        for seq in feed.seqs:
            place[feed.role, seq] = len(place)
    mixed = ordered[plain:]
    width = max(len(seq.roles) for seq in ordered)
    terms = max((len(seq.recipe.terms) for seq in mixed), default=0)
    places = []
    for i, seq in enumerate(ordered):
        at = [place[role, seq] for role in seq.roles]
        final = at[0] if i < plain else len(place) + i - plain
        places.append([final, *at, *at[:1] * (width - len(at))])
    sides: dict[str, list[Rows]] = {"plus": [], "minus": []}
    for k in range(terms):
        for side, table in sides.items():
            table.append(_rows([place[_role_of(seq, k, side), seq] for seq in mixed]))
    return Layout(
        seqs=ordered,
        plain=plain,
        feeds=feeds,
        places=torch.tensor(places),
        final=_rows([final for final, *_ in places]),
        anchors=_rows([place[seq.recipe.anchor, seq] for seq in mixed]),
        plus=tuple(sides["plus"]),
        minus=tuple(sides["minus"]),
        samplings=tuple(seq.run.request.spec.sampling for seq in ordered),
        filters=tuple(seq.run.request.spec.weight_filter for seq in mixed),
    )


def make_feed(role: str, seqs: abc.Sequence[Sequence]) -> Feed:
    """A feed of `seqs` in the order of their slots."""
    mine = sorted(seqs, key=lambda seq: seq.slots[role].index)
    return Feed(role, tuple(mine), tuple(seq.slots[role] for seq in mine))


def take(stack: Tensor, rows: Rows) -> Tensor:
    """These rows of `stack` (rows, vocab), as a view if possible."""
    # Indexing with a tensor would take three times as long as this.
    return stack[rows] if isinstance(rows, slice) else stack.index_select(0, rows.to(stack.device))


def _rows(places: list[int]) -> Rows:
    start = places[0] if places else 0
    is_run = places == list(range(start, start + len(places)))
    return slice(start, start + len(places)) if is_run else torch.tensor(places)


def _role_of(seq: Sequence, term: int, side: str) -> str:
    if term >= len(seq.recipe.terms):
        return seq.recipe.anchor
    return seq.recipe.terms[term].plus if side == "plus" else seq.recipe.terms[term].minus
