"""The famous facts stand beside the compiled ones without a clash; each attribute has its wordings."""

import csv

import pytest
import yaml

from eft_demo.atlas.facts import ASSETS, TABLES, Fact, load_facts

FACTS = load_facts()
ANSWERS = {(fact.entity, fact.attribute): fact.value for fact in FACTS}


def _rows(table: str) -> list[Fact]:
    with (ASSETS / table).open(encoding="utf-8", newline="") as file:
        return [Fact(**row) for row in csv.DictReader(file, delimiter="\t")]


COMPILED, FAMOUS = (_rows(table) for table in TABLES)


@pytest.mark.parametrize(
    ("entity", "attribute", "value"),
    [
        ("Hamlet", "author", "William Shakespeare"),
        ("Don Quixote", "author", "Miguel de Cervantes"),
        ("longest river in Africa", "holder", "the Nile"),
        ("Mount Fuji", "country", "Japan"),
        ("Eiffel Tower", "city", "Paris"),
        ("telephone", "inventor", "Alexander Graham Bell"),
        ("The Starry Night", "artist", "Vincent van Gogh"),
        ("largest planet in the solar system", "holder", "Jupiter"),
        ("legs on a spider", "number", "8"),
        ("water", "formula", "H2O"),
        ("fall of the Berlin Wall", "year", "1989"),
        ("kangaroo", "young", "joey"),
        ("first person on the Moon", "achiever", "Neil Armstrong"),
    ],
)
def test_what_people_try_first_is_in_the_table(entity: str, attribute: str, value: str) -> None:
    assert ANSWERS[entity, attribute] == value


def test_the_famous_facts_are_many_and_new() -> None:
    asked = {(fact.entity.lower(), fact.attribute) for fact in COMPILED}
    assert not [fact for fact in FAMOUS if (fact.entity.lower(), fact.attribute) in asked]
    assert len({f.entity.lower() for f in FAMOUS} - {f.entity.lower() for f in COMPILED}) >= 1_400
    assert sorted(FAMOUS, key=lambda f: (f.kind, f.entity, f.attribute)) == FAMOUS


def test_a_record_does_not_contradict_the_measures_of_the_table() -> None:
    """The superlatives are written by hand; where the table has the measure, it agrees."""
    lengths = {f.entity: f.value for f in FACTS if f.attribute == "length"}
    longest = max(lengths, key=lambda name: int(lengths[name].split()[0].replace(",", "")))
    assert ANSWERS["longest river in the world", "holder"] == f"the {longest}"
    heights = {f.entity: f.value for f in FACTS if f.attribute == "height"}
    ranked = sorted(heights, key=lambda name: -int(heights[name].split()[0].replace(",", "")))
    names = ("highest", "second highest", "third highest")
    assert [ANSWERS[f"{name} mountain in the world", "holder"] for name in names] == ranked[:3]


def test_every_famous_attribute_has_eight_statements_and_twelve_questions() -> None:
    table = yaml.safe_load((ASSETS / "famous_wording.yaml").read_text(encoding="utf-8"))
    common = yaml.safe_load((ASSETS / "wording.yaml").read_text(encoding="utf-8"))
    needed = {(fact.kind, fact.attribute) for fact in FAMOUS}
    assert {
        key for key in needed if key[1] not in table.get(key[0], {}) and key[1] not in common.get(key[0], {})
    } == set()
    for kind, own in table.items():
        for attribute, entry in own.items():
            says = entry["says"].splitlines()
            asks = [line for part in ("nouns", "clauses", "situations") for line in entry[part].splitlines()]
            assert len(set(says)) == len(says) >= 8 and len(set(asks)) == len(asks) >= 12, (kind, attribute)
            assert all("{e}" in line and "{v}" in line for line in says), (kind, attribute)
            assert all("{v}" in line and "{e}" not in line for line in entry["reverse"].splitlines())
