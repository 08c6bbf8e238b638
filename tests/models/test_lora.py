"""LoRA adapters against PEFT's forward, alone and mixed in one batch, and as models of the engine."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Qwen2ForCausalLM

from eft_demo.engine.engine import Engine
from eft_demo.errors import FamilyError
from eft_demo.families.catalogue import find_entry
from eft_demo.families.family import encode_prompt, load_family
from eft_demo.families.weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from eft_demo.method.recipe import parse
from eft_demo.method.sampling import Sampling
from eft_demo.models.hf import TransformersModel
from eft_demo.models.load import group_models, load_models
from eft_demo.models.lora import AdapterGroup, LowRank, read_adapter
from eft_demo.models.plan import make_plan
from eft_demo.models.protocol import LanguageModel, ModelGroup
from eft_demo.runs.events import TokenEvent
from eft_demo.settings import Settings
from tests.asking import make_request
from tests.recording import with_graphs
from tests.tiers import first_of
from tests.tiny import TINY_LARGE, TINY_SMALL, make_model

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft.*", "ignore::FutureWarning:transformers.*")
VOCAB, CONTEXT = 101, 64
ATTENTION, EVERYWHERE = ["q_proj", "v_proj"], "all-linear"
KINDS: Mapping[str, dict[str, Any]] = {
    "assistant": {"target_modules": ATTENTION, "r": 4, "lora_alpha": 8},
    "pirate": {"target_modules": EVERYWHERE, "r": 3, "lora_alpha": 5, "use_rslora": True},
    "brief": {
        "target_modules": EVERYWHERE, "r": 2, "rank_pattern": {"down_proj": 5},
        "alpha_pattern": {"layers.1.self_attn.q_proj": 9, "up_proj": 1},
    },
}  # fmt: skip


def small_base() -> Qwen2ForCausalLM:
    return make_model(TINY_SMALL, VOCAB, CONTEXT, 3).eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Adapters saved by PEFT, with weights large enough to matter. Do not write into them."""
    paths = {name: tmp_path_factory.mktemp("adapters") / name for name in KINDS}
    for seed, (name, path) in enumerate(paths.items()):
        save_adapter(path, seed, **KINDS[name])
    return paths


def save_adapter(path: Path, seed: int = 0, base: Qwen2ForCausalLM | None = None, **options: Any) -> None:
    torch.manual_seed(seed)
    model = get_peft_model(base or small_base(), LoraConfig(task_type="CAUSAL_LM", **options))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3)
    model.save_pretrained(str(path))


@pytest.fixture(scope="module")
def by_peft(folders: Mapping[str, Path]) -> Mapping[str, Any]:
    """The same models run by PEFT; the base without an adapter is called small_base."""
    tuned = {name: PeftModel.from_pretrained(small_base(), path).eval() for name, path in folders.items()}
    return {**tuned, "small_base": small_base()}


def grouped(base: TransformersModel, folders: Mapping[str, Path]) -> AdapterGroup:
    return AdapterGroup(base, {name: read_adapter(path, base.model) for name, path in folders.items()})


@pytest.fixture
def plain_group(folders: Mapping[str, Path]) -> AdapterGroup:
    return grouped(TransformersModel("small_base", small_base(), CONTEXT, VOCAB), folders)


@pytest.fixture(params=first_of("plain", "recorded"))
def group(
    folders: Mapping[str, Path], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AdapterGroup:
    base = TransformersModel("small_base", small_base(), CONTEXT, VOCAB)
    return grouped(with_graphs(base, monkeypatch) if request.param == "recorded" else base, folders)


def models_of(group: AdapterGroup) -> dict[str, LanguageModel]:
    shared: ModelGroup = group
    assert shared.members == {"small_base", *KINDS}
    return {group.base.name: group.base, **group.models()}


def exact(model: Any, tokens: list[int]) -> Tensor:
    """(length, vocab) without a cache."""
    with torch.no_grad():
        logits: Tensor = model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    return logits


@pytest.mark.parametrize("name", ["small_base", *KINDS])
def test_each_member_equals_pefts_forward(
    plain_group: AdapterGroup, by_peft: Mapping[str, Any], name: str
) -> None:
    model, tokens = models_of(plain_group)[name], [5, 6, 7, 8, 9]
    expected = exact(by_peft[name], tokens)
    logits = model.forward([model.join()], torch.tensor([tokens]), keep=5)[0]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)
    others = [exact(by_peft[other], tokens) for other in by_peft if other != name]
    assert all((other - expected).abs().max() > 0.5 for other in others)  # they are different models


def test_a_mixed_batch_equals_each_model_alone(group: AdapterGroup, by_peft: Mapping[str, Any]) -> None:
    models = models_of(group)
    # Rows that join in turn alternate in the cache.
    slots = [(name, models[name].join()) for name in [*models, *models]]
    texts = {slot: [10 + i, *range(i, 2 * i)] for i, (_, slot) in enumerate(slots, 1)}
    for name, slot in slots:
        models[name].forward([slot], torch.tensor([texts[slot]]))
    parts = {}
    for i, name in enumerate(reversed(models)):
        rows = [slot for owner, slot in slots if owner == name]
        blocks = [[3 + i, 4, 5 + k] for k in range(len(rows))]
        parts[name] = (rows, torch.tensor(blocks))
        for slot, block in zip(rows, blocks, strict=True):
            texts[slot] += block
    found = group.forward(parts, keep=2)
    assert isinstance(group.base.cache.rows, slice), "all rows of the cache were gathered instead of viewed"
    for name, (rows, _) in parts.items():
        for k, slot in enumerate(rows):
            assert slot.length == len(texts[slot])
            expected = exact(by_peft[name], texts[slot])[-2:]
            torch.testing.assert_close(found[name][k], expected, atol=1e-4, rtol=1e-5)


def test_a_row_without_adapter_equals_the_base_bit_for_bit(plain_group: AdapterGroup) -> None:
    plain = TransformersModel("small_base", small_base(), CONTEXT, VOCAB)
    tuned = plain_group.models()["pirate"]
    tuned.forward([tuned.join()], torch.tensor([[1, 2]]))
    tokens = torch.tensor([[1, 2, 3]])
    slot = plain_group.base.join()
    assert plain_group.base.forward([slot], tokens).equal(plain.forward([plain.join()], tokens))


def test_a_broken_adapter_breaks_only_its_own_rows(group: AdapterGroup) -> None:
    path, part = next(iter(group.adapters["pirate"].items()))
    group.adapters["pirate"] = {path: LowRank(part.down, part.up * torch.nan)}
    plain = TransformersModel("small_base", small_base(), CONTEXT, VOCAB)
    tuned, slot, other = group.models()["pirate"], group.base.join(), plain.join()
    row = tuned.join()
    for token in range(3):
        block = torch.tensor([[token]])
        found = group.forward({"small_base": ([slot], block), "pirate": ([row], block)})
        assert found["pirate"].isnan().any()
        expected = plain.forward([other], block)
        torch.testing.assert_close(found["small_base"], expected, atol=2e-5, rtol=1e-5)


def test_rows_leave_roll_back_and_copy(group: AdapterGroup, by_peft: Mapping[str, Any]) -> None:
    models = models_of(group)
    base, tuned = models["small_base"], models["brief"]
    first, row, copy = base.join(), tuned.join(), tuned.join()
    base.forward([first], torch.tensor([[9, 9, 9]]))
    tuned.forward([row], torch.tensor([[1, 2, 3, 4]]))
    base.leave(first)  # the last row moves into its place
    row.length = 2
    tuned.copy_prefix(row, copy)
    logits = tuned.forward([row, copy], torch.tensor([[7], [8]]))[:, 0]
    for k, last in enumerate((7, 8)):
        torch.testing.assert_close(logits[k], exact(by_peft["brief"], [1, 2, last])[-1], atol=1e-4, rtol=1e-5)
    for slot in (row, copy):
        tuned.leave(slot)
    assert group.base.cache.slots == []


def test_a_forward_that_fails_changes_nothing(plain_group: AdapterGroup) -> None:
    models = models_of(plain_group)
    slots = {name: model.join() for name, model in models.items()}
    with pytest.raises(ValueError, match="context"):
        plain_group.forward(
            {n: ([s], torch.ones(1, CONTEXT + 1, dtype=torch.int64)) for n, s in slots.items()}
        )
    assert all(slot.length == 0 for slot in slots.values())
    plain = TransformersModel("small_base", small_base(), CONTEXT, VOCAB)
    tokens = torch.tensor([[1, 2, 3]])
    found = plain_group.base.forward([slots["small_base"]], tokens)
    assert found.equal(plain.forward([plain.join()], tokens)), "an adapter stayed on"


def test_the_engine_gives_the_texts_of_merged_models(
    plain_group: AdapterGroup, folders: Mapping[str, Path]
) -> None:
    large = make_model(TINY_LARGE, VOCAB, CONTEXT, 8)
    merged = {
        name: PeftModel.from_pretrained(small_base(), path).merge_and_unload().eval()
        for name, path in folders.items()
    }
    plain = {
        name: TransformersModel(name, model, CONTEXT, VOCAB)
        for name, model in {"small_base": small_base(), **merged}.items()
    }
    texts = []
    for small in (models_of(plain_group), plain):
        models = {"large_base": TransformersModel("large_base", large, CONTEXT, VOCAB), **small}
        texts.append(written(models))
    assert texts[0] == texts[1]
    assert len({tuple(text) for text in texts[0]}) == len(RECIPES)


RECIPES = [
    "large_base",
    "assistant",
    "large_base + alpha*(assistant - small_base)",
    "large_base + 0.5*(assistant - small_base) + 0.7*(pirate - small_base) + 0.3*(brief - small_base)",
]


def test_the_engine_runs_a_base_and_its_adapters_in_one_forward(plain_group: AdapterGroup) -> None:
    large = TransformersModel("large_base", make_model(TINY_LARGE, VOCAB, CONTEXT, 8), CONTEXT, VOCAB)
    models = {"large_base": large, **models_of(plain_group)}
    forwards: list[int] = []
    plain_group.base.model.register_forward_hook(lambda *_: forwards.append(1))
    one_by_one = written(models)
    apart = len(forwards)
    assert written(models, [plain_group]) == one_by_one
    assert len(forwards) - apart == 4 + 12, "a prompt for each of the four, then one forward per step"
    assert apart == 4 + 4 * 12


def written(models: Mapping[str, LanguageModel], groups: Sequence[AdapterGroup] = ()) -> list[list[int]]:
    settings = Settings(dtype="fp32", threads=1)
    engine = Engine(models, (), settings, [b"x"] * VOCAB, groups=groups)
    columns = tuple((text, parse(text)) for text in RECIPES)
    prompts = dict.fromkeys(models, (5, 17, 3, 99))
    run = engine.submit(make_request(prompts, columns, {"alpha": 1.0}, Sampling(seed=4), 12))
    while engine.step():
        pass
    events = [event for event in run.events() if isinstance(event, TokenEvent)]
    return [[e.record.id for e in events if e.column == column] for column in range(len(columns))]


def test_the_weights_are_in_memory_once(plain_group: AdapterGroup) -> None:
    own = sum(p.numel() for p in small_base().parameters())
    assert sum(p.numel() for p in plain_group.base.model.parameters()) == own
    models = plain_group.models()
    assert len(models) == 3
    assert all(model.group.base is plain_group.base for model in models.values())
    assert all(model.cache is plain_group.base.cache for model in models.values())
    low = sum(part.down.numel() + part.up.numel() for part in plain_group.adapters["assistant"].values())
    assert low < own / 10


# -- adapters that are rejected --


def broken(folders: Mapping[str, Path], tmp_path: Path, **changes: Any) -> Path:
    """A copy of an adapter with changes to its config."""
    config = json.loads((folders["assistant"] / ADAPTER_CONFIG).read_text())
    (tmp_path / ADAPTER_CONFIG).write_text(json.dumps(config | changes))
    save_file(load_file(folders["assistant"] / ADAPTER_WEIGHTS), tmp_path / ADAPTER_WEIGHTS)
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [
        {"use_dora": True}, {"peft_type": "IA3"}, {"bias": "all"}, {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "pissa"}, {"alora_invocation_tokens": [1]}, {"layer_replication": [[0, 2]]},
    ],
    ids=str,
)  # fmt: skip
def test_only_plain_lora_is_read(
    folders: Mapping[str, Path], tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(FamilyError, match=f"more than plain LoRA .*{next(iter(changes))}.*merge_and_unload"):
        read_adapter(broken(folders, tmp_path, **changes), small_base())


def test_other_kinds_of_adapter_saved_by_peft_are_rejected(tmp_path: Path) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "dora": {"use_dora": True},
        "embed": {"target_modules": ["embed_tokens"]},
    }
    for name, options in kinds.items():
        save_adapter(tmp_path / name, **{"target_modules": ATTENTION, **options})
        config = json.loads((tmp_path / name / ADAPTER_CONFIG).read_text())
        (tmp_path / name / ADAPTER_CONFIG).write_text(json.dumps(config | {"use_dora": False}))
        with pytest.raises(FamilyError, match="more than plain LoRA"):  # by the names of its tensors alone
            read_adapter(tmp_path / name, small_base())


def test_an_adapter_of_another_base_is_rejected(folders: Mapping[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FamilyError, match=r"does not fit its base: for model\.layers.*q_proj.*adapter_of"):
        read_adapter(folders["assistant"], make_model(TINY_LARGE, VOCAB, CONTEXT, 0))
    for trained_on, fits in (("acme/small", True), ("ACME/Small", True), ("acme/other", False),
                             ("/home/me/models/other", True), ("./other", True), ("../other", True),
                             ("models/small", True), ("unsloth/small-bnb-4bit", True), (None, True),
                             ("unsloth/small-unsloth-bnb-4bit", True)):  # fmt: skip
        folder = broken(folders, tmp_path, base_model_name_or_path=trained_on)
        if fits:
            assert read_adapter(folder, small_base(), "acme/small")
        else:
            with pytest.raises(FamilyError, match="acme/other.* acme/small.*adapter_of.*as base_model_name"):
                read_adapter(folder, small_base(), "acme/small")


@pytest.mark.parametrize(
    ("trained_on", "base"),
    [
        ("unsloth/Meta-Llama-3.1-8B-bnb-4bit", "meta-llama/Llama-3.1-8B"),
        ("meta-llama/Meta-Llama-3-8B", "NousResearch/Meta-Llama-3-8B"),
        ("unsloth/qwen2.5-0.5b-unsloth-bnb-4bit", "Qwen/Qwen2.5-0.5B"),
    ],
)
def test_a_copy_of_the_base_is_the_base(
    folders: Mapping[str, Path], tmp_path: Path, trained_on: str, base: str
) -> None:
    assert read_adapter(broken(folders, tmp_path, base_model_name_or_path=trained_on), small_base(), base)
    tuned = broken(folders, tmp_path, base_model_name_or_path=f"{base}-Instruct")
    with pytest.raises(FamilyError, match="was trained on"):
        read_adapter(tuned, small_base(), base)


def test_missing_or_damaged_adapter_files_are_reported(folders: Mapping[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FamilyError, match="cannot be read .*adapter_config.json"):
        read_adapter(tmp_path / "nowhere", small_base())
    folder = broken(folders, tmp_path)
    (folder / ADAPTER_WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(FamilyError, match="cannot be read"):
        read_adapter(folder, small_base())
    save_file({}, folder / ADAPTER_WEIGHTS)
    with pytest.raises(FamilyError, match="is empty"):
        read_adapter(folder, small_base())
    (folder / ADAPTER_CONFIG).write_text("[]")
    with pytest.raises(FamilyError, match="cannot be read"):
        read_adapter(folder, small_base())


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight[..., None],
        lambda weight: weight[0],
        lambda weight: weight.to(torch.int8),
        lambda weight: weight.to(torch.complex64),
        lambda weight: weight.to(torch.float8_e4m3fn),
    ],
    ids=["3 dimensions", "1 dimension", "int8", "complex", "8-bit floats"],
)
def test_weights_that_are_no_plain_matrices_are_refused(
    folders: Mapping[str, Path], tmp_path: Path, change: Callable[[Tensor], Tensor]
) -> None:
    folder = broken(folders, tmp_path)
    weights = load_file(folder / ADAPTER_WEIGHTS)
    save_file(
        {name: change(weight).contiguous() for name, weight in weights.items()}, folder / ADAPTER_WEIGHTS
    )
    with pytest.raises(FamilyError, match="cannot be read .*not a matrix of plain floats"):
        read_adapter(folder, small_base())


# -- in a family --


@pytest.fixture
def assets(tiny_assets: Path, tmp_path: Path) -> Path:
    """The family `tiny` with `pirate` as an adapter on the small base."""
    folder = tmp_path / "assets" / "tiny"
    shutil.copytree(tiny_assets / "tiny", folder)
    shutil.rmtree(folder / "pirate")
    base = Qwen2ForCausalLM.from_pretrained(folder / "small_base")
    save_adapter(folder / "adapters" / "pirate", 5, base, target_modules=EVERYWHERE)
    rewrite(folder.parent, "pirate", {"path": "adapters/pirate", "adapter_of": "small_base"})
    return folder.parent


def rewrite(assets: Path, role: str, value: Any) -> None:
    path = assets / "tiny" / "family.yaml"
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    entry["roles"][role] = value
    path.write_text(yaml.safe_dump(entry), encoding="utf-8")


def test_a_role_of_a_family_may_be_an_adapter(assets: Path) -> None:
    family = load_family("tiny", Settings(assets=assets))
    models = load_models(family, torch.float32, ["pirate", "large_base", "small_base"])
    assert list(models) == ["pirate", "large_base", "small_base"]
    (group,) = group_models(models)
    assert group.members == {"pirate", "small_base"}
    base, tokens = Qwen2ForCausalLM.from_pretrained(assets / "tiny" / "small_base").eval(), [1, 2, 3]
    expectations = {"small_base": exact(base, tokens)}
    tuned = PeftModel.from_pretrained(base, assets / "tiny" / "adapters" / "pirate").eval()
    expectations["pirate"] = exact(tuned, tokens)
    for role, expected in expectations.items():
        found = models[role].forward([models[role].join()], torch.tensor([tokens]))[0, 0]
        torch.testing.assert_close(found, expected[-1], atol=1e-4, rtol=1e-5)
    alone = load_models(family, torch.float32, ["pirate"])  # its base comes along unseen
    assert list(alone) == ["pirate"]


def test_an_adapter_folder_as_peft_writes_it_uses_its_bases_chat_template(assets: Path) -> None:
    """It has no tokenizer and no template, and still its prompt may be `chat`."""
    config = {"chat_template": "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"}
    (assets / "tiny" / "small_base" / "tokenizer_config.json").write_text(json.dumps(config))
    chat = {"path": "adapters/pirate", "adapter_of": "small_base", "prompt": "chat"}
    rewrite(assets, "pirate", chat)
    family = load_family("tiny", Settings(assets=assets))
    text = b"".join(family.token_bytes[i] for i in encode_prompt(family, "pirate", "Hi"))
    assert text.decode() == "<user>Hi"
    own = {"chat_template": "{% for m in messages %}[{{ m.content }}]{% endfor %}"}
    (assets / "tiny" / "adapters" / "pirate" / "tokenizer_config.json").write_text(json.dumps(own))
    family = load_family("tiny", Settings(assets=assets))
    text = b"".join(family.token_bytes[i] for i in encode_prompt(family, "pirate", "Hi"))
    assert text.decode() == "[Hi]"


def test_a_plan_counts_an_adapters_weights_and_its_rows_in_the_bases_cache(assets: Path) -> None:
    settings = Settings(assets=assets, dtype="fp32", max_sequences=8)
    plan = make_plan(find_entry("tiny", settings), settings, free={"cpu": 8_000_000_000})
    adapter, base = plan.of("pirate"), plan.of("small_base")
    stored = load_file(assets / "tiny" / "adapters" / "pirate" / ADAPTER_WEIGHTS)
    assert adapter.parameters == sum(tensor.numel() for tensor in stored.values())
    assert adapter.here and adapter.weights_bytes == 4 * adapter.parameters < base.weights_bytes
    assert adapter.cache_bytes == base.cache_bytes > 0


def test_a_family_with_unusable_adapters_is_refused(assets: Path) -> None:
    rewrite(assets, "pirate", {"path": "adapters/pirate", "adapter_of": "large_base"})
    family = load_family("tiny", Settings(assets=assets))
    with pytest.raises(FamilyError, match="does not fit its base"):
        load_models(family, torch.float32)
    for value, sentence in (
        (
            {"path": "adapters/pirate", "adapter_of": "nobody"},
            "'nobody'.*choose one of .*small_base",
        ),
        ({"path": "adapters/none", "adapter_of": "small_base"}, "adapter_config.json.* is missing"),
        ({"path": "adapters/pirate"}, "config.json, part of the model pirate, is missing"),
        (7, r"family.yaml, line \d+: roles.pirate must be a table of entries; it is 7"),
    ):
        rewrite(assets, "pirate", value)
        with pytest.raises(FamilyError, match=sentence):
            load_family("tiny", Settings(assets=assets))


@pytest.mark.parametrize(
    ("patterns", "cause"),
    [
        ({"((": 1}, "error: missing"),  # as raised by Python's regular expressions
        ({"(a+)+$": 1}, "ValueError"),
        ({".*.*.*.*x": 1}, "ValueError"),
        ({"x" * 300: 1}, "ValueError"),
        ([1], "alpha_pattern|TypeError|AttributeError"),
    ],
)
def test_invalid_or_slow_alpha_patterns_are_rejected(
    folders: Mapping[str, Path], tmp_path: Path, patterns: Any, cause: str
) -> None:
    with pytest.raises(FamilyError, match=f"(?s)adapter in .* cannot be read .*({cause})"):
        read_adapter(broken(folders, tmp_path, alpha_pattern=patterns), small_base())
