"""Stored runs: branched, scored, saved and opened; and no posted value is trusted."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.runs import export
from eft_demo.runs.made_with import MadeWith, ModelMade
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.replay import open_run
from eft_demo.runs.spec import FIRST as COLUMNS
from eft_demo.runs.trace import ColumnTrace, seed_of
from eft_demo.ui import run_store
from eft_demo.ui.branches import start_branch, start_same_text
from eft_demo.ui.replays import open_file
from eft_demo.ui.run_store import RunStore, StoredRun
from tests.asking import ids_of, spec
from tests.keeping import kept_to_end
from tests.saying import run_that_says

PROMPT = "Hello <b>you</b> 🙂"


@pytest.fixture(scope="module")
def runs(service: Service) -> RunStore:
    """One finished run, "a"."""
    runs = RunStore()
    run = service.start_run(spec(PROMPT, "assistant", columns=COLUMNS, controls={"alpha": 1.0}, seed=5))
    runs.keep("a", kept_to_end(run))
    return runs


def finish(begun: tuple[Run, StoredRun]) -> list[ColumnTrace]:
    """All columns of a finished run that started from another."""
    return list(kept_to_end(*begun).traces)


def test_a_branch_with_nothing_changed_is_the_original(service: Service, runs: RunStore) -> None:
    original = runs.find("a").traces
    for column in range(3):
        branch = finish(start_branch(service, runs, {"run": "a", "column": column, "position": 4}))[column]
        assert ids_of(branch) == ids_of(original[column])
        assert branch.text == original[column].text == PROMPT


def test_a_branch_takes_the_candidate_that_was_clicked(service: Service, runs: RunStore) -> None:
    tokens = runs.find("a").traces[2].tokens
    other = next(c.id for c in tokens[4].candidates if c.id != tokens[4].id)
    posted = {"run": "a", "column": 2, "position": 4, "token": other, "all": True, "controls": {"alpha": 2.0}}
    run, stored = start_branch(service, runs, posted)
    assert run.request.spec.controls == {"alpha": 2.0}
    assert stored.origin == {"of": "a", "copied": [], "given": 5}
    for column in finish((run, stored)):
        assert ids_of(column)[:5] == (*(record.id for record in tokens[:4]), other)


def test_a_branch_leaves_the_other_columns_as_they_are(service: Service, runs: RunStore) -> None:
    original = runs.find("a")
    other = next(
        c.id for c in original.traces[1].tokens[2].candidates if c.id != original.traces[1].tokens[2].id
    )
    run, stored = start_branch(
        service, runs, {"run": "a", "column": 1, "position": 2, "token": other, "seed": 9}
    )
    columns = finish((run, stored))
    assert stored.origin == {"of": "a", "copied": [0, 2], "given": 3}
    assert [ids_of(columns[i]) == ids_of(original.traces[i]) for i in range(3)] == [True, False, True]
    assert len(run.request.spec.columns) == 1
    runs.keep("child", stored)
    again, child = start_branch(service, runs, {"run": "child", "column": 1, "position": 1})
    assert [name for name, _ in child.spec.columns] == [name for name, _ in original.spec.columns]
    assert finish((again, child))[1].tokens[0] == columns[1].tokens[0]
    assert [column.seed for column in stored.trace(service).columns] == [5, None, 5]
    assert len(runs.find("a").trace(service).columns) == 3


def warm(service: Service, runs: RunStore) -> list[ColumnTrace]:
    """Run "child": the second of three columns written again with seed 9 instead of 5. All are random."""
    asked = spec(
        "Hi", "assistant", columns=COLUMNS, controls={"alpha": 1.0}, seed=5, temperature=2.0, length=9
    )
    runs.keep("warm", kept_to_end(service.start_run(asked)))
    branch = start_branch(service, runs, {"run": "warm", "column": 1, "position": 1, "seed": 9})
    runs.keep("child", branch[1])
    return finish(branch)


@pytest.mark.parametrize("column", range(3))
def test_a_branch_with_another_seed_can_be_saved_and_continued_from_its_file(
    service: Service, column: int
) -> None:
    runs = RunStore()
    columns = warm(service, runs)
    assert ids_of(columns[1]) != ids_of(runs.find("warm").traces[1])
    files = {
        kind: json.loads(run_store.save(service, runs, {"run": "child", "format": kind}))["text"]
        for kind in run_store.FORMATS
    }
    trace = open_run(files["json"])
    assert [one.text for one in trace.columns] == [one.text for one in columns]
    assert [seed_of(one, trace.spec) for one in trace.columns] == [5, 9, 5]
    rows = csv.DictReader(io.StringIO(files["csv"].removeprefix("\ufeff")))
    assert [(row["column"], row["seed"]) for row in rows if row["position"] == "0"] == [
        (one.name, seed) for one, seed in zip(columns, ("5", "9", "5"), strict=True)
    ]
    words = f"seed 5 in {columns[0].name} and {columns[2].name}"
    assert words in files["md"].replace("\\", "") and words in files["html"]
    assert all(one.text in files["md"] for one in columns)
    first, *_ = json.loads(open_file(runs, {"text": files["json"]}, service))["lines"].splitlines()
    opened_line = json.loads(first)
    assert opened_line["seeds"] == [5, 9, 5] and "seed 9, but " + words in opened_line["notes"]
    # With its own seed, each column is written again as it was; the others stay, with theirs.
    posted = {"run": opened_line["id"], "column": column, "position": 1}
    again = start_branch(service, runs, posted)
    assert [*map(ids_of, finish(again))] == [*map(ids_of, columns)]
    assert again[1].seeds == (5, 9, 5)


def test_a_file_marks_the_forced_tokens_of_a_branch(service: Service, runs: RunStore) -> None:
    branch = start_branch(service, runs, {"run": "a", "column": 1, "position": 3})
    finish(branch)
    runs.keep("child", branch[1])
    saved = json.loads(run_store.save(service, runs, {"run": "child", "format": "json"}))["text"]
    assert [column.given for column in open_run(saved).columns] == [0, 3, 0]
    lines = json.loads(open_file(runs, {"text": saved}, service))["lines"].splitlines()
    assert json.loads(lines[0])["givens"] == [0, 3, 0]
    reopened = json.loads(lines[0])["id"]
    again = start_branch(service, runs, {"run": reopened, "column": 0, "position": 2})
    finish(again)
    assert [column.given for column in again[1].trace(service).columns] == [2, 3, 0]
    scored = start_same_text(service, runs, {"run": "a", "column": 1})
    assert {column.given for column in finish(scored)} == {len(ids_of(runs.find("a").traces[1]))}


def test_a_branch_may_continue_after_the_last_token(service: Service, runs: RunStore) -> None:
    length = len(runs.find("a").traces[0].tokens)
    columns = finish(start_branch(service, runs, {"run": "a", "column": 0, "position": length}))
    assert len(columns[0].tokens) == length


def test_the_same_text_is_scored_by_every_column(service: Service, runs: RunStore) -> None:
    columns = finish(start_same_text(service, runs, {"run": "a", "column": 1}))
    assert len(columns) == 3
    for column in columns:
        assert ids_of(column) == ids_of(runs.find("a").traces[1])
        assert column.text == PROMPT


@pytest.mark.parametrize("position", [-1, 10_000, True, "0", 1.0, None])
@pytest.mark.parametrize("place", ["column", "position"])
def test_an_unknown_run_column_or_position_gives_an_error_message(
    service: Service, runs: RunStore, place: str, position: object
) -> None:
    with pytest.raises(InputError, match="no such token"):
        start_branch(service, runs, {"run": "a", "column": 0, "position": 0, place: position})
    with pytest.raises(InputError, match="no such token"):
        start_same_text(service, runs, {"run": "a", "column": position})


@pytest.mark.parametrize(
    "change",
    [
        {"token": 299},
        {"token": "5"},
        {"token": [1]},
        {"run": "b"},
        {"run": None},
        {"run": ["a"]},
        {"controls": {"alpha": 99}},
        {"controls": {"<b>": 1}},
        {"seed": -1},
        {"seed": "x"},
    ],
)
def test_an_invalid_branch_gives_an_error_message(
    service: Service, runs: RunStore, change: dict[str, Any]
) -> None:
    with pytest.raises(EFTError) as caught:
        start_branch(service, runs, {"run": "a", "column": 0, "position": 0} | change)
    assert str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("What is the capital of Peru?", "eft-what-is-the-capital-of-peru.json"),
        ("Où est ../../etc/passwd?\n<b>", "eft-ou-est-etc-passwd-b.json"),
        ("日本", "eft-run.json"),
        ("x" * 300, "eft-" + "x" * 48 + ".json"),
    ],
)
def test_a_saved_file_is_named_after_its_prompt(prompt: str, name: str) -> None:
    assert run_store.file_name(prompt, "json") == name


def test_a_run_is_saved_in_every_format_and_opened_again(service: Service, runs: RunStore) -> None:
    for kind in ("json", "csv", "md", "html"):
        answer = json.loads(run_store.save(service, runs, {"run": "a", "format": kind}))
        assert answer["name"] == run_store.file_name(PROMPT, kind)
        assert answer["text"]
    saved = json.loads(run_store.save(service, runs, {"run": "a", "format": "json"}))["text"]
    trace = open_run(saved)
    assert trace.spec.prompt == PROMPT
    assert [column.text for column in trace.columns] == [PROMPT] * 3
    lines = [
        json.loads(line) for line in json.loads(open_file(RunStore(), {"text": saved}))["lines"].splitlines()
    ]
    assert (lines[0]["k"], lines[-1]["k"]) == ("run", "done")
    assert "".join(line["s"] for line in lines if line["k"] == "t" and line["p"] == 2) == PROMPT


def test_a_run_with_custom_prompt_formats_says_so_wherever_it_is_opened(service: Service) -> None:
    own = PromptFormat("plain", "User: Again {prompt}\nAssistant:")
    run = service.start_run(
        spec(PROMPT, "assistant", columns=COLUMNS, formats={"assistant": own, "pirate": own})
    )
    runs = RunStore()
    runs.keep("own", StoredRun.of_run(run))
    run.cancel()
    files = {
        kind: json.loads(run_store.save(service, runs, {"run": "own", "format": kind}))["text"]
        for kind in ("json", "md")
    }
    opened = open_run(files["json"])
    assert opened.spec.formats == {"assistant": own}
    assert StoredRun.of_file(opened).spec.formats == {"assistant": own}, "so that a run can continue from it"
    assert "assistant had its own prompt format" in files["md"] and own.text in files["md"]
    first, *_ = json.loads(open_file(runs, {"text": files["json"]}))["lines"].splitlines()
    assert json.loads(first)["reshown"] == ["assistant"]


@pytest.mark.parametrize(
    "posted", [{"run": "a", "format": "exe"}, {"run": "a"}, {"run": "x", "format": "csv"}, None, [], "html"]
)
def test_an_invalid_request_to_save_gives_an_error_message(
    service: Service, runs: RunStore, posted: dict[str, object]
) -> None:
    assert json.loads(run_store.save(service, runs, posted))["error"]


@pytest.mark.parametrize(
    "posted",
    [
        None,
        3,
        "a",
        [],
        {"run": "a"},
        {"run": "a", "tab": "odds"},
        {"run": "a", "tab": "odds", "columns": 2},
        {"run": "a", "tab": "odds", "columns": [2]},
        {"run": "a", "tab": "odds", "columns": [2, 7]},
        {"run": "a", "tab": "odds", "columns": [0, True]},
        {"run": "a", "tab": "strip", "columns": [2]},  # the page draws this one
        {"run": "a", "tab": ["odds"], "columns": [2, 0]},
    ],
    ids=str,
)
def test_invalid_requests_for_figures_are_refused(service: Service, runs: RunStore, posted: object) -> None:
    assert json.loads(run_store.plot(service, runs, posted))["error"]


def test_log_odds_need_one_text_or_a_model_that_recorded_it(service: Service, runs: RunStore) -> None:
    def ask(run_id: str, ours: int, theirs: int) -> dict[str, Any]:
        asked = {"run": run_id, "tab": "odds", "columns": [ours, theirs]}
        return dict(json.loads(run_store.plot(service, runs, asked)))

    count = len(runs.find("a").traces[0].tokens)
    assert ask("a", 2, 0)["data"][0]["y"] == pytest.approx([0.0] * count, abs=0.01)
    stored = runs.find("a")
    base, tuned, mixed = stored.traces
    runs.keep(
        "b",
        replace(stored, traces=[base, replace(tuned, tokens=[]), replace(mixed, tokens=mixed.tokens[:2])]),
    )
    assert "different texts" in ask("b", 0, 1)["error"]
    figure = ask("b", 2, 0)  # the mixed column recorded what its large base gave its text
    assert figure["of"] == 2 and len(figure["data"][0]["y"]) == 2


def opened(service: Service, runs: RunStore, **changes: object) -> RunStore:
    """Run "a", saved, modified and opened again."""
    document = json.loads(json.loads(run_store.save(service, runs, {"run": "a", "format": "json"}))["text"])
    mine = RunStore()
    assert "lines" in json.loads(open_file(mine, {"text": json.dumps(document | changes)}))
    return mine


def test_an_opened_run_of_the_loaded_family_can_be_continued(service: Service, runs: RunStore) -> None:
    mine = opened(service, runs)
    (run_id,) = mine.by_id
    token = runs.find("a").traces[2].tokens[3].candidates[1].id
    posted = {"run": run_id, "column": 2, "position": 3, "token": token}
    columns = finish(start_branch(service, mine, posted))
    of_original = finish(start_branch(service, runs, posted | {"run": "a"}))
    assert [*map(ids_of, columns)] == [*map(ids_of, of_original)]
    assert ids_of(columns[2])[:4] == (*ids_of(runs.find("a").traces[2])[:3], token)
    same = finish(start_same_text(service, mine, {"run": run_id, "column": 0}))
    assert ids_of(same[0]) == ids_of(same[1]) == ids_of(same[2])
    _, branch = start_branch(service, mine, posted)
    assert branch.trace(service).spec.family == service.family.name  # it now counts as a run of this family


def test_a_column_without_text_is_scored_by_none(service: Service, runs: RunStore) -> None:
    stored = runs.find("a")
    runs.keep("empty", replace(stored, traces=[*stored.traces[:2], replace(stored.traces[2], tokens=[])]))
    with pytest.raises(InputError, match="no text"):
        start_same_text(service, runs, {"run": "empty", "column": 2})


def test_an_opened_run_with_ids_that_the_family_lacks_does_not_go_on(
    service: Service, runs: RunStore
) -> None:
    stored = runs.find("a")
    beyond = len(service.family.token_bytes)
    columns = [
        replace(column, tokens=[replace(record, base_first=beyond) for record in column.tokens])
        for column in stored.traces
    ]
    mine = RunStore()
    mine.keep("file", StoredRun.of_file(replace(stored.trace(service), columns=columns)))
    with pytest.raises(InputError, match="tokens differ"):
        start_branch(service, mine, {"run": "file", "column": 2, "position": 1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "<b>other"}, "it is of the family"),
        ({"pieces": {}}, "tokens differ from those of Echo"),
    ],
)
def test_an_opened_run_of_other_models_cannot_be_continued(
    service: Service, runs: RunStore, change: dict[str, object], words: str
) -> None:
    mine = opened(service, runs, **change)
    for start in (start_branch, start_same_text):
        with pytest.raises(InputError, match=words):
            start(service, mine, {"run": next(iter(mine.by_id)), "column": 0, "position": 0})


def test_an_opened_run_with_too_many_columns_or_an_unknown_model_cannot_be_continued(
    service: Service, runs: RunStore
) -> None:
    document = json.loads(json.loads(run_store.save(service, runs, {"run": "a", "format": "json"}))["text"])
    mine = opened(service, runs, columns=document["columns"][:1] * 5)
    with pytest.raises(InputError, match="5 columns, and at most 4"):
        start_branch(service, mine, {"run": next(iter(mine.by_id)), "column": 0, "position": 0})
    text = json.dumps(document).replace("large_base", "huge_base")
    assert "lines" in json.loads(open_file(mine := RunStore(), {"text": text}))
    with pytest.raises(InputError, match="Echo has no model 'huge_base'"):
        start_branch(service, mine, {"run": next(iter(mine.by_id)), "column": 0, "position": 0})


def test_a_packed_run_equals_the_original(service: Service, runs: RunStore) -> None:
    mine, stored = RunStore(), runs.find("a")
    mine.keep("a", stored)
    mine.pack("a")
    again = mine.find("a")
    assert again == stored and again is not stored
    mine.pack("a")
    assert mine.find("a").trace(service) == stored.trace(service)
    branch = {"run": "a", "column": 2, "position": 3}
    assert ids_of(finish(start_branch(service, mine, branch))[2]) == ids_of(stored.traces[2])
    with pytest.raises(InputError, match="no longer has"):
        mine.find("1")


@pytest.mark.parametrize("shared", ["name", "made_with"])
def test_a_small_file_makes_no_huge_one(service: Service, shared: str) -> None:
    """A table repeats in every row what a trace holds once."""
    run = run_that_says("a")
    column, record = run.columns[0], run.columns[0].tokens[0]
    record = replace(record, candidates=tuple(c for c in record.candidates if c.id == record.id))
    column.tokens[:] = [replace(record, position=place) for place in range(8000)]
    column.text = "a" * 8000
    if shared == "name":
        column.name = "\u202e" * 500  # a spreadsheet cell spells each out
    else:
        models = {f"m{k}": ModelMade("fp32", "none", "cpu", "s" * 100, "r" * 40) for k in range(50)}
        run = replace(run, made_with=MadeWith("1", "2", "3", models))
    lean = replace(run, columns=[column], spec=run.spec.model_copy(update={"columns": run.spec.columns[:1]}))
    runs = RunStore()
    run_id = json.loads(json.loads(open_file(runs, {"text": lean.to_json()}))["lines"].splitlines()[0])["id"]
    for kind in run_store.FORMATS:
        answer = json.loads(run_store.save(service, runs, {"run": run_id, "format": kind}))
        if kind == "csv":
            assert f"{export.MAX_FILE_CHARS:,}" in answer["error"]
        else:
            assert len(answer["text"]) < export.MAX_FILE_CHARS
