"""What a warper in a file of its own is: one number that people choose, and which tokens it keeps.

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
    tokens stay, bool (rows, vocab). Where that is none, the likeliest stays.
    """

    limits: Range
    keep: Callable[[Tensor, Tensor], Tensor]
