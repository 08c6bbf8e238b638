"""How many sequences run at once: as many as a step is quick enough for, and never fewer than FEW."""

import pytest

from eft_demo.engine.fairness import FEW, STEP_S, max_sequences_at, max_sequences_of_owner
from eft_demo.settings import COLUMNS, Settings

MANY = Settings(max_sequences=120)


@pytest.mark.parametrize(
    ("sequence_s", "most"),
    [
        (0.0, FEW),  # nothing was measured
        (1.0, FEW),  # too slow even for these, but somebody must be served
        (STEP_S / FEW, FEW),
        (STEP_S / 80, 80),
        (STEP_S / 1000, MANY.max_sequences),  # memory is the limit
    ],
)
def test_more_run_at_once_where_a_step_stays_quick(sequence_s: float, most: int) -> None:
    assert max_sequences_at(sequence_s, MANY) == most


def test_a_lower_setting_wins() -> None:
    assert max_sequences_at(0.0, Settings(max_sequences=6)) == 6


@pytest.mark.parametrize("most", [3, FEW, 120])
def test_one_owner_leaves_room_for_a_run_of_others(most: int) -> None:
    own = max_sequences_of_owner(most, MANY)
    assert own <= max(COLUMNS.high, most - COLUMNS.high)
