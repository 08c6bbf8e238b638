"""Rows of which a server sent only the likeliest log-probs: what is known, and what the rest may be.

Knows rows of one model; does not know how they are mixed (`method.certificate`) and where they come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from eft_demo.models.protocol import SentRow

# By so much the probabilities that were sent may miss their true sum.
ROUNDING = 1e-5
LOWEST = -700.0  # nats, near the least that a float can be the exponential of
LEAST = 1e-9  # the probability of all hidden tokens, where rounding leaves none for them


def cut_row(ids: Tensor, logprobs: Tensor, top: int) -> SentRow:
    """The row whose `top` likeliest tokens were sent, int64 (n,) and float32 (n,), perhaps with others.

    A server may add the token that it sampled itself, so the highest hidden one is ranked, not the last sent.
    """
    ranked = logprobs.sort(descending=True).values
    return _row(ids, logprobs, float(ranked[min(top, len(ranked)) - 1]), 0)


def with_ids(row: SentRow, ids: Tensor, logprobs: Tensor) -> SentRow:
    """The row, and these tokens, of which it may have some already."""
    is_new = ~torch.isin(ids, row.ids)
    return _row(
        torch.cat([row.ids, ids[is_new]]),
        torch.cat([row.logprobs, logprobs[is_new]]),
        row.highest_hidden,
        row.asked + int(is_new.sum()),
    )


def fill(row: SentRow, vocab: int) -> tuple[Tensor, Tensor]:
    """Log-probs (vocab,) and their ceilings (vocab,), equal where a log-prob was sent.

    Elsewhere, the log-probs share out the rest evenly, and a ceiling is the highest that one may be.
    """
    hidden = vocab - len(row.ids)
    even = math.log(max(row.rest, LEAST) / hidden) if hidden else 0.0
    logprobs = torch.full((vocab,), min(even, row.highest_hidden))
    ceiling = torch.full((vocab,), ceiling_of(row))
    for filled in (logprobs, ceiling):
        filled[row.ids] = row.logprobs
    return logprobs, ceiling


def ceiling_of(row: SentRow) -> float:
    """The highest log-prob that a hidden token may have, slightly raised so that no other equals it."""
    return min(row.highest_hidden, math.log(row.rest + ROUNDING)) + ROUNDING


def room_of(row: SentRow) -> float:
    """For how many hidden tokens at the ceiling the rest suffices."""
    ceiling = ceiling_of(row)
    return (row.rest + ROUNDING) / math.exp(ceiling) if ceiling > LOWEST else math.inf


def lacking(row: SentRow, ids: Iterable[int]) -> list[int]:
    """Those of `ids` that were not sent, each once."""
    have = set(row.ids.tolist())
    return [token for token in dict.fromkeys(ids) if token not in have]


def _row(ids: Tensor, logprobs: Tensor, highest_hidden: float, asked: int) -> SentRow:
    rest = max(0.0, 1 - float(logprobs.double().exp().sum()))
    return SentRow(ids, logprobs, highest_hidden, rest, asked)
