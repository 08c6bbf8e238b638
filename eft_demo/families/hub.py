"""Repositories of the Hugging Face hub: found in the cache, or downloaded with progress and deadlines.

Downloads only what is needed: safetensors weights, tokenizer and configuration; never code. Knows
huggingface_hub; knows no models. `hub_faults` explains its errors.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar

from eft_demo.errors import Cancelled, EFTError, FamilyError
from eft_demo.families.files import is_file
from eft_demo.families.gguf import SUFFIX
from eft_demo.families.hub_faults import cache_folder, hub_error, incomplete, not_the_hub, unreachable
from eft_demo.families.weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS, missing_files

CONFIG_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
    "special_tokens_map.json",
)  # fmt: skip
# Without them stop tokens or the chat template are missing; other programs may leave them out of the cache.
NEEDED_FILES = ("generation_config.json", "tokenizer.json", "tokenizer_config.json")
ADAPTER_FILES = (ADAPTER_CONFIG, ADAPTER_WEIGHTS)
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
TIMEOUT_S = 10.0  # between two bytes of an answer
# Until a request is answered or a file starts to arrive. The library's own timeouts restart with every byte
# and every attempt, and some of its requests have none.
ANSWER_S = 60.0
STALL_S = 300.0  # between two progress updates of a download: the library sends one per 10 MB
POLL_S = 0.1
SPARE_DISK_BYTES = 1 << 30  # kept free for everything else


@dataclass(frozen=True, slots=True)
class Stage:
    """The progress of downloading and loading. `total_bytes` is 0 while it is unknown."""

    stage: str  # download, load, check, measure
    what: str  # a repository or role
    done_bytes: int
    total_bytes: int


Progress = Callable[[Stage], None]


def ignore_progress(stage: Stage) -> None:
    """No-op progress callback."""


@dataclass(frozen=True, slots=True)
class RepoFacts:
    """A repository's metadata: its commit, the licence on its model card, and its files with sizes."""

    commit: str
    licence: str
    files: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Watcher:
    """A progress callback and an event that cancels the work."""

    progress: Progress = ignore_progress
    cancel: Event | None = None

    def report(self, stage: str, what: str, done_bytes: int = 0, total_bytes: int = 0) -> None:
        """Report progress. Raises Cancelled if the work was cancelled."""
        self.check()
        self.progress(Stage(stage, what, done_bytes, total_bytes))

    def check(self) -> None:
        """Raise Cancelled if the work was cancelled."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("Cancelled. The app goes on with the models that were loaded before.")


QUIET = Watcher()
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


def cached_folder(repo: str, revision: str | None, adapter: bool = False, gguf: str = "") -> Path | None:
    """The cache folder of a model's or adapter's repository if it is complete, else None. No network access.

    With `gguf`, the path of that file in the repository instead.

    Raises FamilyError for an invalid repository name or an unreadable cache.
    """
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 (takes a second; Atlas needs none)
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415

    first = gguf or (ADAPTER_FILES[0] if adapter else "config.json")
    try:
        found = try_to_load_from_cache(repo, first, revision=revision)
    except (HFValidationError, UnicodeDecodeError, OSError) as error:
        raise hub_error(error, repo, revision) from None
    if not isinstance(found, str):
        return None
    if gguf:
        return Path(found)
    folder = Path(found).parent
    missing = [name for name in ADAPTER_FILES if not is_file(folder / name)] if adapter else ()
    return None if missing or (not adapter and missing_files(folder)) else folder


def download(
    repo: str, revision: str | None, watcher: Watcher, adapter: bool = False, gguf: str = ""
) -> Path:
    """The folder of a repository, or its GGUF file, downloaded if needed. Raises FamilyError or Cancelled."""
    folder = cached_folder(repo, revision, adapter, gguf)
    if folder is not None:
        if not (adapter or gguf):
            _complete(repo, folder, watcher)
        return folder
    watcher.report("download", repo)
    facts = look_up(repo, revision, watcher)
    wanted = _gguf_file(repo, facts.files, gguf) if gguf else wanted_files(repo, facts.files, adapter)
    folder = _fetch(repo, facts.commit, wanted, watcher)
    if revision != facts.commit:
        # Requesting a file by branch makes the library record the branch's commit, so offline use finds it.
        _get(repo, revision or "main", next(iter(wanted)), watcher, _FileProgress())
    if not (adapter or gguf):
        _note_absent(folder, facts)
    # The folder is that of the last file, and there is only one here.
    return folder / Path(gguf).name if gguf else folder


def _complete(repo: str, folder: Path, watcher: Watcher) -> None:
    """Download the small files that another program left out when it filled the cache.

    Where the hub cannot be asked, the models run with what is there. Raises FamilyError or Cancelled.
    """
    if not (left_out := [name for name in NEEDED_FILES if not _is_known(folder, name)]):
        return
    try:
        facts = look_up(repo, folder.name, watcher)
    except FamilyError as error:
        log.debug("%s of %s could not be looked up: %s", left_out, repo, error)
        return
    _note_absent(folder, facts)
    for name in left_out:
        if name in facts.files:
            _get(repo, folder.name, name, watcher, _FileProgress())


def _is_known(folder: Path, name: str) -> bool:
    """Whether a file is in a snapshot's folder, or noted there as one that the repository does not have."""
    return (folder / name).exists() or (_absent(folder) / name).exists()


def _note_absent(folder: Path, facts: RepoFacts) -> None:
    """Note the small files that the repository does not have where huggingface_hub notes them."""
    try:
        _absent(folder).mkdir(parents=True, exist_ok=True)
        for name in NEEDED_FILES:
            if name not in facts.files:
                (_absent(folder) / name).touch()
    except OSError:  # a cache that cannot be written: they are looked up again next time
        log.debug("%s cannot be written", _absent(folder))


def _absent(folder: Path) -> Path:
    return folder.parents[1] / ".no_exist" / folder.name


def download_config(repo: str, facts: RepoFacts) -> Path:
    """A folder with a repository's configuration and tokenizer, without weights. Raises FamilyError."""
    wanted = {name: facts.files[name] for name in CONFIG_FILES if name in facts.files}
    if "config.json" not in wanted:
        raise FamilyError(f"The repository {repo} has no config.json. Please use a repository with a model.")
    return _fetch(repo, facts.commit, wanted, QUIET)


def look_up(repo: str, revision: str | None = None, watcher: Watcher = QUIET) -> RepoFacts:
    """Fetch a repository's metadata. Raises FamilyError, HubUnreachable without an answer, or Cancelled."""
    from huggingface_hub import HfApi  # noqa: PLC0415

    def ask() -> RepoFacts:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
        files = {str(file.rfilename): max(int(file.size or 0), 0) for file in info.siblings or ()}
        licence = getattr(info.card_data, "license", None)
        if not re.fullmatch(r"[0-9a-f]{40}", str(info.sha)):
            raise not_the_hub(repo)
        return RepoFacts(str(info.sha), licence if isinstance(licence, str) else "", files)

    return _call_in_thread(ask, repo, revision, watcher, _FileProgress())


def _fetch(repo: str, revision: str, wanted: Mapping[str, int], watcher: Watcher) -> Path:
    """Download these files into the cache and return their folder. Raises FamilyError or Cancelled."""
    total, done, path = sum(wanted.values()), 0, ""
    _check_disk(repo, total)
    for name, size in wanted.items():
        watcher.report("download", repo, done, total)
        path = _get(repo, revision, name, watcher, _FileProgress(done, total))
        done += size
    watcher.report("download", repo, done, total)
    return Path(path).parent


def _get(repo: str, revision: str, name: str, watcher: Watcher, coming: _FileProgress) -> str:
    """The path of one file in the cache, downloaded if it is missing."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415

    def get() -> str:
        return hf_hub_download(repo, name, revision=revision, tqdm_class=coming.bar())

    return _call_in_thread(get, repo, revision, watcher, coming)


@dataclass(slots=True)
class _FileProgress:
    """A file being downloaded, as counted by its progress bar."""

    done: int = 0  # bytes of the files before it
    total: int = 0
    seen: int = 0
    begun: bool = False
    given_up: bool = False  # the caller no longer waits for it

    def bar(self) -> Any:
        """A progress bar class for huggingface_hub that counts without displaying anything."""
        from tqdm.auto import tqdm  # noqa: PLC0415

        coming = self

        class Bar(tqdm):
            def __init__(self, *args: Any, **options: Any) -> None:
                options.pop("name", None)
                super().__init__(*args, **{**options, "disable": True})
                coming.seen, coming.begun = int(options.get("initial") or 0), True

            def update(self, n: float | None = 1) -> None:
                if coming.given_up:
                    raise Cancelled("The download was cancelled.")  # the partial file is kept
                coming.seen += int(n or 0)

        return Bar


def _call_in_thread(
    ask: Callable[[], Answer], repo: str, revision: str | None, watcher: Watcher, coming: _FileProgress
) -> Answer:
    """Run `ask` in its own thread, so that a hanging request does not block the caller for long.

    Raises FamilyError for any error of huggingface_hub, HubUnreachable on a timeout, or Cancelled.
    """
    answer: Future[Answer] = Future()
    Thread(target=_run, args=(ask, answer), name="hub", daemon=True).start()
    seen, since = coming.seen, time.monotonic()
    try:
        while not wait([answer], POLL_S).done:
            watcher.check()
            if coming.seen != seen:
                seen, since = coming.seen, time.monotonic()
                watcher.report("download", repo, coming.done + seen, coming.total)
            limit_s = STALL_S if coming.begun else ANSWER_S
            if time.monotonic() - since > limit_s:
                cut = incomplete if coming.begun else unreachable
                raise cut(repo, f"nothing came for {limit_s:.0f} seconds")
        return answer.result()
    except EFTError:
        raise
    except Exception as error:  # huggingface_hub, its HTTP library and the system raise many classes
        log.debug("huggingface_hub raised", exc_info=True)
        raise hub_error(error, repo, revision, arriving=coming.begun) from None
    finally:
        coming.given_up = True


def _run(ask: Callable[[], Answer], answer: Future[Answer]) -> None:
    try:
        answer.set_result(ask())
    except Exception as error:
        answer.set_exception(error)
    except BaseException as error:  # a panic of the library's Rust code
        answer.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))


def wanted_files(repo: str, files: Mapping[str, int], adapter: bool) -> dict[str, int]:
    """The files to download, small ones first. Raises FamilyError if there are no safetensors weights.

    The tokenizer is optional: one role's tokenizer is used for all, and any others are compared with it.
    """
    weights = [name for name in files if any(fnmatch.fnmatch(name, pattern) for pattern in WEIGHT_FILES)]
    weights = [name for name in weights if name.startswith("model") and "/" not in name]
    if adapter:
        weights = [name for name in ADAPTER_FILES if name in files]
    if not any(name.endswith(".safetensors") for name in weights):
        raise FamilyError(
            f"The repository {repo} has no weights as safetensors; other formats are not loaded, because "
            "they can run code. Please use a repository that has safetensors."
        )
    names = [name for name in (*(() if adapter else CONFIG_FILES), *sorted(weights)) if name in files]
    return {name: files[name] for name in names}


def _gguf_file(repo: str, files: Mapping[str, int], name: str) -> dict[str, int]:
    """The GGUF file to download. Raises FamilyError, with the ones there are, if it is not there."""
    if name not in files:
        others = [file for file in files if file.lower().endswith(SUFFIX)][:12]
        raise FamilyError(
            f"The repository {repo} has no file {name}. Please name one that it has: "
            f"{', '.join(others) or 'it has no GGUF files'}."
        )
    return {name: files[name]}


def _check_disk(repo: str, needed_bytes: int) -> None:
    """Raise FamilyError before the download if the disk is too small; huggingface_hub only warns."""
    try:
        folder = nearest_folder(cache_folder())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise hub_error(error, repo, None) from None
    if needed_bytes + SPARE_DISK_BYTES > free:
        raise FamilyError(
            f"{repo} needs {needed_bytes / 1e9:.1f} GB of disk space, and {folder} has {free / 1e9:.1f} GB "
            "free. Please free some space, or set HF_HOME to a folder on a larger disk."
        )


def nearest_folder(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
