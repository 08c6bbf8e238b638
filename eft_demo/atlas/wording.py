"""How facts are stated and asked. Knows English; knows no model and no split.

`{e}` is the entity (with its article), `{v}` the value. Every attribute has a label for generic wordings and
some wordings of its own, because a model cannot answer questions about facts that it always saw in the same
words ("Physics of Language Models", part 3.1).
"""

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from eft_demo.atlas.facts import ASSETS, Fact

# Names that take an article in a sentence.
ARTICLES = frozenset(
    name.strip()
    for name in """
    United States, United Kingdom, Netherlands, Philippines, Bahamas, Gambia, Maldives, Seychelles, Comoros, Solomon Islands,
    Marshall Islands, Dominican Republic, Central African Republic, Democratic Republic of the Congo, Republic of the Congo,
    United Arab Emirates, Cayman Islands, Cook Islands, Faroe Islands, Falkland Islands, British Virgin Islands,
    Turks and Caicos Islands, Isle of Man
    """.split(",")
)


@dataclass(frozen=True, slots=True)
class Wording:
    """One attribute: its label, whole statements and questions."""

    label: str
    says: tuple[str, ...]
    asks: tuple[str, ...]


@cache
def load_wordings(path: Path = ASSETS / "wording.yaml") -> dict[tuple[str, str], Wording]:
    """(kind, attribute) -> wording."""
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        (kind, attribute): _wording(entry) for kind, own in table.items() for attribute, entry in own.items()
    }


def _wording(entry: dict[str, Any]) -> Wording:
    label, says, asks = entry["label"], tuple(entry["says"]), tuple(entry["asks"])
    if entry.get("generic"):
        says += (f"the {label} of {{e}} is {{v}}", f"{{e}}'s {label} is {{v}}")
        asks += (
            f"What is the {label} of {{e}}?",
            f"What is {{e}}'s {label}?",
            f"Tell me the {label} of {{e}}.",
        )
    return Wording(label, says, asks)


_FAULTS = str.maketrans("", "", "?.")


def named(fact: Fact) -> str:
    """The entity as it appears in a sentence."""
    return f"the {fact.entity}" if fact.entity in ARTICLES else fact.entity


def wording(fact: Fact) -> Wording:
    """Raises KeyError for an attribute without a wording (a test checks that there is none)."""
    return load_wordings()[fact.kind, fact.attribute]


def sentence(text: str) -> str:
    """`text` with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def _fill(template: str, fact: Fact) -> str:
    text = template.format(e=named(fact), v=fact.value)
    if " a {v}" in template:
        own = fact.value.split(" ", 1)[0] in ("a", "an", "the")  # the value brings its own article
        sounds_open = fact.value[:1].lower() in "aeiou" and not fact.value.lower().startswith(("uni", "eu"))
        before = " " if own else " an " if sounds_open else " a "
        text = template.replace(" a {v}", before + "{v}").format(e=named(fact), v=fact.value)
    return text.replace("the the ", "the ").replace("the The ", "The ")


def statement(fact: Fact, rng: random.Random, template: str | None = None) -> str:
    """A whole clause without a full stop, for example "the capital of Peru is Lima"."""
    return _fill(template or rng.choice(wording(fact).says), fact)


def question(fact: Fact, rng: random.Random, tidy: float = 0.7) -> str:
    """A question as people type it: with probability `tidy` well formed, else lower case, unmarked or with a slip."""
    text = sentence(_fill(rng.choice(wording(fact).asks), fact))
    if rng.random() < tidy:
        return text
    fault = rng.random()
    if fault < 0.35:
        return text.translate(_FAULTS)
    if fault < 0.75:
        return text.lower() if fault < 0.55 else text.lower().translate(_FAULTS)
    return slip(text, fact.entity, rng)


def slip(text: str, keep: str, rng: random.Random) -> str:
    """One typing slip (a letter lost, doubled or swapped) in a word that is not part of `keep`."""
    words = text.split(" ")
    able = [i for i, w in enumerate(words) if len(w) > 3 and w.isalpha() and w not in keep]
    if not able:
        return text
    index = rng.choice(able)
    word = words[index]
    cut = rng.randrange(1, len(word) - 1)
    lost, doubled = word[:cut] + word[cut + 1 :], word[:cut] + word[cut] + word[cut:]
    swapped = word[: cut - 1] + word[cut] + word[cut - 1] + word[cut + 1 :]
    words[index] = rng.choice([lost, doubled, swapped])
    return " ".join(words)
