"""Spaces with ZeroGPU: the decorator of their package, or a sentence that says that it is missing."""

import sys
from types import SimpleNamespace

import pytest

from eft_demo.errors import InputError
from eft_demo.settings import Settings
from eft_demo.ui.space import gpu_decorator


def test_elsewhere_nothing_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)  # importing it would fail
    assert gpu_decorator(Settings()) is None


def test_on_such_a_space_the_gpu_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    decorator = object()
    monkeypatch.setitem(sys.modules, "spaces", SimpleNamespace(GPU=decorator))
    assert gpu_decorator(Settings(zero_gpu=True)) is decorator


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)
    with pytest.raises(InputError, match=r"SPACES_ZERO_GPU.*`spaces`.*requirements\.txt"):
        gpu_decorator(Settings(zero_gpu=True))
