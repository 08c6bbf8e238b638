"""What a backend is: one way to run a checkpoint, and which checkpoints it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from eft_demo.families.checkpoint import Checkpoint
from eft_demo.families.family import Family
from eft_demo.models.memory import CPU
from eft_demo.models.protocol import LanguageModel
from eft_demo.models.quantise import NONE


@dataclass(frozen=True, slots=True)
class How:
    """How one model is to stand in memory."""

    dtype: torch.dtype
    quantisation: str = NONE
    device: str = CPU  # or cuda:0, or `auto` = spread by accelerate
    by_library: bool = False  # by no other path than that of transformers, even where one fits


@dataclass(frozen=True, slots=True)
class Backend:
    """`load` is asked only where `fits` says yes to the checkpoint, its config.json and how it is to stand.

    The model that it returns keeps the rules of `protocol.LanguageModel`. One that can share a forward with
    others has a `group`, too.
    """

    fits: Callable[[Checkpoint, Mapping[str, Any], How], bool]
    load: Callable[[Family, Checkpoint, How], LanguageModel]
