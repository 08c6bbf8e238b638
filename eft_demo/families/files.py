"""Reading untrusted files: they may be huge, special files, git-lfs pointers or web pages saved by mistake.

Knows how downloads go wrong; does not know what the files mean.
"""

from pathlib import Path

from eft_demo.errors import FamilyError
from eft_demo.settings import show_value

MAX_YAML_BYTES = 200_000  # a typical family file has 3,000
MAX_JSON_BYTES = 20_000_000  # the largest is the index of a model in hundreds of files
MAX_TOKENIZER_BYTES = 200_000_000  # the largest known has 35 million
MAX_TEMPLATE_BYTES = 1_000_000
YAML = (".yaml", ".yml")  # in capitals too, as some systems write them
_POINTER = b"version https://git-lfs.github.com/spec/"


def yaml_files(folder: Path) -> list[Path]:
    """The YAML files of a folder, by name. Hidden ones are left out: macOS puts a ._name beside each name."""
    named = (path for path in folder.glob("*") if path.suffix.lower() in YAML)
    return sorted(path for path in named if not path.name.startswith(".") and path.is_file())


def is_file(path: Path) -> bool:
    """Whether the path is a regular file. Raises FamilyError if its folder may not be read."""
    try:
        return path.is_file()
    except OSError as error:
        raise FamilyError(
            f"{show_value(str(path))} cannot be read ({error.strerror}). Please use a folder that you are "
            "allowed to read."
        ) from None


def expand_home(text: str) -> Path:
    """Expand ~ or ~name in a path. Raises FamilyError for an unknown home folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise FamilyError(
            f"{show_value(text)} starts with ~, but that home folder is unknown on this machine. Please use "
            "the full path."
        ) from None


def read_text(path: Path, max_bytes: int) -> str:
    """A file's text without a byte order mark. Raises OSError if it cannot be read.

    Raises FamilyError for a file that is too long, is not UTF-8, or is a git-lfs pointer or a web page.
    """
    if path.exists() and not path.is_file():
        raise FamilyError(f"{path} is not a regular file. Please use one.")
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise FamilyError(
            f"{path} is longer than the limit of {max_bytes:,} bytes. Please restore the original file or "
            "choose another one."
        )
    check_start(path, content)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FamilyError(
            f"{path} is not UTF-8 text. Please save it as UTF-8 or restore the original file."
        ) from None


def check_start(path: Path, content: bytes | None = None) -> None:
    """Raise FamilyError for a git-lfs pointer or a web page, OSError if the file cannot be read."""
    if content is None:
        with path.open("rb") as file:
            content = file.read(200)
    if content.startswith(_POINTER):
        raise FamilyError(
            f"{path} is only a git-lfs pointer, because the repository was cloned without git-lfs. Please "
            f"install git-lfs and run `git lfs pull` in {path.parent}."
        )
    if content[:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise FamilyError(
            f"{path} is damaged: it contains a web page, perhaps the login page of a network. Please delete "
            "it and download it again."
        )
