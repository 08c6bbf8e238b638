"""The page's modules as one classic script, for a saved page, which must not load anything.

Knows the one form of import that the modules use; knows nothing of what they do.
"""

import base64
import hashlib
import re
from pathlib import Path

from eft_demo.errors import EFTError

_IMPORT = re.compile(r'^import \{[^}]*\} from "(\.{1,2}/[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|const|let|class) )", re.MULTILINE)
_COMMENT = re.compile(r"^ *//.*\n", re.MULTILINE)  # no module has a text of several lines with such a line
_LEFT = re.compile(r"^(?:import|export)\b", re.MULTILINE)


class BundleError(EFTError):
    """A module that cannot be joined with others as it is written."""


def bundle(entry: Path) -> str:
    """`entry` and all its imports, each module once and after its own imports, as one strict-mode script.

    Lines that are comments are left out, because a phone in a full class room loads this.

    Raises BundleError for another form of import or export than `import { a, b } from "./c.js"` and
    `export` before a declaration. It does not check for duplicate names; a test does.
    """
    parts: dict[Path, str] = {}
    _add(entry.resolve(), parts)
    return "\n".join(['"use strict";', *parts.values()])


def modules_of(entry: Path) -> list[Path]:
    """The files that `bundle` joins, in its order. Raises BundleError."""
    parts: dict[Path, str] = {}
    _add(entry.resolve(), parts)
    return list(parts)


def _add(path: Path, parts: dict[Path, str]) -> None:
    if path in parts:
        return
    text = path.read_text(encoding="utf-8")
    for name in _IMPORT.findall(text):
        _add((path.parent / name).resolve(), parts)
    text = _COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub("", text)))
    if _LEFT.search(text):
        raise BundleError(f"{path.name} imports or exports in a form that cannot be joined into one script.")
    parts[path] = text


def source_hash(text: str) -> str:
    """What a Content-Security-Policy calls a page's own script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
