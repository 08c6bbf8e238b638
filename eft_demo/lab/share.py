"""A share of counted cases with its 95 % interval. Knows no models."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """`hits` of `count`, with Wilson's (1927) 95 % interval, which stays within 0 and 1."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        """The share, from 0 to 1; 0 of an empty count."""
        return self.hits / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The interval's lower and upper end, from 0 to 1."""
        if not self.count:
            return 0.0, 1.0
        z, n, p = 1.959964, self.count, self.value
        centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
        return max(low, 0.0), min(high, 1.0)  # rounding may leave -1e-17

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} ({low:.3f} to {high:.3f})"


def share_of(hits: Iterable[bool]) -> Share:
    """How many of these are true."""
    found = list(hits)
    return Share(sum(found), len(found))
