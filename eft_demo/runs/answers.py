"""A run as plain data for programs: texts, tokens with their attribution, scores, and why a token was chosen.

The endpoints and the MCP tools answer in these forms. Everything is JSON: minus infinity is null, log-probs
are in nats. Knows traces; knows no models, no page and no transport.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eft_demo.method.recipe import Recipe, parse
from eft_demo.runs.export import Pieces, label_of, pieces_of, token_texts
from eft_demo.runs.text import without_surrogates
from eft_demo.runs.trace import FILE_DIGITS, Candidate, ColumnTrace, RunTrace, TokenRecord, seed_of
from eft_demo.settings import HIGHEST_WEIGHT

SAYABLE_NATS = 0.05  # smaller differences are not mentioned
SHOWN_CANDIDATES = 8

Answer = dict[str, Any]


def texts_of(columns: Sequence[ColumnTrace]) -> Answer:
    """The columns while they grow: name, recipe, text so far, and how each ended ("" while it is written)."""
    return {"columns": [_column(column) for column in columns]}


def run_of(trace: RunTrace, tokens: bool = False) -> Answer:
    """A finished run: as `texts_of`, with its settings and, if wanted, every token with its attribution."""
    pieces = pieces_of(trace)
    columns = [
        _column(column)
        | {"seed": seed_of(column, trace.spec)}
        | ({"tokens": _tokens(column, pieces)} if tokens else {})
        for column in trace.columns
    ]
    return {**_asked(trace), "controls": dict(trace.spec.controls), "columns": columns}


def scores_of(trace: RunTrace) -> Answer:
    """A scored text under every column: the log-prob of each token, their sum, and the perplexity."""
    pieces = pieces_of(trace)
    columns = [
        {
            **{name: value for name, value in _column(column).items() if name != "finish_reason"},
            **_score(column.tokens),
            "tokens": [
                {"text": text, "logprob": nats(record.logprob), "rank": record.rank}
                for text, record in zip(token_texts(column, pieces), column.tokens, strict=True)
            ],
        }
        for column in trace.columns
    ]
    return {**_asked(trace), "columns": columns}


def changes_of(column: ColumnTrace, pieces: Pieces) -> list[Answer]:
    """The places of a column where its likeliest token is another one than its anchor's."""
    return [
        {
            "position": record.position,
            "text": text,
            "likeliest": text_of(_likeliest(record), pieces),
            "anchor_choice": text_of(record.base_first, pieces),
        }
        for text, record in zip(token_texts(column, pieces), column.tokens, strict=True)
        if _is_changed(record)
    ]


def explanation_of(column: ColumnTrace, position: int, pieces: Pieces) -> Answer:
    """Why the token at that position: its attribution, its rivals under every model, and a sentence."""
    record, recipe = column.tokens[position], parse(column.recipe)
    by_logprob = sorted(record.candidates, key=lambda candidate: -candidate.logprob)
    rival = _rival(record)
    listed = [one for place, one in enumerate(by_logprob) if place < SHOWN_CANDIDATES or one == rival]
    return {
        **_token(record, text_of(record.id, pieces), pieces),
        "anchor": recipe.anchor,
        "terms": [
            {"term": _term_text(recipe, k), "contribution": nats(bar)} for k, bar in enumerate(record.bars)
        ],
        "controls": {name: record.controls[name] for name in recipe.controls},
        "candidates": [
            {
                "text": text_of(candidate.id, pieces),
                "logprob": nats(candidate.logprob),
                "by_model": {role: nats(value) for role, value in candidate.by_role.items()},
            }
            for candidate in listed
        ],
        "why": " ".join(filter(None, _sentences(record, recipe, pieces))),
    }


def nats(value: float) -> float | None:
    """A log-prob for JSON: rounded, and None for minus infinity."""
    return round(value, FILE_DIGITS) if math.isfinite(value) else None


def text_of(token: int, pieces: Pieces) -> str:
    """A token as text, with its spaces; a label where it is part of a character, or ends the text."""
    piece = pieces.get(token, b"")
    try:
        return piece.decode() if piece else label_of(token, pieces)
    except UnicodeDecodeError:
        return label_of(token, pieces)


def _asked(trace: RunTrace) -> Answer:
    return {"family": trace.spec.family, "prompt": without_surrogates(trace.spec.prompt)}


def _column(column: ColumnTrace) -> Answer:
    return {
        "name": without_surrogates(column.name),
        "recipe": column.recipe,
        "text": column.text,
        "finish_reason": column.finish_reason,
        "error": column.error,
    }


def _tokens(column: ColumnTrace, pieces: Pieces) -> list[Answer]:
    texts = token_texts(column, pieces)
    return [_token(record, text, pieces) for text, record in zip(texts, column.tokens, strict=True)]


def _token(record: TokenRecord, text: str, pieces: Pieces) -> Answer:
    """A token and its attribution: anchor_logprob + contributions + neg_log_z = logprob."""
    return {
        "position": record.position,
        "text": text,
        "id": record.id,
        "logprob": nats(record.logprob),
        "rank": record.rank,
        "anchor_logprob": nats(record.anchor_logprob),
        "contributions": [nats(bar) for bar in record.bars],
        "neg_log_z": nats(record.neg_log_z),
        "entropy": nats(record.entropy_nats),
        "anchor_choice": text_of(record.base_first, pieces),
        "changed": _is_changed(record),
    }


def _likeliest(record: TokenRecord) -> int:
    listed = max(record.candidates, key=lambda candidate: candidate.logprob, default=None)
    return listed.id if listed else record.id


def _is_changed(record: TokenRecord) -> bool:
    """Whether the likeliest token here is another one than the anchor's."""
    return _likeliest(record) != record.base_first


def _score(tokens: Sequence[TokenRecord]) -> Answer:
    """Both are None if a token is impossible; so is the perplexity of no text."""
    total = math.fsum(record.logprob for record in tokens)
    mean = -total / len(tokens) if tokens else math.inf
    return {"logprob": nats(total), "perplexity": round(math.exp(mean), FILE_DIGITS) if mean < 700 else None}


def _term_text(recipe: Recipe, place: int) -> str:
    sign, size = recipe.terms[place].sign_and_size
    return size if sign == "+" else sign + size


def _sentences(record: TokenRecord, recipe: Recipe, pieces: Pieces) -> list[str]:
    """What decided for this token, in the page's terms."""
    own, rival = _quoted(record.id, pieces), _rival(record)
    share = f"The token {own} has a probability of {_percent(record.logprob)} here"
    said = [f"{share}, and {_percent(record.anchor_logprob)} under {recipe.anchor} alone."]
    mine = next((candidate for candidate in record.candidates if candidate.id == record.id), None)
    if not recipe.terms or rival is None or mine is None:
        return said
    lead = _difference(mine.by_role[recipe.anchor], rival.by_role[recipe.anchor])
    final = _difference(mine.logprob, rival.logprob)
    if lead is None or final is None:
        return said
    other = _quoted(rival.id, pieces)
    said.append(f"Against {other}, {recipe.anchor} {_prefers(lead, own, other)}.")
    moved = final - lead
    added = "The sum of the terms" if len(recipe.terms) > 1 else f"The term {_term_text(recipe, 0)}"
    said.append(f"{added} {_prefers(moved, own, other)}.")
    if lead < 0 < final:
        said.append("So it is the recipe's terms that changed the choice.")
    elif record.base_first == record.id:
        said.append(f"It is the first choice of {recipe.anchor} too.")
    elif final <= 0:
        said.append(f"It is not the likeliest token here: chance, or the given text, chose it over {other}.")
    return [*said, _flip(recipe, record.controls, mine, rival, other)]


def _rival(record: TokenRecord) -> Candidate | None:
    """The anchor's first choice, or the likeliest other token where that is the token itself."""
    others = [candidate for candidate in record.candidates if candidate.id != record.id]
    first = next((candidate for candidate in others if candidate.id == record.base_first), None)
    return first or max(others, key=lambda candidate: candidate.logprob, default=None)


def _flip(recipe: Recipe, controls: Mapping[str, float], own: Candidate, rival: Candidate, other: str) -> str:
    """At which value of the only control the choice flips: log-odds are linear in it, without a filter."""
    if len(recipe.terms) != 1 or len(recipe.controls) != 1:
        return ""
    (name,), (term,) = recipe.controls, recipe.terms
    (slope,) = recipe.coefficients({name: 1.0})
    gained = [one.by_role[term.plus] - one.by_role[term.minus] for one in (own, rival)]
    lead = own.by_role[recipe.anchor] - rival.by_role[recipe.anchor]
    moved = slope * (gained[0] - gained[1])
    final = lead + controls[name] * moved
    if not abs(final - (own.logprob - rival.logprob)) < SAYABLE_NATS or abs(moved) < SAYABLE_NATS:
        return ""
    flip = -lead / moved
    if not 0 < flip <= HIGHEST_WEIGHT:
        return ""
    return f"{'Below' if moved > 0 else 'Above'} {name} = {flip:.2f}, {other} is the likelier of the two."


def _difference(one: float, other: float) -> float | None:
    """None where either is minus infinity: nothing can be said of their difference."""
    return one - other if math.isfinite(one) and math.isfinite(other) else None


def _prefers(lead: float, own: str, other: str) -> str:
    if abs(lead) < SAYABLE_NATS:
        return "prefers neither"
    return f"prefers {own if lead > 0 else other} by {abs(lead):.1f} nats"


def _quoted(token: int, pieces: Pieces) -> str:
    return f'"{text_of(token, pieces)}"'


def _percent(logprob: float) -> str:
    share = 100 * math.exp(logprob)
    return f"{share:.1f} %" if share >= 0.1 else "less than 0.1 %"
