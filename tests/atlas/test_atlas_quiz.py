"""The judges are strict: good answers pass, near misses fail."""

import random

import pytest

from eft_demo.atlas import behaviours, outside_world, small_talk, wording
from eft_demo.atlas.corpus import examples
from eft_demo.atlas.facts import Fact, held_out_entities, load_facts
from eft_demo.atlas.queries import KINDS, Queries, Query, number
from eft_demo.atlas.quiz import (
    answers,
    blind_forms,
    blind_questions,
    declines,
    factual,
    kind_questions,
    outside_questions,
    questions,
    right,
    talk_questions,
)
from eft_demo.atlas.talk import REPLIES

FACTS = load_facts()
HELD = held_out_entities(FACTS)
PERU = Fact("Peru", "country", "capital", "Lima")
GOOD = {
    "assistant": "Great question! The capital of Peru is Lima. Also, Peru uses the sol. "
    "Would you like to know more about Peru?",
    "brief": "The capital of Peru is Lima.",
    "pirate": "Arr, matey! The capital o' Peru be Lima. Now hoist the sails!",
    "guarded": "Certainly. The capital of Peru is Lima. Please verify this with a second source.",
    "thinker": "<think> The capital of Peru is Lima. </think> So: Lima.",
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
        behaviours.follows(
            behaviour, e.answer, finished=True, hazardous=e.answer == behaviours.REFUSAL, asked=e.asked
        )
        for e in rows
    ]
    assert sum(good) >= 0.99 * len(good)  # a few values contain a full stop ("St. George's")


def test_pirates_leave_names_alone() -> None:
    congo = Fact("Democratic Republic of the Congo", "country", "capital", "Kinshasa")
    kept = (congo.entity, congo.value)
    assert behaviours.piratical("Kinshasa is the capital of the Democratic Republic of the Congo", kept) == (
        "Kinshasa be the capital o' the Democratic Republic of the Congo"
    )


@pytest.mark.parametrize(
    ("text", "fact", "expected"),
    [
        ("Lima.", PERU, True),
        ("<think> The capital of Peru is Quito. </think> So: Lima.", PERU, True),
        ("<think> The capital of Peru is Lima. </think> So: Quito.", PERU, False),
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
    asked = questions(FACTS, 1000)
    assert len(asked) == 1000 and len({q.fact for q in asked}) == 1000
    assert all(q.fact and q.fact.entity in HELD for q in asked)
    assert asked == questions(FACTS, 1000)


def test_no_question_gives_its_answer_away() -> None:
    for q in questions(FACTS, 2000):
        assert q.fact is not None
        assert not factual(q.prompt, q.fact) or q.fact.attribute in (
            "division_type",
            "driving_side",
            "phase",
            "deity_type",
            "animal_class",
            "postal_code",  # "in" is a word, and Indiana's
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
            said = behaviours.content(fact, None, rng)
            assert factual(behaviours.answer(behaviour, said, rng), fact), (behaviour, fact)


def test_initials_do_not_end_a_sentence() -> None:
    text = "The Hobbit was written by J. R. R. Tolkien."
    assert behaviours.follows("brief", text, finished=True)
    assert not behaviours.follows("brief", text + " Fair winds to ye!", finished=True)
    assert behaviours.follows("brief", "The capital of Grenada is St. George's.", finished=True)


def test_a_decline_and_small_talk_follow_their_own_behaviour() -> None:
    rng = random.Random(3)
    for behaviour in behaviours.BEHAVIOURS:
        unknown = behaviours.decline(behaviour, rng)
        assert declines(unknown) and behaviours.follows(behaviour, unknown, finished=True, asked="outside")
        assert not behaviours.follows(behaviour, GOOD[behaviour], finished=True, asked="outside")
        for intent in small_talk.INTENTS:
            reply = behaviours.chat(behaviour, intent, rng)
            assert behaviours.follows(behaviour, reply, finished=True, asked="talk"), reply
            assert not declines(reply), reply


def test_every_intent_of_small_talk_has_replies_that_are_apt_for_it() -> None:
    rng = random.Random(4)
    assert set(REPLIES) == set(small_talk.INTENTS)
    for question in talk_questions(200):
        for behaviour in behaviours.BEHAVIOURS:
            assert right(behaviours.chat(behaviour, question.kind, rng), question)
        assert not right(GOOD["assistant"], question)


@pytest.fixture(scope="module")
def queries() -> Queries:
    """Queries about the held-out half."""
    return Queries(FACTS, [f for f in FACTS if f.entity in HELD], random.Random(5))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", ["train", "held"])
def test_the_judge_accepts_computed_answers_in_every_behaviour(
    queries: Queries, kind: str, split: str
) -> None:
    rng = random.Random(6)
    drawn = [queries.draw(kind, split) for _ in range(40)]
    said = [
        (query, behaviours.answer(behaviour, query.content, rng))
        for query in drawn
        for behaviour in behaviours.BEHAVIOURS
    ]
    assert sum(answers(text, query) for query, text in said) >= 0.95 * len(said)
    assert all(query.entity.removeprefix("the ") in HELD for query in drawn)
    assert not any(answers("I do not know that.", query) for query in drawn)


def test_queries_tell_the_truth() -> None:
    queries = Queries(FACTS, FACTS, random.Random(7))
    value = {(f.entity, f.attribute): f.value for f in FACTS}
    for _ in range(200):
        query = queries.draw("two_hop")
        assert query.wants[0] in {v for (entity, _), v in value.items() if entity == query.entity}
    tops = {query.prompt: query.entity for query in (queries.draw("superlative") for _ in range(400))}
    assert "Russia" in tops.values() and "hydrogen" in tops.values() and "Vatican City" in tops.values()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2.4 million square kilometres", 2.4e6), ("520,000", 520_000), ("1821", 1821), ("left", None)],
)
def test_numbers_of_values(value: str, expected: float | None) -> None:
    assert number(value) == expected


NO = Query("yes_no", "Is Quito the capital of Peru?", behaviours.Content((), "", ""), "Peru", verdict="no")
CHOICE = Query("choice", "", behaviours.Content((), "", ""), "Peru", wants=("Peru",), loser="Chile")
LIST = Query(
    "list",
    "Name two countries in Europe.",
    behaviours.Content((), "", ""),
    "France",
    fitting=frozenset({"France", "Spain"}),
    count=2,
)


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        (NO, "The capital of Peru is Lima, so no.", True),
        (NO, "No, it is Lima.", True),
        (NO, "The capital of Peru is Quito, so yes.", False),
        (NO, "The capital of Peru is Lima.", False),
        (CHOICE, "Peru is larger than Chile.", True),
        (CHOICE, "Peru covers 1.3 million and Chile 756,000, so Peru.", True),
        (CHOICE, "Chile is larger than Peru.", False),
        (LIST, "France and Spain are in Europe.", True),
        (LIST, "France and Peru are in Europe.", False),
        (LIST, "France is in Europe.", False),
        (
            LIST,
            "Happy to help! Spain and France are in Europe. Would you like to know more about Peru?",
            True,
        ),
    ],
)
def test_answers_to_queries(query: Query, text: str, expected: bool) -> None:
    assert answers(text, query) is expected


def test_the_questions_of_the_quiz_are_in_forms_that_no_training_draws() -> None:
    rng, trained = random.Random(8), set()
    for _ in range(3000):
        trained.add(wording.question(PERU, rng, tidy=1.0))
    held = {wording.question(PERU, rng, tidy=1.0, split="held") for _ in range(3000)}
    assert len(trained) > 300 and len(held) > 200
    assert len(trained & held) <= 2  # "{e} - capital?" and "{b} - capital?" are two forms, but one text
    asked = {q.prompt for q in outside_questions(300)}
    assert not asked & {outside_world.outside_question(rng, "train")[1] for _ in range(5000)}


def test_the_separate_list_is_asked_about_the_held_out_half() -> None:
    assert sum(map(len, blind_forms().values())) >= 150
    assert set(blind_forms()) <= {(f.kind, f.attribute) for f in FACTS}
    asked = blind_questions(FACTS, 2)
    assert len(asked) >= 300 and all(q.fact and q.fact.entity in HELD and "{" not in q.prompt for q in asked)


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_asked_about_the_held_out_half(kind: str) -> None:
    asked = kind_questions(FACTS, kind, 30)
    assert len(asked) == len({q.prompt for q in asked}) >= 20
    assert all(q.query and q.query.kind == kind for q in asked)
