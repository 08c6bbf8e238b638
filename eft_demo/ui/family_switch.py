"""Switching the model family for all visitors: who may do it, its progress, and the moment of the switch.

The current family stays in use until the new one is ready, and after a failed or cancelled load. Knows
services and request headers; knows nothing of Gradio.

The right to switch depends on a secret key, never on an address or a missing header: behind a proxy every
visitor seems to come from this machine. The key is made at the start. The terminal prints a link with the key
after the `#`, which browsers never send to a server, and the page posts it with the requests that need it.
"""

import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Event, Lock, Thread

from eft_demo.engine.service import Service
from eft_demo.engine.zerogpu import GpuDecorator
from eft_demo.errors import Cancelled, EFTError, FamilyError, InputError
from eft_demo.families.hub import QUIET, Stage, Watcher
from eft_demo.models.memory import free_unused
from eft_demo.settings import BUNDLED, NO_FAMILY, QUANTISATIONS, Settings, show_value

BUSY = "A family is already being loaded or measured. Please wait, or cancel it first."
BUG = "Internal error: loading failed. The server log has the traceback. The previous family stays in use."
OVER = "The model family was changed to {title}, so this run was stopped. Please reload the page."

INSTEAD = "{error} For now, the bundled family is used."
Load = Callable[[Settings, Watcher], Service]
Measure = Callable[[Settings, Watcher], str]  # the effect of quantisation, as text

log = logging.getLogger(__name__)


def load_chosen(settings: Settings, watcher: Watcher = QUIET) -> Service:
    """The family that the settings name. Raises FamilyError, OutOfMemory or Cancelled."""
    return Service.load(settings, settings.family, watcher=watcher)


def load_first(settings: Settings, decorator: GpuDecorator | None = None) -> tuple[Service, str]:
    """The family to start with, or the bundled one and the reason why the other could not be loaded.

    No models, for recorded runs only, if the family is `none` or the bundled files are missing or damaged.
    """
    if settings.family == NO_FAMILY:
        return Service.without_models(settings), ""
    try:
        return Service.load(settings, settings.family, allocate_gpu=decorator), ""
    except EFTError as error:
        notice = str(error)
        if settings.family == BUNDLED and not isinstance(error, FamilyError):
            raise
    log.warning("%s", notice)
    if settings.family == BUNDLED:
        return Service.without_models(settings), notice
    service, more = load_first(replace(settings, family=BUNDLED, quantisation="auto"), decorator)
    return service, f"{notice} {more}" if more else INSTEAD.format(error=notice)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request proves about its sender: the posted key, if any, and its headers."""

    key: object
    headers: Mapping[str, str]


def refusal_reason(settings: Settings, key: str, claim: Claim) -> str:
    """Why this request may not switch the family, and what to do; "" if it may.

    `key` is the server's own.
    """
    if settings.zero_gpu:
        return (
            "On ZeroGPU, models are loaded only when the Space starts. Duplicate the Space and set the "
            "variable EFT_FAMILY there to run another family."
        )
    if settings.switch == "off":
        return "The operator of this app has turned this off (EFT_SWITCH=off)."
    if settings.switch == "on":
        if _from_own_page(claim.headers):
            return ""
        return "Only this app's own page may request that. Please open the page and use its menu."
    if settings.space:
        return (
            "On a Space, loading another family would affect every visitor. Duplicate the Space, then set "
            "EFT_FAMILY, or EFT_SWITCH=on to choose on the page."
        )
    # No other site's page can have the key, so the request's origin adds nothing.
    if not _is_key(claim.key, key):
        return (
            "Loading another family affects every visitor, so it needs the link that the terminal "
            "printed when this app started, ending in #key=... Please open that link. The operator can allow "
            "it to every visitor with EFT_SWITCH=on."
        )
    return ""


def has_key(settings: Settings) -> bool:
    """Whether the key is used under these settings."""
    return settings.switch == "auto" and not settings.space and not settings.zero_gpu


def _is_key(posted: object, key: str) -> bool:
    """Constant-time comparison."""
    return isinstance(posted, str) and posted.isascii() and hmac.compare_digest(posted, key)


def _from_own_page(headers: Mapping[str, str]) -> bool:
    """Whether no other site's page made this request: its origin, if any, is the requested host."""
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host", "")


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of loading. `state` is idle, loading, loaded, measured, cancelled or failed.

    `message` is the reason or the measured result.
    """

    state: str = "idle"
    family: str = ""
    stage: Stage = Stage("", "", 0, 0)
    message: str = ""


def cannot_measure(settings: Settings, watcher: Watcher) -> str:
    """The default for a page without a measurement. Raises InputError."""
    raise InputError("The effect of quantisation cannot be measured here. Use `eft-demo quantisation`.")


class Switch:
    """Loads one family at a time, in a separate thread, while the current one stays in use.

    `key` is the secret that permits it; it is printed on the terminal and nowhere else.
    """

    def __init__(
        self,
        settings: Settings,
        load: Load,
        switch_service: Callable[[Service], None],
        measure: Measure = cannot_measure,
    ) -> None:
        self.settings = settings
        self.key = secrets.token_urlsafe(18)
        self._load, self._take_over, self._measure = load, switch_service, measure
        self._lock = Lock()
        self._progress = Progress()
        self._cancel = Event()

    @property
    def progress(self) -> Progress:
        """The progress of the current or last load."""
        return self._progress

    def start(self, family: str, quantisation: object) -> None:
        """Start loading. Raises InputError for an unknown quantisation, or if a load is under way."""
        self._begin("loaded", Stage("", family, 0, 0), family, quantisation)

    def measure(self, family: str, quantisation: object) -> None:
        """Start measuring the effect of quantisation; `message` has the result. Raises InputError."""
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
        """Stop loading or measuring at its next step, if either is under way."""
        self._cancel.set()

    def _run(self, end: str, settings: Settings, cancel: Event) -> None:
        def set_stage(stage: Stage) -> None:
            self._progress = Progress("loading", settings.family, stage)

        state, message, watcher = end, "", Watcher(set_stage, cancel)
        try:
            if end == "measured":
                message = self._measure(settings, watcher)
            else:
                self._take_over(self._load(settings, watcher))
        except Cancelled as stopped:
            state, message = "cancelled", str(stopped)
        except EFTError as refusal:
            state, message = "failed", str(refusal)
        except Exception:
            log.exception("A bug stopped the loading of a family")
            state, message = "failed", BUG
        if state in ("cancelled", "failed"):
            free_unused()  # only here does nothing refer to the half-loaded models any more
        log.info("loading a family ended", extra={"fields": {"state": state}})
        self._progress = Progress(state, settings.family, self._progress.stage, message)
