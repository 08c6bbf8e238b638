"""Questions outside the world are many, new in their held-out half, and none asks for a fact of the table."""

import random
import re

import pytest
import yaml

from eft_demo.atlas.facts import ASSETS, by_entity, load_facts, names_in
from eft_demo.atlas.halves import SPLITS
from eft_demo.atlas.outside_world import FILLERS, FORMS, outside_question

FACTS = load_facts()
OF = by_entity(FACTS)
NAMES = frozenset(OF)


def _labels() -> dict[tuple[str, str], str]:
    tables = [yaml.safe_load((ASSETS / name).read_text()) for name in ("wording.yaml", "famous_wording.yaml")]
    return {
        (kind, attribute): entry["label"]
        for table in tables
        for kind, own in table.items()
        for attribute, entry in own.items()
        if "label" in entry
    }


def questions(category: str, split: str, count: int, seed: int = 0) -> tuple[str, ...]:
    """Up to `count` different questions of a category, fewer if its forms and fillers give no more."""
    rng = random.Random(f"{seed} {category} {split}")
    found: dict[str, None] = {}
    for _ in range(40 * count):
        found.setdefault(outside_question(rng, split, category)[1])
        if len(found) == count:
            break
    return tuple(found)


def test_there_are_300_held_out_questions_evenly_over_the_categories() -> None:
    share = -(-300 // len(FORMS))
    held = {category: questions(category, "held", share) for category in FORMS}
    assert {category: len(found) for category, found in held.items()} == dict.fromkeys(FORMS, share)
    assert len({q for found in held.values() for q in found}) >= 300
    trained = {q for category in FORMS for q in questions(category, "train", 300)}
    assert len(trained) >= 3000 and not trained & {q for found in held.values() for q in found}


@pytest.mark.parametrize("category", FORMS)
def test_every_slot_can_be_filled(category: str) -> None:
    rng = random.Random(1)
    for split in SPLITS:
        for _ in range(300):
            found, question = outside_question(rng, split, category)
            assert found == category and not set(question) & set("{}") and question.isascii(), question


@pytest.mark.parametrize("texts", [*FORMS.values(), *FILLERS.values()])
def test_lists_are_clean(texts: tuple[str, ...]) -> None:
    assert all(text and text == text.strip() and text.isascii() for text in texts)
    assert len({text.lower() for text in texts}) == len(texts)


BY_CHANCE = ("diet",)  # "fried chicken for my diet" asks for a recipe, not for what chickens eat


def test_no_question_asks_for_a_fact_of_the_table() -> None:
    """The label of an attribute ("capital", "author") never stands beside an entity that has the attribute.

    Questions in other languages may ask for a fact; Atlas declines them because it only reads English.
    """
    rng, labels, wrong = random.Random(5), _labels(), set()
    for category in sorted(FORMS.keys() - {"other languages"}):
        for split in SPLITS:
            for _ in range(250):
                question = outside_question(rng, split, category)[1]
                for name in names_in(question, NAMES):
                    asked = re.sub(re.escape(name.lower()), " ", question.lower())
                    for fact in OF[name]:
                        label = labels.get((fact.kind, fact.attribute), "")
                        if label in ("", *BY_CHANCE):
                            continue
                        if re.search(rf"\b{re.escape(label.lower())}\b", asked):
                            wrong.add((question, name, label))
    assert not wrong


def test_invented_names_are_not_in_the_table() -> None:
    rng, by_chance = random.Random(6), {"Earth", "Mountain"}  # Middle-earth; "the highest mountain in ..."
    for category in ("invented places", "invented things"):
        for _ in range(1500):
            question = outside_question(rng, rng.choice(SPLITS), category)[1]
            assert not names_in(question, NAMES) - by_chance, question
