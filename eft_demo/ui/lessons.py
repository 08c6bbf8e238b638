"""Lessons for the page: their list, and one lesson as JSON. Files are read again when they change.

Knows lesson files and recorded runs; knows nothing of models or Gradio. Texts of a lesson are sent as data.
"""

import json
from functools import lru_cache
from pathlib import Path

from eft_demo.errors import EFTError, InputError
from eft_demo.lessons.reader import LESSONS, Lesson, State, Step, lesson_files, read_lesson
from eft_demo.runs.gallery import GALLERY
from eft_demo.settings import show_value
from eft_demo.ui.posted import error_json, fields_of

# What a recorded run was made with, as far as the page's settings have it.
_OF_RUN = ("behaviour", "controls", "schedule", "filter", "speculation", "temperature", "length")


def lesson_list(folder: Path = LESSONS) -> list[dict[str, str]]:
    """Name and title of each lesson; one that cannot be read is listed too, so that a person learns why."""
    return [{"name": path.stem, "title": _title(path)} for path in lesson_files(folder)]


def open_lesson(posted: object, folder: Path = LESSONS) -> str:
    """JSON {"name", "title", "steps"} of a lesson, or {"error"}: `posted` has its `name`."""
    name = fields_of(posted).get("name")
    try:
        for path in lesson_files(folder):
            if path.stem == name:
                return _as_json(_read(path, path.stat().st_mtime_ns))
        names = ", ".join(path.stem for path in lesson_files(folder)) or "none"
        raise InputError(f"There is no lesson {show_value(name)}. There are: {names}.", code="no_lesson")
    except EFTError as refusal:
        return error_json(refusal)


def _title(path: Path) -> str:
    try:
        return _read(path, path.stat().st_mtime_ns).title
    except EFTError:
        return path.stem


@lru_cache(maxsize=32)
def _read(path: Path, changed: int) -> Lesson:
    """`changed` is the file's time: another one reads it again."""
    return read_lesson(path)


def _as_json(lesson: Lesson) -> str:
    steps = [_step(step) for step in lesson.steps]
    return json.dumps({"name": lesson.name, "title": lesson.title, "steps": steps})


def _step(step: Step) -> dict[str, object]:
    return {
        "title": step.title,
        "text": step.text,
        "show": _state(step.show),
        "do": step.do,
        "actions": [_state(state) for state in step.actions],
        "question": step.question,
        "answer": step.answer,
    }


def _state(state: State) -> dict[str, object]:
    """Only what it sets. `run_settings` are those with which Run would repeat the recorded run."""
    place = state.select
    said: dict[str, object] = {
        "label": state.label,
        "open": state.open,
        "run_settings": _settings_of(state.open) if state.open else {},
        "settings": dict(state.settings),
        "select": {"column": place.column, "token": place.token, "nth": place.nth} if place else None,
        "tab": state.tab,
        "colour": state.colour,
        "help": state.help,
        "run": state.run,
        "needs_model": state.needs_model,
    }
    return {name: value for name, value in said.items() if value}


def _settings_of(name: str) -> dict[str, object]:
    (spec,) = (entry.spec for entry in GALLERY if entry.name == name)
    posted = spec.as_posted()
    return {key: posted[key] for key in ("prompt", "columns", *_OF_RUN) if key in posted}
