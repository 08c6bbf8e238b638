"""The models of the tiny family, as several tests of the engine decode with them."""

import pytest
import torch

from eft_demo.families.family import Family
from eft_demo.models.load import load_models
from eft_demo.models.protocol import LanguageModel

ROLES = ("large_base", "small_base", "assistant")


@pytest.fixture(scope="module")
def models(tiny_family: Family) -> dict[str, LanguageModel]:
    """In float32, apart: no groups."""
    return load_models(tiny_family, torch.float32, ROLES)
