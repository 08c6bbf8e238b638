"""What went wrong between here and the Hugging Face hub, as a sentence with the way out.

Goes by what the hub's library says of an error: its own classes, HTTP codes and what the system reports.
Names no class of the HTTP library underneath, which changes with versions. Asks nothing itself.
"""

from __future__ import annotations

import errno
import json
import ssl
from pathlib import Path
from typing import Any

from eft_demo.errors import FamilyError
from eft_demo.host.environment import odd_variables, ways_to_the_network, without_secrets

UNREACHABLE_HELP = (
    "Please connect to the network and unset HF_HUB_OFFLINE, copy the cache from another machine, or choose "
    "the bundled family."
)
# What the library makes of an answer that is not the hub's: no JSON, JSON of another shape, headers missing.
STRANGE = (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError, AttributeError)
# No room, no quota left, or a limit on the size of a file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNREADABLE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
PROXY = "Please put name and password into HTTPS_PROXY (http://name:password@host:port), or unset it"


class HubUnreachable(FamilyError):
    """There is no way to the hub now. What lies in the cache can be used all the same."""


class NotTheHub(HubUnreachable):
    """Something else than the hub answers: a login page, a proxy, another server."""


def cache_folder() -> Path:
    """Where the hub's library keeps what it has downloaded."""
    from huggingface_hub import constants  # noqa: PLC0415

    return Path(constants.HF_HUB_CACHE)


def endpoint() -> str:
    """The hub's address as it may be shown. HF_ENDPOINT may change it, and hold a password."""
    from huggingface_hub import constants  # noqa: PLC0415

    return without_secrets(str(constants.ENDPOINT))


def sentence_for(error: Exception, repo: str, revision: str | None) -> FamilyError:
    """The error to raise for whatever the hub's library raised about this repository."""
    from huggingface_hub import errors as hub  # noqa: PLC0415

    # The library says "not in the cache" and keeps the true reason as the cause.
    while isinstance(error, hub.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, hub.HfHubHTTPError):
        return _refusal(error, repo, revision)
    if isinstance(error, hub.HFValidationError):
        return FamilyError(
            f"{repo!r} is no name of a repository. Please write owner/name in the family file."
        )
    if isinstance(error, (hub.FileMetadataError, *STRANGE)):
        return not_the_hub(repo)
    if isinstance(error, ssl.SSLError) or (isinstance(error, _UNREADABLE) and error.filename is None):
        return HubUnreachable(
            f"{repo} is not in the cache {cache_folder()}, and the certificates for {endpoint()} cannot be "
            f"read ({brief(error)}). Please correct SSL_CERT_FILE and SSL_CERT_DIR, or unset them."
        )
    if isinstance(error, OSError) and error.errno is not None:
        return _unsaved(error, repo)
    if isinstance(error, UnicodeEncodeError) or "header value" in str(error):
        names = " and ".join(odd_variables("HF_")) or "the token file"
        return FamilyError(
            f"{endpoint()} could not be asked about {repo}: {names} holds a character that cannot be sent. "
            "Please set it anew, or unset it for a public repository."
        )
    if "CERTIFICATE" in str(error).upper():
        return HubUnreachable(
            f"{repo} is not in the cache {cache_folder()}, and the certificate that {endpoint()} shows is "
            f"not trusted here ({brief(error)}). Please set SSL_CERT_FILE to the certificates of your "
            "network, correct the clock, or choose the bundled family."
        )
    if type(error).__name__ == "ProxyError" or isinstance(error, ImportError):
        return _proxy(error)
    return unreachable(repo, brief(error))


def unreachable(repo: str, reason: str) -> HubUnreachable:
    """There is no answer, or none that ends."""
    return HubUnreachable(
        f"{repo} is not in the cache {cache_folder()}, and the hub {endpoint()} cannot be reached "
        f"({reason}).{_doubtful()} {UNREACHABLE_HELP}"
    )


def _doubtful() -> str:
    """What of the environment leads elsewhere than usual, as a sentence."""
    from huggingface_hub import constants  # noqa: PLC0415

    names = ways_to_the_network()
    if constants.ENDPOINT != constants._HF_DEFAULT_ENDPOINT:
        names = ["HF_ENDPOINT", *names]
    return f" Requests go where {' and '.join(names)} says: please see that it is right." if names else ""


def not_the_hub(repo: str) -> NotTheHub:
    """What answers is a page for people, or anything else that the hub never says."""
    return NotTheHub(
        f"Asked about {repo}, {endpoint()} gave no answer of the hub: a login page of this network stands in "
        "between, or HF_ENDPOINT names another server. Please open a page in a browser and log in to the "
        "network, correct HF_ENDPOINT, or choose the bundled family."
    )


def _refusal(error: Any, repo: str, revision: str | None) -> FamilyError:
    """For an answer with an HTTP code that means no."""
    from huggingface_hub import errors as hub  # noqa: PLC0415

    page = f"{endpoint()}/{repo}"
    if isinstance(error, hub.GatedRepoError):
        return FamilyError(
            f"The repository {repo} is gated: its licence must be accepted first. Please accept it at "
            f"{page}, make a read token in your account's settings, and start again with HF_TOKEN set to it."
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return FamilyError(
            f"The repository {repo} has no revision {revision!r}. Please correct the revision in the family "
            "file, or leave it out for the newest."
        )
    if isinstance(error, hub.RepositoryNotFoundError):
        return FamilyError(
            f"There is no repository {repo} on the hub, or it is private. Please check the name at {page}, "
            "or set HF_TOKEN to a token of somebody who may read it."
        )
    if isinstance(error, hub.EntryNotFoundError):
        return FamilyError(
            f"A file of the repository {repo} is not there ({brief(error)}). Please see {page}."
        )
    return _by_code(int(getattr(error.response, "status_code", 0)), error, repo)


def _by_code(code: int, error: Any, repo: str) -> FamilyError:
    refused = f"The hub {endpoint()} refused {repo} (HTTP {code})"
    if code in (401, 403):
        return FamilyError(
            f"{refused}. A token that has run out, or that may not read this, is the usual cause: please set "
            "HF_TOKEN anew, or unset it for a public repository."
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
            f"{refused}: what has been downloaded so far is longer than the file. Please delete "
            f"{cache_folder() / ('models--' + repo.replace('/', '--'))} and start again."
        )
    if code == 429:
        wait_s = error.response.headers.get("retry-after", "")
        when = f"in {wait_s} seconds" if wait_s.isdecimal() else "in a few minutes"
        return HubUnreachable(
            f"{refused}: too many requests came from your address. Please try again {when}, set HF_TOKEN for "
            "a limit of your own, or choose the bundled family."
        )
    if code >= 500:
        return HubUnreachable(
            f"{repo} is not in the cache {cache_folder()}, and the hub {endpoint()} cannot be reached: it "
            f"has a fault of its own (HTTP {code}). Please try again later, or choose the bundled family."
        )
    return FamilyError(
        f"{refused}. Please check the name in the family file, HF_TOKEN and HF_ENDPOINT, or choose the "
        "bundled family."
    )


def _proxy(error: Exception) -> HubUnreachable:
    if "407" in str(error):
        return HubUnreachable(
            f"The proxy on the way to {endpoint()} asks for a login (HTTP 407). {PROXY}, or choose the "
            "bundled family."
        )
    return HubUnreachable(
        f"The proxy on the way to {endpoint()} cannot be used ({brief(error)}). Please correct HTTPS_PROXY, "
        "HTTP_PROXY and ALL_PROXY, unset them, or choose the bundled family."
    )


def _unsaved(error: OSError, repo: str) -> FamilyError:
    """For what the system says of the disk; network faults come as errors of the HTTP library."""
    if error.errno in _FULL:
        return FamilyError(
            f"The disk is full: {repo} could not be saved in {cache_folder()} ({brief(error)}). Please free "
            "some room, or set HF_HOME to a folder on a larger disk."
        )
    if error.filename is not None and not Path(error.filename).is_relative_to(cache_folder()):
        return FamilyError(
            f"{error.filename}, which the hub's library wants, cannot be used ({brief(error)}). Please set "
            "HF_HOME to a folder that you may write to, and see that other variables of the hub (HF_...) are "
            "right."
        )
    return FamilyError(
        f"{repo} could not be saved in {cache_folder()} ({brief(error)}). Please set HF_HOME to a folder "
        "that you may write to."
    )


def brief(error: BaseException) -> str:
    """A class and what it says, on one line that is not too long."""
    return without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))[:160]
