"""Explains errors of the Hugging Face hub: a message that says what went wrong and what to do.

Uses huggingface_hub's own exception classes, HTTP codes and system errors, not the classes of the HTTP
library underneath, which change between versions. Makes no requests.
"""

from __future__ import annotations

import errno
import json
import re
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eft_demo.errors import FamilyError, error_text
from eft_demo.host.environment import (
    non_ascii_variables,
    proxy_variables,
    timeout_variables,
    without_secrets,
)

UNREACHABLE_HELP = (
    "Please connect to the network and unset HF_HUB_OFFLINE, copy the cache from another machine, or choose "
    "the bundled family."
)
# Exceptions for an answer that is not from the hub: not JSON, JSON of another shape, or missing headers.
STRANGE = (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError, AttributeError)
# The disk is full, the quota is used up, or the file is too large.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNREADABLE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_HOST = re.compile(r"https?://(?:[^\s/'\"()@]*@)?([\w.:-]+)")
PROXY = "Please put your name and password into HTTPS_PROXY (http://name:password@host:port), or unset it"


class HubUnreachable(FamilyError):
    """The hub cannot be reached. Cached repositories can still be used."""


class Incomplete(HubUnreachable):
    """The hub answered, but a file did not arrive whole. What has arrived is kept."""


class NotTheHub(HubUnreachable):
    """Something other than the hub answered: a login page, a proxy or another server."""


def cache_folder() -> Path:
    """The cache folder of huggingface_hub."""
    from huggingface_hub import constants  # noqa: PLC0415

    return Path(constants.HF_HUB_CACHE)


def endpoint() -> str:
    """The hub's address without secrets: HF_ENDPOINT may change it and contain a password."""
    from huggingface_hub import constants  # noqa: PLC0415

    return without_secrets(str(constants.ENDPOINT))


def hub_error(error: Exception, repo: str, revision: str | None, *, arriving: bool = False) -> FamilyError:
    """The error to raise for an exception of huggingface_hub about this repository.

    `arriving`: the hub had already answered and was sending a file.
    """
    from huggingface_hub import errors as hub  # noqa: PLC0415

    # The library raises "not in the cache" and keeps the real reason as the cause.
    while isinstance(error, hub.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, hub.HfHubHTTPError):
        return _refusal(error, repo, revision)
    if isinstance(error, hub.HFValidationError):
        return FamilyError(f"{repo!r} is not a repository name. Please write owner/name in the family file.")
    if isinstance(error, UnicodeDecodeError) and (damaged := _damaged_file(repo)):
        return FamilyError(
            f"The file {damaged}, which huggingface_hub needs for {repo}, is damaged ({brief(error)}). "
            "Please delete it and start again; what was downloaded is kept."
        )
    if isinstance(error, (hub.FileMetadataError, *STRANGE)):
        return not_the_hub(repo)
    if isinstance(error, (ValueError, OverflowError)) and (times := timeout_variables()):
        return FamilyError(
            f"The request for {repo} could not be sent to {endpoint()} ({brief(error)}). Please set "
            f"{' and '.join(times)} to a number of seconds, such as 10, or remove it."
        )
    if isinstance(error, ssl.SSLError) or (isinstance(error, _UNREADABLE) and error.filename is None):
        return HubUnreachable(
            f"{repo} is not in the cache {cache_folder()}, and the certificates for {endpoint()} cannot be "
            f"read ({brief(error)}). Please correct SSL_CERT_FILE and SSL_CERT_DIR, or unset them."
        )
    if isinstance(error, OSError) and error.errno is not None:
        return _disk_error(error, repo)
    if isinstance(error, UnicodeEncodeError) or "header value" in str(error):
        names = " and ".join(non_ascii_variables("HF_")) or "the token file"
        return FamilyError(
            f"The request for {repo} could not be sent to {endpoint()}: {names} contains an invalid "
            "character. Please correct it, or unset it for a public repository."
        )
    if "CERTIFICATE" in str(error).upper():
        return HubUnreachable(
            f"{repo} is not in the cache {cache_folder()}, and the certificate of {endpoint()} is not "
            f"trusted ({brief(error)}). Please set SSL_CERT_FILE to the certificates of your network, "
            "correct the clock, or choose the bundled family."
        )
    if type(error).__name__ == "ProxyError" or isinstance(error, ImportError):
        return _proxy(error)
    if host := _storage(error):
        return HubUnreachable(
            f"{repo} could not be downloaded: the hub {endpoint()} answers, but {host}, from where it sends "
            f"its files, does not ({brief(error)}). Please allow {host} in the network or its proxy, or "
            "start with HF_HUB_DISABLE_XET=1, which may use another server. What has arrived is kept."
        )
    if type(error) is ValueError and not proxy_variables():  # a date or number that the hub does not write
        return not_the_hub(repo)
    return incomplete(repo, brief(error)) if arriving else unreachable(repo, brief(error))


def _storage(error: Exception) -> str:
    """The server in an error of the network, if it is not the hub: large files come from others."""
    asked = str(getattr(getattr(error, "_request", None), "url", ""))  # `request` raises if there is none
    found = _HOST.search(asked) or _HOST.search(str(error))
    return found[1] if found and found[1] != urlsplit(endpoint()).netloc.rpartition("@")[2] else ""


def _damaged_file(repo: str) -> Path | None:
    """The small file of the cache or of the login that is not text, as after a power failure; or None."""
    from huggingface_hub import constants  # noqa: PLC0415

    refs = cache_folder() / f"models--{repo.replace('/', '--')}" / "refs"
    for path in (*sorted(refs.rglob("*")), Path(constants.HF_TOKEN_PATH)):
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return path
        except OSError:  # a folder, or not there
            continue
    return None


def unreachable(repo: str, reason: str) -> HubUnreachable:
    """The error for a missing or endless answer."""
    return HubUnreachable(
        f"{repo} is not in the cache {cache_folder()}, and the hub {endpoint()} cannot be reached "
        f"({reason}).{_suspect_variables()} {UNREACHABLE_HELP}"
    )


def incomplete(repo: str, reason: str) -> Incomplete:
    """The error for a file that began to arrive and did not arrive whole."""
    return Incomplete(
        f"The download of {repo} from {endpoint()} came incomplete ({reason}). Please start again to resume "
        "it: what has arrived is kept. If it comes incomplete again, the network, or a proxy or mirror in "
        f"between, cuts it off.{_suspect_variables()}"
    )


def _suspect_variables() -> str:
    """A sentence about environment variables that redirect requests, or ""."""
    from huggingface_hub import constants  # noqa: PLC0415

    names = proxy_variables()
    if constants.ENDPOINT != constants._HF_DEFAULT_ENDPOINT:
        names = ["HF_ENDPOINT", *names]
    return f" Requests are redirected by {' and '.join(names)}: check that it is correct." if names else ""


def not_the_hub(repo: str) -> NotTheHub:
    """The error for an answer that cannot be from the hub, such as a web page."""
    return NotTheHub(
        f"{endpoint()} did not answer like the hub when asked for {repo}: the network may require a login "
        "first, or HF_ENDPOINT names another server. Please open a page in a browser and log in to the "
        "network, correct HF_ENDPOINT, or choose the bundled family."
    )


def _refusal(error: Any, repo: str, revision: str | None) -> FamilyError:
    """The error for an HTTP code that refuses the request."""
    from huggingface_hub import errors as hub  # noqa: PLC0415

    page = f"{endpoint()}/{repo}"
    if isinstance(error, hub.GatedRepoError):
        return FamilyError(
            f"The repository {repo} is gated: its licence must be accepted first. Please accept it at "
            f"{page}, create a read token in your account settings, and start again with HF_TOKEN set to it."
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return FamilyError(
            f"The repository {repo} has no revision {revision!r}. Please correct the revision in the family "
            "file, or remove it to use the newest."
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return FamilyError(
            f"There is no repository {repo} on the hub, or it is private. Please check the name at {page}, "
            "or set HF_TOKEN to a token that may read it."
        )
    if isinstance(error, hub.EntryNotFoundError):
        return FamilyError(
            f"A file of the repository {repo} is missing ({brief(error)}). Please check {page}."
        )
    return _by_code(int(getattr(error.response, "status_code", 0)), error, repo)


def _by_code(code: int, error: Any, repo: str) -> FamilyError:
    refused = f"The hub {endpoint()} refused {repo} (HTTP {code})"
    if code in (401, 403):
        return FamilyError(
            f"{refused}. The usual cause is a token that has expired or may not read it: please set a new "
            "HF_TOKEN, or unset it for a public repository."
        )
    if code == 404:
        return FamilyError(
            f"{endpoint()} has no repository {repo} (HTTP 404). Please check the name in the family file, "
            "and HF_ENDPOINT if it is set."
        )
    if code == 407:
        return _proxy(error)
    if code == 416:
        return FamilyError(
            f"{refused}: the partial download is longer than the file. Please delete "
            f"{cache_folder() / ('models--' + repo.replace('/', '--'))} and start again."
        )
    if code == 511:  # Network Authentication Required: only something in between may answer it
        return not_the_hub(repo)
    if code == 429:
        wait_s = error.response.headers.get("retry-after", "")
        when = f"in {wait_s} seconds" if wait_s.isdecimal() else "in a few minutes"
        return HubUnreachable(
            f"{refused}: too many requests from your address. Please try again {when}, set HF_TOKEN to use "
            "your own limit, or choose the bundled family."
        )
    if code >= 500:
        return HubUnreachable(
            f"{repo} is not in the cache {cache_folder()}, and the hub {endpoint()} cannot be reached: it "
            f"has an internal error (HTTP {code}). Please try again later, or choose the bundled family."
        )
    return FamilyError(
        f"{refused}. Please check the name in the family file, HF_TOKEN and HF_ENDPOINT, or choose the "
        "bundled family."
    )


def _proxy(error: Exception) -> HubUnreachable:
    if "407" in str(error):
        return HubUnreachable(
            f"The proxy for {endpoint()} requires a login (HTTP 407). {PROXY}, or choose the bundled family."
        )
    return HubUnreachable(
        f"The proxy for {endpoint()} cannot be used ({brief(error)}). Please correct or unset HTTPS_PROXY, "
        "HTTP_PROXY and ALL_PROXY, or choose the bundled family."
    )


def _disk_error(error: OSError, repo: str) -> FamilyError:
    """The error for a disk problem; network problems are errors of the HTTP library."""
    if error.errno in _FULL:
        return FamilyError(
            f"The disk is full: {repo} could not be saved in {cache_folder()} ({brief(error)}). Please free "
            "some space, or set HF_HOME to a folder on a larger disk."
        )
    if error.filename is not None and not Path(error.filename).is_relative_to(cache_folder()):
        return FamilyError(
            f"{error.filename}, which huggingface_hub needs, cannot be used ({brief(error)}). Please set "
            "HF_HOME to a writable folder and check the other variables of the hub (HF_...)."
        )
    return FamilyError(
        f"{repo} could not be saved in {cache_folder()} ({brief(error)}). Please set HF_HOME to a writable "
        "folder."
    )


def brief(error: BaseException) -> str:
    """The class and message of an error, on one short line without secrets."""
    return without_secrets(error_text(error, None))[:160]
