"""Events to NDJSON: every line parses, nothing looks like markup, texts are complete, labels sent once."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.method.recipe import BASE, PAD, TUNED, UPSCALED, parse
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.text import END_LABEL, token_label
from eft_demo.runs.trace import Cut, Draft
from eft_demo.ui import stream as wire
from tests.asking import spec
from tests.records import make_record
from tests.saying import run_that_says

COLUMNS = (("Base", BASE), ("Tuned", TUNED), ("Up-scaled", UPSCALED))
BYTES = [b"", b" Lima", b" <script>", b"\xe2\x80", b"\n"]
TWO = {
    1: {"large_base": -0.1, "small_tuned": -2.0, "small_base": -1.0},
    2: {"large_base": -2.4, "small_tuned": -0.2, "small_base": -1.5},
}


def encoder() -> wire.Encoder:
    return wire.Encoder(RunSpec(prompt="Hello", columns=COLUMNS), BYTES, frozenset({0}))


def token(text: str = " Lima", column: int = 2, chosen: int = 1, alpha: float = 1.0) -> TokenEvent:
    return TokenEvent(column, make_record(COLUMNS[column][1], chosen, TWO, alpha=alpha), text, 0.05)


def test_the_run_line_describes_the_columns() -> None:
    line = json.loads(encoder().run_line("id", 7))
    assert [column["kind"] for column in line["columns"]] == ["base", "tuned", "up"]
    assert line["columns"][2]["recipe"] == str(UPSCALED)
    assert (line["id"], line["n"], line["attributed"]) == ("id", 7, 2)
    assert line["columns"][2]["bars"][0]["marker"]["color"] == "var(--base)"
    assert line["columns"][2]["about"] and line["layout"]["barmode"] == "relative"


def test_a_column_that_only_scored_a_text_is_not_said_to_have_written_it() -> None:
    run = run_that_says("x")
    run.columns[0] = replace(run.columns[0], given=len(run.columns[0].tokens))
    first, second = json.loads(wire.trace_lines(run)[0])["columns"]
    assert first["about"] == "Scores a given text"
    assert second["about"] not in ("", first["about"])


def test_the_run_line_has_the_sampling_settings() -> None:
    stream = wire.Encoder(
        spec(
            columns=(("Pad", PAD), ("Half", parse("large_base - 0.5*(small_tuned - small_base)"))),
            temperature=0.5,
            seed=9,
            weight_filter="top-p 0.9",
            schedule="first 2",
        ),
        BYTES,
        frozenset({0}),
    )
    line = json.loads(stream.run_line("id", 7))
    pad, half = line["columns"]
    assert pad["roles"] == ["small_base", "small_tuned", "large_base"]
    assert pad["terms"] == [[1, "alpha", 1, 0], [1, "beta", 2, 0]]
    assert half["terms"] == [[-0.5, None, 1, 2]]
    assert (line["sampling"]["temperature"], line["sampling"]["seed"]) == (0.5, 9)
    assert (line["filter"], line["factors"]) == ({"kind": "top_p", "value": 0.9}, [1, 1, 0])


def test_a_token_lines_contributions_sum_and_its_candidates_are_labelled() -> None:
    line = json.loads(encoder().event_line(token(alpha=1.5)))
    assert sum(line["y"][:-1]) == pytest.approx(line["y"][-1], abs=2e-3)
    assert line["v"] == {"alpha": 1.5}
    assert {row[0] for row in line["c"]} == {1, 2}
    assert all(len(row) == 2 + len(UPSCALED.roles) for row in line["c"])
    assert line["w"] == {"1": "Lima", "2": "<script>"}


def test_labels_are_sent_once() -> None:
    stream = encoder()
    assert "w" in json.loads(stream.event_line(token()))
    assert "w" not in json.loads(stream.event_line(token()))


def test_the_sent_candidates_are_few_and_include_every_important_one() -> None:
    many = {i: {"large_base": -0.5 * i, "small_tuned": -1.0, "small_base": -1.0} for i in range(1, 15)}
    record = make_record(UPSCALED, 14, many)
    ids = [candidate.id for candidate in wire.shown_candidates(UPSCALED, record)]
    assert len(ids) == wire.MAX_LISTED and {1, 14} <= set(ids) and ids[-1] == 14


def test_controls_are_sent_only_for_mixed_columns_and_when_they_change() -> None:
    stream = encoder()
    assert "v" not in json.loads(stream.event_line(token(column=0)))
    sent = [json.loads(stream.event_line(token(alpha=a))).get("v") for a in (1.0, 1.0, 0.5, 0.5, 1.0)]
    assert sent == [{"alpha": 1.0}, None, {"alpha": 0.5}, None, {"alpha": 1.0}]


def test_rank_and_the_anchors_choice_are_sent_only_where_they_differ() -> None:
    first = json.loads(encoder().event_line(token()))
    other = json.loads(encoder().event_line(token(chosen=2, alpha=0.0)))
    assert "b" not in first and (other["b"], other["r"]) == (1, 2)


def test_a_draft_is_sent_with_its_label() -> None:
    event = token()
    event = replace(event, record=replace(event.record, draft=Draft(4, 0.12345)))
    line = json.loads(encoder().event_line(event))
    assert line["d"] == [4, 0.123] and line["w"]["4"] == ["↵", "0A"]


def test_what_a_servers_cut_leaves_open_is_sent_where_there_is_one() -> None:
    event = token()
    assert "u" not in json.loads(encoder().event_line(event))
    cuts = {
        Cut(True, 20, 3, 0.01234567, 0.5): [1, 20, 3, 0.012346, 0.5],
        Cut(False, 5, 0, 0.9, None): [0, 5, 0, 0.9, None],
    }
    for cut, sent in cuts.items():
        line = json.loads(encoder().event_line(replace(event, record=replace(event.record, cut=cut))))
        assert line["u"] == sent


def test_the_run_line_names_the_drafters() -> None:
    blend = parse("large_base + 0.5*(pirate - small_base) + 0.5*(brief - small_base)")
    recipes = (("Base", BASE), ("Tuned", parse("pirate")), ("Up-scaled", UPSCALED), ("Blend", blend))
    line = json.loads(wire.Encoder(RunSpec(columns=recipes), BYTES, frozenset({0})).run_line("id", 7))
    assert [p["drafter"] for p in line["columns"]] == ["small_base", None, "small_tuned", "pirate"]


def test_the_end_line_has_acceptance_and_speedup_if_known() -> None:
    known = json.loads(encoder().event_line(EndEvent(2, "stop", None, 0.1, 9.0, "", 0.71234, 1.897)))
    assert (known["acc"], known["speedup"]) == (0.712, 1.9)
    reused = EndEvent(2, "stop", None, 1, 9, "", prompt_tokens=40, reused_tokens=31)
    assert json.loads(encoder().event_line(reused))["reused"] == [31, 40]
    assert not {"acc", "speedup", "reused"} & set(
        json.loads(encoder().event_line(EndEvent(2, "stop", None, 1, 9, "")))
    )


def test_a_token_takes_at_most_160_bytes_beyond_its_candidates() -> None:
    stream = encoder()
    event = token(" international", chosen=2, alpha=0.0)
    event = replace(event, elapsed_s=99.999, record=replace(event.record, draft=Draft(2, 0.12345)))
    text = stream.event_line(event)
    line = json.loads(text)
    assert len(text) - len(json.dumps([line["c"], line["w"]], separators=(",", ":"))) <= 160


def test_ranks_are_sent_where_a_model_ranks_another_token_first() -> None:
    assert json.loads(encoder().event_line(token()))["q"] == [1, 2, 1]
    assert "q" not in json.loads(encoder().event_line(token(column=0)))
    ids = range(1, 20)
    by_token = {i: {"large_base": -0.1 * i, "small_tuned": -5.0 + 0.2 * i, "small_base": -1.0} for i in ids}
    record = make_record(UPSCALED, 12, by_token)
    stream = wire.Encoder(RunSpec(columns=COLUMNS), [b"x"] * 20, frozenset({0}))
    line = json.loads(stream.event_line(TokenEvent(2, record, "x", 0.1)))
    assert len(line["c"]) == wire.MAX_LISTED
    assert line["q"] == [-12, -8, 1]


def test_the_end_line_has_the_rest_of_the_text() -> None:
    stream = encoder()
    stream.event_line(token(" Li"))
    end = json.loads(stream.event_line(EndEvent(2, "length", None, 0.041, 99.0, " Li�")))
    assert (end["s"], end["why"], end["ttft_ms"], end["tps"]) == ("�", "length", 41.0, 99.0)


def test_a_speed_never_measured_is_left_out() -> None:
    end = json.loads(encoder().event_line(EndEvent(0, "cancelled", None, 0.0, 0.0, "")))
    assert "tps" not in end and "ttft_ms" not in end


def test_the_stop_token_is_marked() -> None:
    record = make_record(BASE, 0, {0: {"large_base": -0.1}, 1: {"large_base": -3.0}})
    line = json.loads(encoder().event_line(TokenEvent(0, record, "", 0.1)))
    assert line["z"] == 1
    assert line["w"]["0"] == [END_LABEL, ""]


@given(st.text())
def test_any_text_survives_and_never_looks_like_markup(text: str) -> None:
    line = wire.error_line("prompt", text)
    assert json.loads(line)["text"] == text
    assert line.isascii() and "<" not in line and line.count("\n") == 1


def test_lone_surrogates_stay_ascii() -> None:
    assert "\\ud800" in wire.error_line("prompt", "\ud800")


@pytest.mark.parametrize(
    ("piece", "label"),
    [(b" Lima", "Lima"), (b"\xe2\x80", "⟨E2 80⟩"), (b"\n\n", "↵↵"), (b"  ", "··"), (b"", "⟨empty⟩"),
     (b"\x00", "⟨0⟩"), (b" <b>", "<b>"), ("é".encode(), "é")],
)  # fmt: skip
def test_token_labels_can_be_read(piece: bytes, label: str) -> None:
    assert token_label(piece) == label


def test_minus_infinity_is_null() -> None:
    assert wire.nats(-math.inf) is None
    assert wire.nats(-1.23456) == -1.235
