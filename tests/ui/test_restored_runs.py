"""Restored runs: posted back to a server that has lost them, stored unchanged or refused with a message."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.method.schedule import parse_schedule
from eft_demo.runs.replay import open_run
from eft_demo.runs.trace import MAX_CHARS
from eft_demo.settings import Settings
from eft_demo.ui import restored_runs
from eft_demo.ui.branches import start_branch, start_same_text
from eft_demo.ui.handlers import LiveRuns, stream_run
from eft_demo.ui.replays import open_file
from eft_demo.ui.restored_runs import is_stored, restore_run
from eft_demo.ui.run_store import RunStore, StoredRun, plot, save
from tests.fakes import make_service

COLUMNS = [
    {"name": "Base", "recipe": "large_base"},
    {"name": "Tuned", "recipe": "small_tuned"},
    {"name": "Up-scaled", "recipe": "large_base + alpha*(small_tuned - small_base)"},
]
SAMPLING = {"temperature": 0.7, "top_p": 0.95, "top_k": 0, "min_p": 0, "seed": 0, "length": 40}
ASKED = {
    "prompt": "naïve 🙂",
    "columns": COLUMNS,
    "controls": {"alpha": 1.5},
    "schedule": "warmup 8",
    **SAMPLING,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = make_service(replace(Settings(), port=0))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def ran(service: Service) -> tuple[StoredRun, dict[str, Any]]:
    """A run as the server stores it, and as the page posts it (`restoreRun` in api.js)."""
    return run_of(service, ASKED)


def run_of(service: Service, asked: dict[str, Any]) -> tuple[StoredRun, dict[str, Any]]:
    live = LiveRuns()
    behaviour = service.family.behaviours[0].role
    *_, text = stream_run(service, live, {"n": 1, "behaviour": behaviour, **asked})
    first, *lines = [json.loads(line) for line in text.splitlines()]
    labels: dict[str, Any] = {}
    for line in lines:
        labels |= line.get("w", {})
    columns = []
    for p, head in enumerate(first["columns"]):
        tokens = [line for line in lines if line["k"] == "t" and line["p"] == p]
        ids = {str(c[0]) for token in tokens for c in token["c"]} | {str(t.get("b", t["i"])) for t in tokens}
        (end,) = [line for line in lines if line["k"] == "end" and line["p"] == p]
        columns.append(
            {
                **{name: head[name] for name in ("name", "roles", "terms")},
                "seed": 0,
                "given": 0,
                "w": {i: labels[i] for i in ids},
                "t": tokens,
                "end": end,
            }
        )
    posted = {name: first[name] for name in ("prompt", "sampling", "filter", "record")}
    posted |= {name: first[name] for name in ("system", "turns") if name in first}
    posted |= {"columns": columns, "formats": {}, "controls": {"alpha": 1.5}}
    return live.store.find(first["id"]), json.loads(json.dumps(posted))


def test_a_restored_run_is_unchanged_and_works_like_an_opened_one(
    service: Service, ran: tuple[StoredRun, dict[str, Any]]
) -> None:
    runs, (before, posted) = RunStore(), ran
    run_id = json.loads(restore_run(service, runs, posted))["run"]
    assert json.loads(is_stored(runs, {"run": run_id}))["stored"]
    old_run, new_run = before.trace(service), runs.find(run_id).trace(service)
    was, now = old_run.spec, new_run.spec
    assert (now.family, now.prompt, now.controls) == (was.family, was.prompt, was.controls)
    assert now.schedule == was.schedule == parse_schedule("warmup 8")
    for old, new in zip(old_run.columns, new_run.columns, strict=True):
        assert (new.name, new.recipe, new.text, new.finish_reason) == (
            old.name,
            old.recipe,
            old.text,
            old.finish_reason,
        )
        assert [t.id for t in new.tokens] == [t.id for t in old.tokens]
        assert [t.logprob for t in new.tokens] == pytest.approx([t.logprob for t in old.tokens], abs=1e-3)
    for kind in ("json", "csv", "md", "html"):
        assert "text" in json.loads(save(service, runs, {"run": run_id, "format": kind}))
    assert "data" in json.loads(plot(service, runs, {"run": run_id, "tab": "odds", "columns": [2, 0]}))
    again, _ = start_branch(service, runs, {"run": run_id, "column": 2, "position": 3, "controls": {}})
    assert again.request.spec.schedule == before.spec.schedule
    again.cancel()


def test_a_restored_conversation_keeps_its_turns(service: Service) -> None:
    turns = [{"question": "Ho", "answers": ["a", "b", "c"]}]
    runs, (before, posted) = RunStore(), run_of(service, {**ASKED, "turns": turns, "system": "Be kind."})
    spec = runs.find(json.loads(restore_run(service, runs, posted))["run"]).trace(service).spec
    assert (spec.turns, spec.system) == (before.spec.turns, before.spec.system) and spec.turns


def test_a_column_with_its_own_seed_keeps_it(service: Service, ran: tuple[StoredRun, dict[str, Any]]) -> None:
    runs, (_, posted) = RunStore(), ran
    first, *others = posted["columns"]
    answer = restore_run(service, runs, {**posted, "columns": [{**first, "seed": 5}, *others]})
    kept = runs.find(json.loads(answer)["run"])
    assert kept.seeds == (5, 0, 0)
    assert [column.seed for column in kept.trace(service).columns] == [5, None, None]


def test_names_that_the_page_sends_once_are_not_repeated_without_end(
    service: Service, ran: tuple[StoredRun, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, (_, posted) = RunStore(), ran
    first, *others = posted["columns"]
    start = first["t"][0] | {"v": {"x" * 10_000_000: 1.0}}
    many_controls = first | {"t": [start, *first["t"][1:]]}
    many_roles = first | {"roles": [*first["roles"], "é" * 500_000]}
    monkeypatch.setattr(restored_runs, "open_run", lambda *_: pytest.fail("the trace was written"))
    for column in (many_controls, many_roles):
        answer = json.loads(restore_run(service, runs, {**posted, "columns": [column, *others]}))
        assert f"{MAX_CHARS:,}" in answer["error"]


def test_a_restored_run_can_be_saved_opened_and_continued(
    service: Service, ran: tuple[StoredRun, dict[str, Any]]
) -> None:
    runs, (_, posted) = RunStore(), ran
    first, *others = posted["columns"]
    record = {**posted["record"], "schedule": "list 0", "speculation": "on 4"}
    formats = {"large_base": {"kind": "plain", "text": "{prompt}!"}}
    changed = {"columns": [{**first, "seed": 5}, *others[:1]], "record": record, "formats": formats}
    run_id = json.loads(restore_run(service, runs, {**posted, **changed}))["run"]
    saved = json.loads(save(service, runs, {"run": run_id, "format": "json"}))["text"]
    trace = open_run(saved)
    assert (str(trace.spec.schedule), str(trace.spec.speculation)) == ("list 0", "on 4")
    assert [column.seed for column in trace.columns] == [5, None] and trace.spec.formats.keys() == {
        "large_base"
    }
    opened = json.loads(open_file(runs, {"text": saved}, service))["lines"]
    of = json.loads(opened.splitlines()[0])["id"]
    start_branch(service, runs, {"run": of, "column": 0, "position": 1})[0].cancel()


def test_a_branch_from_a_run_of_other_models_names_the_difference(
    service: Service, ran: tuple[StoredRun, dict[str, Any]]
) -> None:
    runs, (_, posted) = RunStore(), ran
    made = {"eft_demo": "0.0.1", "torch": "0.1", "transformers": "1.0", "models": {}}
    others = {**posted, "record": {**posted["record"], "made_with": made}}
    for changed, named in ((posted, False), (others, True)):
        run_id = json.loads(restore_run(service, runs, changed))["run"]
        run, stored = start_branch(service, runs, {"run": run_id, "column": 2, "position": 3})
        run.cancel()
        assert ("torch 0.1" in str(stored.origin.get("notes"))) == named


def test_tokens_with_other_labels_belong_to_another_family(
    service: Service, ran: tuple[StoredRun, dict[str, Any]]
) -> None:
    runs, (_, posted) = RunStore(), ran
    columns = json.loads(json.dumps(posted["columns"]).replace('"a"', '"other"'))
    run_id = json.loads(restore_run(service, runs, {**posted, "columns": columns}))["run"]
    with pytest.raises(InputError, match="tokens differ from those of Echo"):
        start_branch(service, runs, {"run": run_id, "column": 2, "position": 3})


def test_a_restored_run_can_only_be_continued_by_its_family(
    service: Service, ran: tuple[StoredRun, dict[str, Any]]
) -> None:
    """Another family may have the same tokenizer, so the tokens do not say whose run it is."""
    runs, (_, posted) = RunStore(), ran
    record = {**posted["record"], "family": "before"}
    run_id = json.loads(restore_run(service, runs, {**posted, "record": record}))["run"]
    files = {
        kind: json.loads(save(service, runs, {"run": run_id, "format": kind}))["text"]
        for kind in ("json", "md", "html")
    }
    assert json.loads(files["json"])["family"] == "before"
    assert "family before," in files["md"] and "family before " in files["html"]
    for start in (start_branch, start_same_text):
        with pytest.raises(InputError, match="of the family 'before', and Echo is loaded"):
            start(service, runs, {"run": run_id, "column": 2, "position": 3})


@examples(max_examples=60)
@given(path=st.integers(0, 9), value=JSON)
def test_any_forged_run_gives_one_error_message(
    service: Service, ran: tuple[StoredRun, dict[str, Any]], path: int, value: object
) -> None:
    posted = json.loads(json.dumps(ran[1]))
    column, token = posted["columns"][2], posted["columns"][2]["t"][0]
    places = [
        (posted, "columns"),
        (posted, "record"),
        (posted, "filter"),
        (posted, "formats"),
        (column, "w"),
    ]
    places += [(column, "terms"), (column, "roles"), (token, "c"), (token, "y"), (column, "seed")]
    place, name = places[path]
    place[name] = value
    for whole in (posted, value):
        answer = json.loads(restore_run(service, RunStore(), whole))
        assert answer.keys() in ({"error"}, {"run"}) and "Traceback" not in str(answer)
