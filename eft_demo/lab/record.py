"""Records the runs of the gallery, which the page plays when there are no models.

Run `record` again after changing the weights or the trace format; it rewrites assets/runs.
Knows the bundled family, the engine and traces; knows no page.
"""

from dataclasses import replace
from pathlib import Path

from eft_demo.engine.collect import collect, make_trace
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.host.outputs import check_file, check_folder, replace_file, writing
from eft_demo.runs.gallery import GALLERY, GalleryEntry
from eft_demo.runs.trace import FILE_DIGITS, RunTrace
from eft_demo.settings import Settings

MAX_BYTES = 200_000  # because a click on the page loads one
CANDIDATES = 5  # per token, plus the top three of every model; more would double the files


def record(settings: Settings, out: Path, names: list[str] | None = None) -> list[Path]:
    """Run these entries of the gallery (default: all) and write one file each. Returns their paths.

    Raises InputError for an unknown name, for a path that cannot be written (before loading anything), and if
    a run ends with an error or its file is too large.
    """
    unknown = set(names or ()) - {entry.name for entry in GALLERY}
    if unknown:
        known = ", ".join(entry.name for entry in GALLERY)
        raise InputError(f"There is no recorded run {min(unknown)}. Choose from {known}.")
    chosen = [entry for entry in GALLERY if not names or entry.name in names]
    check_folder(out, "--out")
    for entry in chosen:
        check_file(_path(entry, out), "--out")
    service = Service.load(replace(settings, candidates=CANDIDATES))
    try:
        return [_write(service, entry, out) for entry in chosen]
    finally:
        service.stop()


def run_entry(service: Service, entry: GalleryEntry) -> RunTrace:
    """Run one entry of the gallery to its end."""
    run = service.start_run(entry.spec)
    return make_trace(service, run.request.spec, collect(run))


def _write(service: Service, entry: GalleryEntry, out: Path) -> Path:
    trace = run_entry(service, entry)
    errors = [column.error for column in trace.columns if column.error]
    if errors:
        raise InputError(f"The recorded run {entry.name} ended with an error: {errors[0]}")
    text = trace.to_json(FILE_DIGITS)
    if len(text) > MAX_BYTES:
        raise InputError(
            f"The recorded run {entry.name} takes {len(text):,} bytes; the limit is {MAX_BYTES:,}. "
            "Shorten it."
        )
    path = _path(entry, out)
    with writing(path, "--out"):
        replace_file(path, text)
    return path


def _path(entry: GalleryEntry, out: Path) -> Path:
    return out / f"{entry.name}.json"
