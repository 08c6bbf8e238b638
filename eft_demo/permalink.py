"""What to run, as the query of a link, and back. A link fills in the page; it never runs anything by itself.

    ?v=1&prompt=...&family=atlas&behaviour=pirate&panel=Base:large_base&panel=...&alpha=1.5&seed=7...
    ?v=2&prompt=...&format=pirate:plain:Q...                   a role, its kind of prompt format, the text

Anybody can write a link, so everything in it is checked here and a bad one is a sentence. Knows the settings
of a run; knows no models and no page.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from eft_demo.engine.run import Speculation, parse_speculation
from eft_demo.errors import InputError
from eft_demo.families.prompt import PromptFormat
from eft_demo.recipe import Recipe, parse
from eft_demo.sampling import Sampling
from eft_demo.schedule import CONSTANT, Schedule, parse_schedule
from eft_demo.settings import (
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
from eft_demo.weight_filter import OFF, WeightFilter, parse_weight_filter

VERSION = 1
VERSION_WITH_FORMATS = 2  # who reads only the first must not pass over them and show something else
MAX_QUERY_CHARS = 60_000  # what web servers take; the longest prompt of emoji has 48,000
MAX_PROMPT_CHARS = 4000
MAX_NAME_CHARS = 60
MAX_PANELS = 8
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
    family: str = "atlas"
    behaviour: str = ""  # empty: the page's choice
    panels: tuple[tuple[str, Recipe], ...] = ()  # empty: the page's three
    controls: Mapping[str, float] = field(default_factory=dict)
    sampling: Sampling = field(default_factory=Sampling)
    weight_filter: WeightFilter = OFF
    schedule: Schedule = CONSTANT
    speculation: Speculation = field(default_factory=Speculation)
    length: int | None = None  # tokens; None: the page's choice
    formats: Mapping[str, PromptFormat] = field(default_factory=dict)  # by role; what is not here is as ever

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
        """The part of the address behind the question mark. Lone surrogates survive. Raises InputError."""
        _check_text("prompt", self.prompt, MAX_PROMPT_CHARS)
        version = VERSION_WITH_FORMATS if self.formats else VERSION
        pairs: list[tuple[str, str]] = [("v", str(version)), ("prompt", self.prompt), ("family", self.family)]
        pairs += [("behaviour", self.behaviour)] if self.behaviour else []
        pairs += [("panel", f"{name}:{recipe}") for name, recipe in self.panels]
        pairs += [(name, _number(value)) for name, value in sorted(self.controls.items())]
        pairs += [(name, _number(getattr(self.sampling, name))) for name in _NUMBERS]
        texts = {"filter": self.weight_filter, "schedule": self.schedule, "speculation": self.speculation}
        pairs += [(name, str(value)) for name, value in texts.items()]
        pairs += [] if self.length is None else [("length", str(self.length))]
        pairs += [("format", f"{role}:{own.kind}:{own.text}") for role, own in self.formats.items()]
        query = urlencode(pairs, errors="surrogatepass")
        _check_query(query)
        return query


def from_query(query: str, allow_negative: bool = False) -> Permalink | None:
    """Read what stands behind the question mark. None if it is no link of ours: it has no `v`.

    `allow_negative` is whether an alpha may be below 0 here.
    Raises EFTError, a sentence, for a link that is too long, of another version, or wrong anywhere.
    """
    _check_query(query)
    try:
        pairs = parse_qsl(
            query.removeprefix("?"), keep_blank_values=True, errors="surrogatepass", max_num_fields=100
        )
    except ValueError:  # bytes that are no text, or too many fields
        raise InputError("This link is damaged. Please ask for it again.") from None
    return from_pairs(pairs, allow_negative)


def from_pairs(pairs: Iterable[tuple[str, str]], allow_negative: bool = False) -> Permalink | None:
    """The same from names and values that a server has taken apart already."""
    found: dict[str, str] = {}
    panels = []
    formats: dict[str, PromptFormat] = {}
    for name, value in pairs:
        if name == "panel":
            panels.append(_panel(value))
        elif name == "format":
            role, own = _format(value)
            if role in formats:
                raise InputError(
                    f"This link has two prompt formats for {show_value(role)}. Please ask again."
                )
            formats[role] = own
        elif name in found:
            raise InputError(f"This link says {show_value(name)} twice. Please ask for it again.")
        else:
            found[name] = value
    if "v" not in found:
        return None
    if found["v"] not in (str(VERSION), str(VERSION_WITH_FORMATS)):
        known = f"{VERSION} and {VERSION_WITH_FORMATS}"
        raise InputError(f"This app reads links of version {known}; got {show_value(found['v'])}.")
    return _permalink(found, tuple(panels), formats, allow_negative)


def _permalink(
    found: Mapping[str, str],
    panels: tuple[tuple[str, Recipe], ...],
    formats: Mapping[str, PromptFormat],
    allow_negative: bool,
) -> Permalink:
    """What we do not know is left out, because sites add names of their own to every link."""
    _check_text("prompt", found.get("prompt", ""), MAX_PROMPT_CHARS)
    more: dict[str, Any] = {name: found[name] for name in ("prompt", "family", "behaviour") if name in found}
    readers = {
        "filter": ("weight_filter", parse_weight_filter),
        "schedule": ("schedule", parse_schedule),
        "speculation": ("speculation", parse_speculation),
    }
    more |= {field_name: read(found[name]) for name, (field_name, read) in readers.items() if name in found}
    numbers: dict[str, Any] = {
        name: _read_number(limits, found[name]) for name, limits in _NUMBERS.items() if name in found
    }
    if "length" in found:
        more["length"] = int(_read_number(Range("Length", 1, MAX_LENGTH, 1, integer=True), found["length"]))
    controls = {}
    for name, text in found.items():
        if name in ("alpha", "beta") or name.startswith("alpha_"):
            controls[name] = check_control(name, _float(name, text), allow_negative)
    sampling = Sampling(**numbers)
    return Permalink(panels=panels, controls=controls, sampling=sampling, formats=formats, **more)


def _panel(text: str) -> tuple[str, Recipe]:
    name, colon, recipe = text.rpartition(":")  # a recipe has no colon; a name may
    if not colon:
        raise InputError(f"A panel in a link must be a name, a colon and a recipe; got {show_value(text)}.")
    return name, parse(recipe)


def _format(text: str) -> tuple[str, PromptFormat]:
    role, *own = text.split(":", 2)  # neither a role nor a kind has a colon; a text may
    if len(own) != 2:
        raise InputError(f"A prompt format in a link is role:kind:text; got {show_value(text)}.")
    return role, PromptFormat(*own)


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
