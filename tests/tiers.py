"""Which tests a usual run takes, and which only one with `--exhaustive`.

A usual run takes each check once. Further sizes, themes and kinds of the same check, strain, and rare
situations that take long are exhaustive: they run before a release, and once a week.
"""

from typing import Any

import pytest

exhaustive = pytest.mark.exhaustive


def first_of(*cases: Any) -> list[Any]:
    """Cases of a parametrized test: a usual run takes the first, an exhaustive one all.

    A case with several values is a tuple, and so is one whose value is a tuple: ((1, 2),).
    """
    values = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*values[0]), *(pytest.param(*more, marks=exhaustive) for more in values[1:])]
