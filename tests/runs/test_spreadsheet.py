"""Spreadsheets leave every exported text unchanged: none becomes a number, date, boolean or formula."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.runs.spreadsheet import plain_cell, read_cell
from eft_demo.runs.text import show_controls
from tests.hostile import HOSTILE
from tests.saying import storable

# Some spreadsheet, in some language, converts each of these.
OTHERS = (
    "007", "5", "1.5", "1,5", "1,000", "1'000", "1 000", "1e5", "1E5", "-2", "\u22125", "+49 30", "(5)", "5%",
    "%5", "$5", "5 €", "£5", "1/2", "1 1/2", "½", "１２", "٣", "१२",
    "1-2", "10.12.", "2026-01-01", "2026-01-01T10:00:00Z", "10/12", "May 5", "5 May", "5. Mai", "3 janvier",
    "MARCH1", "SEPT2", "Jan-05", "Mon, 5 May 2020", "5 de mayo de 2020", "2026年5月3日",
    "1:30", "1:30:05", "1:30 PM", "12 am",
    "TRUE", "true", "False", "WAHR", "истина", "NA", "null", "nan", "#N/A", "#REF!",
    "=1+1", "+1", "-x", "@SUM(1)", "＝1", "|cmd", " =1+1", "\u00a0=1+1",
    " 007", "007 ", "\u00a05", "\u20035", " TRUE ", "'5", "'",
)  # fmt: skip
TEXTS = (
    "Lima",
    "term_1",
    "2*x",
    "is it 5?",
    " Lima",
    "is",
    "é日本😀",
    "?",
    "a-b",
    "x = 1 or not, that is the question of four words and more",
)


@pytest.mark.parametrize("text", OTHERS)
def test_texts_that_spreadsheets_convert_get_a_quote(text: str) -> None:
    assert plain_cell(text) == "'" + show_controls(text)
    assert read_cell(plain_cell(text)) == show_controls(text)


@pytest.mark.parametrize("text", TEXTS)
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert plain_cell(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\n", "↵"),
        ("\t=1", "⇥=1"),
        ("\r\n", "␍↵"),
        ("a\0b", "a⟨0⟩b"),
        ("\x1b[2J", "⟨1B⟩[2J"),
        ("\u202eevil", "⟨202E⟩evil"),
        ("a\u2028b", "a⟨2028⟩b"),
        ("👩‍🚀", "👩‍🚀"),
    ],
)
def test_control_characters_are_visible_and_joiners_are_kept(text: str, shown: str) -> None:
    assert read_cell(plain_cell(text)) == shown


@given(st.text(alphabet=st.characters(), max_size=60) | st.sampled_from([*HOSTILE, *OTHERS]))
def test_any_text_comes_back_and_no_cell_is_a_formula_or_a_number(text: str) -> None:
    cell = plain_cell(text)
    out = io.StringIO()
    csv.writer(out).writerow([cell])
    assert next(csv.reader(io.StringIO(out.getvalue(), newline=""))) == [cell]
    assert read_cell(cell) == show_controls(storable(text))
    assert not cell.strip().startswith(("=", "+", "-", "@"))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", cell)
    with pytest.raises(ValueError):
        float(cell.replace("_", "x") or "empty")  # Python's own sign between digits
