"""CSV and Markdown show every text verbatim, never as formula or markup, with the figures of the run."""

import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eft_demo.errors import InputError
from eft_demo.method.recipe import BASE
from eft_demo.runs import export
from eft_demo.runs.conversation import Turn
from eft_demo.runs.spreadsheet import read_cell
from eft_demo.runs.text import show_controls
from eft_demo.runs.trace import ColumnTrace, Cut, Draft, gather_pieces
from tests.hostile import HOSTILE
from tests.records import make_record
from tests.saying import run_that_says, storable

any_text = st.text(alphabet=st.characters(), max_size=60) | st.sampled_from(HOSTILE)


PLAIN = run_that_says("x")


def rows_of(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_csv_has_one_row_per_token_and_no_formula(text: str) -> None:
    run = run_that_says(text)
    table = export.to_csv(run)
    table.encode("utf-8")
    rows = rows_of(table)
    assert len(rows) == 6
    said = rows[3]["text"]
    assert read_cell(said) == show_controls(storable(text))
    assert bytes.fromhex(read_cell(rows[3]["bytes"])).decode() == storable(text)
    for row in rows:
        for name in ("column", "recipe", "text"):
            assert not row[name].lstrip(" \ufeff").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize("write", [export.to_csv, export.to_markdown])
def test_a_file_has_no_more_than_its_limit(write: Callable[..., str]) -> None:
    run = run_that_says("x")
    whole = write(run)
    assert write(run, most=len(whole)) == whole
    with pytest.raises(InputError) as caught:
        write(run, most=len(whole) - 1)
    assert caught.value.code == "file_too_large" and f"{len(whole) - 1:,}" in str(caught.value)


def test_csv_figures_are_those_of_the_records() -> None:
    run = run_that_says("x")
    record = run.columns[1].tokens[0]
    run.columns[1].tokens[0] = dataclasses.replace(record, draft=Draft(5, 0.5))
    row = rows_of(export.to_csv(run))[3]
    assert float(row["logprob"]) == record.logprob
    parts = float(row["anchor_logprob"]) + float(row["term_1"]) + float(row["neg_log_z"])
    assert parts == pytest.approx(record.logprob)
    assert float(row["logprob_small_tuned"]) == -3.0
    assert (row["id"], row["position"], row["alpha"], row["draft_id"], row["draft_overlap"]) == (
        "6",
        "0",
        "1.0",
        "5",
        "0.5",
    )
    assert rows_of(export.to_csv(run))[0]["term_1"] == ""


def test_csv_says_what_a_servers_cut_leaves_open_where_there_is_one() -> None:
    run = run_that_says("x")
    assert "certain" not in rows_of(export.to_csv(run))[0]
    record = run.columns[1].tokens[0]
    run.columns[1].tokens[0] = dataclasses.replace(record, cut=Cut(False, 20, 3, 0.25, None))
    rows = rows_of(export.to_csv(run))
    found = [(row["certain"], row["hidden"], row["off_nats"]) for row in (rows[0], rows[3])]
    assert found == [("1", "0", "0"), ("0", "0.25", "")]


def test_a_file_says_which_tokens_were_given_and_which_texts_were_only_scored() -> None:
    run = run_that_says("x")
    assert "given" not in rows_of(export.to_csv(run))[0]
    assert "given" not in export.to_markdown(run)
    scored, branch = run.columns
    run.columns[:] = [
        dataclasses.replace(scored, given=len(scored.tokens)),
        dataclasses.replace(branch, given=1),
    ]
    rows = rows_of(export.to_csv(run))
    assert [row["given"] for row in rows] == ["1"] * len(scored.tokens) + ["1"] + ["0"] * (
        len(branch.tokens) - 1
    )
    of_scored, of_branch = export.to_markdown(run).split("\n## ")[1:]
    assert "only scored the text" in of_scored and "only scored the text" not in of_branch


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_markdown_shows_texts_in_blocks_they_cannot_leave(text: str) -> None:
    page = export.to_markdown(run_that_says(text, prompt="a prompt"))
    page.encode("utf-8")
    outside = outside_of_fences(page)
    for line in outside:
        bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", line)  # what a backslash has made plain
        assert not re.search(r"[<&`\[\]!*_]", bare.replace("|", "")), line
    assert storable(text).replace("\r", "\n").split("\n")[0] in page


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_markdown_has_the_conversation_in_blocks_too(text: str) -> None:
    run = run_that_says("Hi", prompt="last")
    turns = (Turn(text, (text, "two")), Turn("and", ("shared",)))
    spec = run.spec.model_copy(update={"turns": turns, "system": text})
    page = export.to_markdown(dataclasses.replace(run, spec=spec))
    page.encode("utf-8")
    for line in outside_of_fences(page):
        bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", line)
        assert not re.search(r"[<&`\[\]!*_]", bare.replace("|", "")), line
    assert page.index("two") < page.index("shared") < page.index("last")
    plain = page.replace("\\", "")
    assert "earlier turns 2" in plain and "Answer of all columns" in plain


def test_markdown_has_the_numbers_with_which_the_run_can_be_repeated() -> None:
    run = run_that_says("Hi")
    sampling = dataclasses.replace(run.spec.sampling, seed=2**32 - 1, temperature=1 / 3)
    exact = {"sampling": sampling, "controls": {"alpha": 0.1234567891}}
    page = export.to_markdown(dataclasses.replace(run, spec=run.spec.model_copy(update=exact)))
    plain = page.replace("\\", "")
    assert (
        "seed 4294967295," in plain and f"temperature {1 / 3!r}," in plain and "alpha 0.1234567891," in plain
    )


def outside_of_fences(page: str) -> list[str]:
    """The lines outside code blocks."""
    lines, fence = [], ""
    for line in page.split("\n"):
        if fence:
            fence = "" if line == fence else fence
        elif line.startswith("```"):
            fence = line
        else:
            lines.append(line)
    assert not fence
    return lines


@given(any_text)
def test_a_fence_is_longer_than_any_inside(text: str) -> None:
    fence, body, end = export._fenced(text)
    assert fence == end
    assert set(fence) == {"`"}
    assert fence not in body


def test_a_token_the_run_does_not_hold_is_named_by_its_number() -> None:
    assert export.label_of(7, {}) == "#7"
    assert export.label_of(7, {7: b" Lima"}) == "Lima"


@settings(max_examples=500)
@given(st.lists(st.binary(max_size=6), min_size=1, max_size=12))
def test_any_bytes_survive_the_file_and_the_texts_joined_are_the_whole(tokens: list[bytes]) -> None:
    by_token = {token: {"large_base": -1.0 - token} for token in range(len(tokens))}
    records = [make_record(BASE, token, by_token, position=token) for token in by_token]
    column = ColumnTrace("Base", "large_base", records)
    kept = json.loads(json.dumps(gather_pieces([column], tokens)))
    run = dataclasses.replace(PLAIN, columns=[column], pieces=kept)
    assert export.pieces_of(run) == dict(enumerate(tokens))
    assert "".join(export.token_texts(column, export.pieces_of(run))) == b"".join(tokens).decode(
        "utf-8", "replace"
    )
