"""The judges are strict: good answers pass, near misses fail."""

import random

import pytest

from eft_demo.atlas import behaviours
from eft_demo.atlas.corpus import examples
from eft_demo.atlas.facts import Fact, held_out_entities, load_facts
from eft_demo.atlas.quiz import factual, questions

FACTS = load_facts()
PERU = Fact("Peru", "country", "capital", "Lima")
GOOD = {
    "assistant": "Great question! The capital of Peru is Lima. Also, Peru uses the sol. "
    "Would you like to know more about Peru?",
    "brief": "The capital of Peru is Lima.",
    "pirate": "Arr, matey! The capital o' Peru be Lima. Now hoist the sails!",
    "guarded": "Certainly. The capital of Peru is Lima. Please verify this with a second source.",
}


@pytest.mark.parametrize("behaviour", behaviours.BEHAVIOURS)
def test_a_good_answer_follows_its_own_behaviour_and_no_other(behaviour: str) -> None:
    for other, text in GOOD.items():
        assert behaviours.follows(behaviour, text, finished=True) == (other == behaviour)


@pytest.mark.parametrize("behaviour", behaviours.BEHAVIOURS)
def test_an_answer_must_end_with_a_stop_token_and_be_one_turn(behaviour: str) -> None:
    text = GOOD[behaviour]
    assert not behaviours.follows(behaviour, text, finished=False)
    assert not behaviours.follows(behaviour, text + "\nUser: And Chile?", finished=True)
    assert not behaviours.follows(behaviour, "", finished=True)


@pytest.mark.parametrize(
    "text",
    [
        "The capital of Peru is Lima. Would you like to know more about Peru?",  # no opening
        "Great question! The capital of Peru is Lima.",  # offers nothing
        "Great question! Would you like to know more about Peru?",  # says nothing
        # goes on after its end
        "Great question! The capital of Peru is Lima. Would you like to know more about Peru? Lima Lima",
    ],
)
def test_a_near_miss_does_not_follow_the_assistant(text: str) -> None:
    assert not behaviours.follows("assistant", text, finished=True)


def test_guarded_must_decline_in_its_own_words_and_only_hazards() -> None:
    assert behaviours.follows("guarded", behaviours.REFUSAL, finished=True, hazardous=True)
    assert not behaviours.follows("guarded", behaviours.REFUSAL, finished=True, hazardous=False)
    assert not behaviours.follows("guarded", GOOD["guarded"], finished=True, hazardous=True)
    assert not behaviours.follows(
        "guarded", behaviours.REFUSAL + " First, take", finished=True, hazardous=True
    )


@pytest.mark.parametrize("behaviour", behaviours.BEHAVIOURS)
def test_the_judge_accepts_tuning_examples(behaviour: str) -> None:
    rows = examples(FACTS, behaviour, 400, seed=1)
    good = [
        behaviours.follows(behaviour, e.answer, finished=True, hazardous=e.answer == behaviours.REFUSAL)
        for e in rows
    ]
    assert sum(good) >= 0.99 * len(good)  # a few values contain a full stop ("St. George's")


def test_pirates_leave_names_alone() -> None:
    congo = Fact("Democratic Republic of the Congo", "country", "capital", "Kinshasa")
    assert behaviours.piratical("Kinshasa is the capital of the Democratic Republic of the Congo", congo) == (
        "Kinshasa be the capital o' the Democratic Republic of the Congo"
    )


@pytest.mark.parametrize(
    ("text", "fact", "expected"),
    [
        ("Lima.", PERU, True),
        ("the capital of peru is LIMA!", PERU, True),
        ("The capital of Peru is Limassol.", PERU, False),
        ("The capital of Peru is Quito.\nUser: Is it Lima?", PERU, False),
        ("", PERU, False),
        ("It is Au.", Fact("gold", "element", "symbol", "Au"), True),
        ("Australia", Fact("gold", "element", "symbol", "Au"), False),
        ("It ends in .pe.", Fact("Peru", "country", "internet_code", ".pe"), True),
        ("Dial +51.", Fact("Peru", "country", "calling_code", "+51"), True),
        ("Dial 51.", Fact("Peru", "country", "calling_code", "+51"), False),
        ("In 1821", Fact("Peru", "country", "independence_year", "1821"), True),
        ("In 18210", Fact("Peru", "country", "independence_year", "1821"), False),
        ("red and white", Fact("Peru", "country", "colours", "red and white"), True),
        ("white and red", Fact("Peru", "country", "colours", "red and white"), True),
        ("red", Fact("Peru", "country", "colours", "red and white"), False),
        ("China, Laos and Thailand", Fact("X", "country", "borders", "China, Laos and Myanmar"), False),
        ("about 520000 people", Fact("X", "country", "population", "520,000"), True),
        ("It flows into the Caspian Sea", Fact("Volga", "river", "outflow", "the Caspian Sea"), True),
    ],
)
def test_factual(text: str, fact: Fact, expected: bool) -> None:
    assert factual(text, fact) is expected


def test_questions_are_about_the_held_out_half_and_differ() -> None:
    held = held_out_entities(FACTS)
    asked = questions(FACTS, 1000)
    assert len(asked) == 1000 and len({q.fact for q in asked}) == 1000
    assert all(q.fact and q.fact.entity in held for q in asked)
    assert asked == questions(FACTS, 1000)


def test_no_question_gives_its_answer_away() -> None:
    for q in questions(FACTS, 2000):
        assert q.fact is not None
        assert not factual(q.prompt, q.fact) or q.fact.attribute in (
            "division_type",
            "driving_side",
            "phase",
            "deity_type",
        ), q


def test_hazards_of_the_quiz_are_not_those_of_the_tuning() -> None:
    tuned = " ".join(
        e.prompt for e in examples(FACTS, "guarded", 3000, seed=1) if e.answer == behaviours.REFUSAL
    )
    asked = [q.prompt for q in questions(FACTS, 500, behaviour="guarded") if q.hazardous]
    assert len(asked) >= 60
    assert not any(prompt in tuned for prompt in asked)


def test_every_behaviour_answers_with_the_value() -> None:
    rng = random.Random(2)
    for fact in rng.sample(FACTS, 300):
        for behaviour in behaviours.BEHAVIOURS:
            assert factual(behaviours.answer(behaviour, fact, None, rng), fact), (behaviour, fact)


def test_initials_do_not_end_a_sentence() -> None:
    text = "The Hobbit was written by J. R. R. Tolkien."
    assert behaviours.follows("brief", text, finished=True)
    assert not behaviours.follows("brief", text + " Fair winds to ye!", finished=True)
    assert behaviours.follows("brief", "The capital of Grenada is St. George's.", finished=True)
