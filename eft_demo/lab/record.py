"""Records the gallery's lessons, which the page plays when there are no models.

Run `record` again after changing the weights or the trace format; it rewrites assets/runs.
Knows the bundled family, the engine and traces; knows no page.
"""

from dataclasses import replace
from pathlib import Path

from eft_demo.engine.collect import collect, make_trace
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.host.outputs import check_file, check_folder, writing
from eft_demo.runs.gallery import LESSONS, Lesson
from eft_demo.runs.trace import FILE_DIGITS, RunTrace
from eft_demo.settings import Settings

MAX_BYTES = 200_000  # because a click on the page loads one
CANDIDATES = 5  # per token, plus the top three of every model; more would double the files


def record(settings: Settings, out: Path, names: list[str] | None = None) -> list[Path]:
    """Run the lessons (default: all) on the bundled models and write one file each. Returns their paths.

    Raises InputError for an unknown name, for a path that cannot be written (before loading anything), and if
    a run ends with an error or its file is too large.
    """
    unknown = set(names or ()) - {lesson.name for lesson in LESSONS}
    if unknown:
        known = ", ".join(lesson.name for lesson in LESSONS)
        raise InputError(f"There is no lesson {min(unknown)}. Choose from {known}.")
    chosen = [lesson for lesson in LESSONS if not names or lesson.name in names]
    check_folder(out, "--out")
    for lesson in chosen:
        check_file(_path(lesson, out), "--out")
    service = Service.load(replace(settings, candidates=CANDIDATES))
    try:
        return [_write(service, lesson, out) for lesson in chosen]
    finally:
        service.stop()


def run_lesson(service: Service, lesson: Lesson) -> RunTrace:
    """Run one lesson to its end."""
    run = service.start_run(lesson.spec)
    return make_trace(service, run.request.spec, collect(run))


def _write(service: Service, lesson: Lesson, out: Path) -> Path:
    trace = run_lesson(service, lesson)
    errors = [column.error for column in trace.columns if column.error]
    if errors:
        raise InputError(f"The lesson {lesson.name} ended with an error: {errors[0]}")
    text = trace.to_json(FILE_DIGITS)
    if len(text) > MAX_BYTES:
        raise InputError(
            f"The lesson {lesson.name} takes {len(text):,} bytes; the limit is {MAX_BYTES:,}. Shorten it."
        )
    path = _path(lesson, out)
    with writing(path, "--out"):
        path.write_text(text, encoding="ascii")
    return path


def _path(lesson: Lesson, out: Path) -> Path:
    return out / f"{lesson.name}.json"
