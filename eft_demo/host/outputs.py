"""Output files: checked before the work that fills them begins, and replaced only by whole ones.

Knows the file system; knows nothing about what is written.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eft_demo.errors import InputError

# A file that nothing can replace may still be writable: mounted alone, as into a container, or in a folder
# that is not writable.
_IN_PLACE = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS)


def check_folder(folder: Path, option: str) -> None:
    """Create `folder` if it does not exist, and write a byte into it. Raises InputError with the reason.

    Checking permissions is not enough: root has all of them, and a disk may be full or read-only.
    """
    with writing(folder, option):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")


def check_file(path: Path, option: str) -> None:
    """Raises InputError if `path` cannot be opened for writing. Neither changes nor creates the file."""
    with writing(path, option):
        there = path.exists()
        with path.open("ab"):
            pass
        if not there:
            path.unlink()


@contextmanager
def writing(path: Path, option: str) -> Iterator[None]:
    """Turn an OSError from writing `path` into an InputError that names the path and `option`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{path} cannot be written ({reason}). Please choose another place with {option}.",
            code="not_writable",
        ) from None


def replace_file(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`. If that fails, as on a full disk, the file stays as it was.

    A link to a file stays one, and a file keeps its permissions. Raises OSError.
    """
    path = path.resolve()
    new = path.with_name(f"{path.name}.{os.getpid()}.new")  # two processes may write the same file
    try:
        new.write_text(text, encoding="utf-8")
        if path.exists():
            shutil.copymode(path, new)
        new.replace(path)
    except OSError as error:
        if error.errno not in _IN_PLACE:
            raise
        path.write_text(text, encoding="utf-8")
    finally:
        with suppress(OSError):
            new.unlink()
