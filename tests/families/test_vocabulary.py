"""Vocabularies are compatible only if every id stands for the same token."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import FamilyError
from eft_demo.families.vocabulary import compare_vocabularies

WORDS = [f"w{i}" for i in range(20)]


def table(words: list[str]) -> dict[str, int]:
    return {word: i for i, word in enumerate(words)}


def test_a_longer_vocabulary_is_cut_to_the_shortest() -> None:
    tables = {"large": table([*WORDS, "<tool>", "<image>"]), "small": table(WORDS), "tuned": table(WORDS)}
    assert compare_vocabularies(tables) == 20
    assert compare_vocabularies({"alone": table(WORDS)}) == 20


def test_equal_sizes_are_not_equal_vocabularies() -> None:
    swapped = [*WORDS[:3], "w4", "w3", *WORDS[5:]]
    with pytest.raises(FamilyError, match="large and tuned differ in 2 of 20 ids") as caught:
        compare_vocabularies({"large": table(WORDS), "small": table(WORDS), "tuned": table(swapped)})
    assert "id 3 is 'w3' in large and 'w4' in tuned; id 4 is 'w4' in large and 'w3' in tuned)" in str(
        caught.value
    )


def test_an_id_used_by_only_one_vocabulary_is_a_difference() -> None:
    with_hole = {word: i for word, i in table(WORDS).items() if i != 7}
    with pytest.raises(FamilyError, match=r"1 of 20 ids \(id 7 is 'w7' in a and nothing in b\)"):
        compare_vocabularies({"a": table(WORDS), "b": with_hole})
    assert compare_vocabularies({"a": with_hole, "b": with_hole}) == 20


@given(st.permutations(WORDS))
def test_the_first_five_differences_are_named(words: list[str]) -> None:
    changed = [i for i, word in enumerate(words) if word != WORDS[i]]
    tables = {"a": table(WORDS), "b": table(words)}
    if not changed:
        assert compare_vocabularies(tables) == 20
        return
    with pytest.raises(FamilyError) as caught:
        compare_vocabularies(tables)
    assert [int(i) for i in re.findall(r"id (\d+) is", str(caught.value))] == changed[:5]
    assert f"differ in {len(changed)} of 20 ids" in str(caught.value)
