"""A GGUF file: its metadata and what its tensors are called, how they are stored and where they lie.

Reads the header, never the weights, and checks everything that llama.cpp will rely on: the file is untrusted.
Knows the container; `gguf_model` knows what the entries mean.
"""

import math
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from eft_demo.errors import FamilyError
from eft_demo.families.files import check_start

SUFFIX = ".gguf"
# The largest known header, with 262,144 tokens and half a million merges, has 20 million bytes.
MAX_HEADER_BYTES = 64_000_000
MAX_ENTRIES = 100_000
MAX_TENSORS = 100_000
MAX_KEY_BYTES = 65_535
MAX_DIMENSIONS = 4
# The format's number: how a value is unpacked, and its size in bytes.
SCALARS = {
    0: ("B", 1), 1: ("b", 1), 2: ("H", 2), 3: ("h", 2), 4: ("I", 4), 5: ("i", 4), 6: ("f", 4), 7: ("B", 1),
    10: ("Q", 8), 11: ("q", 8), 12: ("d", 8),
}  # fmt: skip
BOOL, STRING, ARRAY = 7, 8, 9
# The format's number: its name, the weights in a block, and the block's bytes.
FORMATS = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip

VERSIONS = (2, 3)
# Of versions and formats, far from being reached. A larger one is damage, or has its bytes in another order.
LAST_NUMBER = 1000
OLDER = (b"lmgg", b"fmgg", b"tjgg", b"algg")  # how files of the older formats start: GGML, GGMF, GGJT, GGLA
CONVERT = "Please download a newer file of the model, or convert the model with llama.cpp again."

Value = bool | int | float | str | list[str] | array  # type: ignore[type-arg]


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor as described in the header."""

    shape: tuple[int, ...]  # the innermost dimension first
    format: str
    bytes: int

    @property
    def elements(self) -> int:
        """The number of its elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Gguf:
    """The header of a file. The getters raise ValueError for an entry of another type."""

    path: Path
    entries: Mapping[str, Value]
    tensors: Mapping[str, GgufTensor]

    def text(self, key: str, default: str = "") -> str:
        """A text, or the default if there is no such entry."""
        value = self.entries.get(key, default)
        if not isinstance(value, str):
            raise ValueError(f"{key} is not a text")
        return value

    def integer(self, key: str, default: int | None = None) -> int | None:
        """A whole number, or the default if there is no such entry."""
        value = self.entries.get(key, default)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(f"{key} is not a whole number")
        return value

    def flag(self, key: str) -> bool | None:
        """True or false, or None if there is no such entry."""
        value = self.entries.get(key)
        if value is not None and not isinstance(value, bool):
            raise ValueError(f"{key} is neither true nor false")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of texts; empty if there is no such entry."""
        value = self.entries.get(key, [])
        if not isinstance(value, list):
            raise ValueError(f"{key} is not a list of texts")
        return value

    def integers(self, key: str) -> list[int]:
        """A list of whole numbers; empty if there is no such entry."""
        value = self.entries.get(key, array("i"))
        if not isinstance(value, array) or value.typecode in "fd":
            raise ValueError(f"{key} is not a list of whole numbers")
        return value.tolist()

    @property
    def weights_bytes(self) -> int:
        """The size of all weights, in the file as in memory."""
        return sum(tensor.bytes for tensor in self.tensors.values())

    @property
    def format(self) -> str:
        """The format of most of the weights, such as Q4_K."""
        sizes: dict[str, int] = {}
        for tensor in self.tensors.values():
            sizes[tensor.format] = sizes.get(tensor.format, 0) + tensor.elements
        return max(sizes, key=lambda name: sizes[name], default="")


def is_gguf(path: Path) -> bool:
    """Whether the path names a GGUF file rather than a folder."""
    return path.suffix.lower() == SUFFIX


def read_gguf(path: Path) -> Gguf:
    """Read a file's header. Raises OSError, ValueError if it is damaged, FamilyError for another form."""
    check_is_no_folder(path)
    stat = path.stat()
    return _read(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)  # the plan, the checks, the tokenizer and the template all need it
def _read(path: Path, size: int, changed_ns: int) -> Gguf:
    check_start(path)
    with path.open("rb") as file:
        header = _Header(file, min(size, MAX_HEADER_BYTES))
        magic = header.take(4)
        if magic in OLDER:
            raise FamilyError(f"{path} is a GGML file, which came before GGUF. {CONVERT}")
        if magic != b"GGUF":
            raise ValueError("it does not start like a GGUF file")
        _check_version(path, header.number("I"))
        tensors, entries = header.number("Q"), header.number("Q")
        if tensors > MAX_TENSORS or entries > MAX_ENTRIES:
            raise ValueError(f"it claims {tensors:,} tensors and {entries:,} entries")
        values: dict[str, Value] = {}
        for _ in range(entries):
            key = header.text(MAX_KEY_BYTES)
            if key in values:
                raise ValueError(f"it has the entry {key[:80]!r} twice")
            values[key] = header.value(header.number("I"))
        return Gguf(path, values, _read_tensors(header, tensors, values, size))


def check_is_no_folder(path: Path) -> None:
    """Raise FamilyError for a folder with the name of a GGUF file."""
    if path.is_dir():
        raise FamilyError(
            f"{path} is a folder, but what ends in {SUFFIX} must be a GGUF file. Please name the file in "
            "it, or rename the folder if it has config.json and safetensors."
        )


def _check_version(path: Path, version: int) -> None:
    """Raise FamilyError for another version of the format, ValueError for a number that is none."""
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version in VERSIONS:
        return
    if 1 <= swapped <= LAST_NUMBER:
        raise FamilyError(
            f"{path} is a big-endian GGUF file (version {swapped}), made for other processors; this app "
            "reads little-endian ones. Please download those, or convert the model without --bigendian."
        )
    if 1 <= version <= LAST_NUMBER:
        known = " and ".join(map(str, VERSIONS))
        raise FamilyError(
            f"{path} is a GGUF file of version {version}; this app reads the versions {known}. {CONVERT}"
        )
    raise ValueError(f"it is of version {version:,}, which does not exist")


def _read_tensors(
    header: "_Header", count: int, values: Mapping[str, Value], size: int
) -> dict[str, GgufTensor]:
    """The tensors by name. Raises ValueError for one that does not lie inside the file."""
    align = values.get("general.alignment", 32)
    if not isinstance(align, int) or not 1 <= align <= 65_536 or align & (align - 1):
        raise ValueError("general.alignment is not a power of two up to 65,536")
    found: dict[str, GgufTensor] = {}
    ends: list[tuple[int, int, str]] = []
    for _ in range(count):
        name = header.text(MAX_KEY_BYTES)
        tensor, offset = _read_tensor(header, name)
        if name in found or offset % align:
            raise ValueError(f"the tensor {name[:80]!r} is there twice or does not lie where it may")
        found[name] = tensor
        ends.append((offset, offset + tensor.bytes, name))
    start = -(-header.done // align) * align
    last = 0
    for begin, end, name in sorted(ends):
        if begin < last or start + end > size:
            raise ValueError(f"the weights of {name[:80]!r} are not all in the file")
        last = end
    return found


def _read_tensor(header: "_Header", name: str) -> tuple[GgufTensor, int]:
    """A tensor and its offset in the weights."""
    dimensions = header.number("I")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise ValueError(f"the tensor {name[:80]!r} has {dimensions:,} dimensions")
    shape = tuple(header.number("Q") for _ in range(dimensions))
    number = header.number("I")
    if number not in FORMATS and number <= LAST_NUMBER:
        raise FamilyError(
            f"{header.file.name} stores the tensor {name[:80]!r} in the format number {number}, which this "
            "app does not know. Please choose another quantisation of the model, such as Q8_0 or Q4_K_M."
        )
    if number not in FORMATS:
        raise ValueError(f"the tensor {name[:80]!r} is stored in the format number {number:,}")
    kind, block, block_bytes = FORMATS[number]
    if min(shape) < 1 or shape[0] % block:
        raise ValueError(f"the tensor {name[:80]!r} has the shape {list(shape)}")
    return GgufTensor(shape, kind, math.prod(shape) // block * block_bytes), header.number("Q")


class _Header:
    """The header as a stream of numbers and texts. Raises ValueError where it ends too early."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self.file, self.limit, self.done = file, limit, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes; refused before anything is read if there are not so many."""
        if count > self.limit - self.done:
            raise ValueError("its header ends too early or is too long")
        self.done += count
        content = self.file.read(count)
        if len(content) < count:
            raise ValueError("its header ends too early")
        return content

    def number(self, kind: str) -> int:
        """A whole number of this kind of `struct`."""
        value: int = struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))[0]
        return value

    def text(self, max_bytes: int = MAX_HEADER_BYTES) -> str:
        """A text. Raises ValueError if it is too long or not UTF-8."""
        length = self.number("Q")
        if length > max_bytes:
            raise ValueError(f"it has a name of {length:,} bytes")
        return self.take(length).decode()

    def value(self, kind: int) -> Value:
        """A value of this kind."""
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self._list(self.number("I"), self.number("Q"))
        code, size = self._scalar(kind)
        value: int | float = struct.unpack("<" + code, self.take(size))[0]
        return bool(value) if kind == BOOL else value

    def _list(self, kind: int, count: int) -> Value:
        if kind == STRING:
            # A text takes at least the eight bytes of its length.
            if count > (self.limit - self.done) // 8:
                raise ValueError("its header ends too early or is too long")
            return [self.text() for _ in range(count)]
        code, size = self._scalar(kind)  # lists of lists are in no known file
        found = array(code)
        if found.itemsize != size:
            raise ValueError(f"it has a list of the kind {kind}, which this machine cannot read")
        found.frombytes(self.take(count * size))
        return found

    def _scalar(self, kind: int) -> tuple[str, int]:
        if kind not in SCALARS:
            raise ValueError(f"it has an entry of the unknown kind {kind}")
        return SCALARS[kind]
