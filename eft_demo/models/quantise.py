"""How the large models' weights may be stored: as they are, in 8 bits, or in 4 (NF4 or FP4, by bitsandbytes).

Knows names, bytes and which shapes the kernels take; loads nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from eft_demo.errors import FamilyError
from eft_demo.families.weights import Header

NONE, INT8, NF4, FP4 = "none", "int8", "nf4", "fp4"
BLOCK = 64  # weights that share one scale in the 4-bit formats
# 4 bits, an 8-bit scale per block, and a float32 scale per 256 of those (double quantisation).
BYTES_PER_WEIGHT = {INT8: 1.0, NF4: 0.5 + 1 / BLOCK + 4 / (256 * BLOCK)}
BYTES_PER_WEIGHT[FP4] = BYTES_PER_WEIGHT[NF4]
# The library leaves these as they are: embeddings are looked up, and the head decides the last digits.
KEPT = ("embed_tokens", "word_embeddings", "embed_in", "lm_head", "embed_out")


@dataclass(frozen=True, slots=True)
class Weights:
    """How many numbers a model has, by what quantising does to them."""

    linear: int  # in matrices that are quantised
    other: int  # embeddings, head, norms, biases
    rows: int = 0  # outputs of all the quantised matrices: int8 has a float32 scale for each

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.linear + self.other

    def bytes(self, dtype: torch.dtype, quantisation: str) -> int:
        """What the weights take on a device."""
        if quantisation == NONE:
            return self.parameters * dtype.itemsize
        scales = 4 * self.rows if quantisation == INT8 else 0
        return int(self.linear * BYTES_PER_WEIGHT[quantisation]) + scales + self.other * dtype.itemsize


def count_weights(tensors: Mapping[str, Header], tied: bool) -> Weights:
    """From a checkpoint's headers. A tied head that is stored all the same is loaded once."""
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
    """Raises FamilyError for a matrix that the kernels cannot take."""
    if quantisation == NONE or not on_cpu:
        return
    for name, tensor in tensors.items():
        if is_quantised(name, tensor) and (tensor.shape[1] % 64 or tensor.shape[0] % 32):
            raise FamilyError(
                f"The model {role} cannot be quantised on a CPU: {name} is {tensor.shape[1]} in and "
                f"{tensor.shape[0]} out, and the kernels take multiples of 64 in and 32 out. Please load it "
                "with --quantisation none, or on a GPU."
            )
