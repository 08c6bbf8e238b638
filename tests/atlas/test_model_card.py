"""The card of the bundled models says what the weights, the facts and the results say."""

import re
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open

from eft_demo.atlas.facts import load_facts

ROOT = Path(__file__).resolve().parents[2]
ATLAS = ROOT / "assets" / "atlas"
CARD = (ATLAS / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


def rows(first: str) -> list[list[str]]:
    """The cells of the table whose head begins with this cell."""
    table = CARD.partition(f"\n| {first} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]


def test_the_figures_are_those_of_the_results() -> None:
    lines = [line for line in CARD.splitlines() if re.search(r"\| \d\.\d{3} \(", line)]
    assert len(lines) == 9 and all(f"\n{line}\n" in RESULTS for line in lines)
    outside = RESULTS.partition("questions outside the almanac")[2]
    for model, share in (("**up-scaled**", "77 %"), ("large base", "18 %")):
        value, *_ = re.findall(rf"\| assistant \| {re.escape(model)} \| (\d\.\d+)", outside)
        assert f"{float(value):.0%}".replace("%", " %") == share and share in CARD


def test_the_sizes_are_those_of_the_weights() -> None:
    named = {
        name: int(cells[1].split()[0].replace(",", ""))
        for cells in rows("folder")
        for name in re.findall(r"`(\w+)`", cells[0])
    }
    assert set(named) == {path.parent.name for path in ATLAS.glob("*/model.safetensors")}
    for name, count in named.items():
        with safe_open(ATLAS / name / "model.safetensors", framework="pt") as file:
            assert sum(file.get_tensor(key).numel() for key in file.keys()) == count  # noqa: SIM118


def test_the_facts_are_as_many_as_it_says() -> None:
    counts = {}
    for cells in rows("file"):
        name = cells[0].strip("`")
        counts[name] = int(cells[1].replace(",", ""))
        assert len((ATLAS / name).read_text(encoding="utf-8").splitlines()) - 1 == counts[name]
    facts = load_facts()
    entities = {(fact.kind, fact.entity) for fact in facts}
    assert f"{sum(counts.values()):,} facts about {len(entities):,} entities" in CARD


def test_its_front_matter_is_that_of_the_family() -> None:
    head = yaml.safe_load(CARD.split("---\n")[1])
    family = yaml.safe_load((ATLAS / "family.yaml").read_text(encoding="utf-8"))
    assert head["license"] == family["licence"].lower()


def test_its_example_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", CARD, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(example, {})  # noqa: S102
    assert "Lima" in capsys.readouterr().out
