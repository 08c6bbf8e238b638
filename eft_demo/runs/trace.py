"""The trace of a run: one record per token, one trace per column, one JSON document per run.

Knows its format version and checks everything it reads, because people exchange these files.
Does not know where a trace is shown. All log-probs are in nats.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from eft_demo.errors import InputError, RecipeError
from eft_demo.method.recipe import parse
from eft_demo.method.sampling import Sampling
from eft_demo.runs.conversation import Turn, read_system, read_turns
from eft_demo.runs.made_with import MadeWith
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.spec import Columns, RunSpec
from eft_demo.settings import show_value

VERSION = 6
# Fields that older versions lack, with their values: no custom formats, unknown models, no earlier turns.
_ONE_TURN: dict[str, object] = {"system": "", "turns": []}
OLDER: dict[int, dict[str, object]] = {
    2: {"formats": {}, "made_with": None, **_ONE_TURN},
    3: {"made_with": None, **_ONE_TURN},
    4: _ONE_TURN,
    5: _ONE_TURN,
}
RENAMED = {"panels": "columns"}  # keys of versions before 5
OLDER_COLUMN = {"given": 0}  # version 4 did not record which tokens of a branch were given
MAX_CHARS = 20_000_000  # eight times the longest run of three columns
FILE_DIGITS = 6  # decimals of a log-prob in files: a third of the size, with sums correct to a millionth
MAX_INT = 2**53  # larger integers are not exact in JavaScript and float64


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate token: its log-prob in the mixture and under each role."""

    id: int
    logprob: float
    by_role: dict[str, float]


@dataclass(frozen=True, slots=True)
class Draft:
    """A drafted token. If it is not the sampled token, it was rejected."""

    id: int
    overlap: float  # of the draft's and the target's distribution, 0 to 1: 1 - total variation distance


@dataclass(frozen=True, slots=True)
class Cut:
    """What stays open about a token because a model's server sent only the likeliest log-probs of its row."""

    certain: bool  # whether the token is the one that all log-probs would give
    sent: int  # log-probs that the server sent, the likeliest ones
    asked: int  # others that it was then asked for by id
    hidden: float  # the probability of all tokens that it did not send
    off_nats: float | None  # by how much the log-probs of the mix may be off at most; None: not known


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token and its attribution: anchor_logprob + sum(bars) + neg_log_z = logprob."""

    position: int  # 0 for the first token of the answer
    id: int
    controls: dict[str, float]  # their values when this token was sampled
    logprob: float
    anchor_logprob: float
    bars: tuple[float, ...]  # one per term of the recipe
    neg_log_z: float
    entropy_nats: float
    rank: int  # in the mixture, 1 = likeliest
    base_first: int  # the anchor's likeliest token
    by_role: dict[str, float]
    candidates: tuple[Candidate, ...]
    draft: Draft | None = None  # None: not drafted
    cut: Cut | None = None  # None: nothing is hidden


@dataclass(slots=True)
class ColumnTrace:
    """One column. It grows while the column streams, so it is the only mutable class here."""

    name: str
    recipe: str
    tokens: list[TokenRecord] = field(default_factory=list)
    text: str = ""
    finish_reason: str = ""  # stop, length, cancelled or error; empty while it streams
    error: str | None = None
    ttft_s: float = 0.0
    tokens_per_s: float = 0.0
    acceptance_rate: float | None = None  # of drafted tokens; None: none were drafted
    speedup: float | None = None
    given: int = 0  # number of tokens at the start that were given, as in a branch, not sampled
    seed: int | None = None  # None: the run's; another if a branch wrote only some columns again

    @property
    def is_scored(self) -> bool:
        """Whether it wrote nothing itself: all its tokens were given, as those of a shared text."""
        return 0 < len(self.tokens) <= self.given


@dataclass(frozen=True, slots=True)
class RunTrace:
    """A run and its results. `spec` has the same columns, with the models that actually ran."""

    spec: RunSpec
    columns: list[ColumnTrace]
    # Token id -> its bytes, with invalid UTF-8 as surrogate escapes; empty for a control token.
    pieces: dict[str, str] = field(default_factory=dict)
    made_with: MadeWith | None = None  # None: not known, as in files of older versions

    def to_json(self, digits: int | None = None) -> str:
        """ASCII JSON that `from_json` reads back to an equal trace; -inf is written as null.

        With `digits`, results are rounded to that many decimals; sampling and controls are not.
        """
        return json.dumps(_encode(_as_file(self), digits), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, scale: float = 1) -> "RunTrace":
        """Read a trace in the format of `to_json`; `scale` is `Settings.run_scale`.

        Raises EFTError naming the invalid place.
        """
        most = int(MAX_CHARS * scale)
        if not isinstance(text, str) or len(text) > most:
            raise InputError(f"A trace must be JSON text of at most {most:,} characters.")
        return _from_file(_decode(_File, _current(_read_json(text)), "run"))


@dataclass(frozen=True, slots=True)
class _File:
    """The fields of the JSON file, in order."""

    family: str
    prompt: str
    sampling: Sampling
    controls: dict[str, float]
    columns: list[ColumnTrace]
    weight_filter: str
    schedule: str
    speculation: str
    pieces: dict[str, str]
    formats: dict[str, PromptFormat]  # custom ones, by role
    made_with: MadeWith | None
    system: str
    turns: list[Turn]
    version: int = VERSION


# What is newer than some files is optional in them: a sampling parameter is off by default, as it was then;
# a column has the run's seed.
REQUIRED = {
    Sampling: {"temperature", "top_p", "top_k", "min_p", "seed"},
    ColumnTrace: {f.name for f in dataclasses.fields(ColumnTrace)} - {"seed"},
    TokenRecord: {f.name for f in dataclasses.fields(TokenRecord)} - {"cut"},
}


def _read_json(text: str) -> object:
    try:
        document: object = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        if text.lstrip()[:1] == "<":
            raise InputError(
                "This is a web page (HTML), which any browser shows. To open a run here, save it under "
                "Share as Trace (JSON) and choose that file.",
                code="trace_html",
            ) from None
        message = "This is not a trace: it is not valid JSON. Please choose another file."
        raise InputError(message, code="trace_json") from None
    return document


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _current(document: object) -> object:
    """The document in the current version. Raises InputError for an unknown version."""
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(document, dict) or version is None:
        raise InputError(
            "This is not a trace: it has no version. Please choose a trace that was saved with Share."
        )
    if type(version) is int and version in OLDER:
        return _upgraded(document, version)
    if version != VERSION:
        raise InputError(
            f"This app reads recorded runs of version {min(OLDER)} to {VERSION}; got {show_value(version)}. "
            "Please open this file with the version of the app that saved it.",
            code="trace_version",
        )
    return document


def _upgraded(document: dict[str, Any], version: int) -> dict[str, Any]:
    """The document of an older version, with the names and fields of the current one."""
    if version < 5:
        document = {RENAMED.get(key, key): value for key, value in document.items()}
    document = {**OLDER[version], **document, "version": VERSION}
    columns = document.get("columns")
    if version < 5 and isinstance(columns, list):
        document["columns"] = [{**OLDER_COLUMN, **p} if isinstance(p, dict) else p for p in columns]
    return document


def _as_file(run: RunTrace) -> _File:
    spec = run.spec
    return _File(
        family=spec.family,
        prompt=spec.prompt,
        sampling=spec.sampling,
        controls=dict(spec.controls),
        columns=run.columns,
        weight_filter=str(spec.weight_filter),
        schedule=str(spec.schedule),
        speculation=str(spec.speculation),
        pieces=run.pieces,
        formats=dict(spec.formats),
        made_with=run.made_with,
        system=spec.system,
        turns=list(spec.turns),
    )


def _from_file(file: _File) -> RunTrace:
    """The spec's columns come from the traces. The file stores neither the requested length nor behaviour."""
    spec = RunSpec(
        family=file.family,
        prompt=file.prompt,
        columns=columns_of(file.columns),
        sampling=file.sampling,
        controls=file.controls,
        weight_filter=file.weight_filter,  # type: ignore[arg-type]  # the readers accept text
        schedule=file.schedule,  # type: ignore[arg-type]
        speculation=file.speculation,  # type: ignore[arg-type]
        formats=file.formats,
        system=read_system(file.system),
        turns=read_turns(file.turns),
    )
    return RunTrace(spec, file.columns, file.pieces, file.made_with)


def columns_of(columns: Iterable[ColumnTrace]) -> Columns:
    """The (name, recipe) pairs of these traces. Raises InputError naming the column."""
    pairs = []
    for number, column in enumerate(columns, 1):
        try:
            pairs.append((column.name, parse(column.recipe)))
        except RecipeError:
            raise InputError(
                f"This trace is inconsistent: the recipe of column {number} cannot be read: "
                f"{show_value(column.recipe)}. Please choose another file.",
                code="trace_recipe",
            ) from None
    return tuple(pairs)


def seed_of(column: ColumnTrace, spec: RunSpec) -> int:
    """The seed with which a column of the run was written."""
    return spec.sampling.seed if column.seed is None else column.seed


def other_seed(seed: int, spec: RunSpec) -> int | None:
    """The seed as a column of the run records it: None if it is the run's own."""
    return None if seed == spec.sampling.seed else seed


def roles_of(columns: Columns) -> list[str]:
    """The models in the columns' recipes, each once."""
    return list(dict.fromkeys(role for _, recipe in columns for role in recipe.roles))


def recorded_tokens(columns: Iterable[ColumnTrace]) -> set[int]:
    """The ids of all tokens that appear in the columns' records."""
    records = [record for column in columns for record in column.tokens]
    ids = {record.base_first for record in records} | {c.id for record in records for c in record.candidates}
    return ids | {record.draft.id for record in records if record.draft}


def gather_pieces(columns: Iterable[ColumnTrace], token_bytes: Sequence[bytes]) -> dict[str, str]:
    """The bytes of every token in the columns' records, so that a trace is readable without its tokenizer."""
    ids = sorted(recorded_tokens(columns))
    return {str(token): token_bytes[token].decode("utf-8", "surrogateescape") for token in ids}


def _encode(value: object, digits: int | None) -> object:
    if isinstance(value, float):
        return None if value == -math.inf else value if digits is None else round(value, digits)
    if isinstance(value, (list, tuple)):
        return [_encode(item, digits) for item in value]
    if isinstance(value, dict):
        return {key: _encode(item, digits) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        exact = ("sampling", "controls")
        return {
            f.name: _encode(getattr(value, f.name), None if f.name in exact else digits)
            for f in dataclasses.fields(value)
        }
    return value


def _decode(kind: Any, value: object, place: str) -> Any:
    """Convert `value` from JSON to the annotated type `kind`, checking every level."""
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast(type, kind), value, place)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (list, tuple) and isinstance(value, list):
        return origin(_decode(arguments[0], item, f"{place}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _decode(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if origin is types.UnionType:
        return None if value is None else _decode(arguments[0], value, place)
    if kind is float:
        return _decode_float(value, place)
    if (kind in (str, bool) and isinstance(value, kind)) or (kind is int and _is_int(value)):
        return value
    raise _wrong(kind, value, place)


def _decode_dataclass(kind: type, value: object, place: str) -> Any:
    fields = dataclasses.fields(kind)
    names = {f.name for f in fields}
    required = names & REQUIRED.get(kind, names)
    if not isinstance(value, dict) or not required <= value.keys() <= names:
        wanted = ", ".join(f.name for f in fields)
        message = f"In this trace, {_short(place)} must have exactly the fields {wanted}."
        raise InputError(message, code="trace_fields")
    return kind(
        **{f.name: _decode(f.type, value[f.name], f"{place}.{f.name}") for f in fields if f.name in value}
    )


def _decode_float(value: object, place: str) -> float:
    if value is None:
        return -math.inf
    if not _is_int(value) and not (isinstance(value, float) and math.isfinite(value)):
        raise _wrong(float, value, place)
    return float(typing.cast(float, value))


def _is_int(value: object) -> bool:
    return type(value) is int and abs(value) <= MAX_INT


def _wrong(kind: Any, value: object, place: str) -> InputError:
    wanted = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(
        kind, "a list or table"
    )
    message = f"In this trace, {_short(place)} must be {wanted}; got {show_value(value)}."
    return InputError(message, code="trace_value")


def _short(place: str) -> str:
    return ascii(place)[1:-1][:120]
