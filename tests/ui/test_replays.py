"""Replays: a valid file streams like a run, and an invalid one gives a single error message."""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from starlette.applications import Starlette

from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.runs.gallery import GALLERY
from eft_demo.runs.replay import open_run
from eft_demo.runs.spec import FIRST
from eft_demo.runs.trace import RunTrace
from eft_demo.settings import Settings
from eft_demo.ui import gate, replays, run_store
from eft_demo.ui.branches import start_branch, start_same_text
from eft_demo.ui.run_store import RunStore, save
from tests.asking import spec
from tests.fakes import CHANT, make_service
from tests.hostile import HOSTILE
from tests.keeping import kept_to_end

GOOD = RunTrace.from_json((replays.RUNS / "blend.json").read_text(encoding="ascii")).to_json()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def sentence(answer: str) -> str:
    """The refusal, which must be the whole answer."""
    (name,) = (sent := json.loads(answer))
    assert name == "error"
    text: str = sent["error"]
    assert text[-1] in ".)" and "Traceback" not in text
    return text


def changed(path: list[Any], value: object) -> str:
    """A valid file with one value replaced."""
    document = json.loads(GOOD)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(document)


def test_a_valid_file_streams_like_a_run() -> None:
    lines = [
        json.loads(line)
        for line in json.loads(replays.open_file(RunStore(), {"text": GOOD}))["lines"].splitlines()
    ]
    assert [line["k"] for line in (lines[0], *lines[-2:])] == ["run", "end", "done"]
    assert lines[0]["prompt"] == json.loads(GOOD)["prompt"]
    said = "".join(line["s"] for line in lines if line["k"] == "t" and line["p"] == 1)
    assert said == json.loads(GOOD)["columns"][1]["text"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (changed(["version"], 1), "version"),
        (changed(["version"], "2"), "version"),
        (GOOD[: len(GOOD) // 2], "not valid JSON"),
        (GOOD[:-1], "not valid JSON"),
        ("", "not valid JSON"),
        ("<!doctype html><title>EFT Demo</title>", "Trace (JSON)"),
        ("null", "version"),
        ("[" * 100_000, "not valid JSON"),
        (changed(["prompt"], 5), "prompt"),
        (changed(["columns", 0, "tokens", 3, "id"], "7"), "columns[0].tokens[3].id"),
        (changed(["columns", 0, "tokens", 3, "bars"], []), "token 4"),
        (changed(["columns", 0, "recipe"], "large_base +"), "recipe"),
        (changed(["columns"], []), "columns"),
        (changed(["sampling", "temperature"], -3), "emperature"),
        (changed(["weight_filter"], "<b>"), "filter"),
        ("x" * (replays.MAX_FILE_BYTES + 1), "4,000,001"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_an_invalid_file_gives_an_error_that_names_the_place(text: str, words: str) -> None:
    assert words in sentence(replays.open_file(RunStore(), {"text": text}))


@given(JSON)
@examples(max_examples=300)
def test_any_posted_value_gets_an_answer(posted: object) -> None:
    sentence(replays.open_file(RunStore(), posted))
    sentence(replays.open_file(RunStore(), {"text": json.dumps(posted)}))
    sentence(replays.open_recorded(RunStore(), posted))


def test_hostile_texts_are_replayed_as_texts() -> None:
    for text in HOSTILE:
        answer = replays.open_file(RunStore(), {"text": changed(["prompt"], text)})
        assert json.loads(json.loads(answer)["lines"].splitlines()[0])["prompt"] == text
        assert "<" not in answer
        sentence(replays.open_recorded(RunStore(), {"name": text}))


def test_recorded_runs_are_listed_if_they_are_there(tmp_path: Path) -> None:
    assert [entry["name"] for entry in replays.recorded_list()] == [entry.name for entry in GALLERY]
    assert replays.recorded_list(tmp_path) == []
    name = GALLERY[0].name
    (tmp_path / f"{name}.json").write_text(GOOD, encoding="ascii")
    assert [entry["name"] for entry in replays.recorded_list(tmp_path)] == [name]
    assert "lines" in json.loads(replays.open_recorded(RunStore(), {"name": name}, tmp_path))
    for bad in ("../atlas/config", f"../runs/{name}", GALLERY[1].name):
        sentence(replays.open_recorded(RunStore(), {"name": bad}, tmp_path))


def test_every_recorded_run_can_be_opened() -> None:
    for entry in GALLERY:
        assert "lines" in json.loads(replays.open_recorded(RunStore(), {"name": entry.name}))


def test_an_opened_run_can_be_saved_and_plotted_but_not_continued_by_another_model() -> None:
    service, runs = Service.without_models(Settings()), RunStore()
    replays.open_file(runs, {"text": GOOD})
    (run_id,) = runs.by_id
    for kind in run_store.FORMATS:
        saved = json.loads(run_store.save(service, runs, {"run": run_id, "format": kind}))
        assert kind != "json" or open_run(saved["text"]) == open_run(GOOD)
    asked = {"run": run_id, "tab": "odds", "columns": [0, 0]}
    assert json.loads(run_store.plot(service, runs, asked))["data"]
    for start in (start_branch, start_same_text):
        with pytest.raises(InputError, match="no model is loaded"):
            start(service, runs, {"run": run_id, "column": 0, "position": 0})
    service.stop()


def test_log_odds_of_an_opened_run_need_no_model() -> None:
    service, runs = Service.without_models(Settings()), RunStore()
    replays.open_recorded(runs, {"name": "up-scaling"})
    (run_id,) = runs.by_id
    base, tuned, mixed = runs.find(run_id).traces

    def ask(ours: int, theirs: int) -> dict[str, Any]:
        asked = {"run": run_id, "tab": "odds", "columns": [ours, theirs]}
        return dict(json.loads(run_store.plot(service, runs, asked)))

    figure, other_way = ask(2, 0), ask(0, 2)
    steps = [record.logprob - record.by_role["large_base"] for record in mixed.tokens]
    assert figure["data"][0]["y"] == pytest.approx(list(accumulate(steps)), abs=1e-3)
    assert other_way["data"][0]["y"] == pytest.approx([-y for y in figure["data"][0]["y"]], abs=1e-3)
    assert figure["of"] == other_way["of"] == 2
    assert len(figure["data"][0]["y"]) == len(mixed.tokens) != len(base.tokens)
    assert ask(2, 1)["of"] == 2  # the tuned column is one of the mix's models
    assert "has no log-probs" in ask(0, 1)["error"] and tuned.tokens
    service.stop()


def test_a_run_saved_under_raised_limits_can_be_opened_under_them() -> None:
    settings = Settings(max_new_tokens=500, candidates=40)
    service, runs = make_service(settings), RunStore()
    try:
        run = service.start_run(spec(CHANT, "assistant", columns=FIRST, length=500))
        runs.keep("a", kept_to_end(run))
        text = json.loads(save(service, runs, {"run": "a", "format": "json"}))["text"]
        assert len(text) > replays.MAX_FILE_BYTES
        assert replays.open_file(runs, {"text": text}, service).startswith('{"lines"')
        assert f"{replays.MAX_FILE_BYTES:,} bytes" in sentence(replays.open_file(runs, {"text": text}))
        posted = json.dumps({"data": {"text": text}}).encode()
        assert len(posted) < gate.MAX_FILE_BODY_BYTES * settings.run_scale
        found = gate.Gate(Starlette(), gate.rules(settings), lambda *_: None)
        assert found._read_json(posted, "here") == {"data": {"text": text}}
    finally:
        service.stop()


def test_an_opened_run_comes_with_the_settings_that_repeat_it() -> None:
    service = make_service(Settings())
    try:
        asked = spec("abc", "pirate", columns=FIRST, controls={"alpha": 2.0}, seed=7, length=2)
        text = kept_to_end(service.start_run(asked)).trace(service).to_json()
        answer = json.loads(replays.open_file(RunStore(), {"text": text}, service))
        repeated = answer["repeat"]["settings"]
        assert answer["repeat"]["live"] and repeated["behaviour"] == "pirate"
        assert (
            repeated["prompt"] == "abc" and repeated["controls"] == {"alpha": 2.0} and repeated["seed"] == 7
        )
        assert [column["recipe"] for column in repeated["columns"]] == [str(recipe) for _, recipe in FIRST]
        assert repeated["length"] == 2, "the run was cut there"
        other = json.loads(replays.open_recorded(RunStore(), {"name": "blend"}, service=service))["repeat"]
        assert not other["live"] and list(other["settings"]) == ["prompt"], "of a family that is not loaded"
    finally:
        service.stop()
    assert "repeat" not in json.loads(replays.open_file(RunStore(), {"text": GOOD}))
