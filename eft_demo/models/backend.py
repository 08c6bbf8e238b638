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
class LoadOptions:
    """How to load one model."""

    dtype: torch.dtype
    quantisation: str = NONE
    device: str = CPU  # or cuda:0, or `auto` = spread by accelerate
    by_library: bool = False  # force the transformers backend


@dataclass(frozen=True, slots=True)
class Backend:
    """`load` is called only if `fits` accepts the checkpoint, its config.json and the options.

    It returns a `protocol.LanguageModel`; one that can share a forward with others also has a `group`.
    """

    fits: Callable[[Checkpoint, Mapping[str, Any], LoadOptions], bool]
    load: Callable[[Family, Checkpoint, LoadOptions], LanguageModel]
