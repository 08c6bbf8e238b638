"""The columns a person may choose: ready ones, the first three, and recipes typed by hand, checked.

Knows recipes, the family's roles and how a column introduces itself; knows nothing of runs and of how the
page draws. Where a column is refused, the error knows which one.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from eft_demo.engine.service import FIRST, TUNED_SHOWN, Panels, Service
from eft_demo.errors import EFTError, InputError
from eft_demo.families.family import Family
from eft_demo.method.recipe import (
    AMPLIFIED,
    BASE,
    DOWNSCALED,
    MAX_TERMS,
    PAD,
    REFERENCE,
    UPSCALED,
    Recipe,
    blend,
    parse,
    refuse_undoing,
)
from eft_demo.settings import COLUMNS, control_range, show_value
from eft_demo.ui.column_headers import panel_head

MAX_NAME_CHARS = 60


class FieldError(InputError):
    """An InputError that knows which field of the page it belongs to."""

    def __init__(self, where: str, message: str) -> None:
        self.where = where
        super().__init__(message)


@contextmanager
def in_place(where: str) -> Iterator[None]:
    """Let every refusal inside belong to the field `where`."""
    try:
        yield
    except EFTError as refusal:
        raise FieldError(where, str(refusal)) from None


@dataclass(frozen=True, slots=True)
class Preset:
    """A ready column: `title` in the menu, `name` over the column."""

    title: str
    name: str
    recipe: Recipe


def presets(family: Family) -> list[Preset]:
    """What the menu offers: everything that the family has the models for."""
    roles = [behaviour.role for behaviour in family.behaviours]
    manners = [role for role in roles if control_range(f"alpha_{role}")][
        :MAX_TERMS
    ]  # a long name has no slider
    offered = [
        Preset("Base: large, as reading left it", "Base", BASE),
        Preset("Small base", "Small base", Recipe("small_base")),
        Preset("Tuned: small", "Tuned", TUNED_SHOWN),
        Preset("Up-scaled: large + α·tuning", "Up-scaled", UPSCALED),
        Preset("Amplified: tuned + β·size", "Amplified", AMPLIFIED),
        Preset("Down-scaled: small + α·large tuning", "Down-scaled", DOWNSCALED),
        *([Preset("Blend of behaviours", "Blend", blend(manners))] if len(manners) > 1 else []),
        Preset("Pad: α and β at once", "Pad", PAD),
        Preset("Large tuned: the reference", "Large tuned", REFERENCE),
    ]
    known = {*family.roles, "small_tuned"}
    return [preset for preset in offered if known.issuperset(preset.recipe.roles)]


def introduce(name: str, recipe: Recipe, behaviour: str) -> dict[str, object]:
    """What the page is told of a column before it runs: its head, its text, the sliders it listens to."""
    return {
        **panel_head(name, recipe.played(behaviour)),
        "text": str(recipe),
        "controls": recipe.controls,
        "pad": recipe in (PAD, PAD.played(behaviour)),
    }


def read_columns(service: Service, behaviour: str, posted: object) -> Panels:
    """The columns of a run: a list of {"name", "recipe"}; none given: the first three.

    `small_tuned` stays in the recipes; `behaviour` is to play it. Raises FieldError for `columns` or
    `column-0`, `column-1`, ...
    """
    if posted is None:
        return FIRST
    if not isinstance(posted, list):
        raise FieldError("columns", f"The columns must be a list; got {show_value(posted)}.")
    with in_place("columns"):
        COLUMNS.check(len(posted))
    columns = []
    for index, column in enumerate(posted):
        with in_place(f"column-{index}"):
            columns.append(_read_column(service, behaviour, column))
    return tuple(columns)


def check_columns(service: Service, posted: object) -> str:
    """JSON for the page while somebody types: for each of `columns` its introduction, or {"error"}.

    `posted` has `columns` as for a run, and the `behaviour` that plays small_tuned.
    """
    request = posted if isinstance(posted, Mapping) else {}
    columns = request.get("columns")
    asked = columns[: int(COLUMNS.high)] if isinstance(columns, list) else []
    behaviour = request.get("behaviour")
    answers: list[dict[str, object]] = []
    for column in asked:
        try:
            manner = service.check_behaviour(behaviour)
            answers.append(introduce(*_read_column(service, manner, column), manner))
        except EFTError as refusal:
            answers.append({"error": str(refusal)})
    return json.dumps(answers)


def _read_column(service: Service, behaviour: str, posted: object) -> tuple[str, Recipe]:
    family = service.family
    column = posted if isinstance(posted, Mapping) else {}
    name, text = column.get("name"), column.get("recipe")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS:
        raise InputError(
            f"The name of a column must have 1 to {MAX_NAME_CHARS} characters; got {show_value(name)}."
        )
    if isinstance(text, str) and not text.strip():
        raise InputError("This column has no recipe yet. Please write one, such as large_base.")
    recipe = parse(text)  # type: ignore[arg-type]  # says itself what is no text
    played = recipe.played(behaviour)
    unknown = [role for role in played.roles if role not in family.roles]
    if unknown:
        raise InputError(
            f"There is no model {unknown[0]} in the family {family.title}. "
            f"It has {', '.join(family.roles)}, and small_tuned for the chosen manner."
        )
    if not service.settings.allow_negative_alpha:
        refuse_undoing(played)
    return name, recipe
