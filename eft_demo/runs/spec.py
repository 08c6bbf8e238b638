"""The one description of a run, as a value.

The page posts it, a link encodes it, the command line builds it, the engine runs it, a trace stores it, and
a branch changes a copy of it. Every field accepts its value or its JSON or text form and checks it; invalid
values raise an EFTError with a code and the field's name. Checks that depend on the models and limits of one
app are in `check`. A new field is one line in `RunSpec` plus its reader.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, PlainValidator

from eft_demo.errors import InputError, at_field
from eft_demo.method.recipe import BASE, UPSCALED, Recipe, Term, parse, refuse_undoing
from eft_demo.method.roles import SMALL_BASE, SMALL_TUNED
from eft_demo.method.sampling_settings import SAMPLING, Sampling
from eft_demo.method.schedule import CONSTANT, Schedule, parse_schedule
from eft_demo.method.speculation import Speculation, parse_speculation
from eft_demo.method.weight_filter import OFF, WeightFilter, parse_weight_filter
from eft_demo.runs.conversation import Turns, as_json, fits, for_columns, read_system, read_turns
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.settings import (
    CONTROLS,
    Settings,
    check_number,
    check_weight,
    control_range,
    show_value,
)

MAX_WORD_CHARS = 60  # of the name of a family, behaviour or role
MAX_COLUMNS = 16  # for runs from any source, so that every saved run can be opened again
MAX_FORMATS = 16  # roles with a custom prompt format
MAX_LENGTH = 1_000_000  # the app's own limit is lower; this one only keeps numbers short
MAX_CONTROLS = 64
NO_MODEL = "No model is loaded, so new runs are not possible. You can replay the recorded runs."
FIELD_OF = {"filter": "weight_filter"}  # name in JSON, links and error places -> field of RunSpec

Columns = tuple[tuple[str, Recipe], ...]
# Tuned is written as the small base plus the tuning difference: the same model up to float tolerance, at the
# cost of one more small sequence, and its tokens can be coloured like the up-scaled ones.
TUNED_SHOWN = Recipe(SMALL_BASE, (Term(1.0, SMALL_TUNED, SMALL_BASE),))
FIRST: Columns = (("Base", BASE), ("Tuned", TUNED_SHOWN), ("Up-scaled", UPSCALED))


class LoadedFamily(Protocol):
    """What `check` needs to know about the loaded family."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def roles(self) -> Collection[str]: ...
    @property
    def behaviours(self) -> Sequence["HasRole"]: ...


class HasRole(Protocol):
    """What `check` needs to know about a behaviour."""

    @property
    def role(self) -> str: ...


def _placed(where: str, read: Callable[[Any], Any]) -> PlainValidator:
    """A reader of one field, whose errors name the field `where`."""

    def placed(value: Any) -> Any:
        with at_field(where):
            return read(value)

    return PlainValidator(placed)


def _or_text(kind: type, parse_text: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A reader that accepts a value of type `kind` or its text form."""
    return lambda value: value if isinstance(value, kind) else parse_text(value)


def _read_prompt(value: object) -> str:
    if not isinstance(value, str):
        raise InputError(
            f"The prompt must be text; got {show_value(value)}. Please enter a question.", code="prompt_type"
        )
    return value


def _read_word(what: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_WORD_CHARS:
        shown = f"{len(value):,} characters" if isinstance(value, str) else show_value(value)
        raise InputError(
            f"The name of a {what} must be text of up to {MAX_WORD_CHARS} characters; got {shown}.",
            code=f"{what}_name",
        )
    return value


def _read_columns(value: object) -> Columns:
    """Read (name, recipe) pairs or {"name", "recipe"} objects; a recipe may be given as text."""
    if not isinstance(value, (list, tuple)):
        raise InputError(f"The columns must be a list; got {show_value(value)}.", code="columns_type")
    columns = []
    for index, column in enumerate(value):
        with at_field(f"column-{index}"):
            columns.append(_read_column(column))
    return tuple(columns)


def _read_column(column: object) -> tuple[str, Recipe]:
    if isinstance(column, Mapping):
        column = (column.get("name"), column.get("recipe"))
    if not isinstance(column, (list, tuple)) or len(column) != 2:
        message = f"A column must have a name and a recipe; got {show_value(column)}."
        raise InputError(message, code="column_type")
    name, recipe = column
    if not isinstance(name, str):
        raise InputError(f"The name of a column must be text; got {show_value(name)}.", code="column_name")
    if isinstance(recipe, Recipe):
        return name, recipe
    if isinstance(recipe, str) and not recipe.strip():
        message = "This column has no recipe yet. Please enter one, such as large_base."
        raise InputError(message, code="recipe_empty")
    return name, parse(recipe)


def parse_column(text: str) -> tuple[str, Recipe]:
    """Parse `name:recipe`, or a recipe that is also its name. Raises RecipeError."""
    name, colon, recipe = text.rpartition(":")  # names may contain colons, recipes do not
    return (name if colon else text), parse(recipe)


def _read_controls(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping) or len(value) > MAX_CONTROLS:
        raise InputError(
            f"The controls must be up to {MAX_CONTROLS} values by name; got {show_value(value)}.",
            code="controls_type",
        )
    controls = {}
    for name, number in value.items():
        with at_field(str(name)):
            # `check` decides whether an alpha may be negative, because it knows the settings.
            below = isinstance(number, (int, float)) and number < 0
            controls[str(name)] = check_weight(name, number, below)
    return controls


def _read_sampling(value: object) -> Sampling:
    if isinstance(value, Sampling):
        return value
    if not isinstance(value, Mapping) or not SAMPLING.keys() >= value.keys():
        known = ", ".join(SAMPLING)
        raise InputError(f"Sampling may set {known}; got {show_value(value)}.", code="sampling_type")
    return Sampling(**value)


def _read_length(value: object) -> int | None:
    """None stands for the app's default."""
    return None if value is None else _length(value, MAX_LENGTH)


def _length(value: object, most: int) -> int:
    return int(check_number("Length", value, 1, most, integer=True))


def _read_formats(value: object) -> dict[str, PromptFormat]:
    if not isinstance(value, Mapping):
        message = f"Prompt formats must be a table by model; got {show_value(value)}."
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
            f"The prompt format of {role} must have a kind and a text; got {show_value(given)}.",
            code="format_type",
        )
    try:
        return PromptFormat(given.get("kind"), given.get("text"))  # type: ignore[arg-type]  # checks both
    except InputError as refusal:
        raise InputError(f"{role}: {refusal}", code=refusal.code) from None


class RunSpec(BaseModel):
    """A run. Change a copy with `spec.model_copy(update={...})`, which does not check the new values.

    Equal specs with the same models and versions give equal texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    prompt: Annotated[str, _placed("prompt", _read_prompt)] = ""
    family: Annotated[str, _placed("family", lambda value: _read_word("family", value))] = ""  # empty: any
    # The role that small_tuned stands for in the recipes. Empty: the family's first.
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
    length: Annotated[int | None, _placed("length", _read_length)] = None  # tokens; None: the app's default
    # Custom prompt formats by role; the other roles use the family's.
    formats: Annotated[Mapping[str, PromptFormat], _placed("formats", _read_formats)] = {}
    # The system prompt of every chat format that has none of its own; other formats ignore it.
    system: Annotated[str, _placed("system", read_system)] = ""
    # The earlier turns; `prompt` is the last question.
    turns: Annotated[Turns, _placed("turns", read_turns)] = ()

    @classmethod
    def from_posted(cls, posted: Mapping[str, object]) -> "RunSpec":
        """Read untrusted JSON in the form of `as_posted`. Unknown names are ignored.

        Missing fields get their defaults; null, as posted for an emptied field, is an error. Raises EFTError.
        """
        given = {FIELD_OF.get(name, name): value for name, value in posted.items()}
        known = {name: given[name] for name in cls.model_fields if name in given and name != "sampling"}
        if known.get("length", 0) is None:
            with at_field("length"):
                _length(None, MAX_LENGTH)
        sampling = {name: posted[name] for name in SAMPLING if name in posted}
        return cls(**known, sampling=sampling)  # type: ignore[arg-type]  # every field has a reader

    def as_posted(self) -> dict[str, object]:
        """The run as JSON, without fields that are left to their defaults."""
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
        if self.system:
            posted["system"] = self.system
        if self.turns:
            posted["turns"] = as_json(self.turns)
        return posted

    @property
    def used_controls(self) -> tuple[str, ...]:
        """The controls that its columns use, each once."""
        return tuple(dict.fromkeys(name for _, recipe in self.columns or FIRST for name in recipe.controls))

    def only(self, places: Sequence[int]) -> "RunSpec":
        """The same run with only the columns at these places. It must have at least one column."""
        columns = tuple(self.columns[place] for place in places)
        return self.model_copy(update={"columns": columns, "turns": for_columns(self.turns, places)})

    def for_behaviour(self) -> "RunSpec":
        """The same run with the behaviour in place of small_tuned, as models and traces name it."""
        columns = tuple((name, recipe.for_behaviour(self.behaviour)) for name, recipe in self.columns)
        return self.model_copy(update={"columns": columns})


def check(spec: RunSpec, family: LoadedFamily, settings: Settings) -> RunSpec:
    """Return the run with all defaults filled in. Raises InputError if this app cannot run it."""
    behaviour = check_behaviour(spec.behaviour, family)
    check_family(spec.family, family)
    columns = spec.columns or FIRST
    if len(columns) > MAX_COLUMNS:
        raise InputError(
            f"A run may have at most {MAX_COLUMNS} columns; this one has {len(columns)}.",
            code="columns_range",
            where="columns",
        )
    for index, (_, recipe) in enumerate(columns):
        with at_field(f"column-{index}"):
            check_recipe(recipe.for_behaviour(behaviour), family, settings)
    _check_prompt(spec.prompt, settings)
    _check_conversation(spec, len(columns), settings)
    for role in spec.formats:
        with at_field("formats"):
            check_role(role, family)
    length = settings.default_new_tokens if spec.length is None else spec.length
    with at_field("length"):
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


def check_family(name: str, family: LoadedFamily) -> None:
    """Raise InputError if the run is for another family than the loaded one."""
    if name not in ("", family.name):
        raise InputError(
            f"This run is for the model family {show_value(name)}, but {family.title} is loaded.",
            code="unknown_family",
            where="family",
        )


def check_behaviour(behaviour: str, family: LoadedFamily) -> str:
    """Return the behaviour, or the family's first if it is empty. Raises InputError if it is unknown."""
    known = [each.role for each in family.behaviours]
    if not known:
        raise InputError(NO_MODEL, code="no_model", where="behaviour")
    if behaviour and behaviour not in known:
        raise InputError(
            f"There is no behaviour {show_value(behaviour)}. Choose one of {', '.join(known)}.",
            code="unknown_behaviour",
            where="behaviour",
        )
    return behaviour or known[0]


def check_role(role: str, family: LoadedFamily) -> None:
    """Raise InputError if the family has no such model."""
    if role not in family.roles:
        raise InputError(
            f"There is no model {show_value(role)[1:-1]} in the family {family.title}. "
            f"It has {', '.join(family.roles)}; small_tuned stands for the chosen behaviour.",
            code="unknown_role",
        )


def check_recipe(recipe: Recipe, family: LoadedFamily, settings: Settings) -> None:
    """Raise InputError if the family lacks a model of the recipe, or if the recipe can undo tuning."""
    for role in recipe.roles:
        check_role(role, family)
    if not settings.allow_negative_alpha:
        refuse_undoing(recipe)


def _check_prompt(prompt: str, settings: Settings) -> None:
    limit = settings.max_prompt_chars
    with at_field("prompt"):
        if not prompt.strip():
            raise InputError(
                "The prompt is empty. Please enter a question or choose an example.",
                code="prompt_empty",
            )
        if len(prompt) > limit:
            raise InputError(
                f"The prompt has {len(prompt):,} characters; the limit is {limit:,}. Please shorten it, or "
                "start the app with a larger EFT_MAX_PROMPT_CHARS.",
                code="prompt_too_long",
            )


def _check_conversation(spec: RunSpec, columns: int, settings: Settings) -> None:
    with at_field("turns"):
        if not fits(spec.turns, columns):
            counts = sorted({len(turn.answers) for turn in spec.turns})
            raise InputError(
                f"An earlier turn must have one answer, or one for each of the {columns} columns; these have "
                f"{' and '.join(map(str, counts))}. Please choose one column to continue from.",
                code="turns_answers",
            )
        limit = settings.max_conversation_chars
        longest = max(
            sum(len(turn.question) + len(turn.answer(column)) for turn in spec.turns)
            for column in range(columns)
        )
        if (chars := len(spec.system) + longest) > limit:
            raise InputError(
                f"The conversation before this question has {chars:,} characters; the limit is {limit:,}. "
                "Please start a new conversation.",
                code="turns_too_long",
            )


def _checked_controls(spec: RunSpec, settings: Settings) -> dict[str, float]:
    """The given values, plus the defaults of alpha and beta where they are used but not given."""
    controls = dict(spec.controls)
    for name in spec.used_controls:
        if name not in controls and name in CONTROLS:
            controls[name] = CONTROLS[name].default
    for name in dict.fromkeys((*spec.used_controls, *controls)):
        with at_field(name):
            if name not in controls and (limits := control_range(name)):
                limits.check(None)
            controls[name] = check_weight(name, controls[name], settings.allow_negative_alpha)
    return controls
