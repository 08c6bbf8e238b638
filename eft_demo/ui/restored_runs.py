"""Restored runs: the page still has them, but the server lost them, for example in a restart.

Knows the wire format's lines as the page keeps them, and traces. A posted run is untrusted, so it is read
like a file: every part is checked and errors are reported. It is then stored like an opened run, with what
the page knows: ten candidates per token, log-probs with three digits.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.method.recipe import Recipe, Term
from eft_demo.method.weight_filter import WeightFilter
from eft_demo.runs.replay import open_run
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.text import END_LABEL
from eft_demo.runs.trace import MAX_CHARS, ColumnTrace, RunTrace
from eft_demo.ui.posted import error_json, fields_of
from eft_demo.ui.run_store import RunStore, StoredRun
from eft_demo.ui.stream import Encoder
from eft_demo.ui.visitors import Visitor

ENDINGS = ("stop", "length", "error")  # any other ending on the page means that the column was cut
UNREADABLE = "This run cannot be read back from the page. Please press Run again."
Json = dict[str, Any]


def is_stored(runs: RunStore, posted: object) -> str:
    """JSON {"stored": whether the server still has the run}: `posted` has `run`, its id."""
    return json.dumps({"stored": runs.holds(fields_of(posted).get("run"))})


def restore_run(service: Service, runs: RunStore, posted: object, visitor: Visitor | None = None) -> str:
    """JSON {"run": its new id}, or {"error"}. `posted` is what `restoreRun` in api.js makes of a run."""
    try:
        stored = _read(service, posted)
    except EFTError as refusal:
        return error_json(refusal)
    run_id = secrets.token_urlsafe(18)
    runs.keep(run_id, stored, visitor)
    runs.pack(run_id)
    return json.dumps({"run": run_id})


def _read(service: Service, posted: Any) -> StoredRun:
    try:
        _check_repeated(posted["columns"], int(MAX_CHARS * service.settings.run_scale))
        document = _document(service, posted)
        trace = open_run(json.dumps(document, allow_nan=False), service.settings.run_scale)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration, RecursionError, OverflowError):
        raise InputError(UNREADABLE) from None
    return StoredRun.of_file(trace)


def _check_repeated(columns: list[Json], most: int) -> None:
    """Raise InputError if the trace would repeat the names that the page sends once too often."""
    chars = 0
    for column in columns:
        roles = sum(len(json.dumps(role)) for role in column["roles"])
        controls = 0
        for token in column["t"]:
            if "v" in token:
                controls = len(json.dumps(token["v"]))
            chars += controls + roles * len(token["c"])
            if chars > most:
                raise InputError(
                    f"A run may have at most {most:,} characters as a trace; this one has more. "
                    "Please press Run again."
                )


def _document(service: Service, posted: Any) -> Json:
    """The run as a trace's JSON, unchecked."""
    columns = posted["columns"]
    labels: Json = {}
    for column in columns:
        labels |= column["w"]
    ours = _is_ours(service, labels)
    shell = json.loads(RunTrace(RunSpec(), []).to_json())
    return {
        **shell,
        "family": posted["record"]["family"],
        "prompt": posted["prompt"],
        "sampling": posted["sampling"],
        "controls": posted["controls"],
        "columns": [_column(column, posted["sampling"]["seed"]) for column in columns],
        "weight_filter": str(WeightFilter(**posted["filter"])),
        **{name: posted["record"][name] for name in ("schedule", "speculation", "made_with")},
        "pieces": _our_pieces(service, labels) if ours else _their_pieces(columns, labels),
        "formats": posted["formats"],
        **{name: posted[name] for name in ("system", "turns") if name in posted},
    }


def _column(column: Json, seed: int) -> Json:
    end = column["end"] or {}
    values: Json = {}
    tokens = []
    for position, token in enumerate(column["t"]):
        values = token.get("v", values)
        tokens.append(_token(token, position, column["roles"], values))
    why = end.get("why")
    return {
        **asdict(ColumnTrace("", "")),
        "name": column["name"],
        "recipe": str(_recipe(column["roles"], column["terms"])),
        "tokens": tokens,
        "text": "".join(token["s"] for token in column["t"]) + (end.get("s") or ""),
        "finish_reason": why if why in ENDINGS else "cancelled",
        "error": end.get("error"),
        "ttft_s": end.get("ttft_ms", 0) / 1000,
        "tokens_per_s": end.get("tps", 0),
        "acceptance_rate": end.get("acc"),
        "speedup": end.get("speedup"),
        "given": min(column.get("given", 0), len(tokens)),
        "seed": None if column["seed"] == seed else column["seed"],
    }


def _recipe(roles: Sequence[str], terms: list[Any]) -> Recipe:
    """The recipe as the page received it: a single model's column header may have the short form."""
    return Recipe(roles[0], tuple(_term(roles, *term) for term in terms))


def _term(roles: Sequence[str], number: float, control: str | None, plus: int, minus: int) -> Term:
    if control is None:
        return Term(number, roles[plus], roles[minus])
    return Term(control, roles[plus], roles[minus], number)


def _token(token: Json, position: int, roles: Sequence[str], values: Json) -> Json:
    anchor, *bars, neg_log_z, logprob = token["y"]
    candidates = [
        {"id": row[0], "logprob": row[1], "by_role": dict(zip(roles, row[2:], strict=True))}
        for row in token["c"]
    ]
    own = next(row for row in candidates if row["id"] == token["i"])
    return {
        "position": position,
        "id": token["i"],
        "controls": values,
        "logprob": logprob,
        "anchor_logprob": anchor,
        "bars": bars,
        "neg_log_z": neg_log_z,
        "entropy_nats": token["e"],
        "rank": token.get("r", 1),
        "base_first": token.get("b", token["i"]),
        "by_role": own["by_role"],
        "candidates": candidates,
        "draft": {"id": token["d"][0], "overlap": token["d"][1]} if token.get("d") else None,
    }


def _is_ours(service: Service, labels: Json) -> bool:
    """Whether every token label from the page matches the loaded family's."""
    family = service.family
    encoder = Encoder(RunSpec(), family.token_bytes, family.stop_ids)
    known = range(len(family.token_bytes))
    return all(int(i) in known and list(encoder.shown(int(i))) == list(label) for i, label in labels.items())


def _our_pieces(service: Service, labels: Json) -> dict[str, str]:
    """Token id -> its bytes, as in a trace."""
    token_bytes = service.family.token_bytes
    return {i: token_bytes[int(i)].decode("utf-8", "surrogateescape") for i in labels}


def _their_pieces(columns: list[Json], labels: Json) -> dict[str, str]:
    """The same for another family, as far as the page knows: exact for the chosen tokens."""
    pieces = {}
    for i, label in labels.items():
        whole = bytes.fromhex(label[1]) if isinstance(label, list) else str(label).encode()
        pieces[i] = "" if label == END_LABEL else whole.decode("utf-8", "surrogateescape")
    for token in (token for column in columns for token in column["t"]):
        label = labels[str(token["i"])]
        if token["s"].strip(" ") == label:
            pieces[str(token["i"])] = token["s"]
        elif isinstance(label, str) and token["s"].endswith(f" {label}"):  # behind half a character
            pieces[str(token["i"])] = f" {label}"
    return pieces
