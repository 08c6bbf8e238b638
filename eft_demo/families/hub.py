"""Repositories of the Hugging Face hub: found in the cache, downloaded with progress and within deadlines.

Only what is needed comes: weights as safetensors, the tokenizer, the configuration; never code. Knows the
hub's library; knows no models. What its faults mean stands in `hub_faults`.
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
from eft_demo.families.hub_faults import cache_folder, not_the_hub, sentence_for, unreachable
from eft_demo.families.weights import missing_files

CONFIG_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
)  # fmt: skip
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
TIMEOUT_S = 10.0  # between two bytes of an answer
# Until a question is answered, or a file begins to come. The library's own timeouts start anew with every
# byte and every attempt, and some of its requests have none.
ANSWER_S = 60.0
STALL_S = 300.0  # between two signs of a file that comes: the library gives one per 10 MB
POLL_S = 0.1
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


@dataclass(frozen=True, slots=True)
class Facts:
    """What the hub says of a repository: its newest commit, the licence on its card, its files with sizes."""

    commit: str
    licence: str
    files: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who hears of progress, and who may cancel it."""

    progress: Progress = silent
    cancel: Event | None = None

    def tell(self, stage: str, what: str, done_bytes: int = 0, total_bytes: int = 0) -> None:
        """Pass on how far it is. Raises Cancelled if somebody called it off."""
        self.check()
        self.progress(Stage(stage, what, done_bytes, total_bytes))

    def check(self) -> None:
        """Raises Cancelled if somebody called it off."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("Stopped, as asked. What was loaded before goes on.")


QUIET = Watcher()
Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


def cached_folder(repo: str, revision: str | None, adapter: bool = False) -> Path | None:
    """Where the repository of a model or an adapter lies whole in the hub's cache, or None. No network.

    Raises FamilyError for what is no name of a repository, or a cache that cannot be read.
    """
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 (a second, and Atlas does without)
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415

    first = ADAPTER_FILES[0] if adapter else "config.json"
    try:
        found = try_to_load_from_cache(repo, first, revision=revision)
    except (HFValidationError, OSError) as error:
        raise sentence_for(error, repo, revision) from None
    if not isinstance(found, str):
        return None
    folder = Path(found).parent
    missing = [name for name in ADAPTER_FILES if not is_file(folder / name)] if adapter else ()
    return None if missing or (not adapter and missing_files(folder)) else folder


def download(repo: str, revision: str | None, watcher: Watcher, adapter: bool = False) -> Path:
    """The folder of a repository, from the cache or else from the hub. Raises FamilyError or Cancelled."""
    folder = cached_folder(repo, revision, adapter)
    if folder is not None:
        return folder
    watcher.tell("download", repo)
    facts = look_up(repo, revision, watcher)
    wanted = _wanted(repo, facts.files, adapter)
    folder = _fetch(repo, facts.commit, wanted, watcher)
    if revision != facts.commit:
        # Asked for by a branch's name, the library notes which commit that is: it is found again offline.
        _get(repo, revision or "main", next(iter(wanted)), watcher, _Coming())
    return folder


def download_config(repo: str, facts: Facts) -> Path:
    """A folder with all of a repository but its weights. Raises FamilyError."""
    wanted = {name: facts.files[name] for name in CONFIG_FILES if name in facts.files}
    if "config.json" not in wanted:
        raise FamilyError(f"The repository {repo} has no config.json. Please name one that has a model.")
    return _fetch(repo, facts.commit, wanted, QUIET)


def look_up(repo: str, revision: str | None = None, watcher: Watcher = QUIET) -> Facts:
    """Ask the hub about a repository. Raises FamilyError, HubUnreachable if there is no answer, Cancelled."""
    from huggingface_hub import HfApi  # noqa: PLC0415

    def ask() -> Facts:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
        files = {str(file.rfilename): max(int(file.size or 0), 0) for file in info.siblings or ()}
        licence = getattr(info.card_data, "license", None)
        if not re.fullmatch(r"[0-9a-f]{40}", str(info.sha)):
            raise not_the_hub(repo)
        return Facts(str(info.sha), licence if isinstance(licence, str) else "", files)

    return _asked(ask, repo, revision, watcher, _Coming())


def _fetch(repo: str, revision: str, wanted: Mapping[str, int], watcher: Watcher) -> Path:
    """Download these files of a revision into the cache: their folder. Raises FamilyError or Cancelled."""
    total, done, path = sum(wanted.values()), 0, ""
    _check_disk(repo, total)
    for name, size in wanted.items():
        watcher.tell("download", repo, done, total)
        path = _get(repo, revision, name, watcher, _Coming(done, total))
        done += size
    watcher.tell("download", repo, done, total)
    return Path(path).parent


def _get(repo: str, revision: str, name: str, watcher: Watcher, coming: _Coming) -> str:
    """The path of one file in the cache, downloaded if it is not there."""
    from huggingface_hub import hf_hub_download  # noqa: PLC0415

    def get() -> str:
        return hf_hub_download(repo, name, revision=revision, tqdm_class=coming.bar())

    return _asked(get, repo, revision, watcher, coming)


@dataclass(slots=True)
class _Coming:
    """A file that comes, as its progress bar counts it."""

    done: int = 0  # bytes of the files before it
    total: int = 0
    seen: int = 0
    begun: bool = False
    given_up: bool = False  # nobody waits for it any more

    def bar(self) -> Any:
        """A progress bar class for the hub's library that shows nothing and counts."""
        from tqdm.auto import tqdm  # noqa: PLC0415

        coming = self

        class Bar(tqdm):
            def __init__(self, *args: Any, **options: Any) -> None:
                options.pop("name", None)
                super().__init__(*args, **{**options, "disable": True})
                coming.seen, coming.begun = int(options.get("initial") or 0), True

            def update(self, n: float | None = 1) -> None:
                if coming.given_up:
                    raise Cancelled("Nobody waits for this file any more.")  # it stays partial
                coming.seen += int(n or 0)

        return Bar


def _asked(
    ask: Callable[[], Answer], repo: str, revision: str | None, watcher: Watcher, coming: _Coming
) -> Answer:
    """What `ask` says, in a thread of its own: what hangs there holds up nobody for long.

    Raises FamilyError for whatever the hub's library raises, HubUnreachable when the time is over, Cancelled.
    """
    answer: Future[Answer] = Future()
    Thread(target=_run, args=(ask, answer), name="hub", daemon=True).start()
    seen, since = coming.seen, time.monotonic()
    try:
        while not wait([answer], POLL_S).done:
            watcher.check()
            if coming.seen != seen:
                seen, since = coming.seen, time.monotonic()
                watcher.tell("download", repo, coming.done + seen, coming.total)
            limit_s = STALL_S if coming.begun else ANSWER_S
            if time.monotonic() - since > limit_s:
                raise unreachable(repo, f"nothing came for {limit_s:.0f} seconds")
        return answer.result()
    except EFTError:
        raise
    except Exception as error:  # the library, the HTTP library under it and this machine raise what they like
        log.debug("The hub's library raised", exc_info=True)
        raise sentence_for(error, repo, revision) from None
    finally:
        coming.given_up = True


def _run(ask: Callable[[], Answer], answer: Future[Answer]) -> None:
    try:
        answer.set_result(ask())
    except Exception as error:
        answer.set_exception(error)
    except BaseException as error:  # the library's Rust part panics with one
        answer.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))


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
    try:
        folder = nearest_folder(cache_folder())
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise sentence_for(error, repo, None) from None
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
