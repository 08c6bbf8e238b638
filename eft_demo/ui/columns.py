"""The columns that a visitor can choose: presets, the default three and typed recipes, all checked.

Knows recipes, the family's roles and column headers; knows nothing of runs or of how the page draws. If a
column is refused, the error names it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError, at_field
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
)
from eft_demo.method.roles import SMALL_TUNED
from eft_demo.runs.spec import (
    FIRST,
    MAX_WORD_CHARS,
    TUNED_SHOWN,
    Columns,
    RunSpec,
    check_behaviour,
    check_recipe,
)
from eft_demo.settings import COLUMNS, control_range, show_value
from eft_demo.ui.column_headers import column_head, unusual_controls
from eft_demo.ui.posted import fields_of

MAX_NAME_CHARS = MAX_WORD_CHARS  # what fits above a column


@dataclass(frozen=True, slots=True)
class Preset:
    """A preset: `title` in the menu, `name` above the column."""

    title: str
    name: str
    recipe: Recipe


# In the order of the menu, which also has a blend of the family's own behaviours.
PRESETS = (
    Preset("Base: large, pretrained only", "Base", BASE),
    Preset("Small base", "Small base", parse("small_base")),
    Preset("Tuned: small", "Tuned", TUNED_SHOWN),
    Preset("Up-scaled: large + α·tuning", "Up-scaled", UPSCALED),
    Preset("Amplified: tuned + β·size", "Amplified", AMPLIFIED),
    Preset("Down-scaled: small + α·large tuning", "Down-scaled", DOWNSCALED),
    Preset("Pad: α and β in one square", "Pad", PAD),
    Preset("Large tuned: the reference", "Large tuned", REFERENCE),
)


def presets(family: Family) -> list[Preset]:
    """The presets for which the family has the models."""
    roles = [behaviour.role for behaviour in family.behaviours]
    behaviours = [role for role in roles if control_range(f"alpha_{role}")]  # a long name has no slider
    offered = list(PRESETS)
    if len(behaviours) > 1:
        before = [preset.recipe for preset in PRESETS].index(PAD)
        offered.insert(before, Preset("Blend of behaviours", "Blend", blend(behaviours[:MAX_TERMS])))
    known = {*family.roles, SMALL_TUNED}
    return [preset for preset in offered if known.issuperset(preset.recipe.roles)]


def describe_column(
    name: str, recipe: Recipe, behaviour: str, captions: Mapping[str, str]
) -> dict[str, object]:
    """A column as the page gets it before a run: header, recipe text and the sliders that affect it."""
    return {
        **column_head(name, recipe.for_behaviour(behaviour), captions),
        "text": str(recipe),
        "controls": recipe.controls,
        "unusual": unusual_controls(recipe.for_behaviour(behaviour)),
        "pad": recipe in (PAD, PAD.for_behaviour(behaviour)),
    }


def read_columns(posted: object) -> Columns:
    """The columns of a run, from a list of {"name", "recipe"}; None gives the default three.

    `small_tuned` stays in the recipes. Raises EFTError for `columns` or `column-0`, `column-1`, ...
    """
    if posted is None:
        return FIRST
    columns = RunSpec(columns=posted).columns  # type: ignore[arg-type]  # it reports invalid columns
    with at_field("columns"):
        COLUMNS.check(len(columns))
    for index, (name, _) in enumerate(columns):
        with at_field(f"column-{index}"):
            _check_name(name)
    return columns


def check_columns(service: Service, posted: object) -> str:
    """JSON for the page while a recipe is typed: the header of each of `columns`, or {"error"}.

    `posted` has `columns` as for a run, and the `behaviour` that small_tuned stands for.
    """
    request = fields_of(posted)
    columns = request.get("columns")
    listed = columns[: int(COLUMNS.high)] if isinstance(columns, list) else []
    answers: list[dict[str, object]] = []
    for column in listed:
        try:
            behaviour = RunSpec(behaviour=request.get("behaviour")).behaviour  # type: ignore[arg-type]
            check_behaviour(behaviour, service.family)
            ((name, recipe),) = read_columns([column])
            check_recipe(recipe.for_behaviour(behaviour), service.family, service.settings)
            answers.append(describe_column(name, recipe, behaviour, service.family.captions))
        except EFTError as refusal:
            answers.append({"error": str(refusal)})
    return json.dumps(answers)


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        raise InputError(
            f"The name of a column must have 1 to {MAX_NAME_CHARS} characters; got {show_value(name)}.",
            code="column_name",
        )
