"""Every limit and switch, each with its reason, and the reader of this app's environment variables.

Knows names and numbers; knows nothing about models, text or pages.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eft_demo.errors import InputError
from eft_demo.host.environment import full_environment

DTYPES = ("auto", "bf16", "fp32")
QUANTISATIONS = ("auto", "none", "int8", "nf4", "fp4")
DEVICES = ("auto", "cpu")
_PACKAGE = Path(__file__).resolve().parent
# Inside the package in a wheel, beside it in the repository.
ASSETS = _PACKAGE / "assets" if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent / "assets"


def check_number(
    name: str,
    value: object,
    low: float,
    high: float,
    *,
    integer: bool = False,
    above_low: bool = False,
    code: str = "",
) -> float | int:
    """Return `value` as an int or a finite float within [low, high], or (low, high] if `above_low`.

    Raises InputError for anything else: text, None, booleans, NaN, infinities, or fractions if `integer`.
    Its code is `code` (default: derived from the name) plus _range or _empty. Values come from pages and
    files, so no type is trusted. An emptied field posts None or blank text.
    """
    code = code or re.sub(r"\W+", "_", name.lower())
    kind = "a whole number" if integer else "a number"
    wanted = f"{kind} above {low:g} and up to {high:g}" if above_low else f"{kind} from {low:g} to {high:g}"
    if integer:
        wanted = f"{kind} from {low:.0f} to {high:.0f}"
    if value is None or (isinstance(value, str) and not value.strip()):
        raise InputError(f"{name} is empty. Please enter {wanted}.", code=f"{code}_empty")
    message = f"{name} must be {wanted}; got {show_value(value)}. Please choose a value in that range."
    refusal = InputError(message, code=f"{code}_range")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refusal
    if not low <= value <= high or (above_low and value == low):  # NaN fails every comparison
        raise refusal
    if not integer:
        return float(value)
    if value != int(value):
        raise refusal
    return int(value)


def plain_number(value: Any) -> Any:
    """A number of NumPy or torch as Python's; everything else as it is."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value


def show_value(value: object) -> str:
    """A short, safe representation of any value for an error message, in the words of JSON and YAML."""
    if value is None or isinstance(value, bool):
        return {None: "nothing (null)", True: "true", False: "false"}[value]
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, (int, float)) and abs(value) > 1e15:
        return "infinity" if abs(value) == math.inf else "a huge number"
    if isinstance(value, str):
        text = ascii(value[:60])
        return text if len(text) <= 40 else f"{text[:36]}... ({len(value):,} characters)"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (Mapping, list, tuple)):
        return "a table of entries" if isinstance(value, Mapping) else "a list"
    return f"a {type(value).__name__}"


def number_text(number: float) -> str:
    """The shortest text that parses back to this number; integers without a decimal point."""
    return str(int(number)) if number == int(number) else repr(float(number))


@dataclass(frozen=True, slots=True)
class Range:
    """The allowed values of a control, from `low` to `high`; `above_low` excludes `low` itself.

    `code` is the prefix of its error codes; `help` is a short description.
    """

    name: str
    low: float
    high: float
    default: float
    integer: bool = False
    above_low: bool = False
    code: str = ""
    help: str = ""

    def check(self, value: object) -> float | int:
        """The value as a number. Raises InputError if it is none or outside the range."""
        return check_number(
            self.name,
            value,
            self.low,
            self.high,
            integer=self.integer,
            above_low=self.above_low,
            code=self.code,
        )


# Range of the page's sliders. Above 3 the small models' difference drowns out the large base.
ALPHA = Range("Alpha", 0, 3, 1.0, code="alpha", help="weight of what tuning changed")
BETA = Range("Beta", 0, 3, 1.0, code="beta", help="weight of what scale changed")
# Above 2 nearly every text is noise. 0.7 with top-p 0.95 read best in trial runs.
TEMPERATURE = Range("Temperature", 0, 2, 0.7, help="0 always picks the likeliest token")
TOP_P = Range(
    "Top-p", 0, 1, 0.95, above_low=True, help="keeps the likeliest tokens up to this total probability"
)
TOP_K = Range("Top-k", 0, 200, 0, integer=True, help="keeps this many likeliest tokens; 0 keeps all")
MIN_P = Range("Min-p", 0, 1, 0.0, help="drops tokens below this fraction of the likeliest")
SEED = Range("Seed", 0, 2**32 - 1, 0, integer=True, help="all columns use the random numbers of this seed")
# With more than four, columns are too narrow to read at 1,280 px; each also takes a sequence from others.
COLUMNS = Range("Columns", 1, 4, 3, integer=True)
# The live controls, by their names in recipes.
CONTROLS: Mapping[str, Range] = {"alpha": ALPHA, "beta": BETA}


# `alpha_pirate` is the separate slider of the behaviour `pirate`, used in blends.
_OWN_ALPHA = re.compile(r"alpha_[a-z0-9_]{1,34}", re.ASCII)


def control_range(name: object, allow_negative: bool = False) -> Range | None:
    """The range of a live control: `alpha`, `beta`, or `alpha_` plus a role. None for anything else.

    With `allow_negative`, the range of every alpha is extended symmetrically below 0.
    """
    if not isinstance(name, str):
        return None
    limits = replace(ALPHA, name=name) if _OWN_ALPHA.fullmatch(name) else CONTROLS.get(name)
    return replace(limits, low=-limits.high) if limits and allow_negative and name != "beta" else limits


def check_control(name: object, value: object, allow_negative: bool = False) -> float:
    """Check the value of a live control. Raises InputError for an unknown name or a value out of range."""
    limits = control_range(name, allow_negative)
    if limits is None:
        known = " and ".join(CONTROLS)
        raise InputError(
            f"There is no control {show_value(name)}. Use {known}, or alpha_ plus a behaviour.",
            code="unknown_control",
        )
    return float(limits.check(value))


# The engine's limit for alpha and beta: beyond the sliders, to study where the method breaks.
HIGHEST_WEIGHT = 5.0
UNDOING = (
    "A negative weight undoes what tuning did, including safety tuning. To study that, start the app with "
    "EFT_ALLOW_NEGATIVE_ALPHA=1."
)


def check_weight(name: str, value: object, allow_negative: bool = False) -> float:
    """Check the value of a live control for the engine: 0 to HIGHEST_WEIGHT, or -HIGHEST_WEIGHT to
    HIGHEST_WEIGHT for an alpha with `allow_negative`. Raises InputError.
    """
    limits = control_range(name)
    if limits is None:
        return check_control(name, value)
    low = -HIGHEST_WEIGHT if allow_negative and name != "beta" else 0.0
    if not allow_negative and isinstance(value, (int, float)) and value < 0:
        message = f"{limits.name} must not be negative; got {show_value(value)}. {UNDOING}"
        raise InputError(message, code="undoing", where=name)
    return float(check_number(limits.name, value, low, HIGHEST_WEIGHT, code=limits.code))


# Variables that a Hugging Face Space sets for every app; the EFT_ variables take precedence.
HOSTED_NAMES: Mapping[str, str] = {
    "host": "GRADIO_SERVER_NAME",
    "port": "GRADIO_SERVER_PORT",
    "root_path": "GRADIO_ROOT_PATH",
    "space": "SPACE_ID",
    "zero_gpu": "SPACES_ZERO_GPU",
    "max_sequences": "EFT_MAX_ROWS",  # its name before 2026-11
}
SCRIPT_NAMES = ("EFT_VENV", "EFT_TORCH_INDEX")  # read by run.sh alone
BUNDLED = "atlas"  # the family that needs no download
LISTED_BESIDE = 12  # extra candidates per token in a saved run: three from each of four models
MAX_CONVERSATION_CHARS = 100_000  # about 25,000 tokens; saved runs of 16 columns stay readable
MAX_RUN_SCALE = 32  # 8,192 tokens per column, 128 MB files: the most a server can open while serving runs
DEFAULT_THREADS = 1  # torch threads for the bundled models; other families get one per CPU
AUTO_FAMILY = "auto"  # the largest that fits and writes at reading speed
NO_FAMILY = "none"  # no models: a page that only replays recorded runs
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SWITCHES = ("auto", "on", "off")
LOGS = ("text", "json")
WORDS = {
    "dtype": DTYPES,
    "quantisation": QUANTISATIONS,
    "device": DEVICES,
    "switch": SWITCHES,
    "log": LOGS,
}
# The lowest and the highest value of each number; whole numbers that are not listed are counts.
_COUNT = (1, 1_000_000)
_LIMITS: Mapping[str, tuple[float, float]] = {
    "port": (0, 65535),
    "threads": (0, 1024),
    "max_sequences": (3, 4096),  # the page needs three
    "max_waiting": (0, 100_000),
    "prefix_cache_mb": (0, 1_000_000),
    "candidates": (1, 100),
    "max_share": (0, 1),
    "listen_s": (0, 600),
    "blocked_s": (0, 600),
    "max_heavy_s": (0, 60),
    "base_connect_s": (0, 60),
    "base_answer_s": (0, 120),
    "base_tries": (1, 10),
    "base_top": (0, 100_000),
    "deadline_s": (0, 86_400),
    "pace": (0, 1000),
    "hold_s": (0, 86_400),
    "updates_per_s": (0, 60),
}
_MAY_BE_0 = ("pace", "hold_s")  # other fractions must be above their lowest value
_YES, _NO = ("1", "t", "true", "yes", "on"), ("0", "f", "false", "no", "off")
_ROOT_PATH = re.compile(r"(/[\w.~-]+)*", re.ASCII)
_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII | re.IGNORECASE)
_SPACE_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


class Secret(str):
    """A text that no representation of what holds it shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of the app, set when it starts. Every option has a working default."""

    host: str = "127.0.0.1"  # the address to listen on; by default only this machine can connect
    port: int = 7860
    root_path: str = ""  # the path at which a reverse proxy serves the app, such as /tools/eft
    allowed_hosts: str = ""  # extra host names that requests may use, such as eft.example.org, *.lab
    space: str = ""  # owner/name of the Hugging Face Space; a Space sets it automatically
    zero_gpu: bool = False  # a ZeroGPU Space, which lends its GPU to one run at a time; set automatically
    assets: Path = ASSETS
    family: str = "atlas"  # the family that the app starts with
    switch: str = "auto"  # who may load another family: auto = users of the link in the terminal; on, off
    api: bool = False  # endpoints for programs (docs/api.md): off, so that nobody offers them unawares
    log: str = "text"  # text = warnings and errors on stderr; json = also every run, one object per line
    threads: int = 0  # torch threads; 0 = 1 for the bundled family, else one per CPU
    dtype: str = "auto"  # auto = bf16 if the processor supports it, else fp32 (fp16 on a GPU)
    quantisation: str = "auto"  # of the large models; auto = none if they fit, else nf4
    device: str = "auto"  # auto = a GPU if there is one (the bundled family stays on the CPU); or cpu
    base_url: str = ""  # the large base runs on this completion server, such as http://host:8000/v1
    base_model: str = ""  # its name on that server; empty = the only one that the server has
    base_key: str = ""  # sent to EFT_BASE_URL alone; never shown, logged or saved
    base_connect_s: float = 3.0  # until that server accepts a connection: a network answers within 1 s
    base_answer_s: float = 20.0  # for all tries of a step; columns without it do not wait
    base_top: int = 0  # log-probs a row; 0 = all, up to 8,192, or as many as the server sends
    base_tries: int = 3  # of a request that was cut off or got HTTP 429 or 500: over within half a second

    allow_negative_alpha: bool = False  # undoes tuning, including safety tuning: only to study that

    max_prompt_chars: int = 4000  # checked before tokenising, so a huge paste costs nothing
    max_new_tokens: int = 256  # the bundled family's context is 512
    default_new_tokens: int = 96
    max_sequences: int = 192  # one per column; more than 48 only while a step takes at most 1/3 s
    max_waiting: int = 96  # runs: with 64 that run, a lecture hall gets its turn. Further ones are refused
    # A visitor is one page. A whole class, or everybody behind one proxy, may share an address.
    max_runs_each: int = 3  # concurrent runs per page: the visible one and those still being cancelled
    max_runs_per_minute: int = 600  # per address: thirty people, each starting a run every three seconds
    max_share: float = 0.875  # of all sequences and waiting places, for one address; the rest is for others
    listen_s: float = 5.0  # how long a run waits for its page to connect to the stream before it is dropped
    max_unheard: int = 128  # runs of all visitors that wait for their page; beyond it the oldest is dropped
    blocked_s: float = 20.0  # a run ends when its page has read nothing from the stream for this long
    max_kept_runs: int = 32  # per page: room for a tree of branches; the oldest is dropped first
    max_opened_files: int = 12  # per page, counted separately: a reloaded page reopens its last 8 runs
    max_kept_mb: int = 64  # compressed: all visitors' runs, and again for opened files; 900 default runs
    keep_minutes: int = 120  # since the last use of a run: a double lesson
    max_heavy_each: int = 8  # waiting exports, plots and file openings per page; one is processed at a time
    max_heavy_address: int = 40  # the same per address: a whole class saving at the end of a lesson
    max_heavy_s: float = 30.0  # processor seconds per minute and address for these: half of one processor
    max_what_if_scores: int = 200  # million log-probs to score other slider values of a text: about 2 s
    prefix_cache_mb: int = 512  # of texts that models have read, for next turns: 9,000 tokens of a 7B model
    max_rooms: int = 32  # class rooms at once; full ones together take a few MB
    max_rooms_address: int = 8  # of these for one address: a school whose classes share it
    max_students: int = 300  # phones per class room: a lecture hall
    max_room_polls: int = 500  # per class room: one every ten seconds of a double lesson
    max_poll_kb: int = 32  # a post of a presenter or a phone: twelve long options and a link to a long prompt
    max_votes_per_minute: int = 30  # per phone, changed minds included: faster is a program
    max_wrong_codes: int = 60  # per minute and address: a class that mistypes; guessing a code takes months
    room_minutes: int = 20  # a class room ends this long after its presenter left: a break
    deadline_s: float = 120.0  # longest wait for a turn, and longest writing: more is usually abandoned
    pace: float = 8.0  # tokens a second of live runs, to read and steer; visitors may choose; 0 = no limit
    hold_s: float = 600.0  # longest time for which pace and pauses hold a run back; then full speed
    welcome: str = "up-scaling"  # the recorded run that a new page shows; off = none
    updates_per_s: float = 10.0  # looks smooth; more only loads the browser
    candidates: int = 8  # listed per token: fits beside the text without scrolling

    def __post_init__(self) -> None:
        self._check_numbers()
        for name, known in WORDS.items():
            if (value := getattr(self, name)) not in known:
                raise InputError(
                    f"{variable_of(name)} must be one of {', '.join(known)}; got {show_value(value)}."
                )
        if self.space and not _SPACE_ID.fullmatch(self.space):
            raise InputError(f"EFT_SPACE must be owner/name; got {show_value(self.space)}.")
        self._check_addresses()
        if self.run_scale > MAX_RUN_SCALE:
            raise InputError(
                f"EFT_MAX_NEW_TOKENS={self.max_new_tokens} with EFT_CANDIDATES={self.candidates} makes saved "
                f"runs {self.run_scale:,.0f} times as large as the default, too large to open again (limit: "
                f"{MAX_RUN_SCALE} times). Please lower one of the two."
            )
        # Lowering the maximum lowers the default too, so that one variable is enough.
        object.__setattr__(self, "default_new_tokens", min(self.default_new_tokens, self.max_new_tokens))

    def _check_numbers(self) -> None:
        for field in fields(self):
            if field.type not in (int, float):
                continue
            integer = field.type is int
            low, high = _COUNT if integer and field.name not in _LIMITS else _LIMITS[field.name]
            above_low = not integer and field.name not in _MAY_BE_0
            variable, value = variable_of(field.name), getattr(self, field.name)
            check_number(variable, value, low, high, integer=integer, above_low=above_low)

    @property
    def max_conversation_chars(self) -> int:
        """The longest system prompt and earlier turns of one column together."""
        return min(10 * self.max_prompt_chars, MAX_CONVERSATION_CHARS)

    def _check_addresses(self) -> None:
        host = self.host.strip()
        if host.startswith("[") and host.endswith("]"):  # IPv6 as written in URLs
            host = host[1:-1]
        if not host:
            raise InputError("EFT_HOST is empty. Please set an address such as 127.0.0.1 or 0.0.0.0.")
        object.__setattr__(self, "host", host)
        path = self.root_path
        if "://" in path:  # GRADIO_ROOT_PATH may hold a full URL
            path = urlsplit(path).path
        path = path.rstrip("/")
        if not _ROOT_PATH.fullmatch(path):
            shown = show_value(self.root_path)
            raise InputError(f"EFT_ROOT_PATH must be a path such as /tools/eft; got {shown}.")
        object.__setattr__(self, "root_path", path)
        for name in self.allowed_hosts.replace(",", " ").split():
            if not _HOST.fullmatch(name):
                raise InputError(
                    "EFT_ALLOWED_HOSTS must list names such as eft.example.org, without http:// or a port; "
                    f"got {show_value(name)}."
                )
        self._check_base()

    def _check_base(self) -> None:
        if self.base_url:
            object.__setattr__(self, "base_url", server_url("EFT_BASE_URL", self.base_url))
            if self.family == AUTO_FAMILY:
                raise InputError(
                    "EFT_BASE_URL needs a family by its name, not auto: the server's model decides which one "
                    "fits."
                )
        if not (self.base_key.isascii() and self.base_key.isprintable()) or " " in self.base_key:
            raise InputError("EFT_BASE_KEY contains a character that no request can have. Please correct it.")
        object.__setattr__(self, "base_key", Secret(self.base_key))

    @property
    def run_scale(self) -> float:
        """How much larger a saved run can be than with the default settings; at least 1.

        Readers of saved runs multiply their limits by it, so that this app can open every run it saves.
        """
        return max(1.0, self.max_new_tokens / 256 * (self.candidates + LISTED_BESIDE) / (8 + LISTED_BESIDE))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from EFT_HOST, EFT_PORT, ...: one variable per field.

        Raises InputError naming the variable if its value is invalid.
        """
        environ = full_environment() if environ is None else environ
        settings = cls()
        changes: dict[str, object] = {}
        names: dict[str, str] = {}
        for field in fields(cls):
            variable = variable_of(field.name)
            if variable not in environ:
                variable = HOSTED_NAMES.get(field.name, variable)
            if text := environ.get(variable):
                changes[field.name] = _from_text(variable, text, type(getattr(settings, field.name)))
                names[field.name] = variable
        return settings.changed(changes, names)

    def changed(self, changes: Mapping[str, object], names: Mapping[str, str]) -> "Settings":
        """A copy with these values. Raises InputError for an invalid one.

        The message calls each field by what was set, such as --port, as given in `names`.
        """
        try:
            return replace(self, **changes)  # type: ignore[arg-type]
        except InputError as error:
            text = str(error)
            for field, name in names.items():
                text = re.sub(rf"\b{variable_of(field)}\b", name, text)
            raise InputError(text, code=error.code, where=error.where) from None


def variable_of(field: str) -> str:
    """The environment variable of a setting."""
    return f"EFT_{field.upper()}"


def notes_on_unknown(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each EFT_ variable that names no setting, such as one with a typing error."""
    known = [variable_of(field.name) for field in fields(Settings)]
    ours = {*known, *HOSTED_NAMES.values(), *SCRIPT_NAMES}
    names = (name for name in (full_environment() if environ is None else environ) if name.startswith("EFT_"))
    return [_note_on(name, known) for name in sorted(names) if name not in ours]


def _note_on(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name.upper(), known, 1, cutoff=0.8)
    meant = f" Did you mean {close[0]}?" if close else ""
    return f"{name[:60]} is not a setting of this app and is ignored.{meant}"


def server_url(name: str, text: str) -> str:
    """The address of a completion server, with its path and without a slash at the end.

    Raises InputError, which never shows the text: it may contain a password.
    """
    wanted = f"{name} must be an address such as http://host:8000/v1"
    try:
        parts = urlsplit(text.strip())
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")  # which no request could do for a name such as a..b
    except ValueError:  # such as a port that is no number
        known = False
    if "@" in text:
        raise InputError(
            f"{wanted}, without a name or password. Please set EFT_BASE_KEY to the server's key."
        )
    if not known or not text.isascii() or not text.strip().isprintable() or " " in text.strip():
        raise InputError(f"{wanted}. Please correct it.")
    if parts.query or parts.fragment:
        raise InputError(f"{wanted}, without a ? or #. Please correct it.")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/') or '/v1'}"


def _from_text(variable: str, text: str, kind: type) -> object:
    if kind is bool:
        word = text.strip().lower()
        if word not in (*_YES, *_NO):
            raise InputError(f"{variable} must be 0 or 1; got {show_value(text)}.")
        return word in _YES
    if kind not in (int, float):
        return _path(variable, text) if issubclass(kind, Path) else text.strip()
    try:
        return kind(text)
    except ValueError:
        raise InputError(f"{variable} must be a number; got {show_value(text)}.") from None


def _path(variable: str, text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~ without a home folder, or ~name of an unknown user
        message = f"{variable} must be a path without ~ here; got {show_value(text)}."
        raise InputError(message) from None
