"""The larger trio that `bench` measures: loaded like any other family, and its models mostly agree."""

from pathlib import Path

import torch

from eft_demo.families.family import Family
from eft_demo.lab import synthetic_models as larger
from eft_demo.models.load import load_models


def test_the_larger_trio_loads_and_answers_like_any_family(tiny_family: Family, tmp_path: Path) -> None:
    size = larger.Size(256, 2, 128, 2)
    family = larger.larger_family(tiny_family, tmp_path, large=size, small=larger.Size(64, 1, 128, 1))
    models = load_models(family, torch.float32)
    assert set(models) == {"large_base", "small_base", tiny_family.behaviours[0].role}
    slots = {role: model.join() for role, model in models.items()}
    likeliest = {
        role: model.forward([slots[role]], torch.arange(40)[None], keep=40)[0].argmax(1)
        for role, model in models.items()
    }
    agree = (likeliest["large_base"] == likeliest["small_base"]).float().mean()
    assert 0.5 < agree < 1  # so drafts are mostly accepted
