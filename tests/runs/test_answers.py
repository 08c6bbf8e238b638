"""Runs as plain data for programs: scores by hand, changed tokens, explanations that agree with numbers."""

import json
import math
import re
from dataclasses import replace

import pytest

from eft_demo.method.recipe import UPSCALED, parse
from eft_demo.runs.answers import changes_of, explanation_of, run_of, scores_of, texts_of
from eft_demo.runs.export import Pieces, pieces_of
from eft_demo.runs.gallery import GALLERY
from eft_demo.runs.replay import read_run
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import ColumnTrace, RunTrace
from eft_demo.settings import ASSETS
from tests.records import make_record

# The base prefers token 0 by 1 nat; tuning prefers token 1 by 2 nats.
BY_TOKEN = {
    0: {"large_base": math.log(0.6), "small_tuned": math.log(0.2), "small_base": math.log(0.5)},
    1: {
        "large_base": math.log(0.6) - 1,
        "small_tuned": math.log(0.5),
        "small_base": math.log(0.5 / math.e**2 * 2.5),
    },
    2: {"large_base": math.log(0.1), "small_tuned": math.log(0.1), "small_base": math.log(0.1)},
}
PIECES = Pieces({0: b" the", 1: b" Lima", 2: b"\xc3"})
RECORDED = [read_run(ASSETS / "runs" / f"{entry.name}.json") for entry in GALLERY]
ROUNDING = 0.005  # of a value with two digits after the point
named = pytest.mark.parametrize("run", RECORDED, ids=[entry.name for entry in GALLERY])


def column_of(chosen: int, alpha: float = 1.0) -> ColumnTrace:
    record = make_record(UPSCALED, chosen, BY_TOKEN, alpha)
    text = PIECES[chosen].decode("utf-8", "replace")
    return ColumnTrace("Up-scaled", str(UPSCALED), [record], text, "stop")


def test_the_perplexity_is_that_of_the_tokens() -> None:
    column = ColumnTrace("One", "large_base")
    for logprob in (-0.5, -1.0, -3.0):
        record = make_record(parse("large_base"), 0, {0: {"large_base": logprob}, 1: {"large_base": -0.1}})
        column.tokens.append(replace(record, logprob=logprob))
    (scored,) = scores_of(RunTrace(RunSpec(prompt="Hi"), [column]))["columns"]
    assert scored["logprob"] == -4.5 and scored["perplexity"] == pytest.approx(math.exp(1.5), rel=1e-6)
    column.tokens[1] = replace(column.tokens[1], logprob=-math.inf)
    (scored,) = scores_of(RunTrace(RunSpec(prompt="Hi"), [column]))["columns"]
    assert scored["logprob"] is scored["perplexity"] is scored["tokens"][1]["logprob"] is None


def test_the_explanation_says_who_preferred_what_and_where_the_choice_flips() -> None:
    found = explanation_of(column_of(1), 0, PIECES)
    assert found["changed"] and found["anchor_choice"] == " the" and found["text"] == " Lima"
    assert 'large_base prefers " the" by 1.0 nats' in found["why"]
    assert 'alpha*(small_tuned - small_base) prefers " Lima" by 2.0 nats' in found["why"]
    assert "the recipe's terms that changed the choice" in found["why"]
    assert 'Below alpha = 0.50, " the" is the likelier' in found["why"]
    assert {candidate["text"] for candidate in found["candidates"]} == {" the", " Lima", "⟨C3⟩"}


def test_the_explanation_of_a_token_of_the_base_says_so() -> None:
    found = explanation_of(column_of(0, alpha=0.1), 0, PIECES)
    assert not found["changed"] and "the first choice of large_base too" in found["why"]
    chance = explanation_of(column_of(2), 0, PIECES)
    assert "chance, or the given text" in chance["why"]


def test_only_places_with_another_likeliest_token_are_changed() -> None:
    assert changes_of(column_of(0, alpha=0.1), PIECES) == []
    (change,) = changes_of(column_of(2), PIECES)  # whatever was drawn there
    assert (change["likeliest"], change["anchor_choice"]) == (" Lima", " the")


@named
def test_recorded_runs_become_json_that_keeps_texts_and_sums(run: RunTrace) -> None:
    found = json.loads(json.dumps(run_of(run, tokens=True), allow_nan=False))
    for shown, column in zip(found["columns"], run.columns, strict=True):
        assert "".join(token["text"] for token in shown["tokens"]) == shown["text"] == column.text
        for token in shown["tokens"]:
            if None not in (token["logprob"], token["anchor_logprob"], *token["contributions"]):
                total = token["anchor_logprob"] + sum(token["contributions"]) + token["neg_log_z"]
                assert total == pytest.approx(token["logprob"], abs=1e-4)
    json.dumps(scores_of(run), allow_nan=False)
    assert "tokens" not in run_of(run)["columns"][0] and len(texts_of(run.columns)["columns"]) == len(
        run.columns
    )


@named
def test_every_token_of_the_recorded_runs_can_be_explained(run: RunTrace) -> None:
    pieces, flips = pieces_of(run), 0
    for column in run.columns:
        recipe = parse(column.recipe)
        changed = {change["position"] for change in changes_of(column, pieces)}
        for place, record in enumerate(column.tokens):
            found = explanation_of(column, place, pieces)
            json.dumps(found, allow_nan=False)
            assert found["changed"] == (place in changed) and recipe.anchor in found["why"]
            if said := re.search(r"(?:Below|Above) (\w+) = ([\d.]+), ", found["why"]):
                rival = record.base_first if record.base_first != record.id else None
                check_flip(column, place, said[1], float(said[2]), rival)
                flips += 1
    assert flips or not any(UPSCALED.controls == parse(c.recipe).controls for c in run.columns)


def check_flip(column: ColumnTrace, place: int, name: str, value: float, rival: int | None) -> None:
    """At that value of the control, the token and its rival are equally likely."""
    record, recipe = column.tokens[place], parse(column.recipe)
    own = next(candidate for candidate in record.candidates if candidate.id == record.id)
    others = [candidate for candidate in record.candidates if candidate.id != record.id]
    named = [candidate for candidate in others if candidate.id == rival]
    other = named[0] if named else max(others, key=lambda candidate: candidate.logprob)
    (coefficient,) = recipe.coefficients({name: value})
    term = recipe.terms[0]

    def level(by_role: dict[str, float]) -> float:
        return by_role[recipe.anchor] + coefficient * (by_role[term.plus] - by_role[term.minus])

    assert level(own.by_role) == pytest.approx(level(other.by_role), abs=30 * ROUNDING)
