"""The settings that decided a run's texts, in words, for files that people read.

A seed and a control may differ between columns, and a control between tokens, because a branch rewrites some
columns and sliders move while text streams. Knows traces; knows no format of a file.
"""

import dataclasses

from eft_demo.method.schedule import Schedule
from eft_demo.runs.trace import ColumnTrace, RunTrace
from eft_demo.settings import number_text

SLACK = 2e-6  # of a control's value: the page keeps six decimals
Move = tuple[int, float]  # the first token that it affects, and the new value


def settings_of(run: RunTrace) -> list[str]:
    """The settings besides the prompt, as in `seed 3`. Exact: rounded values would give other texts."""
    spec = run.spec
    controls = [_control_text(run, name, value) for name, value in spec.controls.items()]
    sampling = [_plain(name, number_text(value)) for name, value in dataclasses.asdict(spec.sampling).items()]
    rest = [_plain(name, getattr(spec, name)) for name in ("weight_filter", "schedule", "speculation")]
    turns = [f"earlier turns {len(spec.turns)}"] if spec.turns else []
    return [f"family {spec.family}", *turns, *controls, *sampling, *other_seeds(run), *rest]


def other_seeds(run: RunTrace) -> list[str]:
    """The columns that were written with another seed than the run's, as `seed 7 in Base and Tuned`."""
    seeds: dict[int, list[str]] = {}
    for column in run.columns:
        if column.seed is not None:
            seeds.setdefault(column.seed, []).append(column.name)
    return [f"seed {seed} in {' and '.join(names)}" for seed, names in seeds.items()]


def made_with_text(run: RunTrace) -> str:
    """With which versions and models a run was made."""
    return f"made with {run.made_with}" if run.made_with else "made with versions that are not known"


def _plain(name: str, value: object) -> str:
    return f"{name.replace('_', ' ')} {value}"


def _control_text(run: RunTrace, name: str, value: float) -> str:
    """`alpha 1`, and where it first had another value: `alpha 1, moved to 3 at token 6 of Up-scaled`."""
    moved = [
        (column.name, moves)
        for column, (_, recipe) in zip(run.columns, run.spec.columns, strict=True)
        if name in recipe.controls and (moves := _moves(column, run.spec.schedule, name, value))
    ]
    text = _plain(name, number_text(value))
    if not moved:
        return text
    where, first = moved[0]
    position, other = first[0]
    shown = number_text(round(other, 6))
    text += (
        f", {shown} in {where}" if position == 0 else f", moved to {shown} at token {position + 1} of {where}"
    )
    # One move reaches the columns at different tokens, so only its value counts.
    again = len({tuple(round(number, 6) for _, number in moves) for _, moves in moved}) > 1 or len(first) > 1
    return f"{text} and again" if again else text


def _moves(column: ColumnTrace, schedule: Schedule, name: str, value: float) -> list[Move]:
    """Every change of a control in the column, which would have had `value` all along without any."""
    moves: list[Move] = []
    for record in column.tokens:
        factor = 1.0 if name == "beta" else schedule.factor(record.position)
        own = record.controls.get(name)
        if own is not None and factor and abs(own - value * factor) > SLACK:
            value = own / factor
            moves.append((record.position, value))
    return moves
