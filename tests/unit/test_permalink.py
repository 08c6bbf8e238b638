"""A link survives the way there and back, and whatever else is put into one is a sentence."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo import permalink
from eft_demo.engine.run import parse_speculation
from eft_demo.errors import EFTError, InputError
from eft_demo.families.prompt import PromptFormat
from eft_demo.permalink import MAX_PROMPT_CHARS, Permalink, from_pairs, from_query
from eft_demo.recipe import BASE, UPSCALED, parse
from eft_demo.sampling import Sampling
from eft_demo.schedule import parse_schedule
from eft_demo.weight_filter import parse_weight_filter
from tests.hostile import HOSTILE

texts = st.text(alphabet=st.characters(), max_size=40) | st.sampled_from(
    ["\ud800&=#", "a\0b", "<script>", "+ %"]
)
links = st.builds(
    Permalink,
    prompt=texts,
    family=texts,
    behaviour=texts,
    panels=st.lists(
        st.tuples(texts, st.sampled_from([BASE, UPSCALED, parse("a - 0.25*alpha_pirate*(b - c)")])),
        max_size=4,
    ).map(tuple),
    controls=st.dictionaries(st.sampled_from(["alpha", "beta", "alpha_pirate"]), st.floats(0, 3), max_size=3),
    sampling=st.builds(
        Sampling,
        temperature=st.floats(0, 2),
        top_p=st.floats(0.01, 1),
        top_k=st.integers(0, 200),
        min_p=st.floats(0, 1),
        seed=st.integers(0, 2**32 - 1),
    ),
    weight_filter=st.sampled_from(["off", "top-p 0.95", "mask 0.1"]).map(parse_weight_filter),
    schedule=st.sampled_from(["constant", "warmup 8", "first 5", "list 0 0.5 1"]).map(parse_schedule),
    speculation=st.sampled_from(["off", "on", "on 4", "auto"]).map(parse_speculation),
    length=st.none() | st.integers(1, 1_000_000),
    formats=st.dictionaries(
        texts.filter(lambda role: ":" not in role),
        st.builds(PromptFormat, st.just("plain"), texts.map(lambda text: text.replace("{", "") + "{prompt}"))
        | st.builds(PromptFormat, st.just("chat"), texts),
        max_size=3,
    ),
)


@given(links)
def test_a_link_survives_the_way_there_and_back(link: Permalink) -> None:
    query = link.to_query()
    assert query.isascii()
    assert from_query(query) == link
    assert from_query("?" + query) == link


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_survive_and_leave_no_mark_in_the_address(text: str) -> None:
    link = Permalink(prompt=text[:MAX_PROMPT_CHARS], panels=((text[:60], BASE),))
    assert not set(link.to_query()) & set("<>\"'` {}")
    assert from_query(link.to_query()) == link


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: urlencode({"v": "1", "prompt": raw})))
def test_any_query_is_a_link_none_or_a_sentence(query: str) -> None:
    for candidate in (query, "v=1&" + query):
        try:
            assert isinstance(from_query(candidate), Permalink | None)
        except EFTError as refusal:
            assert str(refusal)


names = st.sampled_from(
    ["v", "prompt", "family", "behaviour", "panel", "alpha", "beta", "alpha_x", "temperature", "top_p",
     "top_k", "min_p", "seed", "filter", "schedule", "speculation", "length", "format", "other"]
)  # fmt: skip
values = st.text(max_size=30) | st.sampled_from(
    [
        "1",
        "nan",
        "inf",
        "-1",
        "1e999",
        "9" * 400,
        "base:large_base",
        ":",
        "x:y:z",
        "x:plain:{prompt}",
        "<script>",
        "off",
        "\ud800",
    ]
)


@given(st.lists(st.tuples(names, values), max_size=8))
def test_any_pairs_are_a_link_none_or_a_sentence(pairs: list[tuple[str, str]]) -> None:
    try:
        from_pairs([("v", "1"), *(pair for pair in pairs if pair[0] != "v")])
        from_pairs(pairs)
    except EFTError as refusal:
        assert str(refusal)


def test_without_a_version_it_is_no_link_of_ours() -> None:
    assert from_query("") is None
    assert from_query("__theme=dark&utm_source=x") is None


def test_the_least_link_asks_for_the_pages_own_choices() -> None:
    assert from_query("v=1&prompt=Hello+you&__theme=dark") == Permalink(prompt="Hello you")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("v=3&prompt=x", "version 1 and 2; got '3'"),
        ("v=2&format=brief", "role:kind:text; got 'brief'"),
        ("v=2&format=brief:plain", "role:kind:text"),
        ("v=2&format=brief:poem:x", "no prompt format 'poem'"),
        ("v=2&format=brief:plain:x", "must hold {prompt} once"),
        ("v=2&format=b:chat:" + "x" * 8001, "up to 8,000 characters"),
        ("v=2&format=b:chat:x&format=b:chat:y", "two prompt formats for 'b'"),
        ("v=2&format=" + "x" * 61 + ":chat:", "60 characters"),
        ("v=2&" + "&".join(f"format=r{k}:chat:" for k in range(17)), "at most 16 prompt formats, not 17"),
        ("v=1&v=1", "twice"),
        ("v=1&alpha=1&alpha=2", "'alpha' twice"),
        ("v=1&alpha=high", "must be a number; got 'high'"),
        ("v=1&alpha=9", "from 0 to 3"),
        ("v=1&alpha=-1", "from 0 to 3"),
        ("v=1&seed=1.5", "whole number"),
        ("v=1&temperature=nan", "must be a number"),
        ("v=1&panel=Base", "a colon and a recipe"),
        ("v=1&panel=Base:large_base+%2B+", "cannot be read at character"),
        ("v=1&filter=some", "some"),
        ("v=1&schedule=some", "some"),
        ("v=1&speculation=some", "some"),
        ("v=1&length=0", "from 1"),
        ("v=1&prompt=%FF", "damaged"),
        ("v=1&" + "&".join(["panel=a:large_base"] * 9), "at most 8 panels"),
        ("v=1&" + "&".join(["panel=a:large_base"] * 200), "damaged"),
        ("v=1&prompt=" + "x" * (MAX_PROMPT_CHARS + 1), "4,000 characters at most; got 4,001"),
        ("v=1&prompt=" + "x" * 60_001, "60,000 characters"),
        ("v=1&family=" + "x" * 61, "60 characters"),
    ],
)
def test_a_bad_link_is_a_sentence(query: str, words: str) -> None:
    with pytest.raises(EFTError) as caught:
        from_query(query)
    assert words in str(caught.value)


def test_the_longest_prompt_fits_and_what_does_not_is_said_when_the_link_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = Permalink(prompt="👩" * MAX_PROMPT_CHARS, panels=(("👩" * 60, UPSCALED),) * 8)
    assert from_query(long.to_query()) == long
    monkeypatch.setattr(permalink, "MAX_QUERY_CHARS", 50_000)
    with pytest.raises(InputError, match="as a file"):
        long.to_query()
