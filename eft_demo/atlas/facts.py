"""The facts of the Atlas world, and which half tuning may see. Knows the table; no wording, no model."""

import csv
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from eft_demo.settings import ASSETS as ALL_ASSETS

ASSETS = ALL_ASSETS / "atlas"

# Values that many other facts need ("independent from Spain"): if they were held out, no tuning example
# could use those facts.
ALWAYS_TRAIN = frozenset(
    (
        "United States|United Kingdom|France|Spain|Portugal|Russia|China|India|Germany|Italy|Netherlands|"
        "Turkey|Australia|Greece|Atlantic Ocean|Mediterranean Sea|William Shakespeare|"
        "water|telephone"  # words of many wordings
    ).split("|")
)
# Attributes whose value is a place that contains the entity; the entity is in the same half as that place.
PARENT_ATTRIBUTES = ("country", "host_country")
# facts.tsv is compiled from public lists; famous.tsv is written from general knowledge and checked twice.
TABLES = ("facts.tsv", "famous.tsv")


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of the table, for example ("Peru", "country", "capital", "Lima")."""

    entity: str
    kind: str
    attribute: str
    value: str


@cache
def load_facts(folder: Path = ASSETS) -> tuple[Fact, ...]:
    """All facts, sorted. An entity's name is unique in the table, so that a question has one answer."""
    rows = []
    for table in TABLES:
        with (folder / table).open(encoding="utf-8", newline="") as file:
            rows += [Fact(**row) for row in csv.DictReader(file, delimiter="\t")]
    return tuple(sorted(rows, key=lambda f: (f.kind, f.entity, f.attribute)))


def _coin(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] < 128


@cache
def held_out_entities(facts: tuple[Fact, ...]) -> frozenset[str]:
    """The half of the entities that no dialogue page and no fine-tuning example names.

    It is chosen by a hash of the name, so it never changes. A city or province goes with its country: the
    answer to "Where is Arequipa?" names Peru, so both must be in the same half.
    """
    parent = {f.entity: f.value for f in facts if f.attribute in PARENT_ATTRIBUTES}
    names = {f.entity for f in facts}

    def held(name: str) -> bool:
        root = parent.get(name, name)
        return root not in ALWAYS_TRAIN and _coin(root)

    return frozenset(name for name in names if held(name))


@cache
def _name_index(names: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """First word -> names that begin with it, so that one pass over a text's words finds all names."""
    index: dict[str, list[str]] = {}
    for name in names:
        index.setdefault(_words(name)[0].lower(), []).append(name)
    return {word: tuple(found) for word, found in index.items()}


def _words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z0-9']+", text) or [text]


def names_in(text: str, names: frozenset[str]) -> set[str]:
    """The names that occur in the text as whole words, ignoring case."""
    index, lowered = _name_index(names), text.lower()
    found = set()
    for word in set(_words(lowered)):
        for stem in (word, word.removesuffix("'s")):
            for name in index.get(stem, ()):
                if re.search(rf"(?<![a-z0-9]){re.escape(name.lower())}(?![a-z0-9])", lowered):
                    found.add(name)
    return found


def by_entity(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    """Entity -> its facts."""
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(fact.entity, []).append(fact)
    return groups
