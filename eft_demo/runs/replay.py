"""Opens a trace: checks it like any untrusted input, then replays it as events.

`RunTrace.from_json` checks types and names; this module checks that the parts are consistent, so that
everything that shows a live run can show this one. Needs no models. Raises EFTError.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from eft_demo.errors import InputError
from eft_demo.method.recipe import Recipe
from eft_demo.runs.conversation import fits
from eft_demo.runs.events import EndEvent, Event, TokenEvent
from eft_demo.runs.export import Pieces, pieces_of, token_texts
from eft_demo.runs.made_with import MadeWith
from eft_demo.runs.spec import MAX_COLUMNS
from eft_demo.runs.text import Utf8Stream
from eft_demo.runs.trace import (
    MAX_CHARS,
    Candidate,
    ColumnTrace,
    RunTrace,
    TokenRecord,
    gather_pieces,
    roles_of,
)
from eft_demo.settings import SEED, show_value

MAX_TOKENS = 20_000  # of all columns together; a page shows a fifth of it smoothly
MAX_NATS = 1e4  # larger than any of our log-probs
ROUNDING = 0.01  # nats by which a figure may be on the wrong side of 0
MAX_TTFT_S = 1e6
SLOWEST, USUAL_SPEED = 1e-6, 20.0  # tokens a second; slower than the first is no speed of any run
MAX_SPEED = 1e12  # a scored text arrives all at once, with no time between its tokens
MAX_PIECE_CHARS = 1000
# Texts that a file holds once and an exported table repeats per row: a small file must not make a huge one.
MAX_TEXT_CHARS = 400_000  # of all columns together, four times what MAX_TOKENS tokens usually have
MAX_NAME_CHARS = 500  # of a column or a control; the command line names a column after its recipe
MAX_CONTROLS = 64  # each is a column of a table
MAX_FACT_CHARS = 200  # of a version, a repository, ...
MAX_MADE_CHARS = 8000  # of all of them, because a table has them in every row; a model has about 70
MAX_MODELS = 64
FINISH_REASONS = ("stop", "length", "cancelled", "error")


@dataclass(frozen=True, slots=True)
class Replay:
    """What is needed to show a run: the bytes of its tokens, the stop tokens and the events."""

    pieces: Mapping[int, bytes]
    stop_ids: frozenset[int]
    events: tuple[Event, ...]


def open_run(data: bytes | str, scale: float = 1) -> RunTrace:
    """Read a trace from an untrusted file. Raises EFTError naming the invalid place.

    `scale` is `Settings.run_scale`: if runs may be longer than the default, so may files.
    """
    most = int(MAX_CHARS * scale)
    if len(data) > most:
        raise InputError(
            f"A trace may have at most {most:,} characters; this has {len(data):,}. "
            "Please choose a shorter run."
        )
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(
                "This is not a trace: it is not a text file. Please choose another file."
            ) from None
    run = RunTrace.from_json(data, scale)
    check_run(run, scale)
    return run


def read_run(path: Path) -> RunTrace:
    """Read a trace from disk. Raises EFTError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The trace {path} cannot be read ({error.strerror or type(error).__name__}). "
            "Please restore the file or choose another one."
        ) from None
    return open_run(data)


def check_run(run: RunTrace, scale: float = 1) -> None:
    """Raise EFTError unless the parts of the run are consistent."""
    if not 1 <= len(run.columns) <= MAX_COLUMNS:
        _refuse(f"there must be 1 to {MAX_COLUMNS} columns, not {len(run.columns)}")
    tokens = sum(len(column.tokens) for column in run.columns)
    if tokens > MAX_TOKENS * scale:
        _refuse(f"there may be at most {int(MAX_TOKENS * scale):,} tokens, not {tokens:,}")
    for token, text in run.pieces.items():
        _check_piece(token, text)
    _check_size(run, scale)
    pieces = pieces_of(run)
    for number, (column, (_, recipe)) in enumerate(zip(run.columns, run.spec.columns, strict=True), 1):
        try:
            _check_column(column, recipe, pieces)
        except _Inconsistent as unfit:
            _refuse(f"column {number}, {unfit}")
    for role in run.spec.formats.keys() - set(roles_of(run.spec.columns)):
        _refuse(f"it has a prompt format for {show_value(role)}, which no column uses")
    if not fits(run.spec.turns, len(run.columns)):
        _refuse(f"an earlier turn must have one answer, or one for each of its {len(run.columns)} columns")
    if run.made_with is not None:
        _check_made_with(run.made_with)


def _check_size(run: RunTrace, scale: float) -> None:
    records = [record for column in run.columns for record in column.tokens]
    if sum(len(run.pieces.get(str(record.id), "")) for record in records) > MAX_TEXT_CHARS * scale:
        _refuse(f"the texts of its tokens may have at most {int(MAX_TEXT_CHARS * scale):,} characters")
    names = {name for record in records for name in record.controls} | set(run.spec.controls)
    if len(names) > MAX_CONTROLS:
        _refuse(f"there may be at most {MAX_CONTROLS} controls, not {len(names):,}")
    if any(len(name) > MAX_NAME_CHARS for name in (*names, *(column.name for column in run.columns))):
        _refuse(f"names may have at most {MAX_NAME_CHARS} characters")


def lacks_texts(run: RunTrace) -> bool:
    """Whether some tokens have ids but no texts, as in older files from the command line."""
    return any(str(record.id) not in run.pieces for column in run.columns for record in column.tokens)


def with_texts(run: RunTrace, token_bytes: Sequence[bytes]) -> RunTrace:
    """The run with the texts of these tokens, if they reproduce its columns' texts; else unchanged."""
    try:
        pieces = gather_pieces(run.columns, token_bytes)
    except IndexError:  # another vocabulary
        return run
    filled = replace(run, pieces={**pieces, **run.pieces})
    texts = pieces_of(filled)
    reproduced = all("".join(token_texts(column, texts)) == column.text for column in run.columns)
    return filled if reproduced else run


def replay(run: RunTrace) -> Replay:
    """The run as events, columns interleaved. `elapsed_s` follows the column's speed, or the usual one."""
    pieces = pieces_of(run)
    stops = frozenset(token for token, piece in pieces.items() if not piece)
    events = sorted(
        (
            event
            for number, column in enumerate(run.columns)
            for event in _column_events(number, column, pieces)
        ),
        key=lambda timed: timed[0],
    )
    return Replay(pieces, stops, tuple(event for _, event in events))


def _column_events(number: int, column: ColumnTrace, pieces: Pieces) -> Iterator[tuple[float, Event]]:
    """Pairs of (position, event); a stable sort by position interleaves the columns."""
    speed = column.tokens_per_s if column.tokens_per_s >= SLOWEST else USUAL_SPEED
    texts = token_texts(column, pieces)
    for record, text in zip(column.tokens, texts, strict=True):
        yield record.position, TokenEvent(number, record, text, column.ttft_s + record.position / speed)
    end = EndEvent(
        column=number,
        finish_reason=column.finish_reason or "cancelled",
        error=column.error,
        ttft_s=column.ttft_s,
        tokens_per_s=column.tokens_per_s,
        text="",
        acceptance_rate=column.acceptance_rate,
        speedup=column.speedup,
    )
    yield len(column.tokens), end


def _check_made_with(made: MadeWith) -> None:
    texts = [made.eft_demo, made.torch, made.transformers]
    for role, model in made.models.items():
        texts += [role, model.dtype, model.quantisation, model.device, model.source, model.revision]
    if len(made.models) > MAX_MODELS or max(map(len, texts)) > MAX_FACT_CHARS:
        _refuse(f"made_with may hold at most {MAX_MODELS} models and texts of {MAX_FACT_CHARS} characters")
    if (chars := sum(map(len, texts))) > MAX_MADE_CHARS:
        _refuse(f"made_with may have at most {MAX_MADE_CHARS:,} characters, not {chars:,}")


class _Inconsistent(Exception):
    """An inconsistency. The message is the end of a sentence."""


def _refuse(what: str) -> NoReturn:
    """Raise InputError; `what` is the end of a sentence."""
    message = f"This trace is inconsistent: {what}. Please choose another file."
    raise InputError(message, code="trace_unfit")


def _check_column(column: ColumnTrace, recipe: Recipe, pieces: Pieces) -> None:
    if column.finish_reason and column.finish_reason not in FINISH_REASONS:
        raise _Inconsistent(f"finish_reason must be one of {', '.join(FINISH_REASONS)}")
    if not 0 <= column.given <= len(column.tokens):
        raise _Inconsistent(
            f"given must be from 0 to {len(column.tokens):,}, its tokens, not {column.given:,}"
        )
    if column.seed is not None and not SEED.low <= column.seed <= SEED.high:
        raise _Inconsistent(f"seed must be from {SEED.low:.0f} to {SEED.high:,.0f}, not {column.seed:,}")
    _check_finite("ttft_s", column.ttft_s, most=MAX_TTFT_S)
    _check_finite("speed", column.tokens_per_s, column.speedup or 0, most=MAX_SPEED)
    _check_finite("acceptance_rate", column.acceptance_rate or 0)
    for index, record in enumerate(column.tokens):
        try:
            _check_record(recipe, record, index)
        except _Inconsistent as unfit:
            raise _Inconsistent(f"token {index + 1}: {unfit}") from None
    _check_text(column, pieces)


def _check_text(column: ColumnTrace, pieces: Pieces) -> None:
    """The text is that of the tokens, where all are known. Half a character at its end may be left out."""
    if not all(record.id in pieces for record in column.tokens):
        return
    stream = Utf8Stream(pieces)
    text = "".join(stream.push(record.id) for record in column.tokens)
    if column.text not in (text, text + stream.flush()):
        raise _Inconsistent(f"the text must be that of its tokens, not {show_value(column.text)}")


def _check_record(recipe: Recipe, record: TokenRecord, index: int) -> None:
    if record.position != index:
        raise _Inconsistent(f"position must be {index}, not {record.position}")
    if len(record.bars) != len(recipe.terms):
        raise _Inconsistent(f"bars must be {len(recipe.terms)}, one per term, not {len(record.bars)}")
    missing = [name for name in recipe.controls if name not in record.controls]
    if missing:
        raise _Inconsistent(f"controls must hold {missing[0]}")
    if record.rank < 1:
        raise _Inconsistent("rank must be 1 or more")
    if record.entropy_nats < -ROUNDING:
        raise _Inconsistent(f"the entropy must be 0 or more, not {record.entropy_nats:g}")
    _check_finite(
        "the attribution", *record.controls.values(), *record.bars, record.neg_log_z, record.entropy_nats
    )
    own = Candidate(record.id, record.logprob, record.by_role)
    for candidate in (
        own,
        Candidate(record.base_first, record.anchor_logprob, record.by_role),
        *record.candidates,
    ):
        _check_candidate(recipe, candidate)
    if record.id not in [candidate.id for candidate in record.candidates]:
        raise _Inconsistent("the token itself must be among the candidates")
    if record.draft is not None:
        _check_finite("draft", record.draft.overlap)


def _check_candidate(recipe: Recipe, candidate: Candidate) -> None:
    if candidate.id < 0:
        raise _Inconsistent(f"a token id must not be negative: {candidate.id}")
    if set(candidate.by_role) != set(recipe.roles):
        raise _Inconsistent(f"by_role must hold exactly {', '.join(recipe.roles)}")
    if max(candidate.logprob, *candidate.by_role.values()) > ROUNDING:
        raise _Inconsistent("a log-prob must not be above 0")


def _check_finite(what: str, *values: float, most: float = MAX_NATS) -> None:
    if not all(math.isfinite(value) and abs(value) <= most for value in values):
        raise _Inconsistent(f"{what} must be numbers of at most {most:,.0f}")


def _check_piece(token: str, text: str) -> None:
    if not (token.isascii() and token.isdecimal() and str(int(token[:20])) == token):
        _refuse(f"the keys of pieces must be token ids, not {show_value(token)}")
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        _refuse(f"the piece of token {token} is not text")
    if len(text) > MAX_PIECE_CHARS:
        _refuse(f"the piece of token {token} is longer than {MAX_PIECE_CHARS:,} characters")
