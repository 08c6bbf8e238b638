"""A trace survives JSON exactly, and a hostile file gives an error message, never a traceback."""

import copy
import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import EFTError, InputError
from eft_demo.method.sampling import Sampling
from eft_demo.runs import trace
from eft_demo.runs.made_with import MadeWith, ModelMade
from eft_demo.runs.trace import Candidate, ColumnTrace, RunTrace, TokenRecord, columns_of
from tests.asking import make_run
from tests.specs import specs

anything = st.text(alphabet=st.characters(), max_size=20) | st.sampled_from(
    ["\ud800", "a\udfff\0", "</script>"]
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
log_probs = st.floats(max_value=0, allow_nan=False)  # -inf is a log-prob
ints = st.integers(0, 2**31)
by_name = st.dictionaries(anything, log_probs, max_size=3)
candidates = st.builds(Candidate, ints, log_probs, by_name)
records = st.builds(
    TokenRecord,
    position=ints,
    id=ints,
    controls=st.dictionaries(anything, numbers, max_size=2),
    logprob=log_probs,
    anchor_logprob=log_probs,
    bars=st.lists(numbers, max_size=3).map(tuple),
    neg_log_z=numbers,
    entropy_nats=numbers,
    rank=ints,
    base_first=ints,
    by_role=by_name,
    candidates=st.lists(candidates, max_size=3).map(tuple),
)
columns = st.builds(
    ColumnTrace,
    anything,
    st.sampled_from(["large_base", "small_base + 2*beta*(large_base - small_base)"]),
    st.lists(records, max_size=3),
    anything,
    st.sampled_from(["stop", "length", "cancelled", "error", ""]),
    st.none() | anything,
    numbers,
    numbers,
    seed=st.none() | ints,
)
runs = st.builds(
    lambda asked, columns, made: RunTrace(
        asked.model_copy(update={"columns": columns_of(columns), "behaviour": "", "length": None}),
        columns,
        made_with=made,
    ),
    specs,
    st.lists(columns, max_size=3),
    made=st.none()
    | st.builds(
        MadeWith,
        anything,
        anything,
        anything,
        st.dictionaries(anything, st.builds(ModelMade, anything, anything, anything), max_size=2),
    ),
)


def example() -> RunTrace:
    candidate = Candidate(7, -0.5, {"large_base": -1.0, "small_base": -math.inf})
    record = TokenRecord(
        0, 7, {"alpha": 1.0}, -0.5, -1.0, (0.6,), -0.1, 1.25, 1, 9, {"large_base": -1.0}, (candidate,)
    )
    column = ColumnTrace("Base", "large_base", [record], " Lima \ud83d\ude00", "stop", None, 0.12, 40.0)
    made = MadeWith("0.1.0", "2.13.0", "5.23.0", {"large_base": ModelMade("bf16", "none", "cpu")})
    return make_run(
        [column],
        made_with=made,
        sampling=Sampling(seed=3),
        family="atlas",
        prompt="What is the capital of Peru?",
        controls={"alpha": 1.0},
    )


@given(runs)
def test_a_trace_survives_json(run: RunTrace) -> None:
    text = run.to_json()
    assert text.isascii()
    assert RunTrace.from_json(text) == run
    assert RunTrace.from_json(text).to_json() == text


def test_lone_surrogates_survive_json() -> None:
    run = make_run([], prompt="a\ud800b\udc00")
    assert RunTrace.from_json(run.to_json()).spec.prompt == "a\ud800b\udc00"


def test_the_json_is_json_for_javascript_too() -> None:
    """-inf is written as null, because Infinity and NaN are not valid JSON."""
    text = example().to_json()
    assert "Infinity" not in text and "null" in text
    with pytest.raises(ValueError):
        make_run([ColumnTrace("Base", "large_base", ttft_s=math.nan)]).to_json()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to every value inside a JSON document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in places(item, (*path, key)))]


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return document


DOCUMENT = json.loads(example().to_json())
WRONG = [True, "x", [], {}, [[]], {"a": {}}, 1.5, 10**400, -(10**30), "9" * 100]


@pytest.mark.parametrize("path", places(DOCUMENT), ids=str)
def test_a_wrong_type_anywhere_is_an_error_or_a_valid_trace(path: tuple[Any, ...]) -> None:
    refused = 0
    for value in [*WRONG, None]:
        try:
            run = RunTrace.from_json(json.dumps(put(DOCUMENT, path, value)))
        except EFTError as error:
            refused += 1
            assert len(str(error)) < 400
        else:
            assert RunTrace.from_json(run.to_json()) == run
    assert refused >= len(WRONG) - 4


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_any_other_json_is_refused(value: Any) -> None:
    with pytest.raises(InputError):
        RunTrace.from_json(json.dumps(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[" * 100_000,
        '{"version":' * 50_000,
        "1" * 10_000,
        '{"version": NaN}',
        '{"version": Infinity}',
        '{"version": 2}',
        '{"version": 3}',
        '{"version": 4}',
        '{"version": 4, "columns": [7]}',
        '{"version": 5}',
        '{"version": 6}',
        '{"version": "1"}',
        '{"version": 1}',
        "\x00\ud800",
        None,
        7,
        b"{}",
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_other_files_are_refused(text: Any) -> None:
    with pytest.raises(InputError):
        RunTrace.from_json(text)


@pytest.mark.parametrize("text", ["{}", "[]", '{"name": "a package"}'])
def test_json_of_something_else_is_reported_as_no_run(text: str) -> None:
    with pytest.raises(InputError, match="not a trace") as raised:
        RunTrace.from_json(text)
    assert "None" not in str(raised.value)


def test_the_error_names_the_place() -> None:
    damaged = put(DOCUMENT, ("columns", 0, "tokens", 0, "candidates", 0, "logprob"), "high")
    with pytest.raises(
        InputError, match=r"columns\[0\]\.tokens\[0\]\.candidates\[0\]\.logprob must be a number"
    ):
        RunTrace.from_json(json.dumps(damaged))


def test_files_of_older_versions_open_with_unknown_models() -> None:
    written = json.loads(example().to_json())
    fifth = {name: value for name, value in written.items() if name not in ("system", "turns")}
    assert RunTrace.from_json(json.dumps(fifth | {"version": 5})) == RunTrace.from_json(example().to_json())
    for column in fifth["columns"]:
        del column["given"]
    fourth = fifth | {"panels": fifth["columns"], "version": 4}
    del fourth["columns"]
    assert RunTrace.from_json(json.dumps(fourth)) == RunTrace.from_json(example().to_json())
    third = {name: value for name, value in fourth.items() if name != "made_with"} | {"version": 3}
    second = {name: value for name, value in third.items() if name != "formats"} | {"version": 2}
    expected = RunTrace.from_json(dataclasses.replace(example(), made_with=None).to_json())
    assert RunTrace.from_json(json.dumps(third)) == RunTrace.from_json(json.dumps(second)) == expected
    for later, version in ((second, 3), (third, 4), (fourth, 5), (fifth, 5), (fifth, 6)):
        with pytest.raises(InputError, match="fields"):
            RunTrace.from_json(json.dumps(later | {"version": version}))


def test_a_column_without_its_own_seed_has_that_of_the_run() -> None:
    written = json.loads(example().to_json())
    del written["columns"][0]["seed"]
    run = RunTrace.from_json(json.dumps(written))
    assert run == RunTrace.from_json(example().to_json()) and trace.seed_of(run.columns[0], run.spec) == 3
    other = dataclasses.replace(run.columns[0], seed=8)
    assert trace.seed_of(other, run.spec) == 8
    assert [trace.other_seed(seed, run.spec) for seed in (3, 8)] == [None, 8]


def test_missing_and_foreign_fields_are_refused() -> None:
    for changed in ({**DOCUMENT, "extra": 1}, {k: v for k, v in DOCUMENT.items() if k != "columns"}):
        with pytest.raises(InputError) as caught:
            RunTrace.from_json(json.dumps(changed))
        assert caught.value.code == "trace_fields"


def test_older_files_may_lack_only_the_sampling_fields_added_later() -> None:
    without = put(DOCUMENT, ("sampling",), {k: v for k, v in DOCUMENT["sampling"].items() if k != "min_p"})
    with pytest.raises(InputError) as caught:
        RunTrace.from_json(json.dumps(without))
    assert caught.value.code == "trace_fields"
    assert set(DOCUMENT["sampling"]) >= trace.REQUIRED[Sampling]


def test_too_long_a_file_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_CHARS", 100)
    with pytest.raises(InputError, match="100"):
        RunTrace.from_json(example().to_json())
