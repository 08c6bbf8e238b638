"""The sampling settings of a run: one field each, with its limits.

Page, link, command line and trace are made from these fields. An added warper is one more field
here (docs/extending.md). Needs no torch; what the values do is in `sampling`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from eft_demo.errors import at_field
from eft_demo.method.warper import Warper
from eft_demo.settings import MIN_P, SEED, TEMPERATURE, TOP_K, TOP_P, Range

# Below this a gap of 0.002 nats already outweighs the noise; dividing by less would overflow for nothing.
GREEDY_BELOW = 1e-4


def _within(limits: Range, warper: Warper | None = None) -> Any:
    default = int(limits.default) if limits.integer else limits.default
    return field(default=default, metadata={"limits": limits, "warper": warper})


def _added(warper: Warper) -> Any:
    return _within(warper.limits, warper)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. Raises InputError if a value is outside its limits."""

    temperature: float = _within(TEMPERATURE)
    top_p: float = _within(TOP_P)  # 1 = off
    top_k: int = _within(TOP_K)  # 0 = off
    min_p: float = _within(MIN_P)  # 0 = off
    seed: int = _within(SEED)
    # Added warpers act after these, in this order.

    def __post_init__(self) -> None:
        for name, limits in SAMPLING.items():
            with at_field(name):
                object.__setattr__(self, name, limits.check(getattr(self, name)))

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is taken, because the temperature is 0 or close to it."""
        return self.temperature < GREEDY_BELOW

    @property
    def is_truncated(self) -> bool:
        """Whether top-k, top-p or min-p keep tokens out."""
        return self.top_p < 1 or self.top_k > 0 or self.min_p > 0

    @property
    def active_warpers(self) -> tuple[Warper, ...]:
        """The added warpers that act: those that are not off, and none at temperature 0."""
        if self.is_greedy:
            return ()
        return tuple(w for name, w in WARPERS.items() if getattr(self, name) != w.limits.default)


# Every field's limits; and, in the order in which they act, the warpers that were added.
SAMPLING: Mapping[str, Range] = {own.name: own.metadata["limits"] for own in fields(Sampling)}
WARPERS: Mapping[str, Warper] = {
    own.name: warper for own in fields(Sampling) if (warper := own.metadata["warper"]) is not None
}
