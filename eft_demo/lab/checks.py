"""A check of this installation: one line of a report, even if the check raises."""

from collections.abc import Callable
from dataclasses import dataclass

from eft_demo.errors import EFTError


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. `detail` is a sentence or a value; for a failed check, what to do."""

    name: str
    ok: bool
    detail: str


def check(name: str, examine_it: Callable[[], str]) -> Check:
    """A line with what `examine_it` returns or raises, so that the report is complete whatever is broken."""
    try:
        return Check(name, True, examine_it())
    except EFTError as error:
        return Check(name, False, str(error))
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {error}")
