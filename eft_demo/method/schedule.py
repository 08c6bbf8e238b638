"""A schedule of alpha over the tokens: constant, warm-up, only the first tokens, or a custom list.

Its factors multiply the live values of `alpha` and `alpha_*`; beta and numeric weights are not scaled. Knows
positions and factors; knows no recipes and no models.
"""

from dataclasses import dataclass

from eft_demo.errors import InputError
from eft_demo.settings import check_number, number_text, show_value

KINDS = ("constant", "warmup", "first", "list")
MAX_TOKENS = 10_000
MAX_FACTORS = 64
MAX_TEXT_CHARS = 1000
EXAMPLES = "Please write constant, warmup 8, first 5, or list 0 0.5 1."


@dataclass(frozen=True, slots=True)
class Schedule:
    """`tokens` is used by warmup and first, `factors` (each from 0 to 1) by list. Raises InputError."""

    kind: str = "constant"
    tokens: int = 0
    factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            message = f"There is no schedule {show_value(self.kind)}. {EXAMPLES}"
            raise InputError(message, code="unknown_schedule")
        has_tokens, is_list = self.kind in ("warmup", "first"), self.kind == "list"
        low, high = (1, MAX_TOKENS) if has_tokens else (0, 0)
        name = f"The number of tokens of the schedule {self.kind}"
        check_number(name, self.tokens, low, high, integer=True, code="schedule_tokens")
        if bool(self.factors) != is_list or len(self.factors) > MAX_FACTORS:
            wanted = f"1 to {MAX_FACTORS} factors" if is_list else "no factors"
            raise InputError(
                f"The schedule {self.kind} takes {wanted}; got {len(self.factors)}. {EXAMPLES}",
                code="schedule_factors",
            )
        checked = tuple(
            float(check_number("A factor of a schedule", factor, 0, 1, code="schedule_factor"))
            for factor in self.factors
        )
        object.__setattr__(self, "factors", checked)

    def factor(self, position: int) -> float:
        """The factor of the sliders for the token at `position`; the first is at 0."""
        if self.kind == "warmup":
            return min(1.0, (position + 1) / self.tokens)
        if self.kind == "first":
            return 1.0 if position < self.tokens else 0.0
        if self.kind == "list":
            return self.factors[min(position, len(self.factors) - 1)]
        return 1.0

    def curve(self, length: int) -> list[float]:
        """The factors of the first `length` tokens."""
        return [self.factor(position) for position in range(length)]

    def __str__(self) -> str:
        if self.kind == "list":
            return " ".join(["list", *map(number_text, self.factors)])
        return f"{self.kind} {self.tokens}" if self.tokens else self.kind


CONSTANT = Schedule()


def parse_schedule(text: object) -> Schedule:
    """Parse `constant`, `warmup 8`, `first 5` or `list 0 0.5 1`. Raises InputError."""
    if not isinstance(text, str) or len(text) > MAX_TEXT_CHARS or not text.split():
        raise InputError(f"There is no schedule {show_value(text)}. {EXAMPLES}", code="unknown_schedule")
    kind, *rest = text.split()
    if kind in ("warmup", "first") and not rest:
        raise InputError(
            f"The number of tokens of the schedule {kind} is empty. {EXAMPLES}", code="schedule_tokens_empty"
        )
    if kind == "list":
        return Schedule(kind, factors=_read_factors(rest))
    try:
        if len(rest) == (kind != "constant"):
            return Schedule(kind, sum(map(int, rest)))
    except ValueError:
        pass
    raise InputError(f"The schedule {show_value(text)} cannot be read. {EXAMPLES}", code="schedule_syntax")


def _read_factors(words: list[str]) -> tuple[float, ...]:
    try:
        return tuple(map(float, words))
    except ValueError:
        raise InputError(
            f"The factors {show_value(' '.join(words))} cannot be read. Please write numbers from 0 to 1 "
            "with spaces between them, such as 0 0.5 1.",
            code="schedule_syntax",
        ) from None
