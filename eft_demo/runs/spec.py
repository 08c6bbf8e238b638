"""All that describes a run, as one value.

The page posts it, a link and the command line say it, the engine takes it, a trace begins with it, a branch
and a lesson change a copy of it. Every field takes its value, or what JSON and texts have for it, and checks
it; what is wrong raises an EFTError with a code and the field it belongs to. What depends on the models and
limits of one app is `check`. A new field, such as a system prompt, is a line in `RunSpec` with its reader.
Knows recipes and settings; knows no models, no text of tokens and no page.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, PlainValidator

from eft_demo.errors import InputError, in_place
from eft_demo.method.recipe import BASE, UPSCALED, Recipe, Term, parse, refuse_undoing
from eft_demo.method.roles import SMALL_BASE, SMALL_TUNED
from eft_demo.method.sampling_settings import SAMPLING, Sampling
from eft_demo.method.schedule import CONSTANT, Schedule, parse_schedule
from eft_demo.method.speculation import Speculation, parse_speculation
from eft_demo.method.weight_filter import OFF, WeightFilter, parse_weight_filter
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.settings import (
    CONTROLS,
    Settings,
    check_number,
    check_weight,
    control_range,
    show_value,
)

MAX_WORD_CHARS = 60  # of the name of a family, of a behaviour, of a role
MAX_COLUMNS = 16  # whoever asks for them: what is written can be opened again
MAX_FORMATS = 16  # roles whose prompt a person changed
MAX_LENGTH = 1_000_000  # an app's own limit is lower; this one only keeps numbers short
MAX_CONTROLS = 64
NO_MODEL = "No model is loaded here, so nothing can be asked. The recorded runs can be played."
FIELD_OF = {"filter": "weight_filter"}  # what JSON, links and error places call otherwise than RunSpec

Columns = tuple[tuple[str, Recipe], ...]
# Tuned is written as the small base plus what tuning did to it: the same model to float tolerance, for one
# small sequence more, and its tokens can be coloured like the up-scaled ones.
TUNED_SHOWN = Recipe(SMALL_BASE, (Term(1.0, SMALL_TUNED, SMALL_BASE),))
FIRST: Columns = (("Base", BASE), ("Tuned", TUNED_SHOWN), ("Up-scaled", UPSCALED))


class Loaded(Protocol):
    """What a run's check asks of the family that is loaded."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def roles(self) -> Collection[str]: ...
    @property
    def behaviours(self) -> Sequence["HasRole"]: ...


class HasRole(Protocol):
    """A behaviour, as far as a run's check knows it."""

    @property
    def role(self) -> str: ...


def _placed(where: str, read: Callable[[Any], Any]) -> PlainValidator:
    """A reader of one field, whose refusals belong to the field `where`."""

    def placed(value: Any) -> Any:
        with in_place(where):
            return read(value)

    return PlainValidator(placed)


def _or_text(kind: type, parse_text: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A reader of a value that stands for itself, or of its text."""
    return lambda value: value if isinstance(value, kind) else parse_text(value)


def _read_prompt(value: object) -> str:
    if not isinstance(value, str):
        raise InputError(
            f"The prompt must be text; got {show_value(value)}. Please type a question.", code="prompt_type"
        )
    return value


def _read_word(what: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_WORD_CHARS:
        shown = f"{len(value):,} characters" if isinstance(value, str) else show_value(value)
        raise InputError(
            f"The name of a {what} is a text of up to {MAX_WORD_CHARS} characters; got {shown}.",
            code=f"{what}_name",
        )
    return value


def _read_columns(value: object) -> Columns:
    """Pairs of a name and a recipe, or {"name", "recipe"}; a recipe may be its text."""
    if not isinstance(value, (list, tuple)):
        raise InputError(f"The columns must be a list; got {show_value(value)}.", code="columns_type")
    columns = []
    for index, column in enumerate(value):
        with in_place(f"column-{index}"):
            columns.append(_read_column(column))
    return tuple(columns)


def _read_column(column: object) -> tuple[str, Recipe]:
    if isinstance(column, Mapping):
        column = (column.get("name"), column.get("recipe"))
    name, recipe = column if isinstance(column, (list, tuple)) and len(column) == 2 else (None, None)
    if not isinstance(name, str):
        raise InputError(f"The name of a column must be text; got {show_value(name)}.", code="column_name")
    if isinstance(recipe, Recipe):
        return name, recipe
    if isinstance(recipe, str) and not recipe.strip():
        message = "This column has no recipe yet. Please write one, such as large_base."
        raise InputError(message, code="recipe_empty")
    return name, parse(recipe)  # type: ignore[arg-type]  # says itself what is no text


def parse_column(text: str) -> tuple[str, Recipe]:
    """Read `name:recipe`, or a recipe alone, which is its own name. Raises RecipeError."""
    name, colon, recipe = text.rpartition(":")  # a recipe has no colon; a name may
    return (name if colon else text), parse(recipe)


def _read_controls(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping) or len(value) > MAX_CONTROLS:
        raise InputError(
            f"The controls are up to {MAX_CONTROLS} values by name; got {show_value(value)}.",
            code="controls_type",
        )
    controls = {}
    for name, number in value.items():
        with in_place(str(name)):
            # Whether an alpha may be below 0 is for `check` to say, which knows the settings.
            below = isinstance(number, (int, float)) and number < 0
            controls[str(name)] = check_weight(name, number, below)
    return controls


def _read_sampling(value: object) -> Sampling:
    if isinstance(value, Sampling):
        return value
    if not isinstance(value, Mapping) or not SAMPLING.keys() >= value.keys():
        raise InputError(f"Sampling is {', '.join(SAMPLING)}; got {show_value(value)}.", code="sampling_type")
    return Sampling(**value)


def _read_length(value: object) -> int | None:
    """None leaves it open."""
    return None if value is None else _length(value, MAX_LENGTH)


def _length(value: object, most: int) -> int:
    return int(check_number("Length", value, 1, most, integer=True))


def _read_formats(value: object) -> dict[str, PromptFormat]:
    if not isinstance(value, Mapping):
        message = f"Prompt formats are given by model; got {show_value(value)}."
        raise InputError(message, code="formats_type")
    if len(value) > MAX_FORMATS:
        raise InputError(
            f"A run may have at most {MAX_FORMATS} prompt formats, not {len(value)}.", code="formats_range"
        )
    return {_read_word("role", role): _read_format(role, given) for role, given in value.items()}


def _read_format(role: str, given: object) -> PromptFormat:
    if isinstance(given, PromptFormat):
        return given
    if not isinstance(given, Mapping):
        raise InputError(
            f"The prompt format of {role} has a kind and a text; got {show_value(given)}.", code="format_type"
        )
    try:
        return PromptFormat(given.get("kind"), given.get("text"))  # type: ignore[arg-type]  # checks both
    except InputError as refusal:
        raise InputError(f"{role}: {refusal}", code=refusal.code) from None


class RunSpec(BaseModel):
    """A run. `spec.model_copy(update={...})` is another one; what goes into a copy must have been checked.

    Equal specs on the same models and versions give equal texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    prompt: Annotated[str, _placed("prompt", _read_prompt)] = ""
    family: Annotated[str, _placed("family", lambda value: _read_word("family", value))] = ""  # empty: any
    # What plays small_tuned in the recipes. Empty: the family's first.
    behaviour: Annotated[str, _placed("behaviour", lambda value: _read_word("behaviour", value))] = ""
    columns: Annotated[Columns, _placed("columns", _read_columns)] = ()  # empty: the first three
    controls: Annotated[Mapping[str, float], _placed("controls", _read_controls)] = {}
    sampling: Annotated[Sampling, _placed("sampling", _read_sampling)] = Sampling()
    weight_filter: Annotated[WeightFilter, _placed("filter", _or_text(WeightFilter, parse_weight_filter))] = (
        OFF
    )
    schedule: Annotated[Schedule, _placed("schedule", _or_text(Schedule, parse_schedule))] = CONSTANT
    speculation: Annotated[Speculation, _placed("speculation", _or_text(Speculation, parse_speculation))] = (
        Speculation()
    )
    length: Annotated[int | None, _placed("length", _read_length)] = None  # tokens; None: the app's choice
    # What a person put around the prompt of a role; the others are shown it in the family's way.
    formats: Annotated[Mapping[str, PromptFormat], _placed("formats", _read_formats)] = {}

    @classmethod
    def from_posted(cls, posted: Mapping[str, object]) -> "RunSpec":
        """Read untrusted JSON as `as_posted` writes it. Names that a run does not have are passed over.

        What is left out is left open; null, such as for an emptied field, is refused. Raises EFTError.
        """
        given = {FIELD_OF.get(name, name): value for name, value in posted.items()}
        known = {name: given[name] for name in cls.model_fields if name in given and name != "sampling"}
        if known.get("length", 0) is None:
            with in_place("length"):
                _length(None, MAX_LENGTH)
        sampling = {name: posted[name] for name in SAMPLING if name in posted}
        return cls(**known, sampling=sampling)  # type: ignore[arg-type]  # every field has a reader

    def as_posted(self) -> dict[str, object]:
        """The run as JSON; what it leaves open is left out."""
        posted: dict[str, object] = {
            "prompt": self.prompt,
            "controls": dict(self.controls),
            **asdict(self.sampling),
            "schedule": str(self.schedule),
            "filter": str(self.weight_filter),
            "speculation": str(self.speculation),
        }
        posted |= {name: value for name in ("family", "behaviour") if (value := getattr(self, name))}
        if self.columns:
            posted["columns"] = [{"name": name, "recipe": str(recipe)} for name, recipe in self.columns]
        if self.length is not None:
            posted["length"] = self.length
        if self.formats:
            posted["formats"] = {role: asdict(own) for role, own in self.formats.items()}
        return posted

    @property
    def heard(self) -> tuple[str, ...]:
        """The controls that its columns listen to, each once."""
        return tuple(dict.fromkeys(name for _, recipe in self.columns or FIRST for name in recipe.controls))

    def played(self) -> "RunSpec":
        """The same run with the behaviour in the place of small_tuned, as models and traces name it."""
        columns = tuple((name, recipe.played(self.behaviour)) for name, recipe in self.columns)
        return self.model_copy(update={"columns": columns})


def check(spec: RunSpec, family: Loaded, settings: Settings) -> RunSpec:
    """The run with all that it leaves open filled in. Raises InputError if it cannot be run here."""
    behaviour = check_behaviour(spec.behaviour, family)
    if spec.family not in ("", family.name):
        raise InputError(
            f"This run is for the models of {show_value(spec.family)}; here {family.title} answers.",
            code="unknown_family",
            where="family",
        )
    columns = spec.columns or FIRST
    if len(columns) > MAX_COLUMNS:
        raise InputError(
            f"A run may have {MAX_COLUMNS} columns at most; this one has {len(columns)}.",
            code="columns_range",
            where="columns",
        )
    for index, (_, recipe) in enumerate(columns):
        with in_place(f"column-{index}"):
            check_recipe(recipe.played(behaviour), family, settings)
    _check_prompt(spec.prompt, settings)
    for role in spec.formats:
        with in_place("formats"):
            check_role(role, family)
    length = settings.default_new_tokens if spec.length is None else spec.length
    with in_place("length"):
        length = _length(length, settings.max_new_tokens)
    return spec.model_copy(
        update={
            "family": family.name,
            "behaviour": behaviour,
            "columns": columns,
            "controls": _checked_controls(spec, settings),
            "length": length,
        }
    )


def check_behaviour(behaviour: str, family: Loaded) -> str:
    """The behaviour, if the family has it; the family's first if it is empty. Raises InputError."""
    known = [behaviour.role for behaviour in family.behaviours]
    if not known:
        raise InputError(NO_MODEL, code="no_model", where="behaviour")
    if behaviour and behaviour not in known:
        raise InputError(
            f"There is no behaviour {show_value(behaviour)}. Choose one of {', '.join(known)}.",
            code="unknown_behaviour",
            where="behaviour",
        )
    return behaviour or known[0]


def check_role(role: str, family: Loaded) -> None:
    """Raises InputError if the family has no such model."""
    if role not in family.roles:
        raise InputError(
            f"There is no model {show_value(role)[1:-1]} in the family {family.title}. "
            f"It has {', '.join(family.roles)}, and small_tuned for the chosen behaviour.",
            code="unknown_role",
        )


def check_recipe(recipe: Recipe, family: Loaded, settings: Settings) -> None:
    """Raises InputError if the family lacks a model of the recipe, or if it may undo what tuning did."""
    for role in recipe.roles:
        check_role(role, family)
    if not settings.allow_negative_alpha:
        refuse_undoing(recipe)


def _check_prompt(prompt: str, settings: Settings) -> None:
    limit = settings.max_prompt_chars
    with in_place("prompt"):
        if not prompt.strip():
            raise InputError(
                "The prompt is empty. Please type a question, or choose one of the examples.",
                code="prompt_empty",
            )
        if len(prompt) > limit:
            raise InputError(
                f"The prompt has {len(prompt):,} characters; the limit is {limit:,}. Please shorten it.",
                code="prompt_too_long",
            )


def _checked_controls(spec: RunSpec, settings: Settings) -> dict[str, float]:
    """The values that were given, and those that were not of alpha and beta."""
    controls = dict(spec.controls)
    for name in spec.heard:
        if name not in controls and name in CONTROLS:
            controls[name] = CONTROLS[name].default
    for name in dict.fromkeys((*spec.heard, *controls)):
        with in_place(name):
            if name not in controls and (limits := control_range(name)):
                limits.check(None)
            controls[name] = check_weight(name, controls[name], settings.allow_negative_alpha)
    return controls
