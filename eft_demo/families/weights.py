"""A checkpoint's files as they lie in a folder: which there are, how large, what their headers promise.

Safetensors only, in one file or in several with an index. Reads headers, never the weights themselves.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from eft_demo.families.files import MAX_JSON_BYTES, check_start, is_file, read_text

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
    "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
# What bad files make: the libraries' own errors, numbers that are none, a nesting without end.
BROKEN = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, RecursionError,
    SafetensorError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """One tensor as a header describes it."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """What it takes as it is stored."""
        return self.elements * ITEM_BYTES.get(self.dtype, 4)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files with the weights, there or not. Raises what BROKEN lists for an index that is damaged."""
    index = folder / INDEX
    if is_file(folder / WEIGHTS) or not is_file(index):
        return (folder / WEIGHTS,)
    names = sorted(set(json.loads(read_text(index, MAX_JSON_BYTES))["weight_map"].values()))
    # The index is a stranger's: it may not point out of its folder.
    if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise ValueError(f"{INDEX} names files that are none of this folder's safetensors")
    return tuple(folder / name for name in names)


def missing_files(folder: Path) -> tuple[Path, ...]:
    """Which of configuration and weights are not there. Raises FamilyError where that cannot be seen."""
    try:
        files = (folder / "config.json", *weight_files(folder))
    except BROKEN:
        return ()
    return tuple(path for path in files if not is_file(path))


def open_weights(path: Path) -> Any:
    """A file of weights, its header read. Raises FamilyError if it is none, else what BROKEN has."""
    check_start(path)
    return safe_open(path, framework="pt")


def headers(folder: Path) -> Mapping[str, Header]:
    """Every tensor of the checkpoint by name. Raises what `BROKEN` lists for damaged files."""
    found: dict[str, Header] = {}
    for path in weight_files(folder):
        with open_weights(path) as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                part = file.get_slice(name)
                found[name] = Header(tuple(part.get_shape()), part.get_dtype())
    return found
