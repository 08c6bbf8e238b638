"""Links parse back to the same run, and damage to one value never affects the others."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import EFTError, InputError
from eft_demo.method.recipe import BASE, UPSCALED, parse
from eft_demo.method.sampling import Sampling
from eft_demo.runs import link as link_module
from eft_demo.runs.conversation import Turn
from eft_demo.runs.link import MAX_PROMPT_CHARS, Branch, Link, View, from_query
from eft_demo.runs.spec import RunSpec
from tests.hostile import HOSTILE
from tests.specs import specs, texts

links = st.builds(
    Link,
    spec=specs,
    made=st.sampled_from([(), ("0.1.0", "2.13.0+cpu", "5.23.0", "bf16-nf4", "cuda", "3f2a91c0"), ("",) * 6]),
    view=st.builds(
        View,
        colour=st.sampled_from(["", "entropy"]),
        shared=st.none() | st.integers(1, 8),
        selected=st.none() | st.tuples(st.integers(1, 8), st.integers(1, 99_999)),
        branches=st.lists(
            st.builds(
                Branch,
                column=st.integers(1, 8),
                place=st.integers(1, 99_999),
                token=st.none() | st.integers(0, 200_000),
                seed=st.integers(0, 2**32 - 1),
                all=st.booleans(),
                controls=st.dictionaries(st.sampled_from(["alpha", "alpha_pirate"]), st.floats(0, 2)),
            ),
            max_size=3,
        ).map(tuple),
    ),
)


def read(query: str) -> Link:
    """Parse a query that must be a link."""
    link = from_query(query)
    assert link is not None
    return link


@given(links)
def test_a_link_reads_back_as_the_same_run(link: Link) -> None:
    query = link.to_query()
    assert query.isascii()
    for address in (query, "?" + query, "#" + query, "?__theme=dark#" + query):
        assert read(address) == link
        assert read(address).left_out == ()


def test_links_that_call_their_columns_panels_still_open() -> None:
    link = Link(RunSpec(prompt="Hi", columns=(("Base", BASE), ("Again", BASE))))
    assert read(link.to_query().replace("column=", "panel=")) == link


def test_a_damaged_turn_takes_the_others_with_it() -> None:
    turns = (Turn("Hi", ("Ho",)), Turn("He", ("Ha",)))
    query = Link(RunSpec(prompt="And?", system="Be brief.", turns=turns)).to_query()
    assert query.startswith("v=3&") and read(query).spec.turns == turns
    cut = read(query.replace("%22%5D", "", 1))
    assert cut.spec.turns == () and cut.spec.system == "Be brief." and cut.spec.prompt == "And?"
    assert "left out" in cut.left_out[-1]
    assert read(query + "&" + query).spec.turns == turns, "pasted twice"


@pytest.mark.parametrize(
    "text",
    ["", "5", "[]", "{}", "[3,5,null,7,0]", "[0,5,null,7,0,{}]", "[3,0,null,7,0,{}]", "[3,5,-1,7,0,{}]",
     '[3,5,"4",7,0,{}]', "[3,5,true,7,0,{}]", "[3,5,null,7,2,{}]", "[3,5,null,4294967296,0,{}]",
     "[3,5,null,7,0,[]]", '[3,5,null,7,0,{"alpha":"x"}]', '[3,5,null,7,0,{"alpha":99}]',
     '[3,5,null,7,0,{"alpha":NaN}]', '[3,5,null,7,0,{"other":1}]', "[" * 9999],
)  # fmt: skip
def test_a_damaged_branch_takes_the_others_with_it(text: str) -> None:
    whole = "v=1&prompt=Hi&branch=" + quote('[3,5,null,7,0,{"alpha":1.5}]')
    assert read(whole).view.branches == (Branch(3, 5, None, 7, False, {"alpha": 1.5}),)
    cut = read(f"{whole}&branch={quote(text)}&seed=3")
    assert cut.view.branches == () and cut.spec.sampling.seed == 3
    assert "left out" in cut.left_out[-1]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_survive_and_leave_no_mark_in_the_address(text: str) -> None:
    link = Link(RunSpec(prompt=text[:MAX_PROMPT_CHARS], columns=((text[:60], BASE),)))
    assert not set(link.to_query()) & set("<>\"'` {}")
    assert from_query(link.to_query()) == link


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: urlencode({"v": "1", "prompt": raw})))
def test_any_query_parses_to_a_link_or_none_or_raises_an_eft_error(query: str) -> None:
    for candidate in (query, "v=1&" + query):
        try:
            assert isinstance(from_query(candidate), Link | None)
        except EFTError as refusal:
            assert str(refusal)


names = st.sampled_from(
    ["v", "prompt", "family", "behaviour", "column", "alpha", "beta", "alpha_x", "temperature", "top_p",
     "top_k", "min_p", "seed", "filter", "schedule", "speculation", "length", "format", "system", "turn",
     "other"]
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
def test_any_pairs_give_a_link_with_messages(pairs: list[tuple[str, str]]) -> None:
    from_query(urlencode(pairs, errors="surrogatepass"))
    link = read(urlencode([("v", "1"), *pairs], errors="surrogatepass"))
    assert all(isinstance(sentence, str) and sentence for sentence in link.left_out)


def test_other_addresses_are_not_links() -> None:
    assert from_query("") is None
    assert from_query("__theme=dark&utm_source=x") is None


def test_a_minimal_link_uses_the_defaults() -> None:
    assert from_query("v=1&prompt=Hello+you&__theme=dark") == Link(RunSpec(prompt="Hello you"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("v=9&prompt=x", "version 1 to 3; got '9'"),
        ("v=&prompt=x", "version 1 to 3; got ''"),
        ("prompt=x&alpha=1", "version"),
        ("v=2&format=brief", "role:kind:text; got 'brief'"),
        ("v=2&format=brief:plain", "role:kind:text"),
        ("v=2&format=brief:poem:x", "it is 'poem'"),
        ("v=2&format=brief:plain:x", "{prompt}"),
        ("v=2&format=b:chat:" + "x" * 8001, "up to 8,000 characters"),
        ("v=2&format=b:chat:x&format=b:chat:y", "two prompt formats for 'b'"),
        ("v=2&format=" + "x" * 61 + ":chat:", "60 characters"),
        ("v=2&" + "&".join(f"format=r{k}:chat:" for k in range(17)), "at most 16 prompt formats"),
        ("v=1&alpha=1&alpha=2", "alpha 2 times; '1'"),
        ("v=1&alpha=high", "must be a number; got 'high'"),
        ("v=1&alpha=9", "from 0 to 3"),
        ("v=1&alpha=-1", "from 0 to 3"),
        ("v=1&seed=1.5", "whole number"),
        ("v=1&temperature=nan", "must be a number"),
        ("v=1&column=Base", "a colon and a recipe"),
        ("v=1&column=Base:large_base+%2B+", "cannot be read at character"),
        ("v=1&filter=some", "some"),
        ("v=1&schedule=some", "some"),
        ("v=1&speculation=some", "some"),
        ("v=1&length=0", "from 1"),
        ("v=1&prompt=%FF", "prompt could not be read"),
        ("v=1&made=%3Cb%3E", "made with cannot be read"),
        ("v=1&alpa=2", "'alpa'"),
        ("v=1&" + "&".join(["column=a:large_base"] * 9), "at most 8 columns"),
        ("v=1&" + "&".join(["column=a:large_base"] * 200), "this one has 200"),
        ("v=1&prompt=" + "x" * (MAX_PROMPT_CHARS + 1), "4,000 characters; got 4,001"),
        ("v=1&family=" + "x" * 61, "60 characters"),
        ("v=3&system=" + "x" * 8001, "8,000 characters"),
        ("v=3&turn=Hi", "JSON list"),
        ("v=3&turn=%5B%22Hi%22%5D", "JSON list"),
        ("v=3&turn=%5B%22Hi%22,7%5D", "must be text; got 7"),
        ("v=3&turn=%5B%22Hi%22,%22a%22,%22b%22%5D", "answer for each of 3 columns"),
        ("v=3&" + "&".join(["turn=%5B%22a%22,%22b%22%5D"] * 65), "at most 64 earlier turns"),
    ],
    ids=lambda value: value[:24],
)
def test_an_invalid_value_is_dropped_and_reported(query: str, words: str) -> None:
    link = read(query + "&top_k=7&beta=0.5")
    assert words in " ".join(link.left_out)
    assert (link.spec.sampling.top_k, link.spec.controls["beta"]) == (7, 0.5)


def test_a_link_that_is_too_long_is_refused_with_the_limit() -> None:
    with pytest.raises(InputError, match="60,000 characters; this one has 60,012"):
        from_query("v=1&prompt=" + "x" * 60_001)


@pytest.mark.parametrize("field", ["alpha_a{}=1", "column={}:((", "seed={}x", "x{}="])
def test_a_link_with_too_many_values_is_refused_with_the_limit(field: str) -> None:
    fields = "&".join(field.format(k) for k in range(400))
    with pytest.raises(InputError, match="300 values"):
        from_query(f"v=1&prompt=Hi&{fields}")


PLAIN = "v=1&prompt=Hi+there&column=Base%3Alarge_base&alpha=2&seed=7"
PLAIN_LINK = Link(
    RunSpec(prompt="Hi there", columns=(("Base", BASE),), controls={"alpha": 2.0}, sampling=Sampling(seed=7))
)


@pytest.mark.parametrize(
    "query",
    [
        PLAIN.replace("&", "&amp;"),
        PLAIN.replace("&", "&amp;amp;"),
        PLAIN.replace("&", "&#38;"),
        PLAIN.replace("&", "&#x26;"),
        PLAIN.replace("&", "\\u0026"),
        PLAIN.replace("&", "&amp%3B"),
        PLAIN.replace("&", "\r\n&"),
        PLAIN.replace("large_", "large\n  _"),
        PLAIN.replace("%", "%25").replace("+", "%2B"),
        PLAIN.replace("%", "%2525").replace("+", "%252B"),
        quote(PLAIN, safe=""),
        quote(quote(PLAIN, safe=""), safe=""),
        PLAIN.replace("+", "%20"),
        PLAIN.replace("+", " "),
        PLAIN.replace("%3A", ":"),
        PLAIN + "&alpha=2&v=1",
        PLAIN + "&utm_source=mail&fbclid=x&__theme=dark",
        "?" + PLAIN,
        "%23" + PLAIN,
        "?%23" + PLAIN,
        PLAIN.replace("&", ";"),
        PLAIN.replace("&", "%26"),
        PLAIN.replace("=", "=3D"),
        PLAIN.replace("=", "\\u003d"),
        PLAIN.replace("_", "\\_"),
        PLAIN.replace("+", "%20") + "&gclsrc=aw.ds&_gl=1*x&data=05%7C02&sdata=x&reserved=0",
        "#?" + PLAIN,
        "#/" + PLAIN,
        "?__theme=dark#" + PLAIN,
        "?" + PLAIN + "#top",
        " " + PLAIN + "\n",
        PLAIN.replace("&alpha", "&ALPHA"),
    ],
)
def test_changes_by_mail_programs_and_chats_are_undone_silently(query: str) -> None:
    link = read(query)
    assert link == PLAIN_LINK
    assert link.left_out == ()


@pytest.mark.parametrize(
    "added",
    [
        *("utm_source=mail", "utm_id=1", "UTM_SOURCE=x", "fbclid=x", "gclid=x", "msclkid=x", "wbraid=x"),
        *("igshid=x", "igsh=x", "si=x", "s=20", "share=1", "share_id=x", "ref=home", "ref_src=tw"),
        *("mc_cid=x", "mc_eid=x", "mkt_tok=x", "_hsenc=x", "_ga=1", "pk_campaign=x", "mtm_source=x", "spm=x"),
        *("li_fat_id=x", "epik=x", "rdt_cid=x", "ncid=x", "cmpid=x", "s_cid=x", "via=x", "from=chat"),
        *("sfnsn=mo", "tdsourcetag=x", "wt_mc=x", "nonsense=1", "x=1", "日本=1", "a" * 500),
    ],
)
def test_parameters_that_others_add_are_ignored(added: str) -> None:
    for query in (f"{PLAIN}&{added}", f"{added}&{PLAIN}", PLAIN.replace("&alpha", f"&{added}&alpha")):
        link = read(query)
        assert link == PLAIN_LINK and link.left_out == ()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("promt", "prompt"),
        ("sed", "seed"),
        ("temprature", "temperature"),
        ("top-p", "top_p"),
        ("topk", "top_k"),
        ("behavior", "behaviour"),
        ("columns", "column"),
        ("Scheduler", "schedule"),
    ],
)
def test_a_misspelt_name_is_reported_once(name: str, meant: str) -> None:
    link = read(f"{PLAIN}&{name}=1&{name}s=2&utm_source=x")
    assert link == PLAIN_LINK
    (said,) = link.left_out
    assert repr(name.lower()) in said.lower() and meant in said


@pytest.mark.parametrize(
    "end",
    [
        ">",
        ")",
        ".",
        '"',
        "'",
        "”",
        "’",
        "»",
        ",",
        "%3E",
        "%22",
        ">.",
        ").",
        "&gt;",
        "&quot;",
        *"。、؟،।၊։॥？）」״።~",
        "**",
        "%E2%80%8B;",
    ],
)
def test_punctuation_after_a_link_is_removed_and_reported(end: str) -> None:
    link = read(PLAIN + end)
    assert link == PLAIN_LINK
    # A number may end with a point, and unknown extra fields are ignored.
    assert len(link.left_out) == (end not in (".", "&gt;", "&quot;"))
    column = read("v=1&prompt=Hi&column=Up:large_base %2B alpha*(a - b)" + end)
    assert column.spec.columns == (("Up", parse("large_base + alpha*(a - b)")),)


@pytest.mark.parametrize(
    ("query", "prompt"),
    [
        ("#v=1&prompt=Hello%2520world&alpha=2", "Hello world"),
        ("#v=1&prompt=50%25+of+it", "50% of it"),
        ("#v=1&prompt=Say+%E2%80%9Chi%E2%80%9D", "Say “hi”"),
        ("#v=1&prompt=“Hi”", "“Hi”"),
        ("#v=1&prompt=two%0Alines", "two\nlines"),
        ("#v=1&prompt=C%23", "C#"),
        ("#v=1&prompt=%FCber", "\ufffdber"),
        ("#prompt=Hi&seed=7", "Hi"),
    ],
)
def test_a_prompt_is_read_as_it_was_meant(query: str, prompt: str) -> None:
    assert read(query).spec.prompt == prompt


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".5", 0.5),
        (".5>", 0.5),
        ("“1”", 1),
        ("1%0A", 1),
        ("\u20091", 1),
        ("1,5", 1.5),
        ("1,500", 1.5),
        ("١٫٥", 1.5),
        ("１．５", 1.5),
        ("1.5|http://host/>", 1.5),
        ("1.5</a>", 1.5),
        ("1.5:~:text=Hi", 1.5),
    ],
)
def test_numbers_are_read_as_they_were_meant(text: str, value: float) -> None:
    assert read(f"v=1&alpha={text}").spec.controls == {"alpha": value}


@pytest.mark.parametrize("text", ["1,234,567", "1.234567e6", "1 234 567", "1'234'567", "1234567/"])
def test_a_seed_may_have_thousands_separators(text: str) -> None:
    assert read(f"v=1&seed={text}").spec.sampling.seed == 1234567


def test_a_link_pasted_twice_has_its_columns_once() -> None:
    assert read(f"{PLAIN}&{PLAIN}") == PLAIN_LINK
    assert read(f"{PLAIN}http://localhost/#{PLAIN}") == PLAIN_LINK


def test_a_plus_that_became_a_space_is_a_plus_in_a_recipe() -> None:
    once_more = read("v=1&prompt=Hi&column=Up:large_base+++alpha*(a+-+b)")
    assert once_more.spec.columns == (("Up", parse("large_base + alpha*(a - b)")),)


junk = (
    st.sampled_from(["amp;", ">", ")", "&", "&&", "%", "%2", "%zz", "=", "#", "\n", "“", "\u200b", "&quot;"])
    | texts
)


def but(link: Link, name: str) -> dict[str, Any]:
    """The run of a link without the field of that name."""
    kept = {name: getattr(link.spec, name) for name in RunSpec.model_fields} | {"made": link.made}
    owners = {"column": "columns", "format": "formats", "filter": "weight_filter", "turn": "turns"}
    owner = owners.get(name, name)
    if name in ("column", "prompt"):  # turns have an answer per column; a second prompt is a second link
        del kept["turns"]
    if name in ("temperature", "top_p", "top_k", "min_p", "seed"):
        numbers = kept.pop("sampling")
        kept |= {
            n: getattr(numbers, n) for n in ("temperature", "top_p", "top_k", "min_p", "seed") if n != name
        }
    elif owner in kept:
        del kept[owner]
    else:
        kept["controls"] = {n: value for n, value in kept["controls"].items() if n != name}
    return kept


@given(links, st.data())
def test_damage_to_one_field_leaves_the_others_intact(link: Link, data: st.DataObject) -> None:
    pieces = link.to_query().split("&")
    at = data.draw(st.integers(0, len(pieces) - 1))
    name, _, value = pieces[at].partition("=")
    cut = data.draw(st.integers(0, len(value)))
    new = data.draw(
        st.sampled_from([[], [f"{name}="], [name], [pieces[at], pieces[at]], [f"{name}={value[:cut]}"]])
        | junk.map(lambda text: [f"{name}={value[:cut]}{quote(text, errors='surrogatepass')}{value[cut:]}"])
        | values.map(lambda text: [urlencode({name: text}, errors="surrogatepass")])
    )
    changed = read("#" + "&".join([*pieces[:at], *new, *pieces[at + 1 :]]))
    assert but(changed, name) == but(link, name)


@given(links, junk, st.data())
def test_no_damage_to_a_link_raises_an_unexpected_error(link: Link, text: str, data: st.DataObject) -> None:
    query = link.to_query()
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(query)), st.integers(0, len(query)))))
    for damaged in (
        query[:start],
        query[start:],
        query[:start] + text + query[start:],
        query[:start] + query[end:],
    ):
        assert isinstance(from_query("#" + damaged), Link | None)


def test_the_longest_prompt_fits_and_a_longer_link_is_an_error_when_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    long = Link(RunSpec(prompt="👩" * MAX_PROMPT_CHARS, columns=(("👩" * 60, UPSCALED),) * 8))
    assert from_query(long.to_query()) == long
    monkeypatch.setattr(link_module, "MAX_QUERY_CHARS", 50_000)
    with pytest.raises(InputError, match="as a file"):
        long.to_query()
