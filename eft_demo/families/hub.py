"""Repositories of the Hugging Face hub: found in the cache, downloaded with progress, faults as sentences.

Only what is needed comes: weights as safetensors, the tokenizer, the configuration; never code. Knows the
hub's library; knows no models.
"""

from __future__ import annotations

import errno
import fnmatch
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from eft_demo.errors import Cancelled, FamilyError
from eft_demo.families.weights import missing_files

CONFIG_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
)  # fmt: skip
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
TIMEOUT_S = 10.0  # of a question to the hub; downloads have their own
SPARE_DISK_BYTES = 1 << 30  # left free for everything else


@dataclass(frozen=True, slots=True)
class Stage:
    """How far downloading and loading has come. `total` is 0 while it is unknown."""

    stage: str  # download, load, check, measure
    what: str  # a repository or role
    done_bytes: int
    total_bytes: int


Progress = Callable[[Stage], None]


def silent(stage: Stage) -> None:
    """For who does not want to know."""


class HubUnreachable(FamilyError):
    """There is no way to the hub now. What lies in the cache can be used all the same."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the hub says of a repository: its newest commit, the licence on its card, its files with sizes."""

    commit: str
    licence: str
    files: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told of progress, and who may call it off."""

    progress: Progress = silent
    cancel: Event | None = None

    def tell(self, stage: str, what: str, done_bytes: int = 0, total_bytes: int = 0) -> None:
        """Pass on how far it is. Raises Cancelled if somebody called it off."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("Stopped, as asked. What was loaded before goes on.")
        self.progress(Stage(stage, what, done_bytes, total_bytes))


QUIET = Watcher()


def cached_folder(repo: str, revision: str | None, adapter: bool = False) -> Path | None:
    """Where the repository of a model or an adapter lies whole in the hub's cache, or None. No network."""
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 (a second, and Atlas does without)

    first = ADAPTER_FILES[0] if adapter else "config.json"
    found = try_to_load_from_cache(repo, first, revision=revision)
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    missing = [name for name in ADAPTER_FILES if not (folder / name).is_file()] if adapter else ()
    return None if missing or (not adapter and missing_files(folder)) else folder


def download(repo: str, revision: str | None, watcher: Watcher, adapter: bool = False) -> Path:
    """The folder of a repository, from the cache or else from the hub. Raises FamilyError or Cancelled."""
    folder = cached_folder(repo, revision, adapter)
    if folder is not None:
        return folder
    watcher.tell("download", repo)
    facts = look_up(repo, revision)
    return _fetch(repo, facts.commit, _wanted(repo, facts.files, adapter), watcher)


def download_config(repo: str, facts: Facts) -> Path:
    """A folder with all of a repository but its weights. Raises FamilyError."""
    wanted = {name: facts.files[name] for name in CONFIG_FILES if name in facts.files}
    if "config.json" not in wanted:
        raise FamilyError(f"The repository {repo} has no config.json. Please name one that has a model.")
    return _fetch(repo, facts.commit, wanted, QUIET)


def look_up(repo: str, revision: str | None = None) -> Facts:
    """Ask the hub about a repository. Raises FamilyError, HubUnreachable if there is no answer."""
    from huggingface_hub import HfApi  # noqa: PLC0415

    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
    except _faults() as error:
        raise told(error, repo, revision) from None
    files = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
    licence = getattr(info.card_data, "license", None)
    return Facts(str(info.sha), licence if isinstance(licence, str) else "", files)


def _fetch(repo: str, commit: str, wanted: Mapping[str, int], watcher: Watcher) -> Path:
    """Download these files of a commit into the cache: their folder. Raises FamilyError or Cancelled."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415

    total, done = sum(wanted.values()), 0
    try:
        _check_disk(repo, total)
        for name, size in wanted.items():
            watcher.tell("download", repo, done, total)
            bar = _bar(watcher, repo, done, total)
            path = hf_hub_download(repo, name, revision=commit, tqdm_class=bar)
            done += size
        watcher.tell("download", repo, done, total)
    except _faults() as error:
        raise told(error, repo, commit) from None
    return Path(path).parent


def _faults() -> tuple[type[Exception], ...]:
    """What the hub's library raises: its network errors are httpx's, its Rust part's a RuntimeError."""
    import httpx  # noqa: PLC0415
    from huggingface_hub import errors as hub  # noqa: PLC0415

    return (OSError, ValueError, RuntimeError, httpx.HTTPError, hub.EntryNotFoundError, hub.XetDownloadError)


def told(error: Exception, repo: str, revision: str | None) -> FamilyError:
    """What went wrong between here and the hub, as a sentence with the way out."""
    from huggingface_hub import errors as hub  # noqa: PLC0415

    page = f"https://huggingface.co/{repo}"
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
    if isinstance(error, (hub.EntryNotFoundError, hub.LocalEntryNotFoundError)) and not _is_offline(error):
        return FamilyError(
            f"A file of the repository {repo} is not there ({_brief(error)}). Please see {page}."
        )
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return FamilyError(
            f"The disk is full: {repo} could not be saved in {cache_folder()}. Please free some room, or "
            "set HF_HOME to a folder on a larger disk."
        )
    if isinstance(error, hub.HFValidationError):
        return FamilyError(
            f"{repo!r} is no name of a repository. Please write owner/name in the family file."
        )
    if isinstance(error, hub.HfHubHTTPError) and (status := getattr(error.response, "status_code", 0)) < 500:
        return FamilyError(
            f"The hub refused {repo} (HTTP {status}). A token that has run out is the usual cause: please "
            "set HF_TOKEN anew, or unset it for a public repository."
        )
    return HubUnreachable(
        f"{repo} is not in the cache {cache_folder()}, and the hub cannot be reached ({_brief(error)}). "
        "Please connect to the network and unset HF_HUB_OFFLINE, copy the cache from another machine, or "
        "choose the bundled family."
    )


def _wanted(repo: str, files: Mapping[str, int], adapter: bool) -> dict[str, int]:
    """What to download of a repository's files, small ones first. Raises FamilyError if weights are missing.

    A tokenizer need not be among them: that of one role counts for all, and the others are compared with it.
    """
    weights = [name for name in files if any(fnmatch.fnmatch(name, pattern) for pattern in WEIGHT_FILES)]
    weights = [name for name in weights if name.startswith("model") and "/" not in name]
    if adapter:
        weights = [name for name in ADAPTER_FILES if name in files]
    if not any(name.endswith(".safetensors") for name in weights):
        raise FamilyError(
            f"The repository {repo} has no weights as safetensors, and no other kind is loaded here because "
            "others can run code. Please name a repository that has them."
        )
    names = [name for name in (*(() if adapter else CONFIG_FILES), *sorted(weights)) if name in files]
    return {name: files[name] for name in names}


def _check_disk(repo: str, needed_bytes: int) -> None:
    """Refuse before the first byte what will not fit. The hub's library only warns."""
    folder = nearest_folder(cache_folder())
    free = shutil.disk_usage(folder).free
    if needed_bytes + SPARE_DISK_BYTES > free:
        raise FamilyError(
            f"{repo} needs {needed_bytes / 1e9:.1f} GB on the disk and {folder} has {free / 1e9:.1f} GB free."
            " Please free some room, or set HF_HOME to a folder on a larger disk."
        )


def nearest_folder(folder: Path) -> Path:
    """The folder, or the first above it that there is."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def cache_folder() -> Path:
    """Where the hub's library keeps what it has downloaded."""
    from huggingface_hub import constants  # noqa: PLC0415

    return Path(constants.HF_HUB_CACHE)


def _bar(watcher: Watcher, repo: str, done: int, total: int) -> Any:
    """A progress bar class for the hub's library that shows nothing and passes everything on."""
    from tqdm.auto import tqdm  # noqa: PLC0415

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": True})
            self.seen = int(options.get("initial") or 0)

        def update(self, n: float | None = 1) -> None:
            self.seen += int(n or 0)
            watcher.tell(
                "download", repo, done + self.seen, total
            )  # may raise Cancelled: the file stays partial

    return Bar


def _is_offline(error: Exception) -> bool:
    return "outgoing traffic" in str(error) or "internet connection" in str(error).lower()


def _brief(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]
