"""A run as a CSV or Markdown file. `ui/saved_page.py` makes the HTML file.

Texts from models and people are written so that nothing reads them as formulas or markup. Knows traces; knows
no models, no page and no Gradio.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence

from eft_demo.errors import InputError
from eft_demo.runs.settings_text import made_with_text, settings_of
from eft_demo.runs.spreadsheet import plain_cell
from eft_demo.runs.text import END_LABEL, Utf8Stream, token_label, without_surrogates
from eft_demo.runs.trace import MAX_CHARS, ColumnTrace, RunTrace, TokenRecord, seed_of

MAX_FILE_CHARS = MAX_CHARS  # of a saved file of any format: what an opened trace may have
BYTE_ORDER_MARK = "\ufeff"  # without it spreadsheets take UTF-8 for the machine's old code page
_PUNCTUATION = re.compile(r"([!#$&()*+\-.:<=>@\[\\\]^_`{|}~])")  # what Markdown might take for markup


def check_file_chars(chars: int, most: int = MAX_FILE_CHARS) -> None:
    """Raise InputError for a saved file of more than `most` characters."""
    if chars > most:
        raise InputError(
            f"This file would have more than {most:,} characters, the limit of a saved run. Please choose "
            "another format, or a shorter run.",
            code="file_too_large",
        )


class _Limited(io.StringIO):
    """A text whose length is checked while it is written, because rows repeat what a trace holds once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, text: str) -> int:
        check_file_chars(self.tell() + len(text), self._most)
        return super().write(text)


def to_csv(run: RunTrace, most: int = MAX_FILE_CHARS) -> str:
    """One row per token and column, UTF-8 with a byte order mark, for spreadsheets.

    Cells with text are written by `plain_cell`: a leading ' is not part of the text. `bytes` has the exact
    bytes of the token in hex. `given`, if any were, is 1 for a token that was not sampled. Raises InputError
    for more than `most` characters, before they are written.
    """
    records = [record for column in run.columns for record in column.tokens]
    controls = _names(record.controls for record in records)
    roles = _names(record.by_role for record in records)
    terms = max((len(record.bars) for record in records), default=0)
    head = ["column", "recipe", "position", "id", "text", "bytes", "logprob", "rank", "entropy_nats"]
    head += ["anchor_logprob", *(f"term_{k + 1}" for k in range(terms)), "neg_log_z", "base_first"]
    head += ["draft_id", "draft_overlap", *controls, *(f"logprob_{role}" for role in roles)]
    is_cut = any(record.cut for record in records)
    head += ["certain", "hidden", "off_nats"] if is_cut else []
    is_given = any(column.given for column in run.columns)
    head += ["given"] if is_given else []
    out = _Limited(most)
    out.write(BYTE_ORDER_MARK)
    writer = csv.writer(out, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n")
    writer.writerow([plain_cell(name) for name in (*head, "seed", "made_with")])
    pieces, made = pieces_of(run), plain_cell(str(run.made_with or ""))
    for column in run.columns:
        start, end = [plain_cell(column.name), plain_cell(column.recipe)], [seed_of(column, run.spec), made]
        for record, text in zip(column.tokens, token_texts(column, pieces), strict=True):
            bytes_in_hex = pieces.get(record.id, b"").hex(" ")
            token = [record.position, record.id, plain_cell(text), plain_cell(bytes_in_hex)]
            cut = _cut_figures(record) if is_cut else []
            given = [int(record.position < column.given)] if is_given else []
            row = [*start, *token, *_figures(record, terms, controls, roles), *cut, *given, *end]
            writer.writerow(["" if cell is None or cell != cell else cell for cell in row])
    return out.getvalue()


def _figures(
    record: TokenRecord, terms: int, controls: Iterable[str], roles: Iterable[str]
) -> list[float | None]:
    """The numbers of a token, from its log-prob on. Missing ones are None or NaN."""
    bars = [*record.bars, *[math.nan] * (terms - len(record.bars))]
    draft: list[float | None] = [None, None]
    if record.draft is not None:
        draft = [record.draft.id, record.draft.overlap]
    return [
        record.logprob,
        record.rank,
        record.entropy_nats,
        record.anchor_logprob,
        *bars,
        record.neg_log_z,
        record.base_first,
        *draft,
        *(record.controls.get(name) for name in controls),
        *(record.by_role.get(role) for role in roles),
    ]


def _cut_figures(record: TokenRecord) -> list[float | None]:
    """Whether the token is certain, the probability hidden from it, and how far its log-probs may be off."""
    return [int(record.cut.certain), record.cut.hidden, record.cut.off_nats] if record.cut else [1, 0, 0]


def to_markdown(run: RunTrace, most: int = MAX_FILE_CHARS) -> str:
    """Prompt, settings, every column's text, and the tokens that the terms moved most.

    Raises InputError for more than `most` characters, before they are written.
    """
    out = _Limited(most)
    for line in _markdown_lines(run):
        out.write(line + "\n")
    return out.getvalue()


def _markdown_lines(run: RunTrace) -> Iterable[str]:
    spec = run.spec
    yield from ["# A run of EFT Demo", ""]
    yield from _conversation(run)
    yield from [*_fenced(spec.prompt), ""]
    yield from [escape_markdown(", ".join(settings_of(run))), "", escape_markdown(made_with_text(run)), ""]
    for role, own in spec.formats.items():
        shown = f"{role} had its own prompt format, {own.kind}:"
        yield from [escape_markdown(shown), "", *_fenced(own.text), ""]
    for column in run.columns:
        yield from [f"## {escape_markdown(column.name)}", "", *_fenced(column.recipe), ""]
        yield from [*_fenced(column.text), ""]
        given = ", all given: this column only scored the text" if column.is_scored else ""
        yield from [escape_markdown(f"{column.finish_reason}, {len(column.tokens)} tokens{given}"), ""]
        yield from [escape_markdown(column.error), ""] if column.error else []
        yield from _moved_table(column, run)


def _conversation(run: RunTrace) -> Iterable[str]:
    """The system prompt and the earlier turns, where there are any."""
    if run.spec.system:
        yield from ["System prompt:", "", *_fenced(run.spec.system), ""]
    for turn in run.spec.turns:
        yield from [*_fenced(turn.question), ""]
        names = ["all columns"] if len(turn.answers) == 1 else [column.name for column in run.columns]
        for name, answer in zip(names, turn.answers, strict=True):
            yield from [f"Answer of {escape_markdown(name)}:", "", *_fenced(answer), ""]


class Pieces(dict[int, bytes]):
    """Token bytes of a run. A token that the run does not hold is `#7`, wherever it is shown."""

    def __missing__(self, token: int) -> bytes:
        return f"#{token}".encode()


def pieces_of(run: RunTrace) -> Pieces:
    """Token id -> its bytes, as far as the run holds them."""
    return Pieces((int(token), text.encode("utf-8", "surrogateescape")) for token, text in run.pieces.items())


def token_texts(column: ColumnTrace, pieces: Pieces) -> list[str]:
    """What each token adds to the text; joined, it is the text. Half a character waits for the rest."""
    stream = Utf8Stream(pieces)
    texts = [stream.push(record.id) for record in column.tokens]
    if texts:
        texts[-1] += stream.flush()
    return texts


def label_of(token: int, pieces: dict[int, bytes]) -> str:
    """A token as people read it, `⟨end⟩` for one without text, `#7` for one that the run does not hold."""
    if token not in pieces:
        return f"#{token}"
    return token_label(pieces[token]) if pieces[token] else END_LABEL


def escape_markdown(text: str) -> str:
    """The text on one line, with a backslash before every Markdown sign and invisible characters shown."""
    return _PUNCTUATION.sub(r"\\\1", token_label(without_surrogates(text).encode()))


def _fenced(text: str) -> list[str]:
    """A code block that the text cannot close: its fence is longer than any run of ` in the text."""
    longest = max((len(row) for row in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, without_surrogates(text), fence]


def _moved_table(column: ColumnTrace, run: RunTrace, count: int = 8) -> list[str]:
    """The tokens that the terms moved most, in the order of the text. Empty without terms."""
    moved = [record for record in column.tokens if record.bars and math.isfinite(_shift(record))]
    listed = sorted(sorted(moved, key=lambda r: -abs(_shift(r)))[:count], key=lambda r: r.position)
    if not listed:
        return []
    pieces = pieces_of(run)
    lines = ["| token | text | log p | anchor | moved by | rank |", "|---:|---|---:|---:|---:|---:|"]
    for record in listed:
        figures = (
            f"{record.logprob:.2f} | {record.anchor_logprob:.2f} | {_shift(record):+.2f} | {record.rank}"
        )
        label = escape_markdown(label_of(record.id, pieces))
        lines.append(f"| {record.position + 1} | {label} | {figures} |")
    return [*lines, ""]


def _shift(record: TokenRecord) -> float:
    return record.logprob - record.anchor_logprob


def _names(tables: Iterable[Iterable[str]]) -> Sequence[str]:
    return list(dict.fromkeys(name for table in tables for name in table))
