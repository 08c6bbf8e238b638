"""The plan's arithmetic against what is allocated, counted in bytes of tensors."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from eft_demo.families.catalogue import read_entry
from eft_demo.families.family import load_family
from eft_demo.models.load import load_models
from eft_demo.models.plan import MIN_ROWS, make_plan
from eft_demo.settings import Settings
from tests.checkpoints import make_real_family

FREE = {"cpu": 8_000_000_000}
TEXT = "Please.\nUser: {prompt}\nAssistant:"


def stored_bytes(model: Any) -> int:
    return sum(store.nbytes for store in model.cache.store)


@pytest.mark.parametrize(
    ("kind", "dtype", "cache_dtype"),
    [("llama2", "bf16", "bfloat16"), ("qwen2", "bf16", "float32"), ("llama2", "fp32", "float32")],
)
def test_keys_and_values_are_planned_in_the_format_they_are_kept_in(
    tmp_path: Path, kind: str, dtype: str, cache_dtype: str
) -> None:
    settings = Settings(dtype=dtype, threads=1, max_sequences=MIN_ROWS)
    entry = read_entry(make_real_family(tmp_path, kind))
    plan = make_plan(entry, settings, free=FREE)
    family = load_family(entry, settings)
    models: Any = load_models(family, plan.of("large_base").dtype, plan=plan)
    for role, model in models.items():
        assert model.cache.dtype == getattr(torch, cache_dtype)
        assert plan.of(role).cache_bytes == stored_bytes(model)


def test_behaviours_of_one_base_share_the_rows_that_are_planned(tmp_path: Path) -> None:
    path = make_real_family(tmp_path, "llama2")
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    for role in ("one", "two", "three"):
        entry["roles"][role] = {"same_as": "small_base", "prompt": TEXT}
        entry["behaviours"].append({"role": role, "title": role, "description": role})
    path.write_text(yaml.safe_dump(entry), encoding="utf-8")
    settings = Settings(dtype="fp32", threads=1, max_sequences=MIN_ROWS)
    plan = make_plan(read_entry(path), settings, free=FREE)
    family = load_family(read_entry(path), settings)
    models: Any = load_models(family, torch.float32, ["small_base", "one", "two", "three"], plan=plan)
    # As many texts as the plan has room for, each with a row of the base and a row of one behaviour.
    for role in ("one", "two", "three", "three"):
        models["small_base"].join()
        models[role].join()
    planned = sum(plan.of(role).cache_bytes for role in models)
    assert planned == stored_bytes(models["small_base"]) > 0
    assert plan.of("two").cache_bytes == plan.of("three").cache_bytes == 0
