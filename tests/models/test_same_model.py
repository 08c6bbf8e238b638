"""Two roles of one model: only their prompts differ, and its weights are in memory once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.errors import FamilyError
from eft_demo.families.catalogue import read_entry
from eft_demo.families.family import chosen_roles, load_family, local_folders
from eft_demo.method.sampling import Sampling
from eft_demo.models.load import group_models, load_models
from eft_demo.models.plan import make_plan, menu_entry
from eft_demo.runs.spec import RunSpec
from eft_demo.settings import Settings
from tests.checkpoints import make_real_family

FP32 = Settings(dtype="fp32", threads=1, max_sequences=8)
POLITE = "Always say please.\nUser: {prompt}\nAssistant:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_real_family(tmp_path_factory.mktemp("same"), "llama2").parent


def written(folder: Path, name: str, polite: Mapping[str, Any]) -> Path:
    """The family file with another entry for `polite`."""
    entry = yaml.safe_load((folder / "llama2.yaml").read_text(encoding="utf-8"))
    entry["roles"]["polite"] = polite
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(entry, sort_keys=False), encoding="utf-8")
    return path


def test_a_prompt_difference_gives_the_texts_of_two_copies_of_the_model(folder: Path) -> None:
    texts = {}
    for name, source in (("one", {"same_as": "small_base"}), ("two", {"path": "small_base"})):
        entry = read_entry(written(folder, name, {**source, "prompt": POLITE}))
        service = Service.load(FP32, entry)
        try:
            spec = RunSpec(prompt="Who flows?", controls={"alpha": 2.0}, sampling=Sampling(0), length=12)
            columns = collect(service.start_run(spec))
        finally:
            service.stop()
        assert not any(column.error for column in columns)
        texts[name] = [[token.id for token in column.tokens] for column in columns]
        by_role = [token.by_role for token in columns[2].tokens]
        assert any(abs(of["polite"] - of["small_base"]) > 0.01 for of in by_role), "it does nothing"

    assert texts["one"] == texts["two"]


def test_the_model_is_loaded_once_and_planned_once(folder: Path) -> None:
    entry = read_entry(written(folder, "planned", {"same_as": "small_base", "prompt": POLITE}))
    assert local_folders(entry)["polite"] == folder / "small_base"
    models = load_models(load_family(entry, FP32), torch.float32, ["large_base", "polite"])
    assert list(models) == ["large_base", "polite"]
    (group,) = group_models(models)
    assert group.members == {"small_base", "polite"}
    plan = make_plan(entry, FP32, free={"cpu": 8_000_000_000})
    place = plan.of("polite")
    assert place.parameters == plan.of("small_base").parameters > 0
    assert place.weights_bytes == 0 < place.cache_bytes and place.source == "same as small_base"
    assert menu_entry(entry, FP32, {"cpu": 8_000_000_000}).download_bytes == 0


def test_a_role_may_be_the_same_model_asked_for_thinking(folder: Path) -> None:
    entry = yaml.safe_load((folder / "llama2.yaml").read_text(encoding="utf-8"))
    entry["roles"]["thinker"] = {"same_as": "polite", "prompt": "chat", "thinking": True}
    path = folder / "thinking.yaml"
    path.write_text(yaml.safe_dump(entry, sort_keys=False), encoding="utf-8")
    templates = load_family(read_entry(path), FP32).templates
    assert {role: template.thinking for role, template in templates.items()} == {
        "polite": False,
        "thinker": True,
    }


@pytest.mark.parametrize(
    ("polite", "problem"),
    [
        ({"same_as": "nobody", "prompt": POLITE}, "same_as of polite is 'nobody'"),
        ({"same_as": "polite", "prompt": POLITE}, "same_as of polite is 'polite'"),
        ({"same_as": "small_base", "path": "polite", "prompt": POLITE}, "needs one of these"),
        ({"same_as": "small_base", "adapter_of": "small_base", "prompt": POLITE}, "cannot be both"),
    ],
)
def test_an_entry_that_names_no_model_is_refused_with_its_line(
    folder: Path, polite: Mapping[str, Any], problem: str
) -> None:
    with pytest.raises(FamilyError, match=rf"line \d+: .*{problem}"):
        read_entry(written(folder, "refused", polite))


def test_a_role_of_an_optional_models_comes_with_that_model(folder: Path) -> None:
    entry = yaml.safe_load((folder / "llama2.yaml").read_text(encoding="utf-8"))
    entry["roles"]["polite"]["optional"] = True
    entry["roles"]["pirate"] = {"same_as": "polite", "prompt": POLITE}
    path = folder / "optional.yaml"
    path.write_text(yaml.safe_dump(entry, sort_keys=False), encoding="utf-8")
    with pytest.raises(FamilyError, match=r"line \d+: .*behaviour whose role is not optional"):
        read_entry(path)
    entry["behaviours"] = [{"role": "pirate", "title": "Pirate", "description": "Arr."}]
    path.write_text(yaml.safe_dump(entry, sort_keys=False), encoding="utf-8")
    found = read_entry(path)
    assert set(chosen_roles(found)) == {"large_base", "small_base", "polite", "pirate"}
    assert list(load_models(load_family(found, FP32), torch.float32, ["pirate"])) == ["pirate"]
