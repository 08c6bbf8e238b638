"""The grammar of questions: enough forms, a stable split, well-formed sentences."""

import random
import re

import pytest

from eft_demo.atlas import wording
from eft_demo.atlas.comparing import (
    DIRECTIONS,
    choice_question,
    comparable,
    comparison_question,
    list_question,
    listable,
    superlative_question,
)
from eft_demo.atlas.facts import ASSETS, Fact, by_entity, load_facts
from eft_demo.atlas.grammar import clause, held_frame, held_head, parse_frame, past, third_person
from eft_demo.atlas.halves import SPLITS, share
from eft_demo.atlas.wording import (
    about_question,
    forms,
    load_wordings,
    question,
    reverse_forms,
    reverse_question,
    statement,
    yes_no_forms,
    yes_no_question,
)

FACTS = load_facts()
KEYS = sorted({(f.kind, f.attribute) for f in FACTS})
PERU = Fact("Peru", "country", "capital", "Lima")
NETHERLANDS = Fact("Netherlands", "country", "population", "18 million")


def test_every_attribute_has_many_forms_and_a_third_of_them_is_held_out() -> None:
    train, held = {k: set(forms(*k)) for k in KEYS}, {k: set(forms(*k, "held")) for k in KEYS}
    for key in KEYS:
        assert len(train[key]) >= 300 and len(held[key]) >= 150, key
        assert not train[key] & held[key], key
    all_held = sum(map(len, held.values()))
    assert 0.3 < all_held / (all_held + sum(map(len, train.values()))) < 0.37


def test_a_form_is_written_once_or_its_attribute_would_not_be_known() -> None:
    """Two attributes of one kind may not share a question: "{e} number?" would have two answers."""
    table = (ASSETS / "facts.tsv").read_text(encoding="utf-8").splitlines()[1:]
    keys = sorted({tuple(row.split("\t")[1:3]) for row in table})
    for kind in {kind for kind, _ in keys}:
        owner: dict[str, str] = {}
        for attribute in [a for k, a in keys if k == kind]:
            for form in (*forms(kind, attribute), *forms(kind, attribute, "held")):
                assert owner.setdefault(form, attribute) == attribute, (kind, form, owner[form], attribute)


def test_the_attributes_that_models_fail_most_have_the_most_heads() -> None:
    for key in (
        ("element", "symbol"),
        ("country", "population"),
        ("country", "continent"),
        ("book", "author"),
    ):
        assert len(load_wordings()[key].heads) >= 60, key


def test_every_attribute_has_heads_of_its_own() -> None:
    for key, own in load_wordings().items():
        slots = {slot for head in own.heads for slot, _ in head.texts}
        assert len(own.heads) >= 20 and slots >= {"D", "E", "P", "C", "W"}, key
        assert any(held_head(h) for h in own.heads), key


def test_the_split_depends_on_the_text_alone() -> None:
    """If one of these changes, forms that a shipped model has read become forms of the evaluation."""
    assert round(share("which currency [does] {e} _use"), 6) == 0.861763
    assert round(share("do you know {E}?"), 6) == 0.110504
    held = [f.text for f in wording.frames("questions") if held_frame(f)]
    assert "can you please tell me {E}?" in held and len(held) == 87
    assert not held_frame(parse_frame("9* can you please tell me {E}?")), "everyday frames are never held out"


def test_training_forms_come_from_training_heads_in_training_frames() -> None:
    heads = load_wordings()["country", "capital"].heads
    held_texts = {t for h in heads if held_head(h) for _, t in h.texts}
    free_texts = {t for h in heads if not held_head(h) for _, t in h.texts}
    hidden = [t for t in held_texts if not any(t in free for free in free_texts)]
    assert hidden
    for form in forms("country", "capital"):
        assert not any(re.search(rf"{re.escape(t)}\b", form) for t in hidden if len(t) > 12), form


def test_every_form_fills_for_every_fact() -> None:
    rng = random.Random(0)
    for fact in FACTS:
        texts = [question(fact, rng, split=s) for s in SPLITS]
        texts += [statement(fact, rng), yes_no_question(fact, fact.value, rng), about_question(fact, rng)]
        texts += [text for text in [reverse_question(fact, rng)] if text]
        for text in texts:
            assert not set(text) & set("{}[]^~|") and text == text.strip() and "  " not in text, text
            assert (
                not re.search(r"\bthe the\b", text.lower()) and " a a " not in text and "Is is" not in text
            ), text


def test_no_head_or_frame_keeps_its_notation() -> None:
    for key, own in load_wordings().items():
        for head in (*own.heads, *own.yes_no, *own.reverse):
            for _, text in head.texts:
                assert not set(re.sub(r"\{[ebv]\}", "", text)) & set("{}[]^~|_@"), (key, text)
                assert "{e}" in text or "{b}" in text or "{v}" in text or head.texts[0][0] in "KN", (
                    key,
                    text,
                )
    for frame in wording.frames("questions"):
        assert frame.slot in "DEPFNKCW", frame
        assert frame.slot not in "NK" or "{b}" in frame.text or "{e}" in frame.text, frame


@pytest.mark.parametrize(
    ("line", "direct", "embedded"),
    [
        ("which currency [does] {e} _use", "which currency does {e} use", "which currency {e} uses"),
        ("where [is] {e} _ located", "where is {e} located", "where {e} is located"),
        ("where [is] {e}", "where is {e}", "where {e} is"),
        ("when [did] {e} _become free", "when did {e} become free", "when {e} became free"),
        ("what [do] people _pay in {e}", "what do people pay in {e}", "what people pay in {e}"),
        ("where [can] I _find {e}", "where can I find {e}", "where I can find {e}"),
        ("who wrote {e}", "who wrote {e}", "who wrote {e}"),
        (
            "what number [is] {e} in the table",
            "what number is {e} in the table",
            "what number {e} is in the table",
        ),
    ],
)
def test_embedded_questions_do_not_invert(line: str, direct: str, embedded: str) -> None:
    assert clause(line) == (direct, embedded)


def test_plural_names_take_the_plural() -> None:
    assert clause("where [is] {e}", plural=True) == ("where are {e}", "where {e} are")
    assert clause("which currency [does] {e} _use", plural=True)[1] == "which currency {e} use"
    assert clause("where [is] {e}'s coast", plural=True)[0] == "where is {e}'s coast"
    rng = random.Random(0)
    asked = {question(NETHERLANDS, rng, 1.0) for _ in range(4000)}
    assert "How populous are the Netherlands?" in asked and "What is the Netherlands' population?" in asked
    assert not [a for a in asked if re.search(r"\b(?:is|does|has) the Netherlands\b(?!')", a)]
    says = {statement(NETHERLANDS, rng) for _ in range(300)}
    assert "the Netherlands have about 18 million people" in says


def test_verbs() -> None:
    assert [third_person(v) for v in ("use", "have", "carry", "pay", "reach")] == [
        "uses", "has", "carries", "pays", "reaches",
    ]  # fmt: skip
    assert [past(v) for v in ("gain", "become", "carry", "declare", "get")] == [
        "gained", "became", "carried", "declared", "got",
    ]  # fmt: skip


@pytest.mark.parametrize("wanted", [
    "What is the capital of Peru?", "Do you know what the capital of Peru is?", "Capital Peru",
    "Could you please tell me which city is the capital of Peru?", "Peru: capital?", "The capital of Peru is",
    "I'd like to know what Peru's capital is.",
])  # fmt: skip
def test_everyday_questions_are_among_the_forms(wanted: str, asked_of_peru: set[str]) -> None:
    assert wanted in asked_of_peru


@pytest.fixture(scope="module")
def asked_of_peru() -> set[str]:
    rng = random.Random(2)
    return {question(PERU, rng, 1.0) for _ in range(60_000)}


def test_faults_keep_the_entity() -> None:
    rng = random.Random(5)
    for fact in rng.sample(FACTS, 2000):
        for split in SPLITS:
            assert fact.entity.lower() in question(fact, rng, 0.0, split).lower()


def test_faults_are_of_many_kinds() -> None:
    rng = random.Random(6)
    asked = [question(PERU, rng, 0.0) for _ in range(3000)]
    assert any(a.isupper() for a in asked) and any(a.islower() for a in asked)
    assert any("whats" in a for a in asked) and any(re.search(r"\bu\b", a) for a in asked)


def test_reverse_questions_only_where_one_entity_has_the_value() -> None:
    rng = random.Random(7)
    asked = {reverse_question(PERU, rng, "train", 1.0) for _ in range(2000)}
    assert {"Which country's capital is Lima?", "Which country has Lima as its capital?"} <= asked
    assert reverse_question(Fact("Italy", "country", "currency", "euro"), rng) is None
    assert reverse_question(Fact("Peru", "country", "continent", "South America"), rng) is None
    for key in KEYS:
        assert not load_wordings()[key].reverse or len(load_wordings()[key].reverse) >= 2, key
        assert not set(reverse_forms(*key)) & set(reverse_forms(*key, "held")), key


def test_yes_no_questions_take_any_value() -> None:
    rng = random.Random(8)
    asked = {yes_no_question(PERU, "Quito", rng, "train", 1.0) for _ in range(3000)}
    assert {"Is Quito the capital of Peru?", "The capital of Peru is Quito, right?"} <= asked
    assert all("Quito" in a and "Peru" in a for a in asked)
    for key in KEYS:
        assert len(yes_no_forms(*key)) >= 100 and len(yes_no_forms(*key, "held")) >= 20, key
        assert not set(yes_no_forms(*key)) & set(yes_no_forms(*key, "held")), key


def test_superlatives_comparisons_and_lists() -> None:
    rng = random.Random(9)
    facts = by_entity(FACTS)
    chile, peru = ([f for f in facts[e] if f.attribute == "area"][0] for e in ("Chile", "Peru"))
    assert "Is Chile larger than Peru?" in {comparison_question(chile, peru, "high", rng) for _ in range(900)}
    assert "Which is smaller, Chile or Peru?" in {
        choice_question(chile, peru, "low", rng) for _ in range(900)
    }
    asked = {superlative_question("country", "area", "high", "Africa", rng) for _ in range(900)}
    assert "Which country in Africa is the largest?" in asked
    europe = Fact("France", "country", "continent", "Europe")
    assert "Name three countries in Europe." in {list_question(europe, 3, rng) for _ in range(900)}
    for kind, attribute in comparable():
        first, second = [f for f in FACTS if (f.kind, f.attribute) == (kind, attribute)][:2]
        for direction in DIRECTIONS:
            for split in SPLITS:
                texts = [
                    superlative_question(kind, attribute, direction, None, rng, split),
                    comparison_question(first, second, direction, rng, split),
                    choice_question(first, second, direction, rng, split),
                ]
                assert not any(set(text) & set("{}") for text in texts)
    for key in listable():
        fact = next(f for f in FACTS if (f.kind, f.attribute) == key)
        for split in SPLITS:
            assert not set(list_question(fact, 4, rng, split)) & set("{}")


def test_the_seed_determines_the_question() -> None:
    first, again = ([question(f, random.Random(3)) for f in FACTS[:300]] for _ in range(2))
    assert first == again


def test_plain_statements_are_few_and_do_not_begin_with_the_value() -> None:
    rng = random.Random(1)
    said = {statement(PERU, rng, plain=True) for _ in range(300)}
    assert 2 <= len(said) <= wording.PLAIN < len({statement(PERU, rng) for _ in range(300)})
    assert not any(text.startswith("Lima") for text in said)
    for key, own in load_wordings().items():
        assert len(own.plain) >= 3, key


def test_books_are_quoted_or_not_and_rivers_have_an_article() -> None:
    rng = random.Random(4)
    hobbit, nile = (
        Fact("The Hobbit", "book", "author", "J. R. R. Tolkien"),
        Fact("Nile", "river", "outflow", "sea"),
    )
    asked = {question(hobbit, rng, 1.0) for _ in range(2000)}
    assert {'Who wrote "The Hobbit"?', "Who wrote The Hobbit?"} <= asked
    assert wording.named(nile) == "the Nile"
