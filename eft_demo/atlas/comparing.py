"""Questions about several entities at once: which is the largest, which of two is larger, name three of them.

Knows how such questions are worded; the answers are computed by whoever asks, from the table. The arguments
say what a question asks: kind ("country"), attribute ("area"), direction ("high" or "low") and region.
"""

import random
from functools import cache

from eft_demo.atlas import wording
from eft_demo.atlas.facts import Fact
from eft_demo.atlas.grammar import Head, Pool, pools

DIRECTIONS = ("high", "low")
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def comparable() -> tuple[tuple[str, str], ...]:
    """Every (kind, attribute) that superlatives and comparisons can be asked about."""
    return tuple(
        (kind, attribute)
        for kind, own in wording.comparisons().items()
        for attribute in own
        if attribute not in ("one", "many", "everywhere")
    )


@cache
def _pool(frames: str, split: str) -> Pool:
    return pools((Head(frames, 1, True, (("A", ""),)),), wording.frames(frames))[split]


def _words(kind: str, attribute: str, name: str) -> list[str]:
    return [word.strip() for word in wording.comparisons()[kind][attribute][name].split(",")]


def _typed(template: str, filled: dict[str, str], rng: random.Random, tidy: float) -> str:
    form, cased = (template, wording.sentence) if rng.random() < tidy else wording.fault(template, rng)
    for slot, text in filled.items():
        form = form.replace(f"{{{slot}}}", text)
    return cased(" ".join(form.replace(" ?", "?").replace(" .", ".").split()))


def superlative_question(
    kind: str,
    attribute: str,
    direction: str,
    region: str | None,
    rng: random.Random,
    split: str = "train",
    tidy: float = 0.8,
) -> str:
    """ "Which country in Africa is the largest?"; without a region the whole table is meant ("in the world").

    Raises KeyError for a (kind, attribute) that is not `comparable` and for an unknown direction or split.
    """
    own = wording.comparisons()[kind]
    adjective = rng.choice(_words(kind, attribute, direction))
    place = f"in {region}" if region else rng.choice(own["everywhere"].split("|"))
    filled = {"s": adjective, "ns": own["many"], "n": own["one"], "in": place}
    return _typed(_pool("superlatives", split).draw(rng), filled, rng, tidy)


def comparison_question(
    first: Fact, second: Fact, direction: str, rng: random.Random, split: str = "train", tidy: float = 0.8
) -> str:
    """ "Is Chile larger than Peru?" (direction "high"; "low" asks "smaller"): the answer is yes or no."""
    return _compared("comparisons", first, second, direction, rng, split, tidy)


def choice_question(
    first: Fact, second: Fact, direction: str, rng: random.Random, split: str = "train", tidy: float = 0.8
) -> str:
    """ "Which is larger, Chile or Peru?": the answer is one of the two."""
    return _compared("choices", first, second, direction, rng, split, tidy)


def _compared(
    frames: str, first: Fact, second: Fact, direction: str, rng: random.Random, split: str, tidy: float
) -> str:
    adjective = rng.choice(_words(first.kind, first.attribute, {"high": "higher", "low": "lower"}[direction]))
    noun = wording.comparisons()[first.kind]["one"]
    filled = {"c": adjective, "n": noun, "a": wording.named(first), "b": wording.named(second)}
    return _typed(_pool(frames, split).draw(rng), filled, rng, tidy)


def listable() -> tuple[tuple[str, str], ...]:
    """Every (kind, attribute) that lists can be asked for: entities of the kind with the same value."""
    return tuple((kind, a) for kind, own in wording.list_conditions().items() for a in own if a != "many")


def list_question(fact: Fact, count: int, rng: random.Random, split: str = "train", tidy: float = 0.8) -> str:
    """ "Name three countries in Europe." for a fact of the wanted kind, attribute and value.

    Raises KeyError for a (kind, attribute) that is not `listable`.
    """
    own = wording.list_conditions()[fact.kind]
    that, are = rng.choice([line.split(" | ") for line in own[fact.attribute].splitlines()])
    number = NUMBER_WORDS[count] if count < len(NUMBER_WORDS) and rng.random() < 0.8 else str(count)
    filled = {"k": number, "ns": own["many"], "that": that, "are": are, "v": fact.value}
    return _typed(_pool("lists", split).draw(rng), filled, rng, tidy)
