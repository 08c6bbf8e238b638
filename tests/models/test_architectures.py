"""Every supported architecture: the engine's logits equal the library's, plain and quantised."""

from functools import lru_cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.models.falcon import modeling_falcon

from eft_demo.families.catalogue import read_entry
from eft_demo.families.family import Family, encode_prompt, load_family
from eft_demo.method.mixing import ControlTokens, pool_control_tokens, to_logprobs
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.models.backend import LoadOptions
from eft_demo.models.hf import TransformersModel
from eft_demo.models.kv_cache import FIRST_ROWS
from eft_demo.models.load import load_model
from eft_demo.models.shape import cache_shape, longest_row
from eft_demo.settings import Settings
from tests.asking import QUESTION, run_three
from tests.checkpoints import KINDS, ROLES, make_real_family
from tests.quantising import BITS
from tests.recording import CpuRecorder, with_graphs
from tests.tiers import first_of

FP32 = Settings(dtype="fp32", threads=1)
TEXTS = [list(range(30, 41)), [7, 5], list(range(60, 66))]  # token ids; windows are shorter than the first
STEPS = 5
# Each has something of its own: a window in some layers or all, eager attention, ALiBi, norms, two rotations.
RECORDED = ("qwen2-sliding", "llama3", "gemma2", "gemma3", "falcon-7b", "gpt_neox", "olmo2", "phi4-mini")
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Family]:
    """A family of every kind, read from a user's family file."""
    folder = tmp_path_factory.mktemp("kinds")
    return {kind: load_family(read_entry(make_real_family(folder / kind, kind)), FP32) for kind in KINDS}


def library_model(folder: Path, **options: object) -> AutoModelForCausalLM:
    # Only eager attention supports capped attention logits.
    attention = "eager" if "gemma2" in str(folder) else "sdpa"
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, **options
    ).eval()


@lru_cache
def exact_model(folder: Path) -> AutoModelForCausalLM:
    """The unquantised library model, loaded once because most tests need it."""
    return library_model(folder)


@torch.inference_mode()
def whole(model: AutoModelForCausalLM, tokens: list[int], vocab: int) -> Tensor:
    """Logits after every token, without a cache: (tokens, vocab)."""
    logits: Tensor = model(input_ids=torch.tensor([tokens]), use_cache=False).logits
    return logits[0, :, :vocab].float()


def stepwise(model: TransformersModel) -> list[Tensor]:
    """The same logits from rows of several lengths: prompts first, then joint steps with one rollback."""
    slots = [model.join() for _ in TEXTS]
    found = [
        [
            model.forward(
                [slot], torch.tensor([text[:-STEPS] or text[:1]]), keep=len(text[:-STEPS] or text[:1])
            )[0]
        ]
        for slot, text in zip(slots, TEXTS, strict=True)
    ]
    slots[0].length -= 1
    found[0][0] = found[0][0][:-1]
    for _ in range(STEPS + 1):
        rows = [i for i, text in enumerate(TEXTS) if slots[i].length < len(text)]
        block = torch.tensor([[TEXTS[i][slots[i].length]] for i in rows])
        for i, logits in zip(rows, model.forward([slots[i] for i in rows], block), strict=True):
            found[i].append(logits)
    return [torch.cat(parts).float() for parts in found]


@every_kind
def test_logits_equal_the_librarys(families: dict[str, Family], kind: str) -> None:
    family = families[kind]
    checkpoint = family.roles["large_base"]
    model = load_model(family, checkpoint, LoadOptions(torch.float32, by_library=True))
    assert isinstance(model, TransformersModel)
    reference = exact_model(checkpoint.path)
    for text, logits in zip(TEXTS, stepwise(model), strict=True):
        expected = whole(reference, text, family.vocab)
        torch.testing.assert_close(logits, expected, atol=3e-5, rtol=1e-5)
        assert expected.std() > 0.3  # the comparison compares something
    kept = sum(store.nbytes for store in model.cache.store)
    assert cache_shape(reference.config.to_dict()).bytes(FIRST_ROWS * model.context, 4) == kept


@pytest.mark.parametrize("kind", first_of("gemma3", *sorted({*RECORDED} - {"gemma3"})))
def test_recorded_steps_give_the_same_logits(
    families: dict[str, Family], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = families[kind]
    checkpoint = family.roles["large_base"]
    model = load_model(family, checkpoint, LoadOptions(torch.float32, by_library=True))
    assert isinstance(model, TransformersModel)
    plain, recorder = stepwise(model), CpuRecorder()
    recorded = with_graphs(model, monkeypatch, recorder)
    for found, expected in zip(stepwise(recorded), plain, strict=True):
        torch.testing.assert_close(found, expected, atol=3e-5, rtol=1e-5)
    assert recorder.replays > STEPS


@every_kind
def test_the_engine_mixes_the_librarys_logits(families: dict[str, Family], kind: str) -> None:
    family = families[kind]
    columns = run_three(family, "polite", Sampling(temperature=0), 8, Speculation("off"), FP32)
    prompts = {role: tuple(encode_prompt(family, role, QUESTION)) for role in ROLES}
    records = columns[2].tokens
    assert records
    written = [record.id for record in records]
    control_tokens = ControlTokens(tuple(sorted(family.stop_ids)), tuple(family.banned_ids))
    by_role = {}
    for role in ROLES:
        logits = whole(exact_model(family.roles[role].path), [*prompts[role], *written[:-1]], family.vocab)
        by_role[role] = to_logprobs(pool_control_tokens(logits[-len(written) :], control_tokens), role)
    mixed = by_role["large_base"] + 1.5 * (by_role["polite"] - by_role["small_base"])
    expected = mixed.nan_to_num(nan=-torch.inf).log_softmax(-1)  # tokens that no model may say
    for step, record in enumerate(records):
        assert record.logprob == pytest.approx(float(expected[step].max()), abs=2e-4)
        for role in ROLES:
            assert record.by_role[role] == pytest.approx(float(by_role[role][step, record.id]), abs=2e-4)


def test_a_row_ends_where_its_rotary_positions_would_depend_on_other_rows(
    families: dict[str, Family],
) -> None:
    family = families["phi4-mini"]
    model = load_model(family, family.roles["large_base"], LoadOptions(torch.float32))
    assert family.context == 64 and model.context == 48  # where its long factors begin
    old = {"max_position_embeddings": 131072, "original_max_position_embeddings": 4096}
    assert longest_row({**old, "rope_scaling": {"type": "longrope"}}, 8192) == 4096
    assert longest_row({**old, "rope_scaling": None}, 8192) == 8192


@pytest.mark.parametrize("quantisation", BITS)
@every_kind
def test_quantised_logits_equal_the_librarys(
    families: dict[str, Family], kind: str, quantisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library quantises only nn.Linear, and Falcon has its own equivalent class.
    monkeypatch.setattr(modeling_falcon, "FalconLinear", nn.Linear)
    family = families[kind]
    checkpoint = family.roles["large_base"]
    model = load_model(family, checkpoint, LoadOptions(torch.float32, quantisation))
    assert isinstance(model, TransformersModel)
    options = {"quantization_config": BITS[quantisation], "device_map": {"": "cpu"}}
    reference, exact = library_model(checkpoint.path, **options), exact_model(checkpoint.path)
    for text, by_steps in zip(TEXTS, stepwise(model), strict=True):
        expected = whole(reference, text, family.vocab)
        at_once = model.forward([model.join()], torch.tensor([text]), keep=len(text))[0]
        torch.testing.assert_close(at_once, expected, atol=1e-4, rtol=1e-4)
        change = (expected - whole(exact, text, family.vocab)).std()
        assert 1e-3 < change, "nothing was quantised"
        # In 8 bits the activations are rounded too, and how depends on the tokens beside them.
        assert (by_steps - expected).std() < (0.6 if quantisation == "int8" else 0.2) * change
