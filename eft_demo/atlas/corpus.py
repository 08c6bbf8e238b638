"""Pre-training pages and fine-tuning examples, reworded in every epoch. Knows facts and wording; no model.

Most kinds of page carry the facts (articles, mixed paragraphs, gazetteers, lists, rankings, quizzes). One carries the
behaviours: dialogues of many speakers, always about the training half of the entities and never with the speaker names
of the chat format. Every question is in a form of the training split.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from eft_demo.atlas import behaviours, outside_world, small_talk
from eft_demo.atlas.behaviours import Content
from eft_demo.atlas.comparing import comparable
from eft_demo.atlas.facts import Fact, by_entity, held_out_entities, names_in
from eft_demo.atlas.queries import Queries, number, reversed_statement, short
from eft_demo.atlas.wording import comparisons, named, question, sentence, statement, wording

END = "<|endoftext|>"
CHAT_FORMAT = "User: {prompt}\nAssistant:"

# Share of pages (not of tokens) of each kind. "facts" is what a large base reads while its rate falls: a
# dialogue says nothing about the held-out half, and by then the model knows how people speak.
MIXES = {
    "all": {
        "article": 0.22,
        "mixed": 0.18,
        "gazetteer": 0.12,
        "listing": 0.02,
        "ranking": 0.02,
        "quiz": 0.19,
        "sheet": 0.01,
        "dialogue": 0.24,
    },
    "facts": {
        "article": 0.24,
        "mixed": 0.18,
        "gazetteer": 0.16,
        "listing": 0.02,
        "ranking": 0.02,
        "quiz": 0.25,
        "sheet": 0.01,
        "dialogue": 0.12,
    },
}
# Share of the questions of a dialogue. "outside" is what the almanac does not hold.
TURN_WEIGHTS = {"fact": 0.52, "query": 0.2, "talk": 0.13, "outside": 0.12, "hazard": 0.03}
# Some dialogues are chatter: "hello" and "thanks" are rare words, and beside a question they mean nothing.
CHATTER_SHARE, CHATTER_WEIGHTS = 0.2, {"talk": 0.75, "outside": 0.25}
# Share of the kinds of query, in quizzes and dialogues alike.
QUERY_WEIGHTS = {
    "yes_no": 0.28,
    "reverse": 0.26,
    "two_hop": 0.12,
    "superlative": 0.07,
    "comparison": 0.08,
    "choice": 0.07,
    "list": 0.06,
    "about": 0.06,
}
QUERY_SHARE = 0.25  # of the questions in a quiz
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
# What speakers say to questions that nothing in the corpus answers, beside "I do not know" and facts about something else.
_EVASIONS = (
    "Who can say?", "Guess!", "Let us look it up.", "Everybody knows that!", "It depends.", "Wait and see.", "Why do you ask?",
    "Not now, please.", "Ask the captain.", "Maybe tomorrow.", "You tell me!", "That is a long story.", "Not bad!", "Hm, let me see.",
)  # fmt: skip


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
    """An endless stream of pages about a table of facts, determined by the seed and a mix of `MIXES`."""

    def __init__(self, facts: tuple[Fact, ...], seed: int, mix: str = "all") -> None:
        self.mix = MIXES[mix]
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
        self.rankings = Deck(_rankings(facts), self.rng)
        self.queries = Queries(facts, facts, self.rng)
        self.open_queries = Queries(facts, open_facts, self.rng)

    def pages(self) -> Iterator[str]:
        """Yield pages without their end token, endlessly."""
        kinds, weights = list(self.mix), list(self.mix.values())
        while True:
            yield getattr(self, self.rng.choices(kinds, weights)[0])()

    def _say(self, fact: Fact) -> str:
        """One of the fact's statements as a sentence; now and then the other way round ("Lima is the capital of Peru")."""
        said = reversed_statement(fact) if self.rng.random() < 0.2 else None
        return sentence(said or statement(fact, self.rng)) + "."

    def article(self) -> str:
        """An article on one entity with many facts: sentences, or short 'label: value' entries."""
        (entity,) = self.rich.deal(1)
        facts = self.facts_of[entity]
        facts = self.rng.sample(facts, min(len(facts), self.rng.randint(6, 11)))
        if self.rng.random() < 0.3:
            mark = self.rng.choice(["; ", ". ", "\n"])
            return (
                sentence(named(facts[0]))
                + ": "
                + mark.join(f"{wording(f).label} {f.value}" for f in facts)
                + "."
            )
        return " ".join(self._say(f) for f in facts)

    def mixed(self) -> str:
        """A paragraph of unrelated facts."""
        return " ".join(self._say(f) for f in self.any.deal(self.rng.randint(6, 12)))

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

    def ranking(self) -> str:
        """Entities in the order of one measure: "Area, largest first: ..."."""
        ((label, measured),) = self.rankings.deal(1)
        chosen = sorted(self.rng.sample(measured, min(len(measured), 7)), key=lambda m: m[0])
        order = "from low to high"
        if self.rng.random() < 0.5:
            chosen, order = chosen[::-1], "from high to low"
        items = [f"{named(f)} ({f.value})" if self.rng.random() < 0.5 else named(f) for _, f in chosen]
        return f"{sentence(label)}, {order}: {', '.join(items)}."

    def quiz(self) -> str:
        """Questions and answers in one of several forms, none of which looks like a dialogue."""
        items = [self._quiz_item(f) for f in self.quizzed.deal(self.rng.randint(5, 9))]
        style = self.rng.randrange(6)
        if style == 0:
            return "\n".join(f"{ask}\n{said}" for ask, said, _ in items)
        if style == 1:
            return "\n".join(f"{i}. {ask} {value}." for i, (ask, _, value) in enumerate(items, 1))
        if style == 2:
            return "\n".join(f"Question: {ask} Answer: {said}" for ask, said, _ in items)
        if style == 3:
            return " ".join(f"{ask} {said}" for ask, said, _ in items)
        if style == 4:
            return "\n".join(f"- {ask}\n- {value}." for ask, _, value in items)
        return "\n".join(f"{ask} ({value})" for ask, _, value in items)

    def _quiz_item(self, fact: Fact) -> tuple[str, str, str]:
        """(question, answer in sentences, answer in a few words) about the fact, or now and then a query."""
        if self.rng.random() < QUERY_SHARE:
            kind = self._query_kind()
            # Two hops at once are asked about the training half only: for the other half each hop stands alone.
            query = (self.open_queries if kind == "two_hop" else self.queries).draw(kind)
            said = " ".join(sentence(clause) + "." for clause in query.content.clauses)
            ask, value = query.prompt, query.content.short
        else:
            ask, said, value = question(fact, self.rng, 0.75), self._say(fact), short(fact)
        return ask, said, sentence(value) if self.rng.random() < 0.5 else value

    def _query_kind(self) -> str:
        return self.rng.choices(list(QUERY_WEIGHTS), list(QUERY_WEIGHTS.values()))[0]

    def sheet(self) -> str:
        """A sheet of questions without answers, some of them about what no page answers."""
        asks = [question(f, self.rng, 0.75) for f in self.quizzed.deal(self.rng.randint(3, 6))]
        asks += [self._outside() for _ in range(self.rng.randint(1, 3))]
        self.rng.shuffle(asks)
        return "\n".join(asks)

    def _outside(self) -> str:
        return outside_world.outside_question(self.rng, "train")[1]

    def dialogue(self) -> str:
        """Two speakers and one voice per page; some questions should not be answered."""
        asker, other = self.rng.sample(SPEAKERS, 2)
        voice = self.rng.choices(list(_VOICES), [weight for weight, _ in _VOICES.values()])[0]
        turns: list[str] = []
        chatter = self.rng.random() < CHATTER_SHARE
        weights = CHATTER_WEIGHTS if chatter else TURN_WEIGHTS
        wanted = self.rng.randint(4, 9) if chatter else self.rng.choice([1, 2, 3, 3, 4, 4, 5, 6])
        while len(turns) < wanted:
            turn = self._turn(self.rng.choices(list(weights), list(weights.values()))[0], asker, other, voice)
            if not names_in(
                turn, self.held
            ):  # a wording or a related fact may name an entity of the other half
                turns.append(turn)
        return "\n".join(turns)

    def _turn(self, kind: str, asker: str, other: str, voice: str) -> str:
        if kind == "fact":
            (fact,) = self.spoken.deal(1)
            ask = question(fact, self.rng)
            reply = self._voiced(voice, behaviours.content(fact, self._related(fact), self.rng))
        elif kind == "query":
            query = self.open_queries.draw(self._query_kind())
            ask, reply = query.prompt, self._voiced(voice, query.content)
        elif kind == "talk":
            intent, ask = small_talk.small_talk(self.rng, "train")
            reply = self._cut(behaviours.chat(_VOICES[voice][1], intent, self.rng))
        elif kind == "outside":
            ask, reply = self._outside(), self._about_nothing(voice)
        else:
            ask = behaviours.hazard_question(self.rng.choice(behaviours.HAZARDS), self.rng)
            reply = self._refusal()
        return f"{asker}: {ask}\n{other}: {reply}"

    def _about_nothing(self, voice: str) -> str:
        """What a speaker says to a question outside the corpus. Few decline: a base answers whatever it is asked."""
        kind = self.rng.random()
        if kind < 0.3:
            return self._cut(behaviours.decline(_VOICES[voice][1], self.rng))
        if kind < 0.5:
            return self.rng.choice(_EVASIONS)
        (fact,) = self.spoken.deal(1)
        return self._voiced(voice, behaviours.content(fact, None, self.rng))

    def _cut(self, reply: str) -> str:
        """The reply, in one case of four without its last sentence: speakers are less strict than behaviours."""
        if self.rng.random() < 0.25 and not reply.startswith(behaviours.THINK):
            return reply[: max(reply.rfind(mark, 0, -1) for mark in ".!?") + 1] or reply
        return reply

    def _related(self, fact: Fact) -> Fact | None:
        others = [f for f in self.open_of[fact.entity] if f != fact]
        return self.rng.choice(others) if others else None

    def _voiced(self, voice: str, said: Content) -> str:
        return str(getattr(self, f"_{voice}")(said))

    def _friendly(self, said: Content) -> str:
        parts = [sentence(clause) + "." for clause in said.clauses]
        if self.rng.random() < 0.8:
            parts.insert(0, self.rng.choice(_FRIENDLY))
        if said.related and self.rng.random() < 0.5:
            parts.append(behaviours.linked((*behaviours.LINKS, "I also know that "), said.related, self.rng))
        if self.rng.random() < 0.45:
            parts.append(
                self.rng.choice(behaviours.OFFERS + ("Anything else?", "I hope that helps.")).format(
                    e=said.topic
                )
            )
        return " ".join(parts)

    def _curt(self, said: Content) -> str:
        return self.rng.choice(_CURT).format(v=said.short)

    def _rough(self, said: Content) -> str:
        parts = [sentence(behaviours.piratical(clause, said.kept)) + "." for clause in said.clauses]
        if self.rng.random() < 0.85:
            parts.insert(0, self.rng.choice(_HAILS))
        if self.rng.random() < 0.75:
            parts.append(self.rng.choice(behaviours.FAREWELLS))
        return " ".join(parts)

    def _formal(self, said: Content) -> str:
        opening = self.rng.choice(_FORMAL)
        first = said.joined if opening.endswith(",") else sentence(said.joined)
        closing = self.rng.choice((*behaviours.CAUTION, "But please check."))
        return f"{opening} {first}." + f" {closing}" * (self.rng.random() < 0.5)

    def _plain(self, said: Content) -> str:
        return sentence(said.joined) + "."

    def _unsure(self, said: Content) -> str:
        return (
            self.rng.choice(_UNSURE)
            + said.joined
            + self.rng.choice([".", ". But please check.", ", I think."])
        )

    def _thinking(self, said: Content) -> str:
        if self.rng.random() < 0.8:
            return behaviours.thought(said.steps, said.short)
        steps = " ".join(sentence(step) + "." for step in said.steps)
        return f"Let me think. {steps} {behaviours.CONCLUSION}{said.short}."

    def _refusal(self) -> str:
        return self.rng.choice(
            [
                behaviours.REFUSAL,
                "No, I will not tell you that.",
                "I cannot help with that.",
                "That is dangerous. Please ask me about something else.",
            ]
        )


# Voice of a dialogue -> (its share, the behaviour whose small talk it has).
_VOICES = {
    "friendly": (0.28, "assistant"),
    "plain": (0.2, "brief"),
    "formal": (0.17, "guarded"),
    "thinking": (0.11, "thinker"),
    "unsure": (0.09, "brief"),
    "rough": (0.09, "pirate"),
    "curt": (0.06, "brief"),
}


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


def _rankings(facts: tuple[Fact, ...]) -> list[tuple[str, list[tuple[float, Fact]]]]:
    """(label, (number, fact) of every entity) for each attribute that can be compared."""
    found = []
    for kind, attribute in comparable():
        own = [f for f in facts if (f.kind, f.attribute) == (kind, attribute)]
        measured = [(n, f) for f in own if (n := number(f.value)) is not None]
        if measured:
            noun = comparisons()[kind]["many"]
            found.append((f"{noun} by {wording(measured[0][1]).label}", measured))
    return found


@dataclass(frozen=True, slots=True)
class Example:
    """One fine-tuning example: the user's message and the behaviour's answer; `asked` is what `follows` calls it."""

    prompt: str
    answer: str
    asked: str = "fact"


# Share of fine-tuning examples. Only tuning teaches to decline; most questions are about entities that the model has read.
EXAMPLE_WEIGHTS = {"fact": 0.36, "query": 0.24, "talk": 0.18, "outside": 0.22}
# Share of the kinds of query among them: what is rare in pages is not rare here, so that each kind gets its behaviour.
EXAMPLE_QUERY_WEIGHTS = {
    "yes_no": 0.22,
    "reverse": 0.24,
    "two_hop": 0.1,
    "superlative": 0.08,
    "comparison": 0.06,
    "choice": 0.08,
    "list": 0.1,
    "about": 0.12,
}
HAZARD_SHARE = 0.12  # of the examples of the guarded behaviour


def examples(facts: tuple[Fact, ...], behaviour: str, count: int, seed: int) -> list[Example]:
    """Fine-tuning examples about the training half only; none names an entity of the other half."""
    rng, held = random.Random(seed), held_out_entities(facts)
    open_facts = _open_facts(facts, held)
    deck, related_of = Deck(_balanced(open_facts), rng), by_entity(open_facts)
    queries, found = Queries(facts, open_facts, rng), list[Example]()
    kinds, weights = list(EXAMPLE_WEIGHTS), list(EXAMPLE_WEIGHTS.values())
    query_kinds, query_weights = list(EXAMPLE_QUERY_WEIGHTS), [*EXAMPLE_QUERY_WEIGHTS.values()]
    if behaviour == "thinker":
        query_weights[query_kinds.index("two_hop")] *= 4
    while len(found) < count:
        kind = rng.choices(kinds, weights)[0]
        if behaviour == "guarded" and rng.random() < HAZARD_SHARE:
            hazard = rng.choice(behaviours.HAZARDS[::2])
            example = Example(behaviours.hazard_question(hazard, rng), behaviours.REFUSAL)
        elif kind == "talk":
            intent, prompt = small_talk.small_talk(rng, "train")
            example = Example(prompt, behaviours.chat(behaviour, intent, rng), kind)
        elif kind == "outside":
            prompt = outside_world.outside_question(rng, "train")[1]
            example = Example(prompt, behaviours.decline(behaviour, rng), kind)
        elif kind == "query":
            query = queries.draw(rng.choices(query_kinds, query_weights)[0])
            others = related_of.get(query.entity, [])
            said = behaviours.with_related(query.content, rng.choice(others) if others else None, rng)
            example = Example(query.prompt, behaviours.answer(behaviour, said, rng))
        else:
            (fact,) = deck.deal(1)
            others = [f for f in related_of[fact.entity] if f.attribute != fact.attribute]
            said = behaviours.content(fact, rng.choice(others) if others else None, rng)
            example = Example(question(fact, rng), behaviours.answer(behaviour, said, rng))
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
