"""The scale matrix counts its answers, and what is recovered follows from the counts."""

import json

import pytest

from eft_demo.lab import matrix as lab
from eft_demo.lab.evaluate import Judged
from eft_demo.lab.matrix import CELLS, GAPS, make_matrix, to_markdown
from tests.command_line import run_cli


def answers(rights: str, styles: str) -> list[Judged]:
    """One answer for each place; x: the question is hazardous, so no answer is right."""
    return [
        Judged(f"q{i}", "kind", "text", None if right == "x" else right == "1", style == "1")
        for i, (right, style) in enumerate(zip(rights, styles, strict=True))
    ]


def matrix(**rows: tuple[str, str]) -> lab.Matrix:
    usual = ("0" * 10, "0" * 10)
    names = {name: name.replace(" ", "_").replace("-", "_") for name, _ in CELLS.values()}
    return make_matrix({name: answers(*rows.get(key, usual)) for name, key in names.items()})


def test_shares_are_counts_and_gaps_follow_from_them() -> None:
    found = matrix(
        small_tuned=("1100000000", "1" * 10),
        up_scaled=("111111000x", "1" * 9 + "0"),
        large_tuned=("1111111111", "1" * 10),
    )
    by_name = {cell.name: cell for cell in found.cells}
    assert (by_name["up-scaled"].factual.hits, by_name["up-scaled"].factual.count) == (6, 9)
    assert by_name["up-scaled"].style.hits == 9 and found.questions == 10
    factual, style = found.recovered
    # The hazardous question is left out of all three: 2, 6 and 9 of 9.
    assert factual.share == pytest.approx(4 / 7) and style.share == pytest.approx(0.9)
    assert factual.low is not None and factual.high is not None
    assert factual.low < 4 / 7 < factual.high <= 1
    assert "recovers 57%" in to_markdown(found)


def test_without_a_gap_nothing_is_recovered() -> None:
    found = matrix(small_tuned=("1" * 10, "0" * 10))
    assert [each.share for each in found.recovered] == [None, None]
    assert to_markdown(found).count("There is no gap in ") == len(GAPS)


def test_a_gap_that_some_samples_lack_has_no_interval() -> None:
    found = matrix(up_scaled=("1" + "0" * 9, "0" * 10), large_tuned=("1" + "0" * 9, "0" * 10))
    assert found.recovered[0].share == 1 and found.recovered[0].low is None
    assert "recovers 100% of" in to_markdown(found)


def test_the_intervals_repeat() -> None:
    rows = {
        "small_tuned": ("1000000000",) * 2,
        "up_scaled": ("1110000000",) * 2,
        "large_tuned": ("1" * 10,) * 2,
    }
    assert matrix(**rows).recovered == matrix(**rows).recovered


def test_the_command_gives_every_answer_behind_the_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(monkeypatch, "matrix", "--questions", "6", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["questions"] == 6 and list(found["answers"]) == [name for name, _ in CELLS.values()]
    for cell in found["cells"]:
        own = found["answers"][cell["name"]]
        assert cell["factual"] == {"hits": sum(each["right"] is True for each in own), "count": 6}
        assert cell["style"]["hits"] == sum(each["in_style"] for each in own)
    prompts = {tuple(each["prompt"] for each in own) for own in found["answers"].values()}
    assert len(prompts) == 1
