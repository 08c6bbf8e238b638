"""Output paths that cannot be written are rejected before anything is loaded, run or downloaded."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.host.outputs import check_file, check_folder, replace_file, writing
from eft_demo.lab import pin as lab
from eft_demo.settings import ASSETS, Settings
from tests.command_line import run_cli

NO_PLACES = ["/proc/x", "/dev/null/x", "/dev/null", "/sys/x", "/proc/self/x", "/" + "x" * 300]


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if the long work begins."""

    def begun(*_: object, **__: object) -> None:
        raise AssertionError("the work began before the output path was checked")

    monkeypatch.setattr(Service, "load", begun)
    monkeypatch.setattr(lab, "look_up", begun)


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command line, which must fail with one line on stderr; returns that line."""
    code = run_cli(monkeypatch, *arguments)
    out, said = capsys.readouterr()
    assert code == 2 and out == "" and said.count("\n") == 1 and "Traceback" not in said
    return said


@pytest.mark.parametrize("place", NO_PLACES)
def test_record_refuses_a_folder_it_cannot_write(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(monkeypatch, capsys, "record", "--out", place)
    assert place in said and "--out" in said


@pytest.mark.parametrize("option", ["--out", "--work"])
@pytest.mark.parametrize("place", NO_PLACES)
def test_train_atlas_refuses_a_folder_it_cannot_write(
    option: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"--out": str(tmp_path / "out"), "--work": str(tmp_path / "work"), option: place}
    said = refused(monkeypatch, capsys, "train-atlas", *(word for pair in places.items() for word in pair))
    assert place in said and option in said


def test_an_unknown_stage_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "'huge_base'" in refused(monkeypatch, capsys, "train-atlas", "--stage", "huge_base")
    assert not list(tmp_path.iterdir())


def test_a_folder_in_place_of_an_output_file_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pirate.json").mkdir()
    assert "pirate.json" in refused(monkeypatch, capsys, "record", "--out", str(tmp_path))


def test_a_family_file_is_checked_before_its_repositories_are_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text((ASSETS / "families" / "qwen2.5.yaml").read_text())
    monkeypatch.setattr(lab, "check_file", lambda file, option: check_file(Path("/proc") / file.name, option))
    checks = lab.pin(Settings(), str(path))
    assert not checks[-1].ok and "own.yaml" in checks[-1].detail and "--family-file" in checks[-1].detail


def test_checking_an_output_file_does_not_change_it(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("kept")
    check_file(tmp_path / "there", "--out")
    check_file(tmp_path / "new", "--out")
    check_folder(tmp_path / "a" / "b", "--out")
    assert (tmp_path / "there").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "there"]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with pytest.raises(InputError, match="full .*No space left"), writing(full, "--out"):
        full.write_text("x")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from eft_demo.host.outputs import replace_file

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # a write beyond it fails, as on a full disk
try:
    replace_file(Path(sys.argv[1]), "new" * 1000)
except OSError:
    sys.exit(7)
"""


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    replace_file(path, "old")
    assert subprocess.run([sys.executable, "-c", FULL_DISK, str(path)]).returncode == 7
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replaced_file_is_still_found_by_its_link(tmp_path: Path) -> None:
    file, link = tmp_path / "run.json", tmp_path / "link.json"
    file.write_text("old")
    link.symlink_to(file)
    replace_file(link, "new")
    assert link.is_symlink() and file.read_text() == "new"


def test_two_processes_may_replace_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, replace = tmp_path / "run.json", Path.replace
    other = "import sys; from eft_demo.host.outputs import *; replace_file(Path(sys.argv[1]), 'other')"

    def just_after_the_other(new: Path, target: Path) -> Path:
        subprocess.run([sys.executable, "-c", other, str(path)], check=True)
        assert path.read_text() == "other"
        return replace(new, target)

    monkeypatch.setattr(Path, "replace", just_after_the_other)
    replace_file(path, "this")
    assert path.read_text() == "this"
    assert list(tmp_path.iterdir()) == [path]


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("old")
    path.chmod(0o600)
    replace_file(path, "new")
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_mounted_alone_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("old")

    def busy(new: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    replace_file(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
