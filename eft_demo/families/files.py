"""Files that came from elsewhere, read within limits: they may be huge, no files at all, or stand for others.

Knows what downloads go wrong with; knows nothing of what the files mean.
"""

from pathlib import Path

from eft_demo.errors import FamilyError
from eft_demo.settings import show_value

MAX_YAML_BYTES = 200_000  # a family file has three thousand
MAX_JSON_BYTES = 20_000_000  # the largest configuration is the index of a model in hundreds of files
MAX_TOKENIZER_BYTES = 200_000_000  # the largest known has 35 million
MAX_TEMPLATE_BYTES = 1_000_000
_POINTER = b"version https://git-lfs.github.com/spec/"


def is_file(path: Path) -> bool:
    """Whether there is a plain file. Raises FamilyError where nobody may look, as in another's folder."""
    try:
        return path.is_file()
    except OSError as error:
        raise FamilyError(
            f"{show_value(str(path))} cannot be read ({error.strerror}). Please name a folder that you may "
            "read."
        ) from None


def at_home(text: str) -> Path:
    """A path, its ~ or ~name spelled out. Raises FamilyError for a home that nobody knows."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise FamilyError(
            f"{show_value(text)} begins with ~, and this machine does not know that home. Please write the "
            "whole path."
        ) from None


def read_text(path: Path, max_bytes: int) -> str:
    """A file's text, without the mark that Windows puts first. Raises OSError if it cannot be read.

    Raises FamilyError for a file that is too long, is no text or stands for another.
    """
    if path.exists() and not path.is_file():
        raise FamilyError(f"{path} is no plain file. Please name one.")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise FamilyError(
            f"{path} is longer than {max_bytes:,} bytes, the most that is read of such a file. Please "
            "restore it from where it came, or choose another family."
        )
    check_start(path, content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FamilyError(
            f"{path} is no text in UTF-8. Please save it as UTF-8, or restore it from where it came."
        ) from None


def check_start(path: Path, content: bytes | None = None) -> None:
    """Raises FamilyError for a file that stands for another one, OSError if there is none."""
    if content is None:
        with path.open("rb") as file:
            content = file.read(200)
    if content.startswith(_POINTER):
        raise FamilyError(
            f"{path} is not the file itself but a pointer of git-lfs to it: the repository was cloned "
            f"without git-lfs. Please install git-lfs and run `git lfs pull` in {path.parent}."
        )
    if content[:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise FamilyError(
            f"{path} is damaged: it is a web page, such as the login page of a network, and not the file. "
            "Please delete it and download it again."
        )
