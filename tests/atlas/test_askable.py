"""What can be asked, as the page gets it: every question names its entity and reads as a question."""

import json

from eft_demo.atlas.askable import askable, kinds
from eft_demo.atlas.facts import load_facts


def test_every_fact_can_be_asked_for_in_plain_words() -> None:
    table = json.loads(askable())
    facts = load_facts()
    assert table["facts"] == len(facts) and set(kinds()) == {f.kind.replace("_", " ") for f in facts}
    assert all(form.count("{e}") == 1 and form.endswith("?") for form in table["forms"] if form)
    assert sum(not form for form in table["forms"]) <= len(table["forms"]) / 10
    asked = {name: forms for name, _, forms in table["entities"]}
    assert len(asked) >= 0.9 * len({fact.entity for fact in facts})
    assert any("capital" in table["forms"][place] for place in asked["Peru"])
    said = {name: said for name, said, _ in table["entities"]}
    assert said["Netherlands"] == "the Netherlands" and said["Peru"] == 0


def test_values_are_names_not_numbers() -> None:
    values = json.loads(askable())["values"]
    assert "Lima" not in values or "Lima" not in {fact.entity for fact in load_facts()}
    assert all(len(value) > 2 and not any(c.isdigit() for c in value) for value in values)
