"""Replays: runs from a visitor's file or from the bundled recordings, sent to the page like any run.

Knows traces, the recorded runs and the wire format; knows nothing of models or Gradio. Files are untrusted:
they are checked first, and what is wrong with them is reported.
"""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.families.family import bundled_tokens
from eft_demo.method.roles import SMALL_TUNED
from eft_demo.models.provenance import made_with
from eft_demo.runs.gallery import GALLERY
from eft_demo.runs.made_with import differences
from eft_demo.runs.replay import lacks_texts, open_run, read_run, with_texts
from eft_demo.runs.settings_text import other_seeds
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import RunTrace, roles_of
from eft_demo.settings import ASSETS, show_value
from eft_demo.ui import links
from eft_demo.ui import stream as wire
from eft_demo.ui.posted import error_json, fields_of
from eft_demo.ui.run_store import RunStore, StoredRun, record_of
from eft_demo.ui.visitors import Visitor

MAX_FILE_BYTES = 4_000_000  # half as much again as the longest run of three columns
NO_TEXTS = (
    "This file does not contain the texts of its tokens and no tokenizer here fits them, so ids are shown."
)
RUNS = ASSETS / "runs"  # they ship with the package, wherever EFT_ASSETS points


def open_file(
    runs: RunStore, posted: object, service: Service | None = None, visitor: Visitor | None = None
) -> str:
    """JSON {"lines", "repeat"} of an opened run, or {"error"}: `posted` has the file's `text`.

    The file is compared with `service`, which the page would use now; `repeat` has the settings with which
    it would repeat the run.
    """
    scale = service.settings.run_scale if service else 1
    return _answer(runs, lambda: _opened(posted, scale), visitor, service)


def open_recorded(
    runs: RunStore,
    posted: object,
    folder: Path = RUNS,
    service: Service | None = None,
    visitor: Visitor | None = None,
) -> str:
    """JSON {"lines", "repeat"} of a bundled recorded run, or {"error"}: `posted` has its `name`."""
    return _answer(runs, lambda: recorded_run(fields_of(posted).get("name"), folder), visitor, service)


def recorded_list(folder: Path = RUNS) -> list[dict[str, str]]:
    """Name, title, description and prompt of the bundled recorded runs."""
    return [
        {"name": entry.name, "title": entry.title, "caption": entry.caption, "prompt": entry.spec.prompt}
        for entry in GALLERY
        if (folder / f"{entry.name}.json").is_file()
    ]


def recorded(name: str) -> dict[str, str] | None:
    """The entry of `recorded_list` with that name, if there is one."""
    return next((entry for entry in recorded_list() if entry["name"] == name), None)


def run_lines(
    trace: RunTrace, run_id: str, notes: str = "", captions: Mapping[str, str] = MappingProxyType({})
) -> str:
    """A whole run as the page would have received it, with the `ms` of its tokens; the page sets the speed.

    `notes` are sentences that the page shows with it.
    """
    beside = {"reshown": list(trace.spec.formats), "notes": notes, "record": record_of(trace)}
    return "".join([*wire.trace_lines(trace, run_id, beside, captions), wire.line("done")])


def max_file_bytes(scale: float) -> int:
    """The size limit of a posted file, where runs are `Settings.run_scale` times as large as usual."""
    return int(MAX_FILE_BYTES * scale)


def _opened(posted: object, scale: float) -> RunTrace:
    text = fields_of(posted).get("text")
    if not isinstance(text, str):
        raise InputError(f"A trace must be text; got {show_value(text)}. Please choose another file.")
    if len(text) > max_file_bytes(scale):
        raise InputError(
            f"A trace may have at most {max_file_bytes(scale):,} bytes; this one has {len(text):,}. "
            "Please choose a shorter run."
        )
    return open_run(text, scale)


def recorded_run(name: object, folder: Path = RUNS) -> RunTrace:
    """The bundled recorded run of that name. Raises InputError."""
    if name not in [entry.name for entry in GALLERY]:
        message = f"There is no recorded run {show_value(name)}. Please choose one from the list."
        raise InputError(message, code="unknown_recorded", where="name")
    return read_run(folder / f"{name}.json")


def with_its_texts(trace: RunTrace, service: Service) -> RunTrace:
    """The trace with the texts of its tokens, where it has none and a tokenizer here fits."""
    return with_texts(trace, _tokens_of(trace.spec.family, service)) if lacks_texts(trace) else trace


def _answer(
    runs: RunStore, read: Callable[[], RunTrace], visitor: Visitor | None, service: Service | None
) -> str:
    """The lines of the run, which is also stored so that it can be saved and plotted like any other."""
    try:
        trace = read()
    except EFTError as refusal:
        return error_json(refusal)
    if service is not None:
        trace = with_its_texts(trace, service)
    run_id = secrets.token_urlsafe(18)
    runs.keep(run_id, StoredRun.of_file(trace), visitor)
    runs.pack(run_id)
    captions = service.family.captions_of(trace.spec.family) if service is not None else {}
    answer: dict[str, object] = {"lines": run_lines(trace, run_id, _notes(trace, service), captions)}
    if service is not None and service.family.roles:
        answer["repeat"] = repeat(trace, service)
    return json.dumps(answer)


def repeat(trace: RunTrace, service: Service) -> dict[str, object]:
    """{"settings": those of the run that the page can fill in, "live": whether they repeat it}."""
    fitting = links.fit(service, _as_asked(trace, service))
    wrong_family = trace.spec.family not in ("", service.family.name)
    settings = {"prompt": trace.spec.prompt} if wrong_family else fitting.settings
    return {"settings": settings, "live": not fitting.lost}


def _as_asked(trace: RunTrace, service: Service) -> RunSpec:
    """The run as a person would ask for it: its one behaviour chosen, and named small_tuned in recipes."""
    spec = trace.spec
    roles = set(roles_of(spec.columns))
    if (
        SMALL_TUNED not in roles
        and len(own := [b.role for b in service.family.behaviours if b.role in roles]) == 1
    ):
        named = {own[0]: SMALL_TUNED}
        columns = tuple((name, recipe.with_roles(named)) for name, recipe in spec.columns)
        spec = spec.model_copy(update={"behaviour": own[0], "columns": columns})
    cut = [len(column.tokens) for column in trace.columns if column.finish_reason == "length"]
    return spec.model_copy(update={"length": max(cut)}) if cut else spec


def _tokens_of(family: str, service: Service) -> Sequence[bytes]:
    """The token bytes of that family: the loaded one, or one whose files are bundled."""
    loaded = service.family
    return loaded.token_bytes if loaded.name == family else bundled_tokens(family, service.settings)


def _notes(trace: RunTrace, service: Service | None) -> str:
    """Notes about the file: tokens without texts, columns of another seed, other models or versions."""
    notes = [NO_TEXTS] if lacks_texts(trace) else []
    if seeds := other_seeds(trace):
        notes.append(f"This run has the seed {trace.spec.sampling.seed}, but {', '.join(seeds)}.")
    if service is not None and trace.made_with is not None and trace.spec.family == service.family.name:
        here = made_with(service.family, service.plan, roles_of(trace.spec.columns))
        notes.append(differences("run", trace.made_with.facts, here.facts))
    return " ".join(filter(None, notes))
