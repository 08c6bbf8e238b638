"""The weight files of a checkpoint folder: which there are, and what their headers say.

Safetensors, in one file or several with an index, or one GGUF file in the place of the folder. Reads headers,
never the weights themselves.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from eft_demo.families.files import MAX_JSON_BYTES, check_start, is_file, read_text
from eft_demo.families.gguf import is_gguf

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # PEFT's names
PLAIN = ("F64", "F32", "F16", "BF16")  # dtypes that need no scales
ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
    "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
# Exceptions raised by corrupt files: the libraries' own errors, invalid values, endless nesting.
BROKEN = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, RecursionError,
    SafetensorError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """One tensor as described in a header."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """The number of its elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Its stored size."""
        return self.elements * ITEM_BYTES.get(self.dtype, 4)


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The paths of the weight files, which may not exist. Raises any of BROKEN for a damaged index."""
    if is_gguf(folder):
        return (folder,)
    index = folder / INDEX
    if is_file(folder / WEIGHTS) or not is_file(index):
        return (folder / WEIGHTS,)
    names = sorted(set(json.loads(read_text(index, MAX_JSON_BYTES))["weight_map"].values()))
    # The index is untrusted: it must not point outside its folder.
    if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise ValueError(f"{INDEX} names files that are not safetensors in its folder")
    return tuple(folder / name for name in names)


def missing_files(folder: Path) -> tuple[Path, ...]:
    """The missing files among config.json and the weights. Raises FamilyError for an unreadable folder."""
    try:
        files = weight_files(folder)
        files = files if is_gguf(folder) else (folder / "config.json", *files)
    except BROKEN:
        return ()
    return tuple(path for path in files if not is_file(path))


def open_weights(path: Path) -> Any:
    """Open a weight file and read its header. Raises any of BROKEN, FamilyError for a pointer or web page."""
    check_start(path)
    return safe_open(path, framework="pt")


def headers(folder: Path) -> Mapping[str, Header]:
    """Every tensor of the checkpoint by name. Raises any of `BROKEN` for damaged files."""
    found: dict[str, Header] = {}
    for path in weight_files(folder):
        found |= file_headers(path)
    return found


def file_headers(path: Path) -> dict[str, Header]:
    """Every tensor of one safetensors file by name. Raises any of `BROKEN` for a damaged file."""
    found: dict[str, Header] = {}
    with open_weights(path) as file:
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            part = file.get_slice(name)
            found[name] = Header(tuple(part.get_shape()), part.get_dtype())
    return found
