"""The page's word-by-word comparison of texts, against a plain longest common subsequence."""

import difflib
import random
import re

import pytest

from tests.javascript import find_node, modules

pytestmark = pytest.mark.skipif(find_node() is None, reason="these tests need Node.js")
WORDS = re.compile(r"\s*(?:[^\W_]+|\S)|\s+$")


def longest(left: list[str], right: list[str]) -> int:
    """The length of the longest common subsequence, computed simply and slowly."""
    row = [0] * (len(right) + 1)
    for word in left:
        before = row
        row = [0]
        for j, other in enumerate(right):
            row.append(before[j] + 1 if word == other else max(before[j + 1], row[j]))
    return row[-1]


def test_the_word_diff_finds_the_longest_common_subsequence() -> None:
    draw = random.Random(7)
    with modules("lib/diff.js") as page:
        for _ in range(60):
            a, b = (
                "".join(draw.choices(["a", "b", "é", " ", "  ", "\n", ".", "🙂", "x"], k=30))
                for _ in range(2)
            )
            pieces = page.evaluate("([a, b]) => wordDiff(a, b)", [a, b])
            assert "".join(text for kind, text in pieces if kind != "gone") == b
            kept = sum(len(WORDS.findall(text)) for kind, text in pieces if kind == "same")
            left, right = ([word.strip() for word in WORDS.findall(text)] for text in (a, b))
            assert kept == longest(left, right)
            gone = "".join(text for kind, text in pieces if kind != "new")
            assert "".join(gone.split()) == "".join(a.split())
            assert kept >= sum(
                block.size for block in difflib.SequenceMatcher(None, left, right).get_matching_blocks()
            )
