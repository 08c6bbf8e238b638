"""The interface of an added warper: one number that the user sets, and the rule for which tokens it keeps.

Needs no torch: the command line reads every warper's number before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eft_demo.settings import Range

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Warper:
    """`limits` has the number's name, range and help; at its default the warper is off and never called.

    `keep(logprobs, value)` takes what temperature, top-k, top-p, min-p and the warpers before this one left:
    log-probs (rows, vocab), normalised, -inf outside, and the number of each row, (rows,). It returns which
    tokens stay, bool (rows, vocab). If none stays, the likeliest token is kept.
    """

    limits: Range
    keep: Callable[[Tensor, Tensor], Tensor]
