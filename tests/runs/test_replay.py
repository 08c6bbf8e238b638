"""Opened files are untrusted: consistent runs are replayed unchanged, all others are refused."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import EFTError, InputError
from eft_demo.runs import replay as replay_module
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.runs.export import to_csv, to_markdown
from eft_demo.runs.replay import open_run, read_run, replay
from eft_demo.ui.stream import Encoder
from tests.hostile import HOSTILE
from tests.saying import run_that_says, storable

RUN = run_that_says("Lima")
DOCUMENT = json.loads(RUN.to_json())


def test_a_saved_run_opens_again() -> None:
    text = RUN.to_json()
    assert open_run(text) == RUN
    assert open_run(text.encode()) == RUN
    assert open_run(b"\xef\xbb\xbf" + text.encode()) == RUN  # what some editors put in front


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_opened_and_played_verbatim(text: str) -> None:
    run = open_run(run_that_says(text).to_json()) if len(text) <= 1000 else run_that_says(text)
    played = replay(run)
    encoder = Encoder(run.spec, played.pieces, played.stop_ids)
    lines = encoder.run_line("id", 1) + "".join(map(encoder.event_line, played.events))
    assert lines.isascii()
    assert "<" not in lines
    said = [json.loads(line) for line in lines.splitlines()]
    assert said[0]["prompt"] == text
    assert (
        "".join(line["s"] for line in said if line["k"] == "t" and line["p"] == 1)
        == storable(text) + "\ufffd"
    )


def test_a_replay_shows_the_columns_side_by_side_and_ends_each_once() -> None:
    played = replay(RUN)
    assert [event.column for event in played.events] == [0, 1] * 4
    assert [type(event) for event in played.events] == [TokenEvent] * 6 + [EndEvent] * 2
    tokens = [event for event in played.events if isinstance(event, TokenEvent)]
    assert [event.record for event in tokens[1::2]] == RUN.columns[1].tokens
    assert played.stop_ids == {5}
    times = [event.elapsed_s for event in tokens[::2]]
    assert times == sorted(times)
    last = played.events[-1]
    assert isinstance(last, EndEvent) and last.finish_reason == "stop"


def test_tokens_without_text_in_the_file_are_shown_by_id() -> None:
    run = copy.deepcopy(RUN)
    del run.pieces["6"]
    assert replay(run).events[0].text == "#6"


def change(path: str, value: object) -> str:
    """The document with one value changed; `path` is like columns.0.name, and None removes the value."""
    document = copy.deepcopy(DOCUMENT)
    *steps, last = [int(step) if step.isdecimal() and step != "6" else step for step in path.split(".")]
    place: Any = document
    for step in steps:
        place = place[step]
    place[last] = value
    return json.dumps(document)


MADE = {"eft_demo": "0.1.0", "torch": "2.13.0", "transformers": "", "models": {}}
MODEL = {"dtype": "bf16", "quantisation": "none", "device": "cpu", "source": "", "revision": ""}
LONG_NUMBER = "1" * 30
BAD = [
    ("version", 1, "version 2 to 6; got 1"),
    ("version", "2", "version 2 to 6; got '2'"),
    ("version", 2.0, "version 2 to 6; got 2.0"),
    ("formats", {"pirate": {"kind": "plain", "text": "{prompt}"}}, "'pirate'"),
    ("formats", {"large_base": {"kind": "plain", "text": "nowhere"}}, "{prompt}"),
    ("formats", {"large_base": {"kind": "poem", "text": ""}}, "it is 'poem'"),
    ("formats", {"large_base": {"kind": "chat", "text": "x" * 8001}}, "up to 8,000"),
    ("formats", {"large_base": "{prompt}"}, "fields kind, text"),
    ("columns", [], "1 to 16 columns, not 0"),
    ("columns", DOCUMENT["columns"] * 9, "not 18"),
    ("columns", "text", "must be a list"),
    ("columns.0.recipe", "<script>", "column 1"),
    ("columns.0.recipe", "small_base", "by_role must hold exactly small_base"),
    ("columns.1.recipe", "large_base", "token 1: bars must be 0"),
    ("columns.0.finish_reason", "done", "finish_reason must be one of"),
    ("columns.0.given", -1, "given must be from 0"),
    ("columns.0.given", 10**9, "given must be from 0"),
    ("columns.0.given", 4, "column 1, given must be from 0 to 3"),
    ("columns.1.seed", -1, "column 2, seed must be from 0"),
    ("columns.1.seed", 2**32, "column 2, seed must be from 0"),
    ("columns.1.seed", 1.5, "must be a whole number"),
    (
        "columns.1.text",
        "something else",
        "column 2, the text must be that of its tokens, not 'something else'",
    ),
    ("columns.1.text", "", "column 2, the text must be that of its tokens"),
    ("columns.0.tokens.1.entropy_nats", -5, "token 2: the entropy must be 0 or more, not -5"),
    ("columns.0.given", 1.5, "must be a whole number"),
    ("columns.0.given", None, "must be a whole number"),
    ("columns.0.ttft_s", 1e9, "numbers of at most"),
    ("columns.0.tokens.1.position", 0, "token 2: position must be 1, not 0"),
    ("columns.1.tokens.0.controls", {}, "controls must hold alpha"),
    ("columns.1.tokens.0.controls", {"alpha": 1e9}, "numbers of at most"),
    ("columns.0.tokens.0.neg_log_z", None, "numbers of at most"),
    ("columns.0.tokens.0.neg_log_z", 1e200, "numbers of at most"),
    ("columns.0.tokens.0.rank", 0, "rank must be 1"),
    ("columns.0.tokens.0.rank", 0.5, "must be a whole number"),
    ("columns.0.tokens.0.id", 8, "must be among the candidates"),
    ("columns.0.tokens.0.base_first", -1, "must not be negative"),
    ("columns.0.tokens.0.logprob", 5.0, "must not be above 0"),
    ("columns.0.tokens.0.by_role", {}, "by_role must hold"),
    ("columns.0.tokens.0.candidates.0.by_role", {"large_base": 700.0}, "must not be above 0"),
    ("columns.0.tokens.0.candidates.0.id", 2**60, "whole number"),
    ("columns.0.tokens.0.draft", {"id": 1, "overlap": None}, "draft must be numbers"),
    ("made_with", {"torch": "2"}, "fields eft_demo, torch, transformers, models"),
    ("made_with", {**MADE, "torch": 2}, "made_with.torch must be text"),
    ("made_with", {**MADE, "torch": "x" * 201}, "texts of 200 characters"),
    ("made_with", {**MADE, "models": {f"m{k}": MODEL for k in range(65)}}, "64 models"),
    ("made_with", {**MADE, "models": {f"m{k}": MODEL | {"source": "x" * 190} for k in range(60)}}, "8,000"),
    ("made_with", {**MADE, "models": {"large_base": {**MODEL, "device": None}}}, "device must be text"),
    ("weight_filter", "<b>", "filter"),
    ("schedule", "often", "schedule"),
    ("speculation", "often", "peculation"),
    ("pieces", {"x": ""}, "token ids"),
    ("pieces", {"07": ""}, "token ids"),
    ("pieces", {LONG_NUMBER: ""}, "token ids"),
    ("pieces", {"²": ""}, "token ids"),
    ("pieces.6", "\ud800", "not text"),
    ("pieces.6", "x" * 1001, "longer than 1,000"),
    ("controls", {"alpha": 1e9}, "Alpha must be a number"),
    ("columns.0.name", "x" * 501, "500 characters"),
    ("columns.0.tokens.0.controls", {f"c{k}": 1.0 for k in range(65)}, "64 controls"),
    ("prompt", 5, "must be text"),
    ("more", 5, "exactly the fields"),
    ("system", 5, "must be text"),
    ("system", "x" * 8001, "8,000 characters"),
    ("turns", "Hi", "list"),
    ("turns", [{"question": "Hi", "answers": ["a", "b", "c"]}], "each of its 2 columns"),
    ("turns", [{"question": "Hi", "answers": []}], "one answer, or one per column"),
    ("turns", [{"question": "Hi", "answers": [5]}], "must be text"),
    ("turns", [{"question": "Hi"}], "fields question, answers"),
    ("turns", [{"question": "Hi", "answers": ["a"]}] * 65, "at most 64"),
]


@pytest.mark.parametrize(("path", "value", "words"), BAD, ids=[f"{p}-{i}" for i, (p, _, _) in enumerate(BAD)])
def test_an_inconsistent_file_is_refused(path: str, value: object, words: str) -> None:
    with pytest.raises(EFTError) as caught:
        open_run(change(path, value))
    assert words in str(caught.value)


def test_a_text_may_leave_out_half_a_character_and_is_not_checked_without_the_texts_of_its_tokens() -> None:
    assert RUN.columns[1].text == "Lima\ufffd"
    assert open_run(change("columns.1.text", "Lima")).columns[1].text == "Lima"
    unknown = json.loads(change("columns.1.text", "something else"))
    del unknown["pieces"]["6"]
    assert open_run(json.dumps(unknown)).columns[1].text == "something else"


def test_too_large_files_and_too_many_tokens_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "MAX_TOKENS", 5)
    with pytest.raises(InputError, match="5 tokens, not 6"):
        open_run(RUN.to_json())
    monkeypatch.setattr(replay_module, "MAX_CHARS", 100)
    with pytest.raises(InputError, match="100 characters"):
        open_run(RUN.to_json())


def test_a_piece_that_many_tokens_share_counts_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sum(len(RUN.pieces.get(str(record.id), "")) for column in RUN.columns for record in column.tokens)
    monkeypatch.setattr(replay_module, "MAX_TEXT_CHARS", whole)
    assert open_run(RUN.to_json()) == RUN
    monkeypatch.setattr(replay_module, "MAX_TEXT_CHARS", whole - 1)
    with pytest.raises(InputError, match=f"{whole - 1} characters"):
        open_run(RUN.to_json())


@given(st.integers(0, len(RUN.to_json()) - 1))
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(InputError):
        open_run(RUN.to_json()[:length])


def test_binary_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a text file"):
        open_run(b"\xff\xfe{}")
    with pytest.raises(InputError, match="cannot be read"):
        read_run(tmp_path / "none.json")
    path = tmp_path / "run.json"
    path.write_text(RUN.to_json(), encoding="ascii")
    assert read_run(path) == RUN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def places(value: object, before: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The path of every value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [before, *(place for key, item in inner for place in places(item, (*before, key)))]


@given(st.sampled_from(places(DOCUMENT)[1:]), json_values)
def test_any_value_in_any_place_is_replayed_or_refused(place: tuple[Any, ...], value: object) -> None:
    document = copy.deepcopy(DOCUMENT)
    target: Any = document
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    show_or_refuse(json.dumps(document))


@pytest.mark.parametrize("speed", [0, -1.0, 5e-324, 1e-300, 1e-9, 1e12])
def test_any_speed_is_replayed(speed: float) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["columns"][0]["tokens_per_s"] = speed
    show_or_refuse(json.dumps(document))


def show_or_refuse(text: str) -> None:
    try:
        run = open_run(text)
    except EFTError as refusal:
        assert str(refusal)
        return
    for export_of in (to_csv, to_markdown):
        export_of(run).encode()
    played = replay(run)
    encoder = Encoder(run.spec, played.pieces, played.stop_ids)
    for event in played.events:
        encoder.event_line(event)
