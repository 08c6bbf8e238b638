"""EFT in Python: load a family, write texts, and look at every token with its attribution.

    with eft_demo.load("atlas") as eft:
        run = eft.run("What is the capital of Peru?", alpha=1.0)
        for token in run:
            print(token.column, token.text, token.record.bars)
        run.texts["Up-scaled"]

Knows services and saved pages; every check of a run is that of the page and the command line.
"""

from __future__ import annotations

import html
import os
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from eft_demo.engine.collect import WAIT_S, make_trace
from eft_demo.engine.given_text import score_text
from eft_demo.engine.run import Run
from eft_demo.engine.service import Service, ignores_system
from eft_demo.errors import EFTError, InputError
from eft_demo.families.catalogue import Entry
from eft_demo.families.family import Family
from eft_demo.method.sampling_settings import SAMPLING, Sampling
from eft_demo.models.memory import free_unused
from eft_demo.models.plan import Plan
from eft_demo.runs.events import TokenEvent, add_event, empty_traces
from eft_demo.runs.spec import RunSpec, parse_column
from eft_demo.runs.trace import RunTrace, TokenRecord
from eft_demo.settings import CONTROLS, Settings, control_range, plain_number, show_value
from eft_demo.ui.saved_page import to_html

HEIGHT_PX = 640  # of a run in a notebook
CLOSED = "This family has been closed, so it writes nothing more. Please load it again."

TWICE = (
    "{} is loaded already and stays in memory beside this one. Please close the earlier one first: "
    "eft.close(), or load it in a with block."
)
OTHER_PROCESS = (
    "This family was loaded before this process was forked, and only the process that loaded it can write "
    "with it. Please load it here too, or use threads in place of processes."
)


def load(family: str | os.PathLike[str] | Entry = "atlas", settings: Settings | None = None) -> EFT:
    """Load a family of the catalogue, or a family file, and start its engine.

    `settings` defaults to the environment variables, as for the app. Raises EFTError.
    """
    if isinstance(family, os.PathLike):
        family = os.fspath(family)
    if not isinstance(family, (str, Entry)):
        raise TypeError(f"A family must be a name or the path of a family file; got {show_value(family)}.")
    if settings is None:
        settings = Settings.from_env()
    if not isinstance(settings, Settings):
        raise TypeError(f"The settings must be a Settings object; got {show_value(settings)}.")
    if any(eft.loaded_from == (family, settings) for eft in _open):
        warnings.warn(TWICE.format(family if isinstance(family, str) else family.name), stacklevel=2)
    free_unused()  # closed families
    eft = EFT(Service.load(settings, family), (family, settings))
    _open.add(eft)
    return eft


class EFT:
    """A loaded family. Close it, or use it in a `with` block, to free its models.

    One that nothing refers to any more is closed, as when a cell of a notebook has run again.
    """

    def __init__(self, service: Service, loaded_from: tuple[str | Entry, Settings]) -> None:
        self.loaded_from = loaded_from
        self._opened: Service | None = service
        self._origin = _Origin(service.family, service.plan, service.settings)
        self._process = os.getpid()
        self._end = weakref.finalize(self, _stop, service, self._process)
        self._end.atexit = False  # the engine's thread has its own way to end with the process

    @property
    def _service(self) -> Service:
        if self._opened is None:
            raise EFTError(CLOSED, code="closed")
        return self._opened

    @property
    def roles(self) -> tuple[str, ...]:
        """The models that recipes may name."""
        return tuple(self._origin.family.roles)

    @property
    def behaviours(self) -> tuple[str, ...]:
        """What `small_tuned` may stand for; the first is the default."""
        return tuple(behaviour.role for behaviour in self._origin.family.behaviours)

    def run(self, prompt: str, *, columns: Sequence[str] | Mapping[str, str] = (), **fields: Any) -> Writing:
        """Start writing; the texts grow while they are read.

        `columns` are recipes, as RECIPE or NAME:RECIPE, or recipes by name; none stands for the page's first
        three. `fields` are the controls (alpha, beta, alpha_pirate, ...), those of sampling (temperature,
        seed, ...) and the other fields of `RunSpec`. Numbers may be those of NumPy. Raises TypeError for
        others, and EFTError for values that are not allowed.
        """
        spec = self._spec(prompt, columns, fields)
        run = self._service.start_run(spec)
        if ignores_system(self._origin.family, run.request.spec):
            warnings.warn(
                "No model of this run takes a system prompt, so system changes nothing.", stacklevel=2
            )
        return Writing(self, self._origin, run)

    def score(
        self, prompt: str, text: str, *, columns: Sequence[str] | Mapping[str, str] = (), **fields: Any
    ) -> Writing:
        """Score a text as the answer to a prompt: `trace` has its tokens under every column.

        `columns` and `fields` are as in `run`. A space comes first where the prompt ends without one.
        """
        run = score_text(self._service, self._spec(prompt, columns, fields), text)
        return Writing(self, self._origin, run)

    def _spec(
        self, prompt: str, columns: Sequence[str] | Mapping[str, str], fields: Mapping[str, Any]
    ) -> RunSpec:
        _check_process(self._process)
        fields = {name: plain_number(value) for name, value in fields.items()}
        own = {name: fields.pop(name) for name in list(fields) if control_range(name)}
        sampling = {name: fields.pop(name) for name in list(fields) if name in SAMPLING}
        if unknown := fields.keys() - RunSpec.model_fields.keys():
            known = ", ".join([*CONTROLS, *SAMPLING, *RunSpec.model_fields])
            raise TypeError(f"A run has no {show_value(min(unknown))[1:-1]}. It has {known}.")
        for name, separate in (("controls", own), ("sampling", sampling)):
            if separate:
                fields[name] = _joined(name, fields.get(name, {}), separate)
        spec = RunSpec(prompt=prompt, columns=_columns(columns), **fields)
        for name in spec.controls.keys() - CONTROLS.keys() - set(spec.used_controls):
            raise InputError(f"No column of this run uses {name}.")  # most likely a typing error
        return spec

    def close(self) -> None:
        """End all runs, stop the engine and let go of the models."""
        self._end()
        self._opened = None
        _open.discard(self)

    def __enter__(self) -> EFT:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_open: weakref.WeakSet[EFT] = weakref.WeakSet()


def _stop(service: Service, process: int) -> None:
    """Stop the engine, unless this is a fork, which has none."""
    if process == os.getpid():
        service.stop(CLOSED)


def _check_process(own: int) -> None:
    """Raise EFTError in a fork: it has no engine's thread, so a run would wait for ever."""
    if own != os.getpid():
        raise EFTError(OTHER_PROCESS, code="forked")


def _joined(name: str, whole: Any, separate: Mapping[str, Any]) -> Any:
    """The values of `controls` or `sampling`, with those that were given by their own names."""
    if isinstance(whole, Sampling):
        return {**asdict(whole), **separate}
    if not isinstance(whole, Mapping):
        return whole  # `RunSpec` refuses it
    if twice := whole.keys() & separate.keys():
        raise TypeError(f"{min(twice)} is given twice: by its own name and in {name}. Please give one.")
    return {**whole, **separate}


def _columns(given: Any) -> tuple[Any, ...]:
    """Columns as `RunSpec` reads them. Raises InputError."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(
            f'The columns must be a list of recipes, such as ["large_base"]; got {show_value(given)}.',
            code="columns_type",
        )
    if isinstance(given, Mapping):
        return tuple(given.items())
    return tuple(parse_column(column) if isinstance(column, str) else column for column in given)


@dataclass(frozen=True, slots=True)
class Token:
    """A token of one column. `text` may be empty: for part of a character, or for the stop token."""

    column: str
    text: str
    record: TokenRecord  # its log-prob, bars, candidates and what else the page shows


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a run needs of its family, also after the models are gone."""

    family: Family
    plan: Plan | None
    settings: Settings


class Writing:
    """A run. What it is asked for as a whole waits until all columns have ended."""

    def __init__(self, eft: EFT, origin: _Origin, run: Run) -> None:
        self._eft: EFT | None = eft  # its models stay while they write this
        self._origin, self._run, self._process = origin, run, os.getpid()
        self._columns = empty_traces(run.request.spec.columns)
        self._tokens: list[Token] = []

    def __iter__(self) -> Iterator[Token]:
        """The tokens of all columns as they are written; from the first one, however often.

        Raises EFTError after the last one if a column ended with an error.
        """
        place = 0
        while place < len(self._tokens) or self._read():
            while place < len(self._tokens):
                yield self._tokens[place]
                place += 1
        for column in self._columns:
            if column.error:
                raise EFTError(f"{column.name}: {column.error}")

    @property
    def trace(self) -> RunTrace:
        """The run as data, which `to_json` saves and the page opens."""
        while self._read():
            pass
        return make_trace(self._origin, self._run.request.spec, self._columns)

    @property
    def texts(self) -> dict[str, str]:
        """The text of each column by its name. Of two columns of one name, it has the later."""
        return {column.name: column.text for column in self.trace.columns}

    def steer(self, **controls: float) -> None:
        """Move sliders (alpha, beta, ...) for the tokens yet to come. Raises InputError."""
        self._run.set_controls({name: plain_number(value) for name, value in controls.items()})

    def cancel(self) -> None:
        """Stop writing; what has been written stays."""
        self._run.cancel()

    def to_html(self) -> str:
        """The run as one HTML page that needs no network: texts, colours and a card for every token."""
        negative = self._origin.settings.allow_negative_alpha
        return to_html(self.trace, negative, self._origin.family.captions)

    def _repr_html_(self) -> str:
        """How a notebook shows the run: the saved page in a frame of its own, which cannot reach the rest."""
        page = html.escape(self.to_html(), quote=True)
        style = f"width:100%;height:{HEIGHT_PX}px;border:0"
        return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{page}"></iframe>'

    def _read(self) -> bool:
        """Take in what has been written since; False if all columns had ended before."""
        if all(column.finish_reason for column in self._columns):
            self._eft = None
            return False
        _check_process(self._process)
        for event in self._run.events(WAIT_S):
            add_event(self._columns, event)
            if isinstance(event, TokenEvent):
                self._tokens.append(Token(self._columns[event.column].name, event.text, event.record))
        return True
