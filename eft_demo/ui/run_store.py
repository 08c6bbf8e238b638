"""The store of recent runs: to plot, to branch from and to save.

Knows the service, traces and the wire format; knows nothing of Gradio. The page sends names and positions of
what it shows; each is looked up here, and an unknown one is answered with an error message.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from eft_demo.engine.collect import make_trace
from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.figures.tab import ShownColumn
from eft_demo.figures.tabs import TABS
from eft_demo.runs.events import Event, add_event, empty_traces
from eft_demo.runs.export import MAX_FILE_CHARS, check_file_chars, to_csv, to_markdown
from eft_demo.runs.replay import replay
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.trace import FILE_DIGITS, ColumnTrace, RunTrace, seed_of
from eft_demo.settings import Settings, show_value
from eft_demo.ui import stream as wire
from eft_demo.ui.posted import error_json, fields_of
from eft_demo.ui.saved_page import to_html, to_worksheet
from eft_demo.ui.visitor_store import VisitorStore
from eft_demo.ui.visitors import Visitor

CHANGED = "Models were loaded anew ({title}). Please reload the page to use them."
GONE = "The server no longer has that run. Please press Run again."
NO_TOKEN = "That run has no such token. Please choose a token on the page."
MAX_NAME_CHARS = 48  # of a file's name
FORMATS = {
    "json": "application/json",
    "csv": "text/csv",
    "md": "text/markdown",
    "html": "text/html",
    "worksheet": "text/html",
}


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run's request and its results. `traces` grow while the run streams.

    A branch rewrites some columns and copies the others from its parent run: `places` are the indices of its
    own columns in `traces`, `origin` the first line that the page was sent.
    """

    spec: RunSpec  # of all columns, as the engine received it
    traces: Sequence[ColumnTrace]
    places: tuple[int, ...]
    origin: Mapping[str, object] = field(default_factory=dict)
    file: RunTrace | None = None  # of an opened run: no model here wrote it
    mixed: bool = False  # some of its columns come from a file written by other models or versions
    notes: str = ""  # how the models here differ from those that wrote the copied columns
    serial: int = 0  # of the family that wrote it, as `RunStore.serial` counts them

    @classmethod
    def of_run(cls, run: Run) -> "StoredRun":
        """A new run, without a parent."""
        spec = run.request.spec
        traces = empty_traces(spec.columns)
        return cls(spec, traces, tuple(range(len(traces))))

    @classmethod
    def of_file(cls, trace: RunTrace) -> "StoredRun":
        """An opened run, already complete."""
        longest = max(len(column.tokens) for column in trace.columns)
        spec = trace.spec.model_copy(update={"length": longest or None})
        return cls(spec, trace.columns, tuple(range(len(trace.columns))), file=trace)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each column."""
        return tuple(seed_of(column, self.spec) for column in self.traces)

    def add(self, event: Event) -> Event:
        """Add an event of the run. Returns it with its column's index among all columns."""
        placed = replace(event, column=self.places[event.column])
        add_event(self.traces, placed)
        return placed

    def trace(self, service: Service) -> RunTrace:
        """The whole run so far: all columns that the page shows."""
        if self.file is not None:
            return self.file
        return make_trace(service, self.spec, self.traces, known=not self.mixed)

    def record(self, service: Service) -> dict[str, object]:
        """The part that the page stores unread, for when the server no longer has the run."""
        return record_of(self.trace(service))


def record_of(trace: RunTrace) -> dict[str, object]:
    """The settings of a run beyond its columns."""
    made = trace.made_with and asdict(trace.made_with)
    spec = trace.spec
    texts = {"family": spec.family, "schedule": str(spec.schedule), "speculation": str(spec.speculation)}
    return {**texts, "made_with": made}


class RunStore(VisitorStore[StoredRun]):
    """The recent runs of all visitors, by their unguessable ids.

    `serial` counts the families that have been in use.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self.serial = 0

    def renew(self) -> None:
        """Another family is in use: forget all runs, whose token ids mean something else to it."""
        self.serial += 1
        self.clear()

    def keep(self, run_id: str, stored: StoredRun, visitor: Visitor | None = None) -> None:
        """Store a run from its start; the reader of its events passes them to `add`, then packs it.

        A run of an earlier family is not stored: the page posts it again with that family's name.
        """
        if stored.file is not None or stored.serial == self.serial:
            self.put(run_id, stored, visitor, opened=stored.file is not None)

    def find(self, run_id: object) -> StoredRun:
        """The run of that id. Raises InputError."""
        stored = self.get(run_id) if isinstance(run_id, str) else None
        if stored is None:
            raise InputError(GONE)
        return stored


def save(service: Service, runs: RunStore, posted: object) -> str:
    """JSON for the page's download: {"name", "type", "text"}, or {"error"}: `posted` has `run`, `format`."""
    wanted = fields_of(posted)
    try:
        kind = wanted.get("format")
        if not isinstance(kind, str) or kind not in FORMATS:
            raise InputError(f"The format of a file is one of {', '.join(FORMATS)}; got {show_value(kind)}.")
        trace = runs.find(wanted.get("run")).trace(service)
        text = _written(kind, trace, service)
    except EFTError as refusal:
        return error_json(refusal)
    return json.dumps({"name": file_name(trace.spec.prompt, kind), "type": FORMATS[kind], "text": text})


def file_name(prompt: str, kind: str) -> str:
    """A name by which a person finds the file again: the prompt's first words, in ASCII."""
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    words = "-".join(re.findall("[a-z0-9]+", plain))[:MAX_NAME_CHARS].strip("-")
    if kind == "worksheet":
        return f"eft-{words}-worksheet.html" if words else "eft-worksheet.html"
    return f"eft-{words or 'run'}.{kind}"


def plot(service: Service, runs: RunStore, posted: object) -> str:
    """JSON of a tab's figure; `posted` has `run`, `tab` and `columns`. {"error"} if there is none."""
    asked = fields_of(posted)
    try:
        stored = runs.find(asked.get("run"))
        tab = next((tab for tab in TABS if tab.name == asked.get("tab")), None)
        if tab is None or tab.figure is None:
            raise InputError(
                f"There is no plot {show_value(asked.get('tab'))}. Please choose one of the tabs."
            )
        columns = asked.get("columns")
        if not isinstance(columns, list) or len(columns) != tab.columns:
            raise InputError(NO_TOKEN)
        label = _labels(service, stored)
        return json.dumps(tab.figure(*(_shown(stored, label, column) for column in columns)))
    except EFTError as refusal:
        return error_json(refusal)


def _shown(stored: StoredRun, label: Callable[[int], str], column: object) -> ShownColumn:
    index = checked_index(column, len(stored.traces))
    name, recipe = stored.spec.columns[index]
    records = list(stored.traces[index].tokens)
    return ShownColumn(
        index, name, recipe, records, [label(record.id) for record in records], wire.PAGE_PALETTE
    )


def _written(kind: str, trace: RunTrace, service: Service) -> str:
    """The text of the file. Raises InputError if it is too long."""
    most = int(MAX_FILE_CHARS * service.settings.run_scale)
    if kind == "csv":
        return to_csv(trace, most)
    if kind == "md":
        return to_markdown(trace, most)
    if kind == "json":
        text = trace.to_json(FILE_DIGITS)
    elif kind == "worksheet":
        text = to_worksheet(trace, service.family.captions_of(trace.spec.family))
    else:
        captions = service.family.captions_of(trace.spec.family)
        text = to_html(trace, service.settings.allow_negative_alpha, captions)
    check_file_chars(len(text), most)
    return text


def _labels(service: Service, stored: StoredRun) -> Callable[[int], str]:
    if stored.file is not None:
        played = replay(stored.file)
        return wire.Encoder(RunSpec(), played.pieces, played.stop_ids).label
    return wire.Encoder(RunSpec(), service.family.token_bytes, service.family.stop_ids).label


def checked_index(value: object, count: int) -> int:
    """`value` if it is an index below that length. Raises InputError."""
    if type(value) is not int or not 0 <= value < count:
        raise InputError(NO_TOKEN)
    return value
