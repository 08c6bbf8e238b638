"""The memory, threads and files this process may still use, under every limit that applies.

Knows the operating system; knows nothing about models and does not need torch, so that it can report a
problem before torch is imported.
"""

import errno
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from eft_demo.errors import OutOfMemory

# Bytes of memory used and of address space reserved at start, measured with a CPU build of torch and rounded
# down: with the bundled family, and without models. If more is needed, that error is caught when it occurs.
START, START_OF_PAGE = (430_000_000, 1_100_000_000), (300_000_000, 750_000_000)
_GROUPS = Path("/proc/self/cgroup")
_MOUNTS = Path("/proc/self/mountinfo")
# A control group's limit files, its usage file, and the field for the part of the usage that is cache.
_Files = tuple[tuple[str, ...], str, str]
_VERSION_1 = (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = (("memory.max", "memory.high"), "memory.current", "inactive_file")
_LACKS = ("allocate memory", "out of memory", "bad_alloc", "failed to map segment", "start new thread")


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """What one limit leaves, in bytes. `addresses`: it counts reserved address space, not used memory."""

    limit: str
    free_bytes: int
    addresses: bool = False


def free_by_limit(groups: Path = _GROUPS, mounts: Path = _MOUNTS) -> list[FreeMemory]:
    """What the machine and every limit set for this process leave."""
    found = [FreeMemory("this machine", psutil.virtual_memory().available), *_free_by_group(groups, mounts)]
    if sys.platform == "linux":
        own = psutil.Process().memory_info()
        for name, option, taken in (("RLIMIT_AS", "-v", own.vms), ("RLIMIT_DATA", "-d", own.data)):
            if (limit := _own_limit(name)) is not None:
                left = max(limit - taken, 0)
                found.append(FreeMemory(f"{name} (ulimit {option})", left, addresses=name == "RLIMIT_AS"))
    return found


def free_bytes() -> int:
    """How much memory this process may still use: the least that any limit leaves."""
    return min(left.free_bytes for left in free_by_limit())


def check_start(with_models: bool) -> None:
    """Raises OutOfMemory if the start cannot succeed: some libraries would crash the process instead."""
    for left in free_by_limit():
        needed = (START if with_models else START_OF_PAGE)[left.addresses]
        if left.free_bytes < needed:
            raise OutOfMemory(
                f"There is not enough memory to start: {left.limit} leaves {left.free_bytes / 1e9:.2f} GB, "
                f"but at least {needed / 1e9:.2f} GB are needed. "
                "Please raise that limit, or use a larger machine."
            )


def shortage(error: BaseException | None) -> str:
    """The message for an error that means too little memory, too few threads or too few files; else "".

    Also looks at the errors that led to this one: handling such an error often fails in other ways.
    """
    while error is not None and not (message := _own_shortage(error)):
        error = error.__cause__ or error.__context__
    return "" if error is None else message


def _own_shortage(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        limit = _own_limit("RLIMIT_NOFILE")
        return f"The limit of {limit} open files is too low. Please raise it: ulimit -n 1024."
    if not is_memory_error(error):
        return ""
    tightest = min(free_by_limit(), key=lambda left: left.free_bytes)
    also = ""
    if "thread" in str(error):
        also = f", or the number of threads is limited to {_own_limit('RLIMIT_NPROC')} (ulimit -u)"
    return (
        f"There is not enough memory: {tightest.limit} leaves {tightest.free_bytes / 1e9:.2f} GB{also}. "
        "Please raise that limit, or use a larger machine."
    )


def is_memory_error(error: BaseException) -> bool:
    """Whether memory or a thread could not be allocated. Many libraries show it only in the message."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return isinstance(error, (RuntimeError, ImportError, OSError)) and any(s in str(error) for s in _LACKS)


def _own_limit(name: str) -> int | None:
    """A limit of this process, such as RLIMIT_AS; None if it is unlimited. Linux only."""
    soft, _ = psutil.Process().rlimit(getattr(psutil, name))
    return None if soft == psutil.RLIM_INFINITY else int(soft)


def _free_by_group(groups: Path, mounts: Path) -> Iterator[FreeMemory]:
    """What each control group of this process leaves, from its own up to the root."""
    for folder, (limits, used, cache) in _group_folders(groups, mounts):
        try:
            taken = int((folder / used).read_text()) - _reclaimable(folder / "memory.stat", cache)
            least = min(_limit(folder / name) for name in limits)
        except (OSError, ValueError):
            continue  # the root has no such files
        if least < psutil.virtual_memory().total:  # in version 1 a huge number means no limit
            yield FreeMemory(f"the control group {folder}", max(int(least) - taken, 0))


def _group_folders(groups: Path, mounts: Path) -> Iterator[tuple[Path, _Files]]:
    """Folders of this process's memory groups, each with the file names of its cgroup version."""
    try:
        lines = [line.split(":", 2) for line in groups.read_text().splitlines()]
        mounted = [_mount(line) for line in mounts.read_text().splitlines()]
    except (OSError, ValueError, IndexError):
        return
    for number, controllers, path in lines:
        kind, files = ("cgroup2", _VERSION_2) if number == "0" else ("cgroup", _VERSION_1)
        for found, options, root, place in mounted:
            if found == kind and (
                number == "0" or "memory" in controllers.split(",") and "memory" in options
            ):
                # In a container the mount may begin at the container's own group.
                inside = path.removeprefix(root if root != "/" else "").strip("/")
                own = place / inside
                yield from ((folder, files) for folder in (own, *own.parents) if folder.is_relative_to(place))


def _mount(line: str) -> tuple[str, list[str], str, Path]:
    """File system type, options, root within the hierarchy, and mount point of a line of mountinfo."""
    where, what = line.split(" - ", 1)
    fields, (kind, _, options) = where.split(" "), what.split(" ", 2)
    return kind, options.split(","), fields[3], Path(fields[4])


def _limit(file: Path) -> float:
    text = file.read_text().strip() if file.exists() else "max"
    return float("inf") if text == "max" else int(text)


def _reclaimable(file: Path, name: str) -> int:
    """Bytes of file cache that count towards the group's usage but can be reclaimed."""
    found: Mapping[str, str] = dict(line.split(" ", 1) for line in file.read_text().splitlines())
    return int(found.get(name, 0))
