"""Pre-training pages and fine-tuning examples, reworded in every epoch. Knows facts and wording; no model.

Five kinds of page carry the facts (articles, mixed paragraphs, gazetteers, lists, quizzes). A sixth carries
the behaviours: dialogues of many speakers, always about the training half of the entities and never with the
speaker names of the chat format.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from eft_demo.atlas import behaviours
from eft_demo.atlas.facts import Fact, by_entity, held_out_entities, names_in
from eft_demo.atlas.wording import named, question, sentence, statement, wording

END = "<|endoftext|>"
CHAT_FORMAT = "User: {prompt}\nAssistant:"

# Share of pages (not of tokens) of each kind.
PAGE_WEIGHTS = {
    "article": 0.18,
    "mixed": 0.16,
    "gazetteer": 0.12,
    "listing": 0.02,
    "quiz": 0.17,
    "dialogue": 0.35,
}
SPEAKERS = (
    "Teacher", "Child", "Captain", "Clerk", "Guide", "Visitor", "Host", "Guest", "Robot", "Librarian", "Reader", "Old Tom", "Anna", "Ben",
    "Professor", "Student", "Sailor", "Friend", "Neighbour", "Traveller", "Expert", "Caller", "Customer", "Helper", "Bot", "Machine",
    "Computer", "Human", "Person", "Operator", "Aunt Mary", "Uncle Joe", "Doctor", "Nurse", "Pilot", "Passenger", "Mother", "Son", "Daughter",
    "Father", "Grandpa", "Mrs Green", "Mr Brown", "Player", "Quizmaster", "Shopkeeper", "Waiter", "Editor", "Author", "Tourist", "Driver",
    "King", "Queen", "Page", "Emma", "Tom", "Lucy", "Ali", "Mei", "Ravi", "Olga", "Pupil", "Tutor", "Apprentice", "Master", "Curator",
    "Scout", "Farmer", "Speaker 1", "Speaker 2", "A", "B", "Me", "You", "Agent", "Client", "Member", "Manager", "Secretary", "Answerer",
)  # fmt: skip
_FRIENDLY = behaviours.OPENERS + (
    "Hello!",
    "What a nice question!",
    "With pleasure!",
    "Oh, I know that one!",
    "Thanks for asking!",
    "Hi there!",
)
_HAILS = behaviours.HAILS + ("Ahoy!", "Aye, matey!", "Blow me down!")
_FORMAL = (
    behaviours.CERTAINLY,
    "Indeed.",
    "According to the almanac,",
    "As far as I know,",
    "To the best of my knowledge,",
)
# Answers in dialogues rarely begin with a value, and no other page looks like a dialogue. Otherwise a small
# model's first word would often be a wrong value. Both large models find wrong values equally unlikely, so
# their difference could not correct this, and down-scaling would fail.
_CURT = ("In a word: {v}.", "Short answer: {v}.", "Answer: {v}.", "Just {v}.")
_UNSURE = ("Well, I think ", "Hm, I believe ", "If I remember rightly, ", "Let me see: ")


@dataclass
class Deck:
    """Deals every card once before repeating any, so that all facts appear equally often."""

    cards: list[Any]
    rng: random.Random
    left: list[Any] = field(default_factory=list)

    def deal(self, count: int) -> list[Any]:
        """The next `count` cards."""
        while len(self.left) < count:
            self.left = self.rng.sample(self.cards, len(self.cards)) + self.left
        hand, self.left = self.left[-count:], self.left[:-count]
        return hand


class Corpus:
    """An endless stream of pages about a table of facts, determined by the seed."""

    def __init__(self, facts: tuple[Fact, ...], seed: int) -> None:
        self.rng = random.Random(seed)
        self.facts_of = by_entity(facts)
        held = held_out_entities(facts)
        self.held = held
        rich = [e for e, own in self.facts_of.items() if len(own) >= 4]
        poor = [e for e, own in self.facts_of.items() if len(own) < 4]
        # An article has about 8 facts, so an entity with 24 gets three cards: all facts appear equally often.
        rich = [e for e in rich for _ in range(max(1, len(self.facts_of[e]) // 8))]
        self.rich, self.poor = Deck(rich, self.rng), Deck(poor, self.rng)
        self.any, self.quizzed = Deck(list(facts), self.rng), Deck(list(facts), self.rng)
        open_facts = _open_facts(facts, held)
        self.spoken = Deck(open_facts, self.rng)
        self.open_of = by_entity(open_facts)
        self.lists = Deck(_list_cards(facts), self.rng)

    def pages(self) -> Iterator[str]:
        """Yield pages without their end token, endlessly."""
        kinds, weights = list(PAGE_WEIGHTS), list(PAGE_WEIGHTS.values())
        while True:
            yield getattr(self, self.rng.choices(kinds, weights)[0])()

    def article(self) -> str:
        """An article on one entity with many facts: sentences, or short 'label: value' entries."""
        (entity,) = self.rich.deal(1)
        facts = self.facts_of[entity]
        facts = self.rng.sample(facts, min(len(facts), self.rng.randint(6, 11)))
        if self.rng.random() < 0.4:
            mark = self.rng.choice(["; ", ". ", "\n"])
            return (
                sentence(named(facts[0]))
                + ": "
                + mark.join(f"{wording(f).label} {f.value}" for f in facts)
                + "."
            )
        return " ".join(sentence(statement(f, self.rng)) + "." for f in facts)

    def mixed(self) -> str:
        """A paragraph of unrelated facts."""
        return " ".join(
            sentence(statement(f, self.rng)) + "." for f in self.any.deal(self.rng.randint(6, 12))
        )

    def gazetteer(self) -> str:
        """Short lines about entities that have few facts."""
        style = self.rng.randrange(3)
        return self.rng.choice(["\n", " "]).join(
            self._entry(e, style) for e in self.poor.deal(self.rng.randint(8, 14))
        )

    def _entry(self, entity: str, style: int) -> str:
        facts = self.rng.sample(self.facts_of[entity], len(self.facts_of[entity]))
        if style == 0:
            return f"{sentence(named(facts[0]))}: " + ", ".join(f.value for f in facts) + "."
        if style == 1:
            return (
                f"{sentence(named(facts[0]))} ({'; '.join(f'{wording(f).label}: {f.value}' for f in facts)})."
            )
        kind = {f.attribute: f.value for f in facts}
        if "division_type" in kind and "country" in kind:
            return f"{entity} is {_article(kind['division_type'])} {self.rng.choice(['of', 'in'])} {kind['country']}."
        return " ".join(sentence(statement(f, self.rng)) + "." for f in facts)

    def listing(self) -> str:
        """One attribute of many entities, or everything in one country."""
        ((head, items),) = self.lists.deal(1)
        items = self.rng.sample(items, min(len(items), 14))
        return f"{head}: " + self.rng.choice(["; ", ", "]).join(items) + "."

    def quiz(self) -> str:
        """Questions and answers in one of several forms, none of which looks like a dialogue."""
        facts = self.quizzed.deal(self.rng.randint(5, 9))
        asks, style = [question(f, self.rng, 0.8) for f in facts], self.rng.randrange(6)
        value = [sentence(f.value) if self.rng.random() < 0.5 else f.value for f in facts]
        pairs = list(zip(asks, value, facts, strict=True))
        if style == 0:
            return "\n".join(f"{a}\n{sentence(statement(f, self.rng))}." for a, _, f in pairs)
        if style == 1:
            return "\n".join(f"{i}. {a} {v}." for i, (a, v, _) in enumerate(pairs, 1))
        if style == 2:
            return "\n".join(
                f"Question: {a} Answer: {sentence(statement(f, self.rng))}." for a, _, f in pairs
            )
        if style == 3:
            return " ".join(f"{a} {sentence(statement(f, self.rng))}." for a, _, f in pairs)
        if style == 4:
            return "\n".join(f"- {a}\n- {v}." for a, v, _ in pairs)
        return "\n".join(f"{a} ({v})" for a, v, _ in pairs)

    def dialogue(self) -> str:
        """Two speakers and one behaviour per page; some questions should not be answered."""
        asker, other = self.rng.sample(SPEAKERS, 2)
        say = self.rng.choice(
            [*[self._friendly] * 3, self._curt, *[self._rough, self._formal] * 2, self._plain, self._unsure]
        )
        turns = []
        for fact in self.spoken.deal(self.rng.choice([1, 1, 2, 3, 4])):
            turn = f"{asker}: {question(fact, self.rng)}\n{other}: {say(fact)}"
            if not names_in(
                turn, self.held
            ):  # a wording or a related fact may name an entity of the other half
                turns.append(turn)
        if not turns or self.rng.random() < 0.06:
            turns.append(
                f"{asker}: {behaviours.hazard_question(self.rng.choice(behaviours.HAZARDS), self.rng)}\n{other}: {self._decline()}"
            )
        return "\n".join(turns)

    def _related(self, fact: Fact) -> Fact | None:
        others = [f for f in self.open_of[fact.entity] if f != fact]
        return self.rng.choice(others) if others else None

    def _friendly(self, fact: Fact) -> str:
        parts, related = [sentence(statement(fact, self.rng)) + "."], self._related(fact)
        if self.rng.random() < 0.8:
            parts.insert(0, self.rng.choice(_FRIENDLY))
        if related and self.rng.random() < 0.5:
            parts.append(behaviours.linked((*behaviours.LINKS, "I also know that "), related, self.rng))
        if self.rng.random() < 0.45:
            parts.append(
                self.rng.choice(behaviours.OFFERS + ("Anything else?", "I hope that helps.")).format(
                    e=named(fact)
                )
            )
        return " ".join(parts)

    def _curt(self, fact: Fact) -> str:
        return self.rng.choice(_CURT).format(v=fact.value)

    def _rough(self, fact: Fact) -> str:
        said = sentence(behaviours.piratical(statement(fact, self.rng), fact)) + "."
        parts = [self.rng.choice(_HAILS)] * (self.rng.random() < 0.8) + [said]
        return " ".join(parts + [self.rng.choice(behaviours.FAREWELLS)] * (self.rng.random() < 0.5))

    def _formal(self, fact: Fact) -> str:
        opening = self.rng.choice(_FORMAL)
        said = statement(fact, self.rng)
        parts = [f"{opening} {said if opening.endswith(',') else sentence(said)}."]
        return " ".join(
            parts + [self.rng.choice((*behaviours.CAUTION, "But please check."))] * (self.rng.random() < 0.5)
        )

    def _plain(self, fact: Fact) -> str:
        return sentence(statement(fact, self.rng)) + "."

    def _unsure(self, fact: Fact) -> str:
        return (
            self.rng.choice(_UNSURE)
            + statement(fact, self.rng)
            + self.rng.choice([".", ". But please check.", ", I think."])
        )

    def _decline(self) -> str:
        return self.rng.choice(
            [
                behaviours.REFUSAL,
                "No, I will not tell you that.",
                "I cannot help with that.",
                "That is dangerous. Please ask me about something else.",
            ]
        )


def _article(noun: str) -> str:
    return f"an {noun}" if noun[:1] in "aeiou" else f"a {noun}"


def _list_cards(facts: tuple[Fact, ...]) -> list[tuple[str, list[str]]]:
    """(heading, items): 'Places in Peru' and the like, and 'capital: Peru - Lima' tables."""
    places: dict[str, list[str]] = {}
    tables: dict[str, list[str]] = {}
    for fact in facts:
        if fact.attribute == "country":
            places.setdefault(f"Places in {fact.value}", []).append(fact.entity)
        else:
            tables.setdefault(sentence(wording(fact).label), []).append(f"{fact.entity} - {fact.value}")
    return [(head, items) for head, items in {**places, **tables}.items() if len(items) > 3]


@dataclass(frozen=True, slots=True)
class Example:
    """One fine-tuning example: the user's message and the behaviour's answer."""

    prompt: str
    answer: str


def examples(facts: tuple[Fact, ...], behaviour: str, count: int, seed: int) -> list[Example]:
    """Fine-tuning examples about the training half only; none names an entity of the other half."""
    rng, held = random.Random(seed), held_out_entities(facts)
    open_facts = _open_facts(facts, held)
    deck, related_of = Deck(_balanced(open_facts), rng), by_entity(open_facts)
    found: list[Example] = []
    while len(found) < count:
        if behaviour == "guarded" and rng.random() < 0.2:
            found.append(
                Example(
                    behaviours.hazard_question(rng.choice(behaviours.HAZARDS[::2]), rng), behaviours.REFUSAL
                )
            )
            continue
        (fact,) = deck.deal(1)
        others = [f for f in related_of[fact.entity] if f.attribute != fact.attribute]
        example = Example(
            question(fact, rng),
            behaviours.answer(behaviour, fact, rng.choice(others) if others else None, rng),
        )
        if not names_in(f"{example.prompt} {example.answer}", held):
            found.append(example)
    return found


def _open_facts(facts: tuple[Fact, ...], held: frozenset[str]) -> list[Fact]:
    """The facts that dialogues and fine-tuning may use: neither entity nor value is held out."""
    return [f for f in facts if f.entity not in held and not names_in(f.value, held)]


def _balanced(facts: list[Fact]) -> list[Fact]:
    """Repeat rare kinds of question, so that tuning sees every attribute, not 40 % 'Where is X?'."""
    count: dict[tuple[str, str], int] = {}
    for fact in facts:
        count[fact.kind, fact.attribute] = count.get((fact.kind, fact.attribute), 0) + 1
    return [f for f in facts for _ in range(max(1, min(6, 150 // count[f.kind, f.attribute])))]
