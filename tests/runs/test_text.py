"""Streamed text equals the text decoded at once, for any bytes in any split."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eft_demo.runs.text import Utf8Stream

BYTES = st.one_of(
    st.lists(st.binary(max_size=4), max_size=12),
    # Incremental decoders fail most easily on mostly valid text that is cut at any byte.
    st.text(max_size=8).map(lambda text: [bytes([b]) for b in text.encode("utf-8", "replace")]),
)


# Letters of one to four bytes, and bytes that no text has.
LETTERS = [letter.encode() for letter in ("a", " ", "\n", "é", "東", "👩", "\u200d", "\ufffd")]
LETTERS += [b"\x80", b"\xff", b"\xc3", b"\xe6\x9d", b"\xf0\x9f\x91", b"\xed\xa0\x80"]


@given(BYTES)
def test_streamed_text_equals_the_bytes_decoded_whole(pieces: list[bytes]) -> None:
    check_streamed(pieces)


def test_ten_thousand_streamed_texts_equal_their_bytes_decoded_whole() -> None:
    rng = random.Random(0)
    for _ in range(10_000):
        whole = b"".join(rng.choices(LETTERS, k=rng.randrange(9)))
        cuts = sorted(rng.randint(0, len(whole)) for _ in range(rng.randrange(12)))
        check_streamed([whole[i:j] for i, j in pairwise([0, *cuts, len(whole)])])


def check_streamed(pieces: list[bytes]) -> None:
    stream = Utf8Stream(pieces)
    streamed = "".join(stream.push(i) for i in range(len(pieces))) + stream.flush()
    assert streamed == b"".join(pieces).decode("utf-8", errors="replace")


def test_a_partial_character_waits_for_the_rest() -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    stream = Utf8Stream([first, second])
    assert [stream.push(0), stream.push(1), stream.flush()] == ["", "é", ""]


def test_an_incomplete_character_becomes_one_replacement_at_the_end() -> None:
    stream = Utf8Stream([b"ok ", "東".encode()[:2]])
    assert [stream.push(0), stream.push(1), stream.flush()] == ["ok ", "", "\ufffd"]
