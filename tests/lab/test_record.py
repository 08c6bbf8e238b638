"""The bundled recordings: complete, small, true to their entries, and playable without a model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eft_demo.errors import InputError
from eft_demo.lab import record
from eft_demo.lab.record import MAX_BYTES
from eft_demo.runs.gallery import GALLERY, GalleryEntry
from eft_demo.runs.replay import open_run, read_run
from eft_demo.runs.spec import RunSpec
from eft_demo.settings import ASSETS, Settings
from eft_demo.ui import replays
from eft_demo.ui.run_store import RunStore
from tests.fakes import make_service

entries = pytest.mark.parametrize("entry", GALLERY, ids=lambda entry: entry.name)


def as_traced(spec: RunSpec) -> RunSpec:
    """The spec as it appears in a trace of the bundled models."""
    return spec.for_behaviour().model_copy(update={"family": "atlas", "behaviour": "", "length": None})


@entries
def test_every_gallery_entry_is_recorded_with_its_recipe(entry: GalleryEntry) -> None:
    path = ASSETS / "runs" / f"{entry.name}.json"
    run = read_run(path)
    assert path.stat().st_size <= MAX_BYTES
    assert run.spec == as_traced(entry.spec)
    assert all(column.finish_reason in ("stop", "length") and column.tokens for column in run.columns)


def test_every_entry_is_recorded_and_there_are_no_other_files() -> None:
    assert {path.stem for path in (ASSETS / "runs").iterdir()} == {entry.name for entry in GALLERY}
    assert [entry["name"] for entry in replays.recorded_list()] == [entry.name for entry in GALLERY]


def test_the_recorded_runs_show_what_their_captions_say() -> None:
    runs = {entry.name: read_run(ASSETS / "runs" / f"{entry.name}.json") for entry in GALLERY}
    base, tuned, up_scaled = runs["up-scaling"].columns
    assert "Nairobi" in up_scaled.text
    assert "Nairobi" not in tuned.text
    assert up_scaled.finish_reason == "stop"
    _, pirate, up_scaled = runs["pirate"].columns
    assert "Persian" in up_scaled.text and "Persian" not in pirate.text
    alphas = [record.controls["alpha"] for record in runs["first-tokens"].columns[1].tokens]
    assert alphas[:6] == [1.0] * 5 + [0.0]


@entries
def test_a_recorded_run_is_played_without_a_model(entry: GalleryEntry) -> None:
    lines = json.loads(replays.open_recorded(RunStore(), {"name": entry.name}))["lines"]
    assert lines.isascii()
    assert lines.count('"k":"t"') == sum(len(p.tokens) for p in read_run(_path(entry)).columns)
    assert lines.count('"k":"end"') == len(entry.spec.columns)


def _path(entry: GalleryEntry) -> Path:
    return ASSETS / "runs" / f"{entry.name}.json"


def test_opening_a_run_loads_no_models() -> None:
    code = (
        "import sys; from eft_demo.runs.replay import replay, read_run; "
        f"replay(read_run(__import__('pathlib').Path({str(_path(GALLERY[0]))!r}))); "
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_gallery_entry_is_run_with_all_its_settings() -> None:
    service = make_service(Settings())
    try:
        for entry in GALLERY:
            if entry.spec.behaviour == "thinker":  # Echo has none
                continue
            run = record.run_entry(service, entry)
            assert open_run(run.to_json()) == run
            assert run.spec == as_traced(entry.spec).model_copy(update={"family": "echo"})
            assert all(column.finish_reason == "stop" for column in run.columns)
    finally:
        service.stop()


def test_an_unknown_gallery_entry_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run other"):
        record.record(Settings(), tmp_path, ["other"])


def test_a_recording_that_is_too_large_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MAX_BYTES", 100)
    service = make_service(Settings())
    try:
        with pytest.raises(InputError, match=" 100[.]"):
            record._write(service, GALLERY[0], tmp_path)
    finally:
        service.stop()
