"""Share links: a run's settings as the end of a link, and back. A link never starts a run.

    #v=1&prompt=...&family=atlas&behaviour=pirate&column=Base:large_base&column=...&alpha=1.5&seed=7...
    #v=2&prompt=...&format=pirate:plain:Q...                   a role, its kind of prompt format, the text
    #v=3&prompt=...&system=...&turn=["question","answer"]...   a system prompt; earlier turns, as JSON, with
                                                               one answer for all columns or one each
    ...&colour=entropy&same=3&selected=2.14                    what the page shows once the run has ended:
                                                               colours, the column whose text all score,
                                                               column and token; from 1
    ...&branch=[3,5,42,7,0,{"alpha":2}]                        a branch to write after the run, from its text
                                                               the next: column, place (from 1), token id
                                                               or null, seed, 1 for all columns, sliders

The settings follow a #, which browsers never send: no server limits their length or logs the prompt. Older
links use ? and are read too. Anybody can write a link, and many programs edit them, so every value is checked
separately; invalid ones are dropped and reported. Knows the settings of a run; knows no models and no page.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any
from urllib.parse import unquote_plus, urlencode

from eft_demo.errors import EFTError, InputError
from eft_demo.method.recipe import Recipe
from eft_demo.method.sampling_settings import SAMPLING, Sampling
from eft_demo.method.schedule import parse_schedule
from eft_demo.method.speculation import parse_speculation
from eft_demo.method.weight_filter import parse_weight_filter
from eft_demo.runs.conversation import MAX_TURNS, Turn, fits, parse_turn, read_system, turn_to_text
from eft_demo.runs.link_text import (
    Fields,
    numbers_in,
    read_fields,
    trimmed,
    without_invisible,
    without_trailing_marks,
)
from eft_demo.runs.made_with import Facts, facts_from_text, facts_to_text
from eft_demo.runs.prompt_format import PromptFormat, parse_format
from eft_demo.runs.spec import FIRST, MAX_FORMATS, MAX_LENGTH, MAX_WORD_CHARS, RunSpec, parse_column
from eft_demo.settings import CONTROLS, SEED, Range, check_control, number_text, show_value

VERSION = 1
RENAMED = {"panel": "column"}  # names in older links
VERSION_WITH_FORMATS = 2  # so that apps that only read version 1 do not ignore the formats
VERSION_WITH_TURNS = 3  # nor those that only read version 2 a conversation or its system prompt
MAX_QUERY_CHARS = 60_000  # the longest prompt of emoji takes 48,000; browsers allow more
MAX_PROMPT_CHARS = 4000
MAX_NAME_CHARS = MAX_WORD_CHARS  # of a column
MAX_COLUMNS = 8
MAX_BRANCHES = 20  # one after another
MAX_COUNT = 2**32  # of places, tokens and seeds
MAX_FIELDS = 300  # ten times what a run of the page has; every invalid one adds a message


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch. Column and place count from 1; a `token` of None is sampled; `all` columns or one go on."""

    column: int
    place: int
    token: int | None
    seed: int
    all: bool
    controls: Mapping[str, float]

    def as_text(self) -> str:
        """As a link has it."""
        fields = [self.column, self.place, self.token, self.seed, int(self.all), dict(self.controls)]
        return json.dumps(fields)


@dataclass(frozen=True, slots=True)
class View:
    """How the page shows a run. Columns and tokens count from 1; None and "" are left to the page."""

    colour: str = ""  # by what tokens are coloured; the page knows the names
    shared: int | None = None  # the column whose text all columns score
    selected: tuple[int, int] | None = None  # the column and place of the selected token
    branches: tuple[Branch, ...] = ()  # from the run to the text that is shown

    def as_json(self) -> dict[str, object]:
        """Only what it sets."""
        branches = [asdict(branch) for branch in self.branches]
        found: dict[str, object] = {"colour": self.colour, "shared": self.shared, "selected": self.selected}
        found["branches"] = branches
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Link:
    """A run as stored in a link. Raises EFTError for values that no link can hold."""

    spec: RunSpec
    made: Facts = ()  # what affects results (versions, formats, ...) where the link was made
    view: View = View()
    left_out: tuple[str, ...] = field(default=(), compare=False)  # messages about values dropped on reading

    def to_query(self) -> str:
        """The part of the address after the #. Lone surrogates survive. Raises InputError.

        The last field is a number, so that punctuation after a link in a sentence is easy to strip.
        """
        spec = self.spec
        _check_text("prompt", spec.prompt, MAX_PROMPT_CHARS)
        for name, _ in spec.columns:
            _check_text("name", name, MAX_NAME_CHARS)
        if len(spec.columns) > MAX_COLUMNS:
            raise InputError(
                f"A link may hold at most {MAX_COLUMNS} columns; this one has {len(spec.columns)}.",
                code="link_columns",
            )
        version = VERSION_WITH_FORMATS if spec.formats else VERSION
        version = VERSION_WITH_TURNS if spec.system or spec.turns else version
        pairs: list[tuple[str, str]] = [("v", str(version)), ("prompt", spec.prompt)]
        words = ("family", "behaviour", "system")
        pairs += [(name, value) for name in words if (value := getattr(spec, name))]
        pairs += [("turn", turn_to_text(turn)) for turn in spec.turns]
        pairs += [("column", f"{name}:{recipe}") for name, recipe in spec.columns]
        pairs += [("format", f"{role}:{own.kind}:{own.text}") for role, own in spec.formats.items()]
        texts = {"filter": spec.weight_filter, "schedule": spec.schedule, "speculation": spec.speculation}
        pairs += [(name, str(value)) for name, value in texts.items()]
        pairs += [("made", facts_to_text(self.made))] if self.made else []
        pairs += self._view_pairs()
        pairs += [(name, number_text(value)) for name, value in sorted(spec.controls.items())]
        pairs += [] if spec.length is None else [("length", str(spec.length))]
        pairs += [(name, number_text(getattr(spec.sampling, name))) for name in SAMPLING]
        query = urlencode(pairs, errors="surrogatepass")
        _check_query(query)
        return query

    def _view_pairs(self) -> list[tuple[str, str]]:
        view = self.view
        pairs = [("branch", branch.as_text()) for branch in view.branches]
        pairs += [("colour", view.colour)] if view.colour else []
        pairs += [] if view.shared is None else [("same", str(view.shared))]
        return pairs + ([("selected", "{}.{}".format(*view.selected))] if view.selected else [])


def from_query(query: str, allow_negative: bool = False) -> Link | None:
    """Parse the part of an address after # or ?. None if it is not one of our links.

    Invalid values are dropped, each with a message in the link's `left_out`. `allow_negative` permits alphas
    below 0. Raises InputError for a link that is too long or holds too many values.
    """
    _check_query(query)
    fields = read_fields(query, _is_ours)
    if (count := sum(map(len, fields.values.values()))) > MAX_FIELDS:
        raise InputError(
            f"A link may hold at most {MAX_FIELDS} values; this one has {count:,}. Please copy it again.",
            code="link_fields",
        )
    others = [name for name in fields.values if _is_ours(name) and name != "v"]
    if "v" in fields.values or ("prompt" in others and len(others) > 1):
        return _Reader(fields, allow_negative).link()
    return None


def _is_ours(name: str) -> bool:
    return name in _NAMES or name.startswith("alpha_")


class _Reader:
    """Reads a link field by field and collects messages about what it drops."""

    def __init__(self, fields: Fields, allow_negative: bool) -> None:
        self.values, self.unreadable = {**fields.values}, fields.unreadable
        for old, new in RENAMED.items():
            if old in self.values:
                self.values[new] = self.values.get(new, []) + self.values.pop(old)
        self.allow_negative = allow_negative
        self.left_out: list[str] = []

    def link(self) -> Link:
        """The link with its valid values."""
        self._version()
        found: dict[str, Any] = {}
        for name, (field_name, read) in _READERS.items():
            if (value := self._one(name, read)) is not None:
                found[field_name] = value
        numbers = {name: self._one(name, partial(_read_number, limits)) for name, limits in SAMPLING.items()}
        controls = {
            name: value
            for name in self.values
            if name in CONTROLS or name.startswith("alpha_")
            if (value := self._one(name, partial(self._control, name))) is not None
        }
        columns = self._many("column", _mended_column, MAX_COLUMNS, "columns")
        formats: dict[str, PromptFormat] = {}
        for role, own in self._many("format", _format, MAX_FORMATS, "prompt formats"):
            if formats.setdefault(role, own) != own:
                self.left_out.append(f"It has two prompt formats for {show_value(role)}; the first is used.")
        self._report_misspelt()
        made = found.pop("made", ())
        shown = {name: found.pop(name) for name in ("colour", "shared", "selected") if name in found}
        view = View(**shown, branches=self._branches())
        spec = RunSpec(
            columns=tuple(columns),
            controls=controls,
            sampling=Sampling(**{name: value for name, value in numbers.items() if value is not None}),
            formats=formats,
            turns=self._turns(len(columns or FIRST)),
            **found,
        )
        return Link(spec, made, view, tuple(self.left_out))

    def _turns(self, columns: int) -> tuple[Turn, ...]:
        """The earlier turns: all or none, because an answer makes no sense without its question."""
        before = len(self.left_out)
        turns = tuple(self._many("turn", parse_turn, MAX_TURNS, "earlier turns"))
        if len(self.left_out) == before and not fits(turns, columns):
            self.left_out.append(f"Its earlier turns do not have an answer for each of {columns} columns.")
        if len(self.left_out) == before:
            return turns
        self.left_out.append("Its earlier turns are left out.")
        return ()

    def _branches(self) -> tuple[Branch, ...]:
        """The branches: all or none, because each continues the text of the one before it."""
        before = len(self.left_out)
        branches = tuple(self._many("branch", self._branch, MAX_BRANCHES, "branches"))
        if len(self.left_out) == before:
            return branches
        self.left_out.append("Its branches are left out.")
        return ()

    def _branch(self, text: str) -> Branch:
        with suppress(ValueError, RecursionError, TypeError):  # of JSON, or of a list of another length
            column, place, token, seed, every, controls = json.loads(text)
            if (
                all(_is_count(value) for value in (column, place, seed, 0 if token is None else token))
                and 1 <= column <= MAX_COLUMNS
                and place >= 1
                and every in (0, 1)
                and isinstance(controls, dict)
            ):
                values = {
                    name: check_control(name, value, self.allow_negative) for name, value in controls.items()
                }
                return Branch(column, place, token, int(SEED.check(seed)), every == 1, values)
        raise InputError(
            "A branch in a link must be a list of column, place, token, seed, 0 or 1, and sliders; got "
            f"{show_value(text)}.",
            code="link_branch",
        )

    def _version(self) -> None:
        known = tuple(map(str, (VERSION, VERSION_WITH_FORMATS, VERSION_WITH_TURNS)))
        versions = [trimmed(value) for value in self.values.get("v", [])]
        if not versions:
            self.left_out.append("Its version number is missing.")
        elif not any(version in known for version in versions):
            read = f"{VERSION} to {VERSION_WITH_TURNS}"
            self.left_out.append(
                f"This app reads link version {read}; got {show_value(versions[0])}, so parts may be missing."
            )

    def _one(self, name: str, read: Callable[[str], Any]) -> Any:
        """The first valid value of this name; None if there is none."""
        values = list(dict.fromkeys(self.values.get(name, [])))
        refusals = []
        for value in values:
            # The value as it is, then without surrounding characters, then without a second encoding.
            mended = (trimmed(value), trimmed(unquote_plus(value))) if name not in _VERBATIM else ()
            if name not in _WORDS:
                mended = (*mended, *numbers_in(value))
            for text in dict.fromkeys((value, *mended)):
                try:
                    found = read(text)
                except EFTError as refusal:
                    refusals.append(str(refusal).partition("\n")[0])
                    continue
                self._note_changes(name, value, text, len(values))
                return found
        self.left_out += refusals[:1]
        return None

    def _note_changes(self, name: str, value: str, used: str, count: int) -> None:
        if count > 1:
            self.left_out.append(f"It contains {name} {count} times; {show_value(used)} is used.")
        elif used not in (value, " ".join(value.split())):
            self.left_out.append(f"Its {name} {show_value(value)} was read as {show_value(used)}.")
        elif name in self.unreadable:
            self.left_out.append(f"Some characters of its {name} could not be read.")

    def _many(self, name: str, read: Callable[[str], Any], most: int, what: str) -> list[Any]:
        found, values = [], self.values.get(name, [])
        copies = max(1, len(self.values.get("prompt", [])))  # the link may be pasted several times in a row
        if values == values[: len(values) // copies] * copies:
            values = values[: len(values) // copies]
        for value in values:
            try:
                found.append(read(value))
            except EFTError as refusal:
                self.left_out.append(str(refusal).partition("\n")[0])
        if len(found) > most:
            self.left_out.append(f"A link may hold at most {most} {what}; this one has {len(found)}.")
        return found[:most]

    def _control(self, name: str, text: str) -> float:
        return check_control(name, _float(name, text), self.allow_negative)

    def _report_misspelt(self) -> None:
        """Report the first name that looks like a misspelt one of ours; ignore names that others add."""
        for name in self.values:
            if _is_ours(name) or _ADDED.match(name):
                continue
            if near := get_close_matches(name.strip().lower(), _NAMES, 1, _ALIKE):
                self.left_out.append(f"It contains {show_value(name)}; did you mean {near[0]}?")
                return


def _prompt(text: str) -> str:
    _check_text("prompt", text, MAX_PROMPT_CHARS)
    return text


def _name(text: str) -> str:
    _check_text("name", text, MAX_NAME_CHARS)
    return text


def _made(text: str) -> Facts:
    facts = facts_from_text(text)
    if facts is None:
        message = f"The versions that the link was made with cannot be read: {show_value(text)}."
        raise InputError(message, code="link_made")
    return facts


def _colour(text: str) -> str:
    if not re.fullmatch(r"[a-z]{1,20}", text):
        raise InputError(f"A colour in a link must be a word; got {show_value(text)}.", code="link_colour")
    return text


def _place(text: str) -> int:
    return int(_read_number(Range("Column", 1, MAX_COLUMNS, 1, integer=True), text))


def _token(text: str) -> tuple[int, int]:
    column, _, token = text.partition(".")
    if not (re.fullmatch(r"[0-9]{1,9}", token) and int(token)):
        raise InputError(
            f"A token in a link must be a column and a place, such as 2.14; got {show_value(text)}.",
            code="link_token",
        )
    return _place(column), int(token)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_COUNT


def _length(text: str) -> int:
    return int(_read_number(Range("Length", 1, MAX_LENGTH, 1, integer=True), text))


def _column(text: str) -> tuple[str, Recipe]:
    if ":" not in text:
        raise InputError(
            f"A column in a link must be a name, a colon and a recipe; got {show_value(text)}.",
            code="link_column",
        )
    name, recipe = parse_column(text)
    return _name(name), recipe


def _mended_column(text: str) -> tuple[str, Recipe]:
    """Parse a column, if need be after repairing its end, where other programs add or drop characters."""
    try:
        return _column(text)
    except EFTError as refusal:
        # Keeps a final operator: a truncated recipe stays invalid.
        bare = without_trailing_marks(without_invisible(text), "+-−–")
        bracketed = without_trailing_marks(without_invisible(text), ")+-−–")
        operators = re.sub(r"(?<=[\w)]) {3}(?=[\w.(])", " + ", bracketed)  # + decoded twice becomes a space
        for mended in (bracketed, bare + ")", bare, operators):
            with suppress(EFTError):
                return _column(mended)
        raise refusal


def _format(text: str) -> tuple[str, PromptFormat]:
    role, own = parse_format(text)
    return _name(role), own


def _read_number(limits: Range, text: str) -> float | int:
    value = _float(limits.name, text)
    return limits.check(int(value) if limits.integer and value == int(value) else value)


def _float(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e300:
        raise InputError(f"{show_value(name)} must be a number; got {show_value(text)}.", code="link_number")
    return value


def _check_query(query: str) -> None:
    if len(query) > MAX_QUERY_CHARS:
        raise InputError(
            f"A link may have at most {MAX_QUERY_CHARS:,} characters; this one has {len(query):,}. "
            "Please share the run as a file.",
            code="link_too_long",
        )


def _check_text(what: str, text: object, limit: int) -> None:
    if not isinstance(text, str) or len(text) > limit:
        shown = f"{len(text):,} characters" if isinstance(text, str) else show_value(text)
        raise InputError(
            f"A {what} in a link may have at most {limit:,} characters; got {shown}.", code=f"link_{what}"
        )


# Name in a link -> the field of RunSpec and its parser.
_READERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "prompt": ("prompt", _prompt),
    "family": ("family", _name),
    "behaviour": ("behaviour", _name),
    "system": ("system", read_system),
    "filter": ("weight_filter", parse_weight_filter),
    "schedule": ("schedule", parse_schedule),
    "speculation": ("speculation", parse_speculation),
    "length": ("length", _length),
    "made": ("made", _made),
    "colour": ("colour", _colour),
    "same": ("shared", _place),
    "selected": ("selected", _token),
}
_VERBATIM = {"prompt", "system"}
_WORDS = {*_VERBATIM, "family", "behaviour", "made", "colour", "selected"}  # texts, not searched for numbers
_NAMES = {"v", "column", *RENAMED, "format", "turn", "branch", *_READERS, *SAMPLING, *CONTROLS}
_ALIKE = 0.8  # similarity of two names, from 0 to 1: promt and prompt have 0.91, ref is near none
# Parameters that Gradio, Spaces, trackers and link wrappers add.
_ADDED = re.compile(
    r"$|_|(?:utm|gad|hsa|vero|mkt|mc|oly)_|[a-z]*cl(?:id|kid|src)$|(?:igshid|igsh|si|s|t|ref|source|sources|"
    r"view|logs|key|srsltid|feature|usg|ust|sa|ved|opi|data|sdata|reserved|mibextid|trk)$"
)
