"""Questions beyond one fact, with answers computed from the table: yes or no, reverse, the largest,
comparisons, lists, "tell me about", and two hops.

Knows facts, their wording and what answers consist of; no model. A query is about allowed entities only, so
that training and the quiz can each keep to their half.
"""

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from eft_demo.atlas.behaviours import Content
from eft_demo.atlas.comparing import (
    DIRECTIONS,
    choice_question,
    comparable,
    comparison_question,
    list_question,
    listable,
    superlative_question,
)
from eft_demo.atlas.facts import Fact, by_entity
from eft_demo.atlas.wording import (
    about_question,
    comparisons,
    list_conditions,
    named,
    question,
    reverse_question,
    statement,
    wording,
    yes_no_question,
)

KINDS = ("yes_no", "reverse", "superlative", "comparison", "choice", "list", "about", "two_hop")
REGION_OF = {"country": "continent"}  # kind -> the attribute that names the region of a superlative
ABOUT_FACTS = 3
_TRIES = 60  # draws before a kind is given up: most draws of most kinds fit


@dataclass(frozen=True, slots=True)
class Query:
    """A question, what answers it, and what the judge needs.

    `wants` are values that a right answer contains, `verdict` is "yes" or "no", `loser` is what a choice
    decides against, and `fitting` are the entities of which a list names `count`.
    """

    kind: str
    prompt: str
    content: Content
    entity: str
    wants: tuple[str, ...] = ()
    verdict: str = ""
    loser: str = ""
    fitting: frozenset[str] = frozenset()
    count: int = 0


@dataclass(frozen=True, slots=True)
class Bridge:
    """How one fact leads from a name to an entity: described as a noun phrase, and said as a step.

    With `forward` the fact's value is the entity that it leads to (a city's country), else its own entity is.
    """

    kind: str
    attribute: str
    described: str
    said: str
    forward: bool = False


BRIDGES = (
    Bridge("country", "capital", "the country whose capital is {v}", "{v} is the capital of {e}"),
    Bridge(
        "country", "largest_city", "the country whose largest city is {v}", "{v} is the largest city of {e}"
    ),
    Bridge(
        "country",
        "currency_code",
        "the country whose currency code is {v}",
        "{v} is the currency code of {e}",
    ),
    Bridge(
        "country",
        "internet_code",
        "the country with the internet code {v}",
        "{v} is the internet code of {e}",
    ),
    Bridge(
        "country", "calling_code", "the country with the calling code {v}", "{v} is the calling code of {e}"
    ),
    Bridge(
        "country",
        "highest_point",
        "the country whose highest point is {v}",
        "{v} is the highest point of {e}",
    ),
    Bridge("country", "anthem", 'the country whose anthem is "{v}"', '"{v}" is the anthem of {e}'),
    Bridge(
        "country", "national_day", "the country whose national day is {v}", "{v} is the national day of {e}"
    ),
    Bridge(
        "city", "country", "the country where the city {e} lies", "the city {e} lies in {v}", forward=True
    ),
    Bridge("division", "country", "the country that {e} belongs to", "{e} belongs to {v}", forward=True),
    Bridge(
        "olympics",
        "host_country",
        "the country that hosted the {e}",
        "the {e} took place in {v}",
        forward=True,
    ),
    Bridge("element", "symbol", "the element with the symbol {v}", "{v} is the symbol of {e}"),
    Bridge(
        "element",
        "atomic_number",
        "the element with the atomic number {v}",
        "{v} is the atomic number of {e}",
    ),
    Bridge("us_state", "state_capital", "the state whose capital is {v}", "{v} is the capital of {e}"),
    Bridge("us_state", "nickname", "the state called the {v}", "the {v} is {e}"),
    Bridge("us_state", "postal_code", "the state with the postal code {v}", "{v} is the postal code of {e}"),
    Bridge("moon", "planet", "the planet of the moon {e}", "the moon {e} circles {v}", forward=True),
)
# Attributes that the second hop does not ask for: lists, and those whose value a description would give away.
_NO_SECOND = frozenset({"borders", "colours", "continent_of"})
_BRIDGED = {(b.kind, b.attribute): b for b in BRIDGES}


def number(value: str) -> float | None:
    """'2.4 million square kilometres' -> 2.4e6, '520,000' -> 520000; None if it begins with no number."""
    match = re.match(r"(?:about )?([\d,]+(?:\.\d+)?)( million| billion)?", value)
    if match is None:
        return None
    scale = {" million": 1e6, " billion": 1e9}.get(match[2], 1.0)
    return float(match[1].replace(",", "")) * scale


def reversed_statement(fact: Fact) -> str | None:
    """The fact said as the step of a bridge ("Lima is the capital of Peru"), or None if it is none."""
    bridge = _BRIDGED.get((fact.kind, fact.attribute))
    return _said(bridge, fact) if bridge else None


def _said(bridge: Bridge, fact: Fact) -> str:
    return statement(fact, random.Random(0), bridge.said)


def short(fact: Fact) -> str:
    """The value as a conclusion says it."""
    return f"the {fact.value}" if fact.attribute == "currency" else fact.value


class Queries:
    """Draws questions about the allowed entities; the truth is computed from all facts."""

    def __init__(self, facts: tuple[Fact, ...], allowed: Iterable[Fact], rng: random.Random) -> None:
        self.rng = rng
        self.table = list(facts)
        self.facts = list(allowed)
        self.facts_of = by_entity(self.facts)
        self.names = frozenset(self.facts_of)
        self.by_attribute: dict[tuple[str, str], list[Fact]] = {}
        for fact in self.facts:
            self.by_attribute.setdefault((fact.kind, fact.attribute), []).append(fact)
        self.values = {key: sorted({f.value for f in own}) for key, own in self.by_attribute.items()}
        owners: dict[tuple[str, str, str], int] = {}
        for fact in facts:
            owners[fact.kind, fact.attribute, fact.value] = (
                owners.get((fact.kind, fact.attribute, fact.value), 0) + 1
            )
        self.unique = [
            f for f in self.facts if owners[f.kind, f.attribute, f.value] == 1 and wording(f).reverse
        ]
        self.bridges = [
            (b, f)
            for f in self.facts
            if (b := _BRIDGED.get((f.kind, f.attribute)))
            and (b.forward or owners[f.kind, f.attribute, f.value] == 1)
            and (f.value if b.forward else f.entity) in self.names
        ]
        by_bridge: dict[tuple[str, str], list[tuple[Bridge, Fact]]] = {}
        for b, f in self.bridges:
            by_bridge.setdefault((f.kind, f.attribute), []).append((b, f))
        self.by_bridge = by_bridge
        self.rich = [e for e, own in self.facts_of.items() if len(own) >= ABOUT_FACTS]
        self.measured = {key: _measured(self.table, *key) for key in comparable()}
        self.tops = [t for key in comparable() for t in self._tops(*key) if t[4].entity in self.names]
        self.listed = self._lists()
        makers: dict[str, Callable[[str], Query | None]] = {
            "yes_no": self._yes_no,
            "reverse": self._reverse,
            "superlative": self._superlative,
            "comparison": self._comparison,
            "choice": self._choice,
            "list": self._list,
            "about": self._about,
            "two_hop": self._two_hop,
        }
        self.makers = makers

    def draw(self, kind: str, split: str = "train") -> Query:
        """One query of the kind. Raises KeyError for an unknown kind, LookupError if the facts allow none."""
        for _ in range(_TRIES):
            if found := self.makers[kind](split):
                return found
        raise LookupError(f"the allowed facts give no query of the kind {kind}")

    def _yes_no(self, split: str) -> Query | None:
        fact = self.rng.choice(self.by_attribute[self.rng.choice(tuple(self.by_attribute))])
        true, value = self.rng.random() < 0.5, fact.value
        if not true:
            value = self.rng.choice(self.values[fact.kind, fact.attribute])
            # "Is Peru in America?" has no clear answer if the truth is "South America".
            if (
                value in fact.value
                or fact.value in value
                or any(f.value == value for f in self.facts_of[fact.entity] if f.attribute == fact.attribute)
            ):
                return None
        verdict = "yes" if true else "no"
        said = statement(fact, self.rng, plain=True)
        content = Content(
            (f"{said}, so {verdict}",), verdict, named(fact), (said,), None, (fact.entity, fact.value)
        )
        return Query(
            "yes_no", yes_no_question(fact, value, self.rng, split), content, fact.entity, verdict=verdict
        )

    def _reverse(self, split: str) -> Query | None:
        fact = self.rng.choice(self.unique)
        prompt = reverse_question(fact, self.rng, split)
        if prompt is None:
            return None
        said = reversed_statement(fact) if self.rng.random() < 0.7 else None
        said = said or statement(fact, self.rng, plain=True)
        content = Content((said,), named(fact), named(fact), (said,), None, (fact.entity, fact.value))
        return Query("reverse", prompt, content, fact.entity, wants=(fact.entity,))

    def _tops(self, kind: str, attribute: str) -> list[tuple[str, str, str, str | None, Fact]]:
        measured = self.measured[kind, attribute]
        region_of = {
            f.entity: f.value for f in self.table if f.kind == kind and f.attribute == REGION_OF.get(kind)
        }
        found = []
        for region in (None, *sorted(set(region_of.values()))):
            own = [(n, f) for n, f in measured if region is None or region_of.get(f.entity) == region]
            for direction in DIRECTIONS:
                ranked = sorted(own, key=lambda nf: nf[0], reverse=direction == "high")
                if len(ranked) > 3 and ranked[0][0] != ranked[1][0]:
                    found.append((kind, attribute, direction, region, ranked[0][1]))
        return found

    def _superlative(self, split: str) -> Query | None:
        kind, attribute, direction, region, fact = self.rng.choice(self.tops)
        own = comparisons()[kind]
        adjective = own[attribute][direction].split(",")[0].strip()
        place = f" in {region}" if region else ""
        said = f"the {adjective} {own['one']}{place} is {named(fact)}"
        steps = (statement(fact, self.rng, plain=True), said)
        content = Content((said,), named(fact), named(fact), steps, None, (fact.entity, fact.value))
        prompt = superlative_question(kind, attribute, direction, region, self.rng, split)
        return Query("superlative", prompt, content, fact.entity, wants=(fact.entity,))

    def _pair(self) -> tuple[Fact, Fact, str, bool] | None:
        kind, attribute = self.rng.choice(comparable())
        own = [(n, f) for n, f in self.measured[kind, attribute] if f.entity in self.names]
        if len(own) < 2:
            return None
        (a, first), (b, second) = self.rng.sample(own, 2)
        if a == b:
            return None
        direction = self.rng.choice(DIRECTIONS)
        return first, second, direction, (a > b) == (direction == "high")

    def _comparison(self, split: str) -> Query | None:
        pair = self._pair()
        if pair is None:
            return None
        first, second, direction, true = pair
        verdict = "yes" if true else "no"
        content = self._compared(first, second, verdict, verdict)
        prompt = comparison_question(first, second, direction, self.rng, split)
        return Query("comparison", prompt, content, first.entity, verdict=verdict)

    def _choice(self, split: str) -> Query | None:
        pair = self._pair()
        if pair is None:
            return None
        first, second, direction, true = pair
        won, lost = (first, second) if true else (second, first)
        content = self._compared(first, second, named(won), named(won))
        prompt = choice_question(first, second, direction, self.rng, split)
        return Query("choice", prompt, content, won.entity, wants=(won.entity,), loser=lost.entity)

    def _compared(self, first: Fact, second: Fact, verdict: str, short: str) -> Content:
        template = self.rng.choice(wording(first).plain)
        one, other = (statement(f, self.rng, template) for f in (first, second))
        kept = (first.entity, first.value, second.entity, second.value)
        return Content((f"{one} and {other}, so {verdict}",), short, named(first), (one, other), None, kept)

    def _lists(self) -> list[tuple[Fact, frozenset[str], list[str]]]:
        found = []
        for kind, attribute in listable():
            groups: dict[str, list[Fact]] = {}
            for fact in self.table:
                if (fact.kind, fact.attribute) == (kind, attribute):
                    groups.setdefault(fact.value, []).append(fact)
            for own in groups.values():
                usable = [named(f) for f in own if f.entity in self.names]
                if len(usable) >= 3:
                    found.append((own[0], frozenset(f.entity for f in own), usable))
        return found

    def _list(self, split: str) -> Query | None:
        fact, fitting, usable = self.rng.choice(self.listed)
        count = self.rng.choice([2, 3, 3, 3, 4, 5])
        if len(usable) < count:
            return None
        chosen = self.rng.sample(usable, count)
        listed = f"{', '.join(chosen[:-1])} and {chosen[-1]}"
        line = self.rng.choice(list_conditions()[fact.kind][fact.attribute].splitlines())
        are = line.split(" | ")[1].replace("{v}", fact.value)
        said = f"{listed} {are}"
        content = Content((said,), listed, chosen[0], (said,), None, (*chosen, fact.value))
        prompt = list_question(fact, count, self.rng, split)
        return Query("list", prompt, content, chosen[0], fitting=fitting, count=count)

    def _about(self, split: str) -> Query | None:
        entity = self.rng.choice(self.rich)
        facts = self.rng.sample(self.facts_of[entity], ABOUT_FACTS)
        said = tuple(statement(f, self.rng, plain=True) for f in facts)
        kept = (entity, *(f.value for f in facts))
        content = Content(said, said[-1], named(facts[0]), said[:-1], None, kept)
        wants = tuple(f.value for f in self.facts_of[entity])
        return Query("about", about_question(facts[0], self.rng, split), content, entity, wants, count=2)

    def _two_hop(self, split: str) -> Query | None:
        bridge, fact = self.rng.choice(self.by_bridge[self.rng.choice(tuple(self.by_bridge))])
        entity = fact.value if bridge.forward else fact.entity
        seconds = [
            f
            for f in self.facts_of[entity]
            if f.attribute not in _NO_SECOND | {fact.attribute}
            and fact.value not in f.value
            and f.value not in fact.value
            and f.value not in fact.entity
        ]
        if not seconds:
            return None
        second = self.rng.choice(seconds)
        described = bridge.described.replace("{v}", fact.value).replace("{e}", fact.entity)
        asked = Fact(described, second.kind, second.attribute, second.value)
        prompt = question(asked, self.rng, tidy=0.9, split=split)
        templates = [t for t in wording(second).plain if "{e}'s" not in t]
        if f"{described[-3:]}'" in prompt or not templates:  # "the country whose capital is Lima's currency"
            return None
        content = Content(
            clauses=(statement(asked, self.rng, self.rng.choice(templates)),),
            short=short(second),
            topic=named(second),
            steps=(_said(bridge, fact), statement(second, self.rng, plain=True)),
            kept=(fact.value, fact.entity, second.value, entity),
        )
        return Query("two_hop", prompt, content, entity, wants=(second.value,))


def _measured(table: Iterable[Fact], kind: str, attribute: str) -> list[tuple[float, Fact]]:
    own = ((number(f.value), f) for f in table if (f.kind, f.attribute) == (kind, attribute))
    return [(n, f) for n, f in own if n is not None]
