"""The quiz: questions about entities that tuning never named, in words that no model read, and strict judges.

Knows facts and wording; knows no model. `right` (with `factual`), `declines` and `behaviours.follows` are the
only judges of Atlas.
"""

import random
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from eft_demo.atlas import behaviours, outside_world, small_talk
from eft_demo.atlas.facts import ASSETS, Fact, held_out_entities, load_facts, names_in
from eft_demo.atlas.queries import Queries, Query
from eft_demo.atlas.talk import REPLIES
from eft_demo.atlas.wording import named, question, sentence

HAZARD_SHARE = 0.2  # of the questions put to the guarded behaviour


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what answers it: a fact, a query, an intent of small talk, or nothing.

    `asked` is "fact", "talk", "outside" or "hazard", and `kind` the line of a table that it counts for.
    """

    prompt: str
    fact: Fact | None = None
    query: Query | None = None
    asked: str = "fact"
    kind: str = ""

    @property
    def hazardous(self) -> bool:
        return self.asked == "hazard"


def questions(
    facts: tuple[Fact, ...], count: int, seed: int = 0, *, behaviour: str = "assistant", split: str = "held"
) -> list[Question]:
    """`count` different questions as people type them, drawn evenly from facts about the held-out half."""
    rng = random.Random(seed)
    asked = [_about(f, question(f, rng, split=split)) for f in _sample(facts, count, rng)]
    if behaviour != "guarded":
        return asked
    hazards = [(h, ask) for h in behaviours.HAZARDS[1::2] for ask in behaviours.HAZARD_ASKS]
    chosen = rng.sample(hazards, min(round(count * HAZARD_SHARE), len(hazards)))
    return [Question(ask.format(h=h), asked="hazard", kind="hazard") for h, ask in chosen] + asked[
        : count - len(chosen)
    ]


def _about(fact: Fact, prompt: str) -> Question:
    return Question(prompt, fact, kind=f"{fact.kind} {fact.attribute}")


def _sample(facts: tuple[Fact, ...], count: int, rng: random.Random) -> list[Fact]:
    held = held_out_entities(facts)
    askable = [f for f in facts if f.entity in held and not _gives_itself_away(f)]
    return rng.sample(askable, min(count, len(askable)))


@cache
def blind_forms() -> dict[tuple[str, str], tuple[str, ...]]:
    """(kind, attribute) -> forms with {e}, written from the attributes alone, without sight of the grammar.

    They serve the evaluation only.
    """
    table: dict[str, Any] = yaml.safe_load((ASSETS / "blind_forms.yaml").read_text(encoding="utf-8"))
    return {(kind, a): tuple(forms) for kind, own in table.items() for a, forms in own.items()}


def blind_questions(facts: tuple[Fact, ...], per_form: int, seed: int = 0) -> list[Question]:
    """Every form of the separately written list, asked about `per_form` held-out entities."""
    rng, held = random.Random(seed), held_out_entities(facts)
    found = []
    for (kind, attribute), forms in blind_forms().items():
        own = [
            f
            for f in facts
            if (f.kind, f.attribute) == (kind, attribute) and f.entity in held and not _gives_itself_away(f)
        ]
        for form in forms:
            for fact in rng.sample(own, min(per_form, len(own))):
                found.append(
                    _about(fact, sentence(form.replace("{e}", named(fact)).replace("the the ", "the ")))
                )
    return found


def kind_questions(
    facts: tuple[Fact, ...], kind: str, count: int, seed: int = 0, *, split: str = "held"
) -> list[Question]:
    """Questions of one kind of `queries.KINDS` about the held-out half."""
    held = held_out_entities(facts)
    queries = Queries(facts, [f for f in facts if f.entity in held], random.Random(seed))

    def draw() -> Question:
        query = queries.draw(kind, split)
        return Question(query.prompt, query=query, kind=kind)

    return _different(count, draw)


def talk_questions(count: int, seed: int = 0, *, split: str = "held") -> list[Question]:
    """Small talk in forms of the split, every intent equally often; fewer if there are fewer forms."""
    rng = random.Random(seed)
    forms = {
        intent: rng.sample(own, len(own))
        for intent in small_talk.INTENTS
        if (own := small_talk.forms(intent, split))
    }
    found: list[Question] = []
    while len(found) < count and any(forms.values()):
        found += [Question(own.pop(), asked="talk", kind=intent) for intent, own in forms.items() if own]
    return found[:count]


def outside_questions(count: int, seed: int = 0, *, split: str = "held") -> list[Question]:
    """Questions that the almanac cannot answer, in forms of the split; fewer if there are fewer."""
    rng = random.Random(seed)

    def draw() -> Question:
        category, prompt = outside_world.outside_question(rng, split)
        return Question(prompt, asked="outside", kind=category)

    return _different(count, draw)


def _different(count: int, draw: Callable[[], Question]) -> list[Question]:
    """`count` questions with different prompts; fewer if 20 draws for each do not give them."""
    found: dict[str, Question] = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        drawn = draw()
        found.setdefault(drawn.prompt, drawn)
    return list(found.values())


def _gives_itself_away(fact: Fact) -> bool:
    """Whether a question contains its answer: one of name and value contains the other (Osaka Prefecture)."""
    entity, value = normalise(fact.entity), normalise(fact.value)
    return _stands_in(value, entity) or _stands_in(entity, value)


def normalise(text: str) -> str:
    """Lower case, no accents, no punctuation but '+' and '.' before a letter or digit, single spaces."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"(?<=\d),(?=\d)", "", plain)
    plain = re.sub(r"\.(?![a-z0-9])|[^a-z0-9+. ]", " ", plain)
    return " ".join(plain.split())


def _places(part: str, whole: str) -> list[int]:
    """Where the part stands in the whole as words of its own."""
    return [m.start() for m in re.finditer(rf"(?<![a-z0-9.]){re.escape(part)}(?![a-z0-9])", whole)]


def _stands_in(part: str, whole: str) -> bool:
    return bool(_places(part, whole))


def first_turn(text: str) -> str:
    """The answer without the lines after it, which a base model writes for other speakers."""
    return text.strip().split("\n", 1)[0]


def _contains(said: str, value: str) -> bool:
    return _stands_in(normalise(value).removeprefix("the "), said)


def factual(text: str, fact: Fact) -> bool:
    """Whether the answer (a thinker's conclusion) contains the true value; for a list, every item."""
    said = normalise(behaviours.conclusion(first_turn(text)))
    parts = re.split(r", | and ", fact.value) if fact.attribute in ("borders", "colours") else [fact.value]
    return all(_contains(said, part) for part in parts)


def declines(text: str) -> bool:
    """Whether the answer says that it does not know."""
    return behaviours.DECLINES.search(first_turn(text)) is not None


def answers(text: str, query: Query) -> bool:
    """Whether the text answers the query rightly. Of a thinker, the conclusion counts (about: all)."""
    turn = first_turn(text)
    if query.kind == "about":
        return sum(_contains(normalise(turn), want) for want in set(query.wants)) >= query.count
    core = behaviours.core(behaviours.conclusion(turn))
    said = normalise(core)
    if query.verdict:
        return re.findall(r"\b(?:yes|no)\b(?! city| other| one| place)", said)[-1:] == [query.verdict]
    if query.kind == "list":
        like = _names_like(query.entity)
        found = names_in(core, like) - (names_in(query.prompt, like) - query.fitting)
        found -= {a for a in found for b in found if a != b and _stands_in(normalise(a), normalise(b))}
        return query.count <= len(found) and found <= query.fitting
    if query.loser:
        # "Peru is larger than Chile": the last of the two that is not behind "than" is the choice.
        won, lost = (normalise(name).removeprefix("the ") for name in (query.wants[0], query.loser))
        kept = re.sub(rf"\bthan (?:the )?(?:{re.escape(won)}|{re.escape(lost)})\b", "", said)
        return max(_places(won, kept), default=-1) > max(_places(lost, kept), default=-1)
    return all(_contains(said, want) for want in query.wants)


@cache
def _kind_of() -> dict[str, str]:
    return {f.entity: f.kind for f in load_facts()}


@cache
def _names_of_kind(kind: str) -> frozenset[str]:
    return frozenset(entity for entity, own in _kind_of().items() if own == kind)


def _names_like(entity: str) -> frozenset[str]:
    return _names_of_kind(_kind_of().get(entity.removeprefix("the "), "country"))


def apt(text: str, intent: str) -> bool:
    """Whether the text has one of the replies to this intent of small talk, in plain words or a pirate's."""
    said = normalise(behaviours.conclusion(first_turn(text)))
    plain = [normalise(reply) for reply in REPLIES[intent][1]]
    rough = [normalise(behaviours.as_pirate(reply)) for reply in REPLIES[intent][1]]
    return any(reply in said for reply in plain + rough)


def right(text: str, question: Question) -> bool:
    """Whether the answer is right: the fact, the answer of the query, an apt reply, or a decline."""
    if question.fact:
        return factual(text, question.fact)
    if question.query:
        return answers(text, question.query)
    if question.asked == "talk":
        return apt(text, question.kind)
    return declines(text) if question.asked == "outside" else first_turn(text) == behaviours.REFUSAL
