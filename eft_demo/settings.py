"""Every limit and every switch, each with its reason. What this app reads of the environment.

Knows numbers and names; knows nothing of models, text or pages.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import urlsplit

from eft_demo.errors import InputError
from eft_demo.host.environment import given

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

    Raises InputError for anything else: text, None, booleans, NaN, infinities, fractions where whole
    numbers are wanted; its code is `code` (by default made of the name) with _range or _empty. Values come
    from pages and files, so no type is taken on trust. None and blank text are what an emptied field posts.
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


def show_value(value: object) -> str:
    """A short, harmless picture of any value for use in a sentence."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) > 1e15:
        return "infinity" if abs(value) == math.inf else "a huge number"
    if isinstance(value, str):
        text = ascii(value[:60])
        return text if len(text) <= 40 else f"{text[:36]}... ({len(value):,} characters)"
    if isinstance(value, (bool, int, float, type(None))):
        return str(value)
    return f"a {type(value).__name__}"


def number_text(number: float) -> str:
    """The shortest text that reads back as this number; a whole one without a point."""
    return str(int(number)) if number == int(number) else repr(float(number))


@dataclass(frozen=True, slots=True)
class Range:
    """The values a control may take. `check` returns the value as a number or raises InputError.

    `code` begins the codes of its errors, `help` says in a few words what it does.
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
        return check_number(
            self.name,
            value,
            self.low,
            self.high,
            integer=self.integer,
            above_low=self.above_low,
            code=self.code,
        )


# What the page's sliders span. Above 3 the small models' difference drowns the large base.
ALPHA = Range("Alpha", 0, 3, 1.0, code="alpha", help="weight of what tuning changed")
BETA = Range("Beta", 0, 3, 1.0, code="beta", help="weight of what scale changed")
# Above 2 nearly every text is noise. The trial runs read best at .7 with top-p .95.
TEMPERATURE = Range("Temperature", 0, 2, 0.7, help="0 always takes the likeliest token")
TOP_P = Range("Top-p", 0, 1, 0.95, above_low=True, help="keeps the likeliest tokens up to this sum")
TOP_K = Range("Top-k", 0, 200, 0, integer=True, help="keeps this many tokens; 0 keeps all")
MIN_P = Range("Min-p", 0, 1, 0.0, help="drops tokens below this share of the likeliest")
SEED = Range("Seed", 0, 2**32 - 1, 0, integer=True, help="same seed, same random numbers in every column")
# Beyond four a column is narrower than its words at 1,280 px, and each is a sequence that others wait for.
COLUMNS = Range("Columns", 1, 4, 3, integer=True)
# The live controls, by the name a recipe calls them.
CONTROLS: Mapping[str, Range] = {"alpha": ALPHA, "beta": BETA}


# `alpha_pirate` is the slider of the behaviour `pirate` alone, for blends.
_OWN_ALPHA = re.compile(r"alpha_[a-z0-9_]{1,34}", re.ASCII)


def control_range(name: object, allow_negative: bool = False) -> Range | None:
    """The range of a live control: `alpha`, `beta`, or `alpha_` and a role. None for anything else.

    Where it is allowed, an alpha reaches as far below 0 as above.
    """
    if not isinstance(name, str):
        return None
    limits = replace(ALPHA, name=name) if _OWN_ALPHA.fullmatch(name) else CONTROLS.get(name)
    return replace(limits, low=-limits.high) if limits and allow_negative and name != "beta" else limits


def check_control(name: object, value: object, allow_negative: bool = False) -> float:
    """The checked value of a live control. Raises InputError for an unknown name or a value out of range."""
    limits = control_range(name, allow_negative)
    if limits is None:
        known = " and ".join(CONTROLS)
        raise InputError(
            f"There is no control {show_value(name)}. The controls are {known}, alpha_pirate and the like.",
            code="unknown_control",
        )
    return float(limits.check(value))


# What the engine takes of alpha and beta: more than the sliders offer, for those who study where it breaks.
HIGHEST_WEIGHT = 5.0


def check_weight(name: str, value: object, allow_negative: bool = False) -> float:
    """The checked value of a live control for the engine: 0 to HIGHEST_WEIGHT, alpha down to its negative if
    that is allowed. Raises InputError.
    """
    limits = control_range(name)
    if limits is None:
        return check_control(name, value)
    low = -HIGHEST_WEIGHT if allow_negative and name != "beta" else 0.0
    if not allow_negative and isinstance(value, (int, float)) and value < 0:
        message = f"{limits.name} must not be negative; got {show_value(value)}. {UNDOING}"
        raise InputError(message, code="undoing", where=name)
    return float(check_number(limits.name, value, low, HIGHEST_WEIGHT, code=limits.code))


UNDOING = (
    "A negative weight undoes what tuning did, safety included. Whoever starts the app may allow it with "
    "EFT_ALLOW_NEGATIVE_ALPHA=1, to study just that."
)

# What a Hugging Face Space sets for every app; our own variables go before them.
HOSTED_NAMES: Mapping[str, str] = {
    "host": "GRADIO_SERVER_NAME",
    "port": "GRADIO_SERVER_PORT",
    "root_path": "GRADIO_ROOT_PATH",
    "space": "SPACE_ID",
    "zero_gpu": "SPACES_ZERO_GPU",
    "max_sequences": "EFT_MAX_ROWS",  # its name before 2026-11
}
BUNDLED = "atlas"  # the family that needs no download
LISTED_BESIDE = 12  # candidates of a token in a file beside those of the mix: three of each of four models
MAX_RUN_SCALE = 32  # 8,192 tokens a column, files of 128 MB: what one machine still reads beside its runs
DEFAULT_THREADS = 1  # of torch, for the bundled models; of others one per CPU
NO_FAMILY = "none"  # no model at all: a page for what was recorded
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SWITCHES = ("auto", "on", "off")
WORDS = {"dtype": DTYPES, "quantisation": QUANTISATIONS, "device": DEVICES, "switch": SWITCHES}
_COUNTS = (
    "max_runs_each",
    "max_runs_per_minute",
    "max_unheard",
    "max_kept_runs",
    "max_opened_files",
    "max_kept_mb",
    "keep_minutes",
    "max_heavy_each",
    "max_heavy_address",
)
_YES, _NO = ("1", "t", "true", "yes", "on"), ("0", "f", "false", "no", "off")
_ROOT_PATH = re.compile(r"(/[\w.~-]+)*", re.ASCII)
_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII | re.IGNORECASE)
_SPACE_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Settings:
    """What whoever starts the app may choose. Everything has a default that works."""

    host: str = "127.0.0.1"  # only this machine, unless asked otherwise
    port: int = 7860
    root_path: str = ""  # the path under which a proxy leads here, such as /tools/eft
    allowed_hosts: str = ""  # names under which the app may be asked for, such as eft.example.org, *.lab
    space: str = ""  # owner/name of the Hugging Face Space this is; a Space sets it itself
    zero_gpu: bool = False  # a Space whose GPU is allocated to a run at a time; such a Space sets it itself
    assets: Path = ASSETS
    family: str = "atlas"  # which family the app starts with
    switch: str = "auto"  # who may load another: auto = whoever opens the link the terminal prints, on, off
    threads: int = 0  # for torch; 0 = 1 for the bundled family, else one per CPU
    dtype: str = "auto"  # auto = bf16 where the processor has instructions for it
    quantisation: str = "auto"  # of the large models; auto = none where it fits, else nf4
    device: str = "auto"  # auto = a GPU if there is one, for all but the bundled family; or cpu

    allow_negative_alpha: bool = False  # it undoes tuning, safety included: only to study just that

    max_prompt_chars: int = 4000  # checked before tokenising, so a huge paste costs nothing
    max_new_tokens: int = 256  # the bundled family's context is 512
    default_new_tokens: int = 96
    max_sequences: int = 48  # one per column; 16 people with three columns each
    max_waiting: int = 32  # further runs are rejected immediately
    # A visitor is a page. An address may be that of a class, or of all behind a server that names no other.
    max_runs_each: int = 3  # at once per page: the one it shows, and those that it is just leaving
    max_runs_per_minute: int = 600  # per address: thirty people, each with a run every three seconds
    max_share: float = 0.875  # of sequences and of places for one address: a class has room, others find some
    listen_s: float = 5.0  # a run begins when its page listens; a page that does not for so long gets none
    max_unheard: int = 32  # runs of all that wait for that; of those beyond it the oldest ends
    blocked_s: float = 20.0  # a page that takes nothing of its stream for so long has gone; its run ends
    max_kept_runs: int = 32  # per page: a tree of branches; the oldest goes first
    max_opened_files: int = 12  # per page, counted apart: a page loaded again opens its last 8 runs
    max_kept_mb: int = 64  # packed, for the runs of all, and as much for opened files: 900 of default length
    keep_minutes: int = 120  # after its last use: a double lesson
    max_heavy_each: int = 8  # files, plots and openings that wait per page; one at a time is made
    max_heavy_address: int = 40  # the same per address: a class that saves its runs as the bell rings
    max_heavy_s: float = 30.0  # a minute per address for all of that: half of one processor
    deadline_s: float = 120.0  # a run that takes longer has been forgotten by somebody
    updates_per_s: float = 10.0  # smooth to the eye; more only loads the browser
    candidates: int = 8  # listed per token: what fits beside the text without scrolling

    def __post_init__(self) -> None:
        check_number("EFT_PORT", self.port, 0, 65535, integer=True)
        check_number("EFT_THREADS", self.threads, 0, 1024, integer=True)
        check_number("EFT_MAX_PROMPT_CHARS", self.max_prompt_chars, 1, 1_000_000, integer=True)
        check_number("EFT_MAX_NEW_TOKENS", self.max_new_tokens, 1, 1_000_000, integer=True)
        check_number("EFT_DEFAULT_NEW_TOKENS", self.default_new_tokens, 1, 1_000_000, integer=True)
        check_number("EFT_MAX_SEQUENCES", self.max_sequences, 3, 4096, integer=True)  # the page needs three
        check_number("EFT_MAX_WAITING", self.max_waiting, 0, 100_000, integer=True)
        for name in _COUNTS:
            check_number(f"EFT_{name.upper()}", getattr(self, name), 1, 1_000_000, integer=True)
        check_number("EFT_MAX_SHARE", self.max_share, 0, 1, above_low=True)
        check_number("EFT_LISTEN_S", self.listen_s, 0, 600, above_low=True)
        check_number("EFT_BLOCKED_S", self.blocked_s, 0, 600, above_low=True)
        check_number("EFT_MAX_HEAVY_S", self.max_heavy_s, 0, 60, above_low=True)
        check_number("EFT_DEADLINE_S", self.deadline_s, 0, 86_400, above_low=True)
        check_number("EFT_UPDATES_PER_S", self.updates_per_s, 0, 60, above_low=True)
        check_number("EFT_CANDIDATES", self.candidates, 1, 100, integer=True)
        for name, known in WORDS.items():
            if (value := getattr(self, name)) not in known:
                raise InputError(
                    f"EFT_{name.upper()} must be one of {', '.join(known)}; got {show_value(value)}."
                )
        if self.space and not _SPACE_ID.fullmatch(self.space):
            raise InputError(f"EFT_SPACE must be owner/name; got {show_value(self.space)}.")
        self._check_addresses()
        if self.run_scale > MAX_RUN_SCALE:
            raise InputError(
                f"EFT_MAX_NEW_TOKENS={self.max_new_tokens} with EFT_CANDIDATES={self.candidates} makes saved "
                f"runs {self.run_scale:,.0f} times as large as usual, and {MAX_RUN_SCALE} times is the most "
                "that can be opened again. Please lower one of the two."
            )
        # A lower maximum lowers the default with it, so that one variable is enough.
        object.__setattr__(self, "default_new_tokens", min(self.default_new_tokens, self.max_new_tokens))

    def _check_addresses(self) -> None:
        host = self.host.strip()
        if host.startswith("[") and host.endswith("]"):  # as IPv6 stands in an address
            host = host[1:-1]
        if not host:
            raise InputError("EFT_HOST is empty. Please name an address, such as 127.0.0.1 or 0.0.0.0.")
        object.__setattr__(self, "host", host)
        path = self.root_path
        if "://" in path:  # Gradio's own variable may hold a whole address
            path = urlsplit(path).path
        path = path.rstrip("/")
        if not _ROOT_PATH.fullmatch(path):
            shown = show_value(self.root_path)
            raise InputError(f"EFT_ROOT_PATH must be a path such as /tools/eft; got {shown}.")
        object.__setattr__(self, "root_path", path)
        for name in self.allowed_hosts.replace(",", " ").split():
            if not _HOST.fullmatch(name):
                raise InputError(
                    "EFT_ALLOWED_HOSTS must be names such as eft.example.org, without http:// and port; got "
                    f"{show_value(name)}."
                )

    @property
    def run_scale(self) -> float:
        """How many times as large a saved run may be as with the settings that come with the app; 1 or more.

        A run written here can be opened here: whatever reads one multiplies its limits by it.
        """
        return max(1.0, self.max_new_tokens / 256 * (self.candidates + LISTED_BESIDE) / (8 + LISTED_BESIDE))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Settings from EFT_HOST, EFT_PORT, ...: one variable per field, the field's name in capitals.

        Raises InputError naming the variable if its value cannot be used.
        """
        environ = given() if environ is None else environ
        settings = cls()
        changes: dict[str, object] = {}
        for field in fields(cls):
            variable = f"EFT_{field.name.upper()}"
            if variable not in environ:
                variable = HOSTED_NAMES.get(field.name, variable)
            if text := environ.get(variable):
                changes[field.name] = _from_text(variable, text, type(getattr(settings, field.name)))
        return replace(settings, **changes)  # type: ignore[arg-type]


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
    except RuntimeError:  # ~ or ~name of nobody known here
        raise InputError(f"{variable} must be a path without ~ here; got {show_value(text)}.") from None
