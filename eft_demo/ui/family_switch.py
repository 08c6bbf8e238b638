"""Another family for everybody: who may load one, how far it has come, the moment when it takes over.

The family in use stays until the new one is ready; if that fails or is stopped, it simply goes on. Knows
services and what a request brought along; knows nothing of Gradio.

The right to act for everybody follows from a secret, never from an address or a missing header: behind
a proxy every stranger has the address of this machine. The key is made at the start, the terminal prints a
link that has it behind the `#`, which browsers send to no server, and the page posts it with what needs it.
"""

import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Event, Lock, Thread

from eft_demo.engine.service import Service
from eft_demo.engine.zerogpu import Lend
from eft_demo.errors import Cancelled, EFTError, FamilyError, InputError
from eft_demo.families.hub import QUIET, Stage, Watcher
from eft_demo.models.memory import free_unused
from eft_demo.settings import BUNDLED, NO_FAMILY, QUANTISATIONS, Settings, show_value

BUSY = "A family is being loaded or measured already. Please wait for it, or cancel it first."
BUG = "The program made a mistake while loading; its log says which. What was loaded before goes on."
OVER = "The family was changed to {title}, so this text ends here. Please reload the page and run again."

INSTEAD = "{error} Until then the bundled family runs."
Load = Callable[[Settings, Watcher], Service]
Measure = Callable[[Settings, Watcher], str]  # what quantising changes, in a sentence

log = logging.getLogger(__name__)


def load_chosen(settings: Settings, watcher: Watcher = QUIET) -> Service:
    """The family that the settings name. Raises FamilyError, OutOfMemory or Cancelled."""
    return Service.load(settings, settings.family, watcher=watcher)


def load_first(settings: Settings, lend: Lend | None = None) -> tuple[Service, str]:
    """The family to start with; where it cannot be had the bundled one, and the sentence that says why.

    No models, for recorded runs only, if the family is `none` or the bundled files are missing or damaged.
    """
    if settings.family == NO_FAMILY:
        return Service.without_models(settings), ""
    try:
        return Service.load(settings, settings.family, lend=lend), ""
    except EFTError as error:
        notice = str(error)
        if settings.family == BUNDLED and not isinstance(error, FamilyError):
            raise
    log.warning("%s", notice)
    if settings.family == BUNDLED:
        return Service.without_models(settings), notice
    service, more = load_first(replace(settings, family=BUNDLED, quantisation="auto"), lend)
    return service, f"{notice} {more}" if more else INSTEAD.format(error=notice)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says for itself: the key that it posted, if any, and its headers."""

    key: object
    headers: Mapping[str, str]


def why_not(settings: Settings, key: str, claim: Claim) -> str:
    """Why this request may not load another family for everybody, with the way out; "" if it may.

    `key` is the server's own.
    """
    if settings.zero_gpu:
        return (
            "On ZeroGPU models are loaded once, when the Space starts. Duplicate the Space and set the "
            "variable EFT_FAMILY there to run another family."
        )
    if settings.switch == "off":
        return "Whoever runs this app has switched this off (EFT_SWITCH=off)."
    if settings.switch == "on":
        if _from_own_page(claim.headers):
            return ""
        return "Only this app's own page may ask for that. Please open it and use its menu."
    if settings.space:
        return (
            "This is a Space, and another family would be loaded for everybody. Duplicate it to choose "
            "yourself, with the variable EFT_FAMILY or, for its page, EFT_SWITCH=on."
        )
    # No other site's page can have the key, so where the request comes from says nothing more.
    if not _is_key(claim.key, key):
        return (
            "Another family would be loaded for everybody, so it takes the link that the terminal printed "
            "when this app started: its end, #key=..., is the right to do it. Please open that link. Whoever "
            "runs this app may allow it to everybody with EFT_SWITCH=on."
        )
    return ""


def has_key(settings: Settings) -> bool:
    """Whether a key gives any right under these settings."""
    return settings.switch == "auto" and not settings.space and not settings.zero_gpu


def _is_key(posted: object, key: str) -> bool:
    """Compared in the same time, however much of it is right."""
    return isinstance(posted, str) and posted.isascii() and hmac.compare_digest(posted, key)


def _from_own_page(headers: Mapping[str, str]) -> bool:
    """No other site's page made this request: its origin, if it says one, is the host that it asks."""
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host", "")


@dataclass(frozen=True, slots=True)
class Progress:
    """How loading stands. `state` is idle, loading, loaded, measured, cancelled or failed.

    `sentence` tells why, or what was measured.
    """

    state: str = "idle"
    family: str = ""
    stage: Stage = Stage("", "", 0, 0)
    sentence: str = ""


def cannot_measure(settings: Settings, watcher: Watcher) -> str:
    """The measurement of a page that was given none. Raises InputError."""
    raise InputError("What quantising changes cannot be measured here. `eft-demo quantisation` does it.")


class Switch:
    """Loads one family at a time beside the one in use, in a thread of its own.

    `key` is the secret that gives the right to ask for it; it goes to the terminal and nowhere else.
    """

    def __init__(
        self,
        settings: Settings,
        load: Load,
        take_over: Callable[[Service], None],
        measure: Measure = cannot_measure,
    ) -> None:
        self.settings = settings
        self.key = secrets.token_urlsafe(18)
        self._load, self._take_over, self._measure = load, take_over, measure
        self._lock = Lock()
        self._progress = Progress()
        self._cancel = Event()

    @property
    def progress(self) -> Progress:
        """How the last or present loading stands."""
        return self._progress

    def start(self, family: str, quantisation: object) -> None:
        """Begin to load. Raises InputError for an unknown quantisation, or if something is under way."""
        self._begin("loaded", Stage("", family, 0, 0), family, quantisation)

    def measure(self, family: str, quantisation: object) -> None:
        """Begin to measure what quantising changes; `sentence` tells in the end. Raises InputError."""
        self._begin("measured", Stage("measure", family, 0, 0), family, quantisation)

    def _begin(self, end: str, stage: Stage, family: str, quantisation: object) -> None:
        if quantisation not in QUANTISATIONS:
            known = ", ".join(QUANTISATIONS)
            raise InputError(f"Quantisation is one of {known}; got {show_value(quantisation)}.")
        settings = replace(self.settings, family=family, quantisation=str(quantisation))
        with self._lock:
            if self._progress.state == "loading":
                raise InputError(BUSY)
            self._cancel = Event()
            self._progress = Progress("loading", family, stage)
        Thread(target=self._run, args=(end, settings, self._cancel), name="loading", daemon=True).start()

    def cancel(self) -> None:
        """Stop what is loaded or measured, at its next step. Nothing happens if nothing is."""
        self._cancel.set()

    def _run(self, end: str, settings: Settings, cancel: Event) -> None:
        def tell(stage: Stage) -> None:
            self._progress = Progress("loading", settings.family, stage)

        state, sentence, watcher = end, "", Watcher(tell, cancel)
        try:
            if end == "measured":
                sentence = self._measure(settings, watcher)
            else:
                self._take_over(self._load(settings, watcher))
        except Cancelled as stopped:
            state, sentence = "cancelled", str(stopped)
        except EFTError as refusal:
            state, sentence = "failed", str(refusal)
        except Exception:
            log.exception("Loading a family ended by a bug")
            state, sentence = "failed", BUG
        if state in ("cancelled", "failed"):
            free_unused()  # only here nothing holds on any more to what was loaded by halves
        self._progress = Progress(state, settings.family, self._progress.stage, sentence)
