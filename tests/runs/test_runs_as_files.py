"""Every reader of a run shows the same content, whichever part of the app wrote it."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.lab import record
from eft_demo.method.weight_filter import parse_weight_filter
from eft_demo.runs import export
from eft_demo.runs.gallery import GALLERY
from eft_demo.runs.replay import open_run, replay
from eft_demo.runs.spec import FIRST as COLUMNS
from eft_demo.runs.spreadsheet import read_cell
from eft_demo.runs.text import show_controls
from eft_demo.runs.trace import RunTrace
from eft_demo.settings import ASSETS, Settings
from eft_demo.ui import replays, run_store
from eft_demo.ui.branches import start_branch, start_same_text
from eft_demo.ui.run_store import RunStore, StoredRun
from eft_demo.ui.saved_page import to_html
from tests.asking import spec
from tests.command_line import run_cli
from tests.keeping import kept_to_end

PROMPT = "What is the capital of Peru?"


@pytest.fixture(scope="module")
def service(tiny_settings: Settings) -> Iterator[Service]:
    service = Service.load(tiny_settings, "tiny")
    yield service
    service.stop()


def page_run(service: Service, **asked: Any) -> StoredRun:
    run = service.start_run(spec(PROMPT, "assistant", columns=COLUMNS, length=12, seed=3, **asked))
    return kept_to_end(run)


def saved(service: Service, runs: RunStore, run_id: str) -> str:
    return str(json.loads(run_store.save(service, runs, {"run": run_id, "format": "json"}))["text"])


def kept_as(stored: StoredRun) -> RunStore:
    runs = RunStore()
    runs.keep("a", stored)
    return runs


def from_page(service: Service) -> str:
    return saved(service, kept_as(page_run(service)), "a")


def while_streaming(service: Service) -> str:
    """Saved after the first tokens: it has only those, each with its text."""
    run = service.start_run(spec(PROMPT, "assistant", columns=COLUMNS, length=60))
    stored = StoredRun.of_run(run)
    while not all(len(trace.tokens) > 2 for trace in stored.traces):
        for event in run.events(1.0):
            stored.add(event)
    text = saved(service, kept_as(stored), "a")
    run.cancel()
    return text


def from_branch(service: Service) -> str:
    runs = kept_as(page_run(service))
    token = runs.find("a").traces[2].tokens[4].candidates[1].id
    posted = {"run": "a", "column": 2, "position": 4, "token": token, "all": True}
    return saved(service, kept_as(kept_to_end(*start_branch(service, runs, posted))), "a")


def from_same_text(service: Service) -> str:
    """Scored under a filter that rules most tokens out, so some log-probs are minus infinity."""
    runs = kept_as(page_run(service, weight_filter=parse_weight_filter("mask 0.9")))
    scored = kept_to_end(*start_same_text(service, runs, {"run": "a", "column": 1}))
    return saved(service, kept_as(scored), "a")


def opened_and_saved(service: Service) -> str:
    runs = RunStore()
    assert "lines" in json.loads(replays.open_file(runs, {"text": from_page(service)}, service))
    return saved(service, runs, next(iter(runs.by_id)))


def opened_and_branched(service: Service) -> str:
    runs = RunStore()
    replays.open_file(runs, {"text": from_page(service)}, service)
    posted = {"run": next(iter(runs.by_id)), "column": 0, "position": 3, "seed": 9}
    return saved(service, kept_as(kept_to_end(*start_branch(service, runs, posted))), "a")


def from_gallery(service: Service) -> str:
    return record.run_entry(service, GALLERY[-1]).to_json()


def of_version_2(service: Service) -> str:
    """A shipped run as the first release wrote it."""
    run = json.loads((ASSETS / "runs" / "blend.json").read_text(encoding="ascii"))
    for later in ("formats", "made_with", "system", "turns"):
        del run[later]
    for column in run["columns"]:
        del column["given"], column["seed"]
    run["panels"] = run.pop("columns")
    return json.dumps(run | {"version": 2})


def of_version_3(service: Service) -> str:
    return json.dumps(json.loads(of_version_2(service)) | {"formats": {}, "version": 3})


WRITERS: dict[str, Callable[[Service], str]] = {
    "page": from_page,
    "while streaming": while_streaming,
    "branch": from_branch,
    "same text": from_same_text,
    "opened and saved": opened_and_saved,
    "opened and branched": opened_and_branched,
    "record": from_gallery,
    "version 2": of_version_2,
    "version 3": of_version_3,
}


@pytest.fixture(scope="module")
def written(service: Service) -> dict[str, RunTrace]:
    """Each writer's run, opened as an untrusted file."""
    return {name: open_run(write(service)) for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def from_terminal(tiny_assets: Path) -> Iterator[str]:
    """The output of `generate --json`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"ASSETS": str(tiny_assets), "DTYPE": "fp32", "THREADS": "1"}.items():
            patch.setenv(f"EFT_{name}", value)
        options = ("--family", "tiny", "--max-new-tokens", "12", "--seed", "3", "--json")
        patch.setattr(sys, "stdout", out := io.StringIO())
        assert run_cli(patch, "generate", PROMPT, *options) == 0
    yield out.getvalue()


def check_readers(run: RunTrace) -> None:
    """Check that every reader shows the columns' texts and no token by its id."""
    said = [column.text for column in run.columns]
    runs = RunStore()
    lines = json.loads(replays.open_file(runs, {"text": run.to_json()}))["lines"]
    sent = [json.loads(line) for line in lines.splitlines()]
    assert [page_text(sent, p) for p in range(len(said))] == said
    labels = [label for line in sent for label in line.get("w", {}).values()]
    assert not [label for label in labels if str(label).startswith("#") and str(label)[1:].isdecimal()]
    played = replay(run)
    assert [
        "".join(event.text for event in played.events if event.column == p) for p in range(len(said))
    ] == said

    rows = list(csv.DictReader(io.StringIO(export.to_csv(run).removeprefix("\ufeff"), newline="")))
    for column, text in zip(run.columns, said, strict=True):
        cells = [row for row in rows if read_cell(row["column"]) == column.name]
        assert "".join(read_cell(row["text"]) for row in cells) == show_controls(text)
        exact = b"".join(bytes.fromhex(read_cell(row["bytes"])) for row in cells)
        assert exact.decode("utf-8", "replace") == text
    markdown = export.to_markdown(run)
    assert all(f"\n{text}\n```" in markdown for text in said)
    page = to_html(run)
    data = json.loads(page.partition('id="run">')[2].partition("</script>")[0])
    assert [page_text(data["lines"], p) for p in range(len(run.columns))] == said
    made = str(run.made_with) if run.made_with else "not known"
    assert made in data["details"] and export.escape_markdown(made) in markdown
    assert {read_cell(row["made_with"]) for row in rows} == {str(run.made_with or "")}

    (run_id,) = runs.by_id
    service = Service.without_models(Settings())
    for p, column in enumerate(run.columns):
        odds = json.loads(run_store.plot(service, runs, {"run": run_id, "tab": "odds", "columns": [p, p]}))
        assert len(odds["data"][0]["y"]) == len(column.tokens)
    service.stop()


def page_text(sent: list[dict[str, Any]], column: int) -> str:
    return "".join(
        line.get("s", "") for line in sent if line["k"] in ("t", "end") and line.get("p") == column
    )


@pytest.mark.parametrize("writer", WRITERS)
def test_every_reader_shows_what_a_writer_wrote(written: dict[str, RunTrace], writer: str) -> None:
    run = written[writer]
    assert any(column.text for column in run.columns)
    check_readers(run)
    assert open_run(run.to_json()) == run


def test_every_reader_shows_what_the_command_line_wrote(
    from_terminal: str, written: dict[str, RunTrace]
) -> None:
    run = open_run(from_terminal)
    check_readers(run)
    page = written["page"]
    assert run.made_with is not None
    assert run.made_with.facts == page.made_with.facts if page.made_with else False
    assert [column.text for column in run.columns][::2] == [column.text for column in page.columns][::2]


def test_a_run_records_what_it_was_made_with(written: dict[str, RunTrace]) -> None:
    for name in ("page", "while streaming", "branch", "same text", "opened and saved", "record"):
        made = written[name].made_with
        assert made is not None
        assert {model.dtype for model in made.models.values()} == {"fp32"}
        assert {model.device for model in made.models.values()} == {"cpu"}
        assert len({model.revision for model in made.models.values()}) == len(made.models)
        roles = {
            role for column in written[name].columns for role in column.recipe.split() if "_base" in role
        }
        assert {role.strip("()") for role in roles} <= set(made.models)
    assert written["version 2"].made_with is None
    assert written["version 3"] == written["version 2"]


def test_old_files_of_the_command_line_get_their_texts_from_the_tokenizer(
    service: Service, from_terminal: str
) -> None:
    old = {**json.loads(from_terminal), "pieces": {}, "version": 3}
    del old["made_with"]
    old["panels"] = old.pop("columns")
    runs = RunStore()
    lines = json.loads(replays.open_file(runs, {"text": json.dumps(old)}, service))["lines"].splitlines()
    assert page_text([*map(json.loads, lines)], 0) == old["panels"][0]["text"]
    assert json.loads(lines[0])["notes"] == ""
    check_readers(open_run(saved(service, runs, next(iter(runs.by_id)))))
    # The bundled family's tokenizer is available whatever family is loaded.
    shipped_run = json.loads(of_version_2(service)) | {"pieces": {}}
    other = Service.without_models(Settings())
    lines = json.loads(replays.open_file(RunStore(), {"text": json.dumps(shipped_run)}, other))[
        "lines"
    ].splitlines()
    assert page_text([*map(json.loads, lines)], 0) == shipped_run["panels"][0]["text"]
    other.stop()


@pytest.mark.parametrize("family", ["elsewhere", "tiny", "../atlas", ""])
def test_tokens_of_an_unknown_tokenizer_are_shown_by_id_with_a_message(service: Service, family: str) -> None:
    """`tiny` is loaded, but its tokens do not reproduce the texts of the file's columns."""
    document = json.loads(of_version_2(service)) | {"pieces": {}, "family": family}
    answer = json.loads(replays.open_file(runs := RunStore(), {"text": json.dumps(document)}, service))
    lines = [*map(json.loads, answer["lines"].splitlines())]
    first = document["panels"][0]["tokens"][0]["id"]
    assert page_text(lines, 0).startswith(f"#{first}#")
    assert lines[0]["notes"] == replays.NO_TEXTS
    (run_id,) = runs.by_id
    table = json.loads(run_store.save(service, runs, {"run": run_id, "format": "csv"}))["text"]
    row = next(csv.DictReader(io.StringIO(table.removeprefix("\ufeff"))))
    assert (read_cell(row["text"]), row["bytes"]) == (f"#{first}", "")


def test_the_page_reports_what_differs_from_a_files_versions(
    service: Service, written: dict[str, RunTrace]
) -> None:
    def notes(**changes: Any) -> str:
        made = written["page"].made_with
        assert made is not None
        run = replace(written["page"], made_with=replace(made, **changes))
        answer = replays.open_file(RunStore(), {"text": run.to_json()}, service)
        return str(json.loads(json.loads(answer)["lines"].splitlines()[0])["notes"])

    assert notes() == ""
    assert notes(torch="1.9.0").startswith("This run was made with torch 1.9.0; here it is torch ")
    assert "so a new run may differ." in notes(eft_demo="0.0.1")
    assert notes(transformers="") == ""  # unknown versions do not differ


def test_a_branch_with_columns_from_other_versions_has_unknown_versions(
    service: Service, written: dict[str, RunTrace]
) -> None:
    page = written["page"]
    assert page.made_with is not None
    foreign = replace(page, made_with=replace(page.made_with, torch="1.9.0"))
    for run, copied, known in ((page, True, True), (foreign, True, False), (foreign, False, True)):
        runs = RunStore()
        replays.open_file(runs, {"text": run.to_json()}, service)
        posted = {"run": next(iter(runs.by_id)), "column": 1, "position": 2, "all": not copied}
        branch = kept_to_end(*start_branch(service, runs, posted))
        assert (branch.trace(service).made_with is not None) == known
