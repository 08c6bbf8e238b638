"""The weight filter: restricts the terms of a recipe to the tokens that the anchor finds likely.

    top-p p   the paper's rule: the terms act only inside the smallest set of the anchor's likeliest tokens
              whose mass exceeds p; outside it, the anchor's log-prob is kept. 1 is off.
    mask r    contrastive decoding's rule: tokens less likely than r times the likeliest are ruled out

Holds the rule as a value and as text; `mixing` applies it.
"""

from dataclasses import dataclass

from eft_demo.errors import InputError
from eft_demo.settings import check_number, show_value

_NAMES = {"off": "off", "top_p": "top-p", "mask": "mask"}  # kind -> what people write
MAX_TEXT_CHARS = 60
EXAMPLES = "Please write off, top-p 0.95, or mask 0.1."


@dataclass(frozen=True, slots=True)
class WeightFilter:
    """`value` is p or r, above 0 and up to 1; for `off` it is 1. Raises InputError."""

    kind: str = "off"
    value: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in _NAMES:
            message = f"There is no weight filter {show_value(self.kind)}. {EXAMPLES}"
            raise InputError(message, code="unknown_filter")
        low = 1.0 if self.kind == "off" else 0.0
        name = f"The value of the weight filter {_NAMES[self.kind]}"
        value = check_number(name, self.value, low, 1, above_low=low == 0, code="filter")
        object.__setattr__(self, "value", float(value))

    @property
    def is_active(self) -> bool:
        """Whether the filter has any effect."""
        return self.kind == "mask" or (self.kind == "top_p" and self.value < 1)

    def __str__(self) -> str:
        return "off" if self.kind == "off" else f"{_NAMES[self.kind]} {self.value!r}".removesuffix(".0")


OFF = WeightFilter()


def parse_weight_filter(text: object) -> WeightFilter:
    """Parse `off`, `top-p 0.95` or `mask 0.1`. Raises InputError."""
    if not isinstance(text, str) or len(text) > MAX_TEXT_CHARS:
        raise InputError(f"There is no weight filter {show_value(text)}. {EXAMPLES}", code="unknown_filter")
    if text.split() == ["off"]:
        return OFF
    if text.split() in (["top-p"], ["mask"]):
        raise InputError(
            f"The value of the weight filter {text.strip()} is empty. {EXAMPLES}", code="filter_empty"
        )
    kinds = {name: kind for kind, name in _NAMES.items() if kind != "off"}
    try:
        name, value = text.split()
        return WeightFilter(kinds[name], float(value))
    except (ValueError, KeyError):
        message = f"The weight filter {show_value(text)} cannot be read. {EXAMPLES}"
        raise InputError(message, code="filter_syntax") from None
