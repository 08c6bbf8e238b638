"""Quantisation of the large models' weights: none, 8 bits, or 4 bits (NF4 or FP4, by bitsandbytes).

Knows names, sizes in bytes and the shapes that the kernels accept; loads nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from eft_demo.errors import FamilyError
from eft_demo.families.weights import PLAIN, Header

NONE, INT8, NF4, FP4 = "none", "int8", "nf4", "fp4"
BLOCK = 64  # weights that share one scale in the 4-bit formats
# 4 bits, an 8-bit scale per block, and a float32 scale per 256 of those (double quantisation).
BYTES_PER_WEIGHT = {INT8: 1.0, NF4: 0.5 + 1 / BLOCK + 4 / (256 * BLOCK)}
BYTES_PER_WEIGHT[FP4] = BYTES_PER_WEIGHT[NF4]
# The library does not quantise these: embeddings are looked up, and the head affects the logits directly.
KEPT = ("embed_tokens", "word_embeddings", "embed_in", "lm_head", "embed_out")


@dataclass(frozen=True, slots=True)
class Weights:
    """How many parameters a model has, split by whether quantising changes them."""

    linear: int  # in matrices that are quantised
    other: int  # embeddings, head, norms, biases
    rows: int = 0  # total outputs of the quantised matrices: int8 has a float32 scale for each

    @property
    def parameters(self) -> int:
        """How many there are in total."""
        return self.linear + self.other

    def bytes(self, dtype: torch.dtype, quantisation: str) -> int:
        """The size of the weights on a device."""
        if quantisation == NONE:
            return self.parameters * dtype.itemsize
        scales = 4 * self.rows if quantisation == INT8 else 0
        return int(self.linear * BYTES_PER_WEIGHT[quantisation]) + scales + self.other * dtype.itemsize


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """The weights of a checkpoint that is stored quantised: they keep their format, the rest is converted."""

    linear: int  # parameters in packed matrices
    packed_bytes: int  # those matrices with their scales, as stored
    other: int  # parameters that take the dtype they are loaded in

    @property
    def parameters(self) -> int:
        """How many there are in total."""
        return self.linear + self.other

    def bytes(self, dtype: torch.dtype, quantisation: str) -> int:
        """The size of the weights on a device, whatever quantisation was asked for."""
        return self.packed_bytes + self.other * dtype.itemsize


def count_stored(tensors: Mapping[str, Header], tied: bool, description: Mapping[str, Any]) -> StoredWeights:
    """Count the weights of a quantised checkpoint by its headers and its quantization_config."""
    bits = 4 if description.get("load_in_4bit") else int(description.get("bits") or 8)
    linear = packed = other = 0
    for name, tensor in tensors.items():
        if tied and name.startswith(("lm_head.", "embed_out.")):
            continue
        if name.endswith((".weight", ".bias")) and tensor.dtype in PLAIN:
            other += tensor.elements
            continue
        packed += tensor.bytes
        if name.endswith((".weight", ".qweight")):
            linear += tensor.bytes * 8 // bits
    return StoredWeights(linear, packed, other)


def count_weights(tensors: Mapping[str, Header], tied: bool) -> Weights:
    """Count the weights by a checkpoint's headers. A tied head is not counted even if it is stored."""
    linear = other = rows = 0
    for name, tensor in tensors.items():
        if tied and name.startswith(("lm_head.", "embed_out.")):
            continue
        if is_quantised(name, tensor):
            linear, rows = linear + tensor.elements, rows + tensor.shape[0]
        else:
            other += tensor.elements
    return Weights(linear, other, rows)


def is_quantised(name: str, tensor: Header) -> bool:
    """Whether quantising a model changes this tensor."""
    kept = any(part in KEPT for part in name.split("."))
    return len(tensor.shape) == 2 and name.endswith(".weight") and not kept


def check_shapes(role: str, tensors: Mapping[str, Header], quantisation: str, on_cpu: bool) -> None:
    """Raises FamilyError if the kernels do not support the shape of a matrix."""
    if quantisation == NONE or not on_cpu:
        return
    for name, tensor in tensors.items():
        if is_quantised(name, tensor) and (tensor.shape[1] % 64 or tensor.shape[0] % 32):
            raise FamilyError(
                f"The model {role} cannot be quantised on a CPU: {name} has {tensor.shape[1]} inputs and "
                f"{tensor.shape[0]} outputs, but the kernels need multiples of 64 and 32. Please load it "
                "with --quantisation none, or on a GPU."
            )
