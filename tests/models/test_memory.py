"""Memory: free bytes under all limits, freeing, garbage collection, and recognising shortages."""

import errno
import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from eft_demo.engine.service import Service
from eft_demo.host.limits import free_by_limit, is_memory_error, shortage
from eft_demo.models.memory import free_memory, free_unused, freeze_loaded_objects, out_of_memory
from eft_demo.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GB = 10**9


class Node:
    """An object with a reference to itself, so that only the garbage collector can free it."""

    def __init__(self) -> None:
        self.me = self


def test_exempted_objects_are_freed_once_they_are_unreachable() -> None:
    node = Node()
    gone = weakref.ref(node)
    freeze_loaded_objects()
    del node
    gc.collect()
    assert gone() is not None
    free_unused()
    assert gone() is None


def test_garbage_collection_scans_few_objects_while_a_service_runs(tiny_settings: Settings) -> None:
    gc.unfreeze()
    service = Service.load(tiny_settings, "tiny", ["large_base"])
    try:
        stays, looked_at = gc.get_freeze_count(), len(gc.get_objects())
        assert looked_at < stays / 10
    finally:
        service.stop()


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def least(tmp_path: Path, groups: str, mounts: str) -> int:
    """The free bytes for a process in these groups, on a machine with more memory."""
    (tmp_path / "groups").write_text(groups)
    (tmp_path / "mounts").write_text(mounts.format(place=tmp_path / "fs"))
    return min(left.free_bytes for left in free_by_limit(tmp_path / "groups", tmp_path / "mounts"))


V2_MOUNT = "29 23 0:26 {root} {{place}} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "35 31 0:32 {root} {{place}} rw - cgroup cgroup rw,memory\n"


def test_the_tightest_of_nested_control_groups_counts(tmp_path: Path) -> None:
    group(tmp_path / "fs", memory__stat="inactive_file 0")
    outer = tmp_path / "fs" / "user.slice"
    group(outer, memory__max=3 * GB // 10, memory__current=GB // 10, memory__stat="anon 5\ninactive_file 0")
    group(outer / "app", memory__max="max", memory__current=GB // 20, memory__stat="inactive_file 0")
    groups = "0::/user.slice/app\n"
    assert least(tmp_path, groups, V2_MOUNT.format(root="/")) == 2 * GB // 10
    (outer / "app" / "memory.high").write_text(str(GB // 10))
    assert least(tmp_path, groups, V2_MOUNT.format(root="/")) == GB // 20
    (outer / "app" / "memory.stat").write_text(f"inactive_file {GB // 50}\n")  # file cache can be reclaimed
    assert least(tmp_path, groups, V2_MOUNT.format(root="/")) == GB // 20 + GB // 50


@pytest.mark.parametrize(
    ("groups", "root", "inside"),
    [
        ("0::/\n", "/", ""),  # a container with its own view of the groups
        ("0::/docker/abc\n", "/docker/abc", ""),  # one without
        ("0::/docker/abc\n", "/", "docker/abc"),  # the machine itself
    ],
)
def test_the_control_group_of_a_container_is_found(
    tmp_path: Path, groups: str, root: str, inside: str
) -> None:
    folder = tmp_path / "fs" / inside
    group(folder, memory__max=GB // 10, memory__current=GB // 100, memory__stat="inactive_file 0")
    assert least(tmp_path, groups, V2_MOUNT.format(root=root)) == 9 * GB // 100


def test_control_groups_of_version_1_are_read(tmp_path: Path) -> None:
    names = {"memory__limit_in_bytes": GB // 10, "memory__usage_in_bytes": GB // 20}
    group(tmp_path / "fs" / "job", **names, memory__stat="total_inactive_file 0")
    names["memory__limit_in_bytes"] = 9223372036854771712
    group(tmp_path / "fs", **names, memory__stat="total_inactive_file 0")
    assert least(tmp_path, "9:name=systemd:/x\n4:memory:/job\n", V1_MOUNT.format(root="/")) == GB // 20


@pytest.mark.parametrize("groups", ["", "nonsense", "0::/../..\n"])
def test_without_readable_groups_the_machines_memory_counts(tmp_path: Path, groups: str) -> None:
    assert least(tmp_path, groups, "nonsense\n") > 0
    assert free_by_limit(tmp_path / "none", tmp_path / "none")[0].limit == "this machine"


@pytest.mark.parametrize("limit", ["as", "data"])
def test_the_limits_of_the_process_count(limit: str) -> None:
    code = "from eft_demo.host.limits import free_bytes; import sys; sys.stdout.write(str(free_bytes()))"
    command = ["prlimit", f"--{limit}={GB}", sys.executable, "-c", code]
    free = int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    assert 0.8 * GB < free < GB


def test_the_error_names_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eft_demo.models.memory.free_bytes", lambda: GB)
    assert free_memory()["cpu"] == GB and "cpu 1.0 GB" in str(out_of_memory("m", "load"))


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (MemoryError(), "this machine"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
    ],
)
def test_shortages_are_recognised(error: Exception, named: str) -> None:
    assert named in shortage(error)


def test_other_errors_are_not_shortages() -> None:
    assert not shortage(ValueError("out of memory")) and not is_memory_error(OSError(errno.ENOENT, "memory"))


def test_an_error_caused_by_a_shortage_is_recognised() -> None:
    wake = AttributeError("no attribute '_ssock'")
    wake.__context__ = OSError(errno.EMFILE, "Too many open files")
    assert "ulimit -n" in shortage(wake)
