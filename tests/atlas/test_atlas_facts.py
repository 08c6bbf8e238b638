"""The table of facts matches its documentation, and nothing crosses the split into halves."""

import random

import pytest

from eft_demo.atlas.behaviours import BEHAVIOURS
from eft_demo.atlas.corpus import Corpus, examples
from eft_demo.atlas.facts import Fact, held_out_entities, load_facts, names_in
from eft_demo.atlas.wording import load_wordings, question, statement

FACTS = load_facts()
HELD = held_out_entities(FACTS)


def test_the_world_is_as_large_as_promised() -> None:
    assert len(FACTS) >= 10_000
    assert len({fact.entity for fact in FACTS}) >= 3_000
    countries = {fact.entity for fact in FACTS if fact.kind == "country"}
    per_country = sum(fact.kind == "country" for fact in FACTS) / len(countries)
    assert len(countries) >= 190 and per_country >= 15


@pytest.mark.parametrize(
    ("entity", "attribute", "value"),
    [
        ("Peru", "capital", "Lima"),
        ("Kenya", "currency_code", "KES"),
        ("Laos", "borders", "Cambodia, China, Myanmar, Thailand and Vietnam"),
        ("Ghana", "independence_year", "1957"),
        ("Finland", "calling_code", "+358"),
        ("Japan", "driving_side", "left"),
        ("gold", "symbol", "Au"),
        ("tungsten", "atomic_number", "74"),
        ("Ganymede", "planet", "Jupiter"),
        ("Montana", "state_capital", "Helena"),
        ("Abraham Lincoln", "presidency_number", "16th"),
        ("1896 Summer Olympics", "host_city", "Athens"),
        ("The Hobbit", "author", "J. R. R. Tolkien"),
        ("Volga", "outflow", "the Caspian Sea"),
        ("bear", "adjective", "ursine"),
    ],
)
def test_spot_checks_against_general_knowledge(entity: str, attribute: str, value: str) -> None:
    assert value in [f.value for f in FACTS if f.entity == entity and f.attribute == attribute]


def test_a_question_has_one_answer() -> None:
    """Regression: New York is both a state and a city, but a name must have one kind."""
    keys = [(f.entity.lower(), f.attribute) for f in FACTS]
    assert len(keys) == len(set(keys))
    kinds: dict[str, set[str]] = {}
    for fact in FACTS:
        kinds.setdefault(fact.entity.lower(), set()).add(fact.kind)
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


def test_values_are_clean() -> None:
    for fact in FACTS:
        for text in (fact.entity, fact.value):
            assert text.isascii() and text == text.strip() and text, fact
            assert len(text) <= 130 and not set(text) & set("\t\n[]{}<>|*"), fact


def test_the_halves_are_even_and_a_place_is_with_its_country() -> None:
    share = sum(f.entity in HELD for f in FACTS) / len(FACTS)
    assert 0.4 < share < 0.6
    for fact in FACTS:
        if fact.attribute == "country":
            assert (fact.entity in HELD) == (fact.value in HELD), fact


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_no_fine_tuning_example_names_the_held_out_half(behaviour: str) -> None:
    for example in examples(FACTS, behaviour, 800, seed=3):
        assert not names_in(f"{example.prompt} {example.answer}", HELD), example


def test_no_dialogue_page_names_the_held_out_half_but_quizzes_do() -> None:
    corpus = Corpus(FACTS, seed=4)
    for _ in range(800):
        page = corpus.dialogue()
        assert not names_in(page, HELD), page
        assert "User:" not in page and "Assistant:" not in page, "the chat format must stay new to the bases"
    assert any(names_in(corpus.quiz(), HELD) for _ in range(20))


def test_names_are_found_as_whole_words_ignoring_case() -> None:
    names = frozenset({"Peru", "Guinea-Bissau", "Chad", "Sao Tome and Principe"})
    assert names_in("The peruvian plain", names) == set()
    assert names_in("In Peru's north, and in guinea-bissau.", names) == {"Peru", "Guinea-Bissau"}
    assert names_in("sao tome and principe lies near Chad", names) == {"Sao Tome and Principe", "Chad"}


def test_every_attribute_has_several_wordings() -> None:
    assert {(f.kind, f.attribute) for f in FACTS} <= set(load_wordings())
    for key, wording in load_wordings().items():
        assert len(wording.says) >= 8, key
        assert all("{e}" in w and "{v}" in w for w in wording.says), key


def test_articles() -> None:
    rng = random.Random(0)
    bahamas = Fact("Bahamas", "country", "capital", "Nassau")
    assert statement(bahamas, rng, "the capital of {e} is {v}") == "the capital of the Bahamas is Nassau"
    assert (
        statement(Fact("gold", "element", "element_type", "alkali metal"), rng, "{e} is a {v}")
        == "gold is an alkali metal"
    )


def test_typing_slips_keep_the_entity() -> None:
    rng = random.Random(5)
    for fact in rng.sample(FACTS, 500):
        assert fact.entity.lower() in question(fact, rng, tidy=0.0).lower()


def test_the_seed_determines_the_corpus() -> None:
    first, again, other = (Corpus(FACTS, seed=s).pages() for s in (1, 1, 2))
    pages = [[next(p) for _ in range(20)] for p in (first, again, other)]
    assert pages[0] == pages[1] != pages[2]
