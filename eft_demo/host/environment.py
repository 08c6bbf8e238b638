"""Environment variables that libraries read: hides some of them, and finds the one that broke a start.

Knows the variables of other programs; `settings` knows those of this app.
"""

import linecache
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from eft_demo.errors import EFTError, error_text

# The page has no uploads or downloads through Gradio, and Gradio would serve any file in this folder.
NO_FOLDER = "/nonexistent/eft-demo"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{3,}")
_READS = re.compile(r"environ|getenv")
_NEAR = 3  # lines around the failing one: a variable is often read just above the line that fails
_LEAST = 3  # a value must have this many characters to count as evidence: "1" occurs in too many messages
_NETWORK = re.compile(r".*_proxy|ssl_cert_file|ssl_cert_dir|sslkeylogfile|(requests|curl)_ca_bundle", re.I)
_PROXY = re.compile(r"(https?|all)_proxy", re.I)
_LOGIN = re.compile(r"(?<=://)\S*@")  # matches too much rather than missing part of a password
_BEARER = re.compile(r"(Bearer )[^\s'\"]+")
_kept: dict[str, str] = {}


def full_environment() -> Mapping[str, str]:
    """The environment, including the variables that `remove_gradio_variables` removed."""
    return {**_kept, **os.environ}


def remove_gradio_variables() -> None:
    """Remove all GRADIO_ variables from this process's environment. Call this before importing Gradio.

    They can make Gradio open a public tunnel, serve folders, load an API for agents, watch files or change
    the port. Those that the app uses itself (`settings.HOSTED_NAMES`) are read from `full_environment`.
    """
    for name in [name for name in os.environ if name.upper().startswith("GRADIO_")]:
        _kept[name] = os.environ.pop(name)
    os.environ["GRADIO_TEMP_DIR"] = NO_FOLDER
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


def environment_without_hub() -> dict[str, str]:
    """The environment without the hub's variables, which could break imports; for processes without a hub."""
    ways = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_")
    return {name: text for name, text in os.environ.items() if not name.startswith(ways)}


def give_path() -> None:
    """Set PATH to its default if there is none, as under some supervisors: Gradio's libraries need one."""
    os.environ.setdefault("PATH", os.defpath)


def leave_deleted_folder() -> None:
    """Change to the root folder if the current one was deleted: libraries fail without one."""
    try:
        os.getcwd()
    except OSError:
        os.chdir("/")


@contextmanager
def hide_network_variables() -> Iterator[None]:
    """Hide the variables for proxies and certificates while Gradio is imported.

    On import Gradio creates an HTTP client that this page never uses, which fails if one of them is invalid.
    Model downloads happen later and do use them.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if _NETWORK.fullmatch(name)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def error_of_bad_variable(error: BaseException) -> EFTError | None:
    """An error that names the environment variable that seems to have caused `error`, or None.

    Evidence is the variable's name in the message or in the lines of code that failed, or else its value in
    the message, or else its value in a local variable of the function that raised.
    """
    said = without_secrets(error_text(error, None))[:200]
    found = sorted(_named(error)) or sorted(_quoted(error)) or sorted(_holding_value(error))
    if not found:
        return None
    names = " or ".join(found)
    return EFTError(
        f"A library does not accept the environment variable {names} ({said}). "
        f"Please correct it, or remove it: unset {' '.join(found)}."
    )


def without_secrets(text: str) -> str:
    """`text` without user names and passwords in URLs, and without the hub's token."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := os.environ.get(name, "").strip():
            text = text.replace(token, "***").replace(ascii(token)[1:-1], "***")
    # URL parsers split a login that contains a slash, and then quote only parts of it.
    for login in (found for value in os.environ.values() for found in _LOGIN.findall(value)):
        for piece in re.split("[:/@]", login):
            text = text.replace(piece, "***") if len(piece) > _LEAST else text
    return _BEARER.sub(r"\1***", _LOGIN.sub("***@", text))


def non_ascii_variables(prefix: str) -> list[str]:
    """The variables with this prefix whose values are not printable ASCII."""
    found = [name for name, value in os.environ.items() if name.startswith(prefix)
             and not (value.isascii() and value.isprintable())]  # fmt: skip
    return sorted(found)


def proxy_variables() -> list[str]:
    """The variables that are set and route requests through a proxy."""
    return sorted(name for name, value in os.environ.items() if _PROXY.fullmatch(name) and value)


def timeout_variables() -> list[str]:
    """The variables that are set and say how long the hub's library waits."""
    return sorted(name for name in os.environ if name.startswith("HF_HUB_") and name.endswith("_TIMEOUT"))


def _named(error: BaseException) -> set[str]:
    words = set(_NAME.findall(str(error)))
    if "proxy" in str(error).lower():  # the message does not say which variable
        words.update(name for name in os.environ if name.lower().endswith("_proxy"))
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code.co_filename
        lines = [linecache.getline(code, near) for near in range(line - _NEAR, line + _NEAR + 1)]
        if any(_READS.search(text) for text in lines):
            words.update(_NAME.findall(" ".join(lines)))
    return words & _suspects()


def _quoted(error: BaseException) -> Iterator[str]:
    for name in _suspects():
        value = os.environ[name]
        if len(value) >= _LEAST and re.search(rf"(?<!\w){re.escape(value)}(?!\w)", str(error)):
            yield name


def _holding_value(error: BaseException) -> Iterator[str]:
    last = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)][-2:]
    held = {text.rstrip("/") for names in last for text in names.values() if isinstance(text, str)}
    for name in _suspects():
        value = os.environ[name].rstrip("/")
        if len(value) >= _LEAST and value in held and not name.startswith("EFT_"):
            yield name


def _suspects() -> set[str]:
    """The variables that may be the cause: upper case or proxies, except those that every shell sets."""
    everyday = {"HOME", "PATH", "USER", "SHELL", "TERM", "LANG", "PWD", "OLDPWD", "LOGNAME", "HOSTNAME"}
    return {name for name in os.environ if name.isupper() or name.endswith("_proxy")} - everyday
