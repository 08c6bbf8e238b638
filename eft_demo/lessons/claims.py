"""Tests what a lesson says of recorded runs: that its tokens exist and its claims hold.

Knows lessons and traces. Needs no models: what another alpha would choose follows from the
recorded candidates.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from eft_demo.errors import EFTError
from eft_demo.lessons.reader import RUNS, Claim, Lesson, State, TokenPlace
from eft_demo.method.recipe import Recipe, parse
from eft_demo.runs.export import pieces_of, token_texts
from eft_demo.runs.replay import read_run
from eft_demo.runs.trace import Candidate, ColumnTrace, RunTrace, TokenRecord


class ClaimError(EFTError):
    """A lesson says something of a recorded run that the run does not show."""

    code = "claim"


def problems(lesson: Lesson) -> Iterator[str]:
    """Sentences about every token that does not exist and every claim that does not hold."""
    for number, step in enumerate(lesson.steps, 1):
        for state in (step.show, *step.actions):
            yield from _missing(f"Step {number}", state, step.show.open)
        for claim in step.holds:
            if broken := broken_claim(claim):
                yield f"Step {number}, line {claim.line}: {broken}"


def broken_claim(claim: Claim) -> str:
    """What is wrong with a claim; "" if it holds."""
    run = _recorded(claim.run)
    try:
        return _broken(run, claim)
    except ClaimError as missing:  # a column or a token, also of the run that it is compared with
        return str(missing)


def _broken(run: RunTrace, claim: Claim) -> str:
    column = column_of(run, claim.column)
    record = find_token(run, claim.place)[1] if claim.place else None
    for name, value in claim.says.items():
        if name in _TEXT and not _TEXT[name](column, value):
            return f"the run {claim.run} does not hold that {claim.column} {name} {value!r}."
        if name in _TOKEN and record and not _TOKEN[name](column, record, claim.says):
            return f"the run {claim.run} does not hold {name} {value!r} of that token of {claim.column}."
        if name == "split" and claim.place and _is_split(run, claim.place) != value:
            return f"the run {claim.run} does not hold split {value!r} of {claim.place.token!r}."
    return ""


def column_of(run: RunTrace, name: str) -> ColumnTrace:
    """The column of that name. Raises ClaimError."""
    for column in run.columns:
        if column.name == name:
            return column
    raise ClaimError(f"there is no column {name!r}, only {', '.join(one.name for one in run.columns)}.")


def find_token(run: RunTrace, place: TokenPlace) -> tuple[int, TokenRecord]:
    """Index and record of a token; assets/web/lib/lesson.js finds the same. Raises ClaimError."""
    column = column_of(run, place.column)
    if isinstance(place.token, int):
        if place.token <= len(column.tokens):
            return place.token - 1, column.tokens[place.token - 1]
        raise ClaimError(f"{place.column} has no token {place.token}.")
    start = -1
    for _ in range(place.nth):
        start = column.text.find(place.token, start + 1)
        if start < 0:
            raise ClaimError(f"{place.column} does not contain {place.token!r} {place.nth} times.")
    end = 0
    for index, text in enumerate(token_texts(column, pieces_of(run))):
        end += len(text)
        if end > start:
            return index, column.tokens[index]
    raise ClaimError(f"{place.column} has no token at {place.token!r}.")


def _missing(where: str, state: State, shown: str) -> Iterator[str]:
    if state.select is None:
        return
    if not (name := state.open or shown):
        return  # in a run that only exists once it is made
    try:
        find_token(_recorded(name), state.select)
    except ClaimError as missing:
        yield f"{where}, {state.label or 'show'}: in the run {name}, {missing}"


@cache
def _recorded(name: str) -> RunTrace:
    return read_run(RUNS / f"{name}.json")


def _is_split(run: RunTrace, place: TokenPlace) -> bool:
    index, _ = find_token(run, place)
    text = token_texts(column_of(run, place.column), pieces_of(run))[index]
    return str(place.token) not in text


def _at(candidate: Candidate, recipe: Recipe, alpha: float) -> float:
    """Its log-prob at another alpha, up to a constant that all candidates of a place share."""
    by_role = candidate.by_role
    weights = recipe.coefficients(dict.fromkeys(recipe.controls, alpha))
    deltas = (by_role[term.plus] - by_role[term.minus] for term in recipe.terms)
    return by_role[recipe.anchor] + sum(weight * delta for weight, delta in zip(weights, deltas, strict=True))


def _changes(column: ColumnTrace, record: TokenRecord, says: Mapping[str, Any]) -> bool:
    """Whether the likeliest recorded candidate at that alpha is another token, as claimed."""
    recipe = parse(column.recipe)
    best = max(record.candidates, key=lambda one: _at(one, recipe, says["at_alpha"]))
    return (best.id != record.id) is says["changes"]


def _rarest(column: ColumnTrace) -> float:
    return math.exp(min(record.anchor_logprob for record in column.tokens))


_TEXT: Mapping[str, Callable[[ColumnTrace, Any], bool]] = {
    "has": lambda column, text: text in column.text,
    "lacks": lambda column, text: text not in column.text,
    "ends": lambda column, reason: column.finish_reason == reason,
    "same_as": lambda column, other: column.text == column_of(_recorded(other[0]), other[1]).text,
    "accepted_above": lambda column, share: (column.acceptance_rate or 0) > share,
    "base_never_below": lambda column, share: _rarest(column) >= share,
    "base_somewhere_below": lambda column, share: _rarest(column) < share,
}
_TOKEN: Mapping[str, Callable[[ColumnTrace, TokenRecord, Mapping[str, Any]], bool]] = {
    "changed": lambda _, record, says: (record.base_first != record.id) is says["changed"],
    "above": lambda _, record, says: math.exp(record.logprob) > says["above"],
    "below": lambda _, record, says: math.exp(record.logprob) < says["below"],
    "changes": _changes,
}
