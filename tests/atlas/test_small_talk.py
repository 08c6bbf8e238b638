"""Small talk has many forms per intent, and no form is in both halves."""

import random

import pytest

from eft_demo.atlas.halves import SPLITS
from eft_demo.atlas.small_talk import INTENTS, forms, small_talk


@pytest.mark.parametrize("intent", INTENTS)
def test_a_third_of_many_forms_is_held_out(intent: str) -> None:
    train, held = (forms(intent, split) for split in SPLITS)
    assert len(INTENTS[intent]) >= 25 and len(set(INTENTS[intent])) == len(INTENTS[intent])
    assert sorted(train + held) == sorted(INTENTS[intent])
    assert 0.2 < len(held) / len(INTENTS[intent]) < 0.45
    assert INTENTS[intent][0] in train


@pytest.mark.parametrize("intent", INTENTS)
def test_case_and_marks_do_not_move_a_form_to_the_other_half(intent: str) -> None:
    train, held = (
        {"".join(c for c in form.lower() if c.isalnum()) or form for form in forms(intent, split)}
        for split in SPLITS
    )
    assert not train & held


def test_no_form_means_two_things() -> None:
    owners: dict[str, set[str]] = {}
    for intent, own in INTENTS.items():
        for form in own:
            owners.setdefault(form.lower().strip("!?. ") or form, set()).add(intent)
    assert {form: found for form, found in owners.items() if len(found) > 1} == {}


def test_draws_stay_in_their_half() -> None:
    rng = random.Random(2)
    for split in SPLITS:
        drawn = [small_talk(rng, split) for _ in range(500)]
        assert {intent for intent, _ in drawn} == set(INTENTS)
        assert all(form in forms(intent, split) for intent, form in drawn)
