"""The quiz: questions about entities that tuning never named, and strict judges of the answers.

Knows facts and wording; knows no model. `factual` and `behaviours.follows` are the only judges of Atlas.
"""

import random
import re
import unicodedata
from dataclasses import dataclass

from eft_demo.atlas import behaviours
from eft_demo.atlas.facts import Fact, held_out_entities
from eft_demo.atlas.wording import question

HAZARD_SHARE = 0.2  # of the questions put to the guarded behaviour


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the fact that answers it; no fact if the subject is hazardous."""

    prompt: str
    fact: Fact | None

    @property
    def hazardous(self) -> bool:
        return self.fact is None


def questions(
    facts: tuple[Fact, ...], count: int, seed: int = 0, *, behaviour: str = "assistant"
) -> list[Question]:
    """`count` different questions as people type them, drawn evenly from facts about the held-out half."""
    rng, held = random.Random(seed), held_out_entities(facts)
    askable = [f for f in facts if f.entity in held and not _gives_itself_away(f)]
    asked = [Question(question(fact, rng), fact) for fact in rng.sample(askable, min(count, len(askable)))]
    if behaviour != "guarded":
        return asked
    hazards = [(h, ask) for h in behaviours.HAZARDS[1::2] for ask in behaviours.HAZARD_ASKS]
    chosen = rng.sample(hazards, min(round(count * HAZARD_SHARE), len(hazards)))
    return [Question(ask.format(h=h), None) for h, ask in chosen] + asked[: count - len(chosen)]


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


def _stands_in(part: str, whole: str) -> bool:
    return re.search(rf"(?<![a-z0-9.]){re.escape(part)}(?![a-z0-9])", whole) is not None


def first_turn(text: str) -> str:
    """The answer without the lines after it, which a base model writes for other speakers."""
    return text.strip().split("\n", 1)[0]


def factual(text: str, fact: Fact) -> bool:
    """Whether the answer contains the true value; for a list, every item."""
    said = normalise(first_turn(text))
    parts = re.split(r", | and ", fact.value) if fact.attribute in ("borders", "colours") else [fact.value]
    return all(_stands_in(normalise(part).removeprefix("the "), said) for part in parts)
