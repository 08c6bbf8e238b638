"""Fixtures that several test files share: a tiny family on disk, and settings that point at it."""

import gc
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from eft_demo.families.family import Family, load_family
from eft_demo.settings import Settings
from tests.tiny import make_family

# The time of an example depends more on the machine's load than on the code.
settings.register_profile(
    "untimed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")

# Two workers share two cores, and a thread of torch that waits for another one's core keeps its own busy.
torch.set_num_threads(1)

# Files with such tests go first, in this order, and those with most tests first: what two workers end with
# should be short.
LONG = {"load": 0, "browser": 1, "slow": 2}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="also what tests/tiers.py leaves out")
    parser.addoption("--remote", metavar="URL", help="also the completion server of the bundled large base")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--exhaustive"):
        items[:] = [item for item in items if item.get_closest_marker("exhaustive") is None]
    if not config.getoption("--remote"):
        items[:] = [item for item in items if item.get_closest_marker("remote") is None]
    ranks: dict[Path, int] = {}
    counts = Counter(item.path for item in items)
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        if not marks & LONG.keys():
            item.add_marker("quick")
        ranks[item.path] = min([ranks.get(item.path, len(LONG)), *(LONG[m] for m in marks & LONG.keys())])
    items.sort(key=lambda item: (ranks[item.path], -counts[item.path] * (ranks[item.path] < len(LONG))))


def pytest_collection_finish() -> None:
    """What was imported stays: gc need not look through it each time that a family is loaded or left."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An assets folder with one family, `tiny`. Do not write into it."""
    assets = tmp_path_factory.mktemp("assets")
    make_family(assets / "tiny")
    return assets


@pytest.fixture(scope="session")
def tiny_settings(tiny_assets: Path) -> Settings:
    """Settings for exact comparisons: float32, one thread."""
    return Settings(assets=tiny_assets, dtype="fp32", threads=1)


@pytest.fixture(scope="session")
def tiny_family(tiny_settings: Settings) -> Family:
    """The family `tiny`, loaded as in the app."""
    return load_family("tiny", tiny_settings)
