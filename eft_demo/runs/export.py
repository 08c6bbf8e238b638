"""A run as a file to keep or to send: CSV, Markdown, or one HTML page that needs no network.

Whatever a model or a person wrote is shown as it stands and never read as a formula, as markup or as a
script. Knows traces; knows no models, no page of ours and no Gradio.
"""

import base64
import csv
import dataclasses
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Sequence

from eft_demo.method.recipe import Recipe, parse
from eft_demo.runs.bundle import bundle
from eft_demo.runs.spreadsheet import plain_cell
from eft_demo.runs.text import END_LABEL, Utf8Stream, token_label
from eft_demo.runs.trace import FILE_DIGITS, ColumnTrace, RunTrace, TokenRecord
from eft_demo.settings import ASSETS, number_text

BYTE_ORDER_MARK = "\ufeff"  # without it spreadsheets take UTF-8 for the machine's old code page
_PUNCTUATION = re.compile(r"([!#$&()*+\-.:<=>@\[\\\]^_`{|}~])")  # what Markdown might read as its own

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_hash}'; \
style-src '{style_hash}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>A run of EFT Demo</title>
<style>{style}</style>
</head>
<body>
<header><h1>A run of EFT Demo</h1><p id="prompt"></p><p id="details"></p></header>
<main>
<div id="tools"><label>Colour by <select id="mode"></select></label><span id="legend"></span></div>
<noscript>This page draws its run with a script of its own; please allow scripts to see it.</noscript>
<div id="columns"></div>
<section id="card" aria-live="polite"><h2 id="title">No token</h2><p id="note"></p><div id="tables"></div>
</section>
</main>
<script type="application/json" id="run">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def to_csv(run: RunTrace) -> str:
    """One row per token and column, UTF-8 with a byte order mark, for spreadsheets.

    Cells with text are written by `plain_cell`: one leading ' is no part of the text. `bytes` has in hex what
    a token stands for, exactly.
    """
    controls = _names(record.controls for _, record in _records(run))
    roles = _names(record.by_role for _, record in _records(run))
    terms = max((len(record.bars) for _, record in _records(run)), default=0)
    head = ["column", "recipe", "position", "id", "text", "bytes", "logprob", "rank", "entropy_nats"]
    head += ["anchor_logprob", *(f"term_{k + 1}" for k in range(terms)), "neg_log_z", "base_first"]
    head += ["draft_id", "draft_overlap", *controls, *(f"logprob_{role}" for role in roles), "made_with"]
    made = plain_cell(str(run.made_with or ""))
    out = io.StringIO(BYTE_ORDER_MARK)
    out.seek(0, io.SEEK_END)
    writer = csv.writer(out, quoting=csv.QUOTE_MINIMAL, lineterminator="\r\n")
    writer.writerow([plain_cell(name) for name in head])
    pieces = pieces_of(run)
    for column in run.columns:
        start = [plain_cell(column.name), plain_cell(column.recipe)]
        for record, text in zip(column.tokens, token_texts(column, pieces), strict=True):
            bars = [*record.bars, *[math.nan] * (terms - len(record.bars))]
            draft = [None, None] if record.draft is None else [record.draft.id, record.draft.overlap]
            row = [*start, record.position, record.id]
            spelled = plain_cell(pieces.get(record.id, b"").hex(" "))
            row += [plain_cell(text), spelled, record.logprob, record.rank]
            row += [record.entropy_nats, record.anchor_logprob, *bars, record.neg_log_z, record.base_first]
            row += [*draft, *(record.controls.get(c) for c in controls)]
            row += [*(record.by_role.get(role) for role in roles), made]
            writer.writerow(["" if cell is None or cell != cell else cell for cell in row])
    return out.getvalue()


def to_markdown(run: RunTrace) -> str:
    """Prompt, settings, every column's text, and the tokens that the terms moved most."""
    spec = run.spec
    numbers = {**spec.controls, **dataclasses.asdict(spec.sampling)}  # exact, or a seed gives another text
    settings = [f"family {spec.family}", *(f"{name} {number_text(value)}" for name, value in numbers.items())]
    settings += [f"{name} {getattr(spec, name)}" for name in ("weight_filter", "schedule", "speculation")]
    lines = ["# A run of EFT Demo", "", *_fenced(spec.prompt), "", escape_markdown(", ".join(settings)), ""]
    lines += [escape_markdown(_made_with(run)), ""]
    for role, own in spec.formats.items():
        shown = f"{role} was shown the prompt in a way of its own, {own.kind}:"
        lines += [escape_markdown(shown), "", *_fenced(own.text), ""]
    for column in run.columns:
        lines += [
            f"## {escape_markdown(column.name)}",
            "",
            *_fenced(column.recipe),
            "",
            *_fenced(column.text),
            "",
        ]
        lines += [escape_markdown(f"{column.finish_reason}, {len(column.tokens)} tokens"), ""]
        lines += [escape_markdown(column.error), ""] if column.error else []
        lines += _moved_table(column, run)
    return "\n".join(lines) + "\n"


def to_html(run: RunTrace) -> str:
    """One page that keeps colours and cards. The run lies in it as JSON; its one script has a hash."""
    pieces = pieces_of(run)
    ids = {record.base_first for _, record in _records(run)} | {record.id for _, record in _records(run)}
    ids |= {candidate.id for _, record in _records(run) for candidate in record.candidates}
    data = {
        "made": _made_with(run),
        "run": json.loads(run.to_json(FILE_DIGITS)),
        "texts": [token_texts(column, pieces) for column in run.columns],
        "terms": [_bar_names(parse(column.recipe)) for column in run.columns],
        "labels": {token: label_of(token, pieces) for token in sorted(ids)},
    }
    style = _page_asset("export/page.css")
    script = bundle(ASSETS / "export/page.js")
    # Replaced one after the other, the data last: nothing in it is ever looked at again.
    page = _PAGE.replace("{style_hash}", _hash(style)).replace("{script_hash}", _hash(script))
    page = page.replace("{style}", style).replace("{script}", script)
    return page.replace("{data}", json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))


def _page_asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


class Pieces(dict[int, bytes]):
    """Token bytes of a run. A token that the run does not hold is `#7`, wherever it is shown."""

    def __missing__(self, token: int) -> bytes:
        return f"#{token}".encode()


def pieces_of(run: RunTrace) -> Pieces:
    """Token id -> its bytes, as far as the run holds them."""
    return Pieces((int(token), text.encode("utf-8", "surrogateescape")) for token, text in run.pieces.items())


def token_texts(column: ColumnTrace, pieces: Pieces) -> list[str]:
    """What each token adds to the text; joined, the text. A half character waits for its other half."""
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
    """One line of plain text: every sign that Markdown knows gets its backslash, the invisible is shown."""
    return _PUNCTUATION.sub(r"\\\1", token_label(_storable(text).encode()))


def _fenced(text: str) -> list[str]:
    """A code block that the text cannot leave: its fence is longer than any row of ` in it."""
    longest = max((len(row) for row in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, _storable(text), fence]


def _storable(text: str) -> str:
    """Lone surrogates, which no file can hold, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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


def _made_with(run: RunTrace) -> str:
    return f"made with {run.made_with}" if run.made_with else "made with versions that are not known"


def _bar_names(recipe: Recipe) -> list[str]:
    return [recipe.anchor, *(" ".join(term.sign_and_size) for term in recipe.terms)]


def _shift(record: TokenRecord) -> float:
    return record.logprob - record.anchor_logprob


def _records(run: RunTrace) -> Iterable[tuple[ColumnTrace, TokenRecord]]:
    return ((column, record) for column in run.columns for record in column.tokens)


def _names(tables: Iterable[Iterable[str]]) -> Sequence[str]:
    return list(dict.fromkeys(name for table in tables for name in table))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
