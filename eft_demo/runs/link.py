"""What to run, as the end of a link, and back. A link fills in the page; it never runs anything by itself.

    #v=1&prompt=...&family=atlas&behaviour=pirate&panel=Base:large_base&panel=...&alpha=1.5&seed=7...
    #v=2&prompt=...&format=pirate:plain:Q...                   a role, its kind of prompt format, the text

It stands behind #, which browsers keep to themselves: no server on the way limits its length or writes the
prompt into a log. Older links have ? there and are read as well. Anybody can write a link, and many programs
edit them, so everything is checked here by itself; what cannot be used is left out and named. Knows the
settings of a run; knows no models and no page.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote_plus, urlencode

from eft_demo.errors import EFTError, InputError
from eft_demo.method.recipe import Recipe, parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import CONSTANT, Schedule, parse_schedule
from eft_demo.method.speculation import Speculation, parse_speculation
from eft_demo.method.weight_filter import OFF, WeightFilter, parse_weight_filter
from eft_demo.runs.link_text import Fields, numbers_in, read_fields, seen, trimmed, without_marks
from eft_demo.runs.made_with import Facts, join_short, read_short
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.settings import (
    CONTROLS,
    MIN_P,
    SEED,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    Range,
    check_control,
    check_number,
    show_value,
)

VERSION = 1
VERSION_WITH_FORMATS = 2  # who reads only the first must not pass over them and show something else
MAX_QUERY_CHARS = 60_000  # of which the longest prompt of emoji takes 48,000; browsers take more
MAX_PROMPT_CHARS = 4000
MAX_NAME_CHARS = 60
MAX_PANELS = 8
MAX_FIELDS = 300  # ten times what a run of the page has; each that cannot be used costs a sentence
MAX_FORMATS = 16  # roles whose prompt a person changed
MAX_LENGTH = 1_000_000  # the service's own limit is lower; this one only keeps numbers short

_NUMBERS: Mapping[str, Range] = {
    "temperature": TEMPERATURE,
    "top_p": TOP_P,
    "top_k": TOP_K,
    "min_p": MIN_P,
    "seed": SEED,
}


@dataclass(frozen=True, slots=True)
class Permalink:
    """All that a run needs beside the models. Raises EFTError, a sentence, for what could never be run.

    The page's own requests are such values too, so how long a link's prompt may be is checked with the link.
    """

    prompt: str = ""
    family: str = ""  # empty: the page's
    behaviour: str = ""  # empty: the page's choice
    panels: tuple[tuple[str, Recipe], ...] = ()  # empty: the page's three
    controls: Mapping[str, float] = field(default_factory=dict)
    sampling: Sampling = field(default_factory=Sampling)
    weight_filter: WeightFilter = OFF
    schedule: Schedule = CONSTANT
    speculation: Speculation = field(default_factory=Speculation)
    length: int | None = None  # tokens; None: the page's choice
    formats: Mapping[str, PromptFormat] = field(default_factory=dict)  # by role; what is not here is as ever
    made: Facts = ()  # of the page that made the link: what decides about results there
    left_out: tuple[str, ...] = field(default=(), compare=False)  # of a link that was read: a sentence each

    def __post_init__(self) -> None:
        for name in (self.family, self.behaviour, *(name for name, _ in self.panels), *self.formats):
            _check_text("name", name, MAX_NAME_CHARS)
        if len(self.formats) > MAX_FORMATS:
            raise InputError(
                f"A link may hold at most {MAX_FORMATS} prompt formats, not {len(self.formats)}."
            )
        if len(self.panels) > MAX_PANELS:
            raise InputError(f"A link may hold at most {MAX_PANELS} panels; this one has {len(self.panels)}.")
        # Whether an alpha may be below 0 is for those to say who know the settings: from_query and the page.
        checked = {name: check_control(name, value, True) for name, value in self.controls.items()}
        object.__setattr__(self, "controls", checked)
        if self.length is not None:
            check_number("Length", self.length, 1, MAX_LENGTH, integer=True)

    def to_query(self) -> str:
        """The part of the address behind the #. Lone surrogates survive. Raises InputError.

        A number is its last field: whatever is put behind a link in a sentence is no part of a number.
        """
        _check_text("prompt", self.prompt, MAX_PROMPT_CHARS)
        version = VERSION_WITH_FORMATS if self.formats else VERSION
        pairs: list[tuple[str, str]] = [("v", str(version)), ("prompt", self.prompt)]
        pairs += [(name, value) for name in ("family", "behaviour") if (value := getattr(self, name))]
        pairs += [("panel", f"{name}:{recipe}") for name, recipe in self.panels]
        pairs += [("format", f"{role}:{own.kind}:{own.text}") for role, own in self.formats.items()]
        texts = {"filter": self.weight_filter, "schedule": self.schedule, "speculation": self.speculation}
        pairs += [(name, str(value)) for name, value in texts.items()]
        pairs += [("made", join_short(self.made))] if self.made else []
        pairs += [(name, _number(value)) for name, value in sorted(self.controls.items())]
        pairs += [] if self.length is None else [("length", str(self.length))]
        pairs += [(name, _number(getattr(self.sampling, name))) for name in _NUMBERS]
        query = urlencode(pairs, errors="surrogatepass")
        _check_query(query)
        return query


def from_query(query: str, allow_negative: bool = False) -> Permalink | None:
    """Read what stands behind the # or the ? of an address. None if it is no link of ours.

    A value that cannot be used costs that value: the link's `left_out` has a sentence for it.
    `allow_negative` is whether an alpha may be below 0 here. Raises InputError for a link that is too long
    or holds too many values.
    """
    _check_query(query)
    fields = read_fields(query, _is_ours)
    if (count := sum(map(len, fields.values.values()))) > MAX_FIELDS:
        raise InputError(f"A link may hold {MAX_FIELDS} values; this one has {count:,}.")
    others = [name for name in fields.values if _is_ours(name) and name != "v"]
    if "v" in fields.values or ("prompt" in others and len(others) > 1):
        return _Reader(fields, allow_negative).link()
    return None


def _is_ours(name: str) -> bool:
    return name in _NAMES or name.startswith("alpha_")


class _Reader:
    """Reads a link field by field and notes what it has to leave out."""

    def __init__(self, fields: Fields, allow_negative: bool) -> None:
        self.values, self.unreadable = fields.values, fields.unreadable
        self.allow_negative = allow_negative
        self.left_out: list[str] = []

    def link(self) -> Permalink:
        """What can be used of it."""
        self._version()
        found: dict[str, Any] = {}
        for name, (field_name, read) in _READERS.items():
            if (value := self._one(name, read)) is not None:
                found[field_name] = value
        numbers = {name: self._one(name, partial(_read_number, limits)) for name, limits in _NUMBERS.items()}
        controls = {
            name: value
            for name in self.values
            if name in CONTROLS or name.startswith("alpha_")
            if (value := self._one(name, partial(self._control, name))) is not None
        }
        panels = self._many("panel", _mended_panel, MAX_PANELS, "columns")
        formats: dict[str, PromptFormat] = {}
        for role, own in self._many("format", _format, MAX_FORMATS, "prompt formats"):
            if formats.setdefault(role, own) != own:
                self.left_out.append(f"It has two prompt formats for {show_value(role)}; the first is taken.")
        self._strange()
        return Permalink(
            panels=tuple(panels),
            controls=controls,
            sampling=Sampling(**{name: value for name, value in numbers.items() if value is not None}),
            formats=formats,
            left_out=tuple(self.left_out),
            **found,
        )

    def _version(self) -> None:
        known = (str(VERSION), str(VERSION_WITH_FORMATS))
        versions = [trimmed(value) for value in self.values.get("v", [])]
        if not versions:
            self.left_out.append("It has lost its version.")
        elif not any(version in known for version in versions):
            read = " and ".join(known)
            self.left_out.append(
                f"This app reads links of version {read}; got {show_value(versions[0])}: more may be missing."
            )

    def _one(self, name: str, read: Callable[[str], Any]) -> Any:
        """The first of the name's values that can be used; None if there is none."""
        values = list(dict.fromkeys(self.values.get(name, [])))
        refusals = []
        for value in values:
            # As it stands; then as it was before others put something around it or encoded it again.
            mended = (trimmed(value), trimmed(unquote_plus(value))) if name != "prompt" else ()
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
            self.left_out.append(f"It says {name} {count} times; {show_value(used)} is taken.")
        elif used not in (value, " ".join(value.split())):
            self.left_out.append(f"For {name} it says {show_value(value)}; {show_value(used)} is taken.")
        elif name in self.unreadable:
            self.left_out.append(f"Some characters of its {name} could not be read.")

    def _many(self, name: str, read: Callable[[str], Any], most: int, what: str) -> list[Any]:
        found, values = [], self.values.get(name, [])
        copies = max(1, len(self.values.get("prompt", [])))  # of the link, one behind the other
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

    def _strange(self) -> None:
        """Names that nobody here knows; those that sites add to every link are no loss."""
        strange = [name for name in self.values if not _is_ours(name) and not _ADDED.match(name)]
        if strange:
            self.left_out.append(f"It says {show_value(strange[0])}, which means nothing here.")


def _prompt(text: str) -> str:
    _check_text("prompt", text, MAX_PROMPT_CHARS)
    return text


def _name(text: str) -> str:
    _check_text("name", text, MAX_NAME_CHARS)
    return text


def _made(text: str) -> Facts:
    facts = read_short(text)
    if facts is None:
        raise InputError(f"What a link was made with cannot be read: {show_value(text)}.")
    return facts


def _length(text: str) -> int:
    return int(_read_number(Range("Length", 1, MAX_LENGTH, 1, integer=True), text))


def _panel(text: str) -> tuple[str, Recipe]:
    name, colon, recipe = text.rpartition(":")  # a recipe has no colon; a name may
    if not colon:
        raise InputError(f"A panel in a link must be a name, a colon and a recipe; got {show_value(text)}.")
    _name(name)
    return name, parse(recipe)


def _mended_panel(text: str) -> tuple[str, Recipe]:
    """The panel, if need be without what stands behind it: a recipe may end with one bracket."""
    try:
        return _panel(text)
    except EFTError as refusal:
        bare, bracketed = without_marks(seen(text)), without_marks(seen(text), ")")
        operators = re.sub(r"(?<=[\w)]) {3}(?=[\w.(])", " + ", bracketed)  # a + read twice is a space
        for mended in (bracketed, bare + ")", bare, operators):
            with suppress(EFTError):
                return _panel(mended)
        raise refusal


def _format(text: str) -> tuple[str, PromptFormat]:
    role, *own = text.split(":", 2)  # neither a role nor a kind has a colon; a text may
    if len(own) != 2:
        raise InputError(f"A prompt format in a link is role:kind:text; got {show_value(text)}.")
    return _name(role), PromptFormat(*own)


def _read_number(limits: Range, text: str) -> float | int:
    value = _float(limits.name, text)
    return limits.check(int(value) if limits.integer and value == int(value) else value)


def _float(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e300:
        raise InputError(f"In this link {show_value(name)} must be a number; got {show_value(text)}.")
    return value


def _check_query(query: str) -> None:
    if len(query) > MAX_QUERY_CHARS:
        raise InputError(
            f"A link may have {MAX_QUERY_CHARS:,} characters; this one has {len(query):,}. "
            "Please send the run as a file."
        )


def _check_text(what: str, text: object, limit: int) -> None:
    if not isinstance(text, str) or len(text) > limit:
        shown = f"{len(text):,} characters" if isinstance(text, str) else show_value(text)
        raise InputError(f"A {what} in a link may have {limit:,} characters at most; got {shown}.")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


# By its name in a link: the field of Permalink, and what reads it.
_READERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "prompt": ("prompt", _prompt),
    "family": ("family", _name),
    "behaviour": ("behaviour", _name),
    "filter": ("weight_filter", parse_weight_filter),
    "schedule": ("schedule", parse_schedule),
    "speculation": ("speculation", parse_speculation),
    "length": ("length", _length),
    "made": ("made", _made),
}
_WORDS = {"prompt", "family", "behaviour", "made"}  # whose digits are no numbers
_NAMES = {"v", "panel", "format", *_READERS, *_NUMBERS, *CONTROLS}
# What Gradio, Spaces, and programs that count visits or wrap links add.
_ADDED = re.compile(
    r"$|_|(?:utm|gad|hsa|vero|mkt|mc|oly)_|[a-z]*cl(?:id|kid|src)$|(?:igshid|igsh|si|s|t|ref|source|sources|"
    r"view|logs|key|srsltid|feature|usg|ust|sa|ved|opi|data|sdata|reserved|mibextid|trk)$"
)
