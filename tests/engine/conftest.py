"""The models of the tiny family, and an engine of them, as several tests of the engine decode with them."""

from collections.abc import Iterator

import pytest
import torch

from eft_demo.engine.engine import Engine
from eft_demo.families.family import Family
from eft_demo.models.load import load_models
from eft_demo.models.protocol import LanguageModel
from eft_demo.settings import Settings
from tests.toy import is_free

ROLES = ("large_base", "small_base", "assistant")


@pytest.fixture(scope="module")
def models(tiny_family: Family) -> dict[str, LanguageModel]:
    """In float32, apart: no groups."""
    return load_models(tiny_family, torch.float32, ROLES)


@pytest.fixture
def engine(
    models: dict[str, LanguageModel], tiny_family: Family, tiny_settings: Settings
) -> Iterator[Engine]:
    """Without stop tokens. At the end of the test nothing may be in use."""
    engine = Engine(models, (), tiny_settings, tiny_family.token_bytes)
    yield engine
    assert is_free(engine)
