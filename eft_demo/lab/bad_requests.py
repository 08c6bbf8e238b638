"""Requests that the page never makes: some written by hand, others made from good ones by spoiling a part.

Knows what the page posts and how a refusal looks; sends nothing.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from eft_demo.lab.page_client import JOIN, asked, post_of

CALL, ROOM = "/gradio_api/component_server", "/room"
SESSION = "unheard-of"
Json = Any  # whatever `json` reads and writes, NaN and halves of surrogate pairs included
WRONG: tuple[Json, ...] = (
    *(None, True, False, -1, 0, 3, 1.5, 2**63, -(2**70), 1e308, math.nan, math.inf, -math.inf),
    *("", "x", "nan", "1e999", "\x00", "\ud800", "\u202e", "../../etc/passwd", "<b>", "${1}", "{{x}}"),
    *("x" * 5000, "🎈" * 3000, [], {}, [[]], [None] * 40, {"": {"": {}}}, ["x"] * 2000, [[[[[[[[]]]]]]]]),
)
# Values that each field of a run has to refuse.
FIELDS: Mapping[str, tuple[Json, ...]] = {
    **dict.fromkeys(
        ("temperature", "top_p", "min_p", "top_k", "seed"), (math.nan, math.inf, "x", [], -(10**30))
    ),
    "length": (math.nan, math.inf, "x", [], 0, 10**9),
    "controls": tuple({"alpha": value} for value in (math.nan, -math.inf, "1", None, 1e9)),
    "prompt": ("x" * 4001, 5, None, ["Hi"], {"Hi": 1}),
    "behaviour": ("nobody", 7, ["assistant"], "../assistant"),
    "columns": ([], "x", [None], [{}] * 9),
    "kind": ("branch", "score", "unknown", 5),
    "pace": (-1,),
}
RECIPES = ("", "α", "large_base +", "__import__('os')", "1e999*large_base", "(" * 400, "x" * 9000)
# Arguments that each function of the page has to refuse.
CALLS: Mapping[str, tuple[Json, ...]] = {
    "set_controls": (None, {}, {"run": "x", "values": {"alpha": 1}}),
    "save": (None, {"run": "x", "format": "exe"}, {"run": 5, "format": "json"}),
    "plot": ([], {"run": "x", "tab": "y"}),
    **dict.fromkeys(("stop", "set_pace", "open_file", "open_recorded", "open_lesson", "what_if"), ({},)),
    "load_family": ({}, {"family": "atlas"}, {"family": "atlas", "key": "guess"}),
    "exec": ("1",),
}
ROOMS: Mapping[str, tuple[Json, ...]] = {
    **dict.fromkeys(("show", "tally", "end", "hear", "vote"), ({}, [])),
    "join": ({}, {"code": "ABCDEF"}, {"code": 7}, {"code": "x" * 900}),
    "unknown": ({},),
}
NOT_JSON = (b"", b"{", b"[]", b"\xff\xfe", b"[" * 9000, b'"x"', b"nul")
RUN = {"columns": None, "system": "", "kind": None, "length": 1}


@dataclass(frozen=True, slots=True)
class Post:
    """One request: where it goes, its body, and whether the app has to refuse it."""

    path: str
    body: bytes
    wrong: bool = False
    kind: str = "application/json"


def by_hand(event: tuple[int, int]) -> list[Post]:
    """Requests that have to be refused, each for a reason of its own."""

    whole = post_of(event, SESSION, asked("Hi", 0))
    runs = [{name: value} for name, values in FIELDS.items() for value in values]
    runs += [{"columns": [{"recipe": recipe, "title": "t"}] * 2} for recipe in RECIPES]
    wrong: list[Json] = [{"session_hash": value} for value in (None, "", "x" * 99, ["x"])]
    wrong += [{"fn_index": value} for value in (None, -1, "0", 999)]
    return [
        *(
            _post(JOIN, post_of(event, SESSION, {**asked("Hi", 0), "length": 1, **run}), wrong=True)
            for run in runs
        ),
        *(_post(JOIN, {**whole, **part}, wrong=True) for part in wrong),
        *(_post(CALL, _call(event, name, data), wrong=True) for name, many in CALLS.items() for data in many),
        *(_post(f"{ROOM}/{act}", posted, wrong=True) for act, many in ROOMS.items() for posted in many),
        *(Post(JOIN, body, True) for body in NOT_JSON),
        Post(JOIN, _encode(whole), True, "text/plain"),
        Post(JOIN, _encode(whole), True, "multipart/form-data; boundary=x"),
        Post("/gradio_api/upload", b"x", True, "multipart/form-data; boundary=x"),
        Post("/gradio_api/run/run", _encode(whole), True),
    ]


def spoiled(event: tuple[int, int], count: int, seed: int = 0) -> Iterator[Post]:
    """`count` requests at all places that the page posts to. Some stay good: a part may not matter."""
    draw = random.Random(seed)
    good = _good(event)
    for number in range(count):
        path, body = good[number % len(good)]
        yield _post(path, _spoil(copy.deepcopy(body), draw))


def refusal(status: int, body: str) -> str | None:
    """The reason in an answer other than a stream; None if the request was accepted.

    Raises ValueError for an answer that is neither, such as an internal error or a refusal without a reason.
    """
    if status >= 500 and status != 503:
        raise ValueError(f"HTTP {status}")
    if status >= 400:
        reason = _loads(body, {})
        detail = reason.get("detail") if isinstance(reason, Mapping) else None
        if not detail or not isinstance(detail, str):
            raise ValueError(f"HTTP {status} without a reason")
        return detail
    said = _loads(body, body)
    inner = _loads(said, said) if isinstance(said, str) else said
    if isinstance(inner, Mapping) and "error" in inner:
        if not inner["error"]:
            raise ValueError("an empty reason")
        return str(inner["error"])
    return inner if isinstance(inner, str) and inner else None


def _good(event: tuple[int, int]) -> list[tuple[str, Any]]:
    """Requests in the form that the page sends, one for each place and function."""
    run = asked("Hi", 0, **RUN)
    token = {"run": "r", "column": 2, "position": 0}
    calls: dict[str, object] = {
        "set_controls": {"run": "r", "values": {"alpha": 1.0}},
        "set_pace": {"run": "r", "rate": 4.0, "paused": False, "step": False},
        "stop": {"run": "r"},
        "check_columns": {"columns": [{"recipe": "large_base", "title": "t"}], "behaviour": "assistant"},
        "make_link": {**run},
        "read_link": {"query": "v=1&p=Hi"},
        "open_lesson": {"name": "first"},
        "is_stored": {"run": "r"},
        "show_format": {"role": "assistant", "format": "", "prompt": "Hi"},
        "load_family": {"family": "atlas", "key": "k", "quantisation": "auto"},
        "measure_quantisation": {"key": "k"},
        "cancel_loading": {"key": "k"},
        "loading": {},
        "save": {"run": "r", "format": "json", "columns": [0, 1, 2]},
        "plot": {"run": "r", "tab": "log_odds", "columns": [0, 1, 2]},
        "open_file": {"text": '{"version": 1, "columns": []}'},
        "open_recorded": {"name": "first"},
        "restore_run": {"run": "r", "columns": [], "record": {}},
        "family_menu": {"key": ""},
        "what_if": {**token, "values": {"alpha": 1.0}},
    }
    poll = {"id": "1", "kind": "token", "title": "t", "options": [{"id": "a", "label": "A"}]}
    rooms = {
        "show": {"code": "ABCDEF", "secret": "s", "poll": poll, "link": ""},
        "tally": {"code": "ABCDEF", "secret": "s", "counted": {}},
        "end": {"code": "ABCDEF", "secret": "s"},
        "join": {"code": "ABCDEF", "invite": "i", "token": None},
        "hear": {"code": "ABCDEF", "token": "t", "news": 0},
        "vote": {"code": "ABCDEF", "token": "t", "poll": 1, "option": "a"},
    }
    starts = [run, {**run, "kind": "branch", **token, "token": 5}, {**run, "kind": "score", "text": "a"}]
    return [
        *((JOIN, post_of(event, SESSION, start)) for start in starts * 4),
        *((CALL, _call(event, name, data)) for name, data in calls.items()),
        *((f"{ROOM}/{act}", posted) for act, posted in rooms.items()),
        ("/gradio_api/cancel", {"session_hash": SESSION, "fn_index": event[0], "event_id": "e"}),
        ("/gradio_api/reset", {"session_hash": SESSION, "event_id": "e"}),
    ]


def _spoil(body: Any, draw: random.Random) -> object:
    """The body with one to three parts replaced, left out or added; sometimes something else as a whole."""
    if draw.random() < 0.05:
        return _wrong(draw)
    for _ in range(draw.randint(1, 3)):
        where = draw.choice([part for part in _parts(body) if part])
        key = draw.choice(list(where) if isinstance(where, dict) else range(len(where)))
        act = draw.random()
        if act < 0.15 and isinstance(where, dict) and len(where) > 1:
            del where[key]
        elif act < 0.25 and isinstance(where, dict):
            where[draw.choice(["__class__", "", "run", "columns", "\ud800"])] = _wrong(draw)
        else:
            where[key] = _wrong(draw)
    return body


def _wrong(draw: random.Random) -> Json:
    return copy.deepcopy(draw.choice(WRONG))  # because it may be spoiled further


def _parts(value: object) -> Iterator[Any]:
    """All objects and lists in a value, itself first."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _parts(inner)


def _call(event: tuple[int, int], name: str, data: object) -> dict[str, object]:
    return {"data": data, "component_id": event[1], "fn_name": name, "session_hash": SESSION}


def _post(path: str, body: object, *, wrong: bool = False) -> Post:
    return Post(path, _encode(body), wrong)


def _encode(body: object) -> bytes:
    """JSON as Python writes it: NaN, Infinity and halves of surrogate pairs included."""
    return json.dumps(body).encode()


def _loads(text: str, default: object) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return default
