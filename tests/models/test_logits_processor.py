"""EFT in `generate`: against the engine and uncached computation, in batches, beam search and reuse."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    LogitsProcessorList,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2ForCausalLM,
)

from eft_demo import EmulatedFineTuning
from eft_demo.engine.engine import Engine
from eft_demo.errors import FamilyError, InputError, NumericalError
from eft_demo.method.recipe import parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import parse_schedule
from eft_demo.method.weight_filter import parse_weight_filter
from eft_demo.models.hf import TransformersModel
from eft_demo.runs.events import TokenEvent
from eft_demo.settings import Settings
from tests.asking import make_request
from tests.tiny import TINY_LARGE, TINY_SMALL, make_model, make_tokenizer

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
VOCAB, CONTEXT, LENGTH = 101, 96, 16
SMALL = replace(TINY_SMALL, tied=False)  # tied ones repeat themselves, and then hide mistakes
PROMPT = [5, 17, 3, 99, 42, 8]
Models = Mapping[str, Qwen2ForCausalLM]


@pytest.fixture(scope="module")
def models() -> Models:
    sizes = {"large_base": TINY_LARGE, "small_base": SMALL, "assistant": SMALL, "pirate": SMALL}
    return {
        role: make_model(size, VOCAB, CONTEXT, seed).eval() for seed, (role, size) in enumerate(sizes.items())
    }


def eft_of(models: Models, alpha: float = 1.0, **options: Any) -> EmulatedFineTuning:
    return EmulatedFineTuning(models["assistant"], models["small_base"], alpha, **options)


def write(
    model: Qwen2ForCausalLM, prompts: Sequence[Sequence[int]], *processors: EmulatedFineTuning, **options: Any
) -> list[list[int]]:
    """The tokens that `generate` returns after each prompt, greedy by default, padded with 0."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    out = model.generate(
        input_ids=ids,
        attention_mask=(ids != 0).long(),
        logits_processor=list(processors),
        **{"do_sample": False, "max_new_tokens": LENGTH, "pad_token_id": 0, "eos_token_id": None, **options},
    )
    return [row[longest:] for row in out.tolist()]


def exact(models: Models, text: Sequence[int], terms: Sequence[tuple[float, str, str]]) -> Tensor:
    """The recipe's log-probs after `text` (vocab,), from uncached forwards and the formula."""

    def logprobs(role: str) -> Tensor:
        with torch.no_grad():
            logits: Tensor = models[role](torch.tensor([text]), use_cache=False).logits
        return logits[0, -1].double().log_softmax(-1)

    mixed = logprobs("large_base") + sum(w * (logprobs(a) - logprobs(b)) for w, a, b in terms)
    return mixed.log_softmax(-1)


def greedy(models: Models, prompt: Sequence[int], terms: Sequence[tuple[float, str, str]]) -> list[int]:
    text = list(prompt)
    for _ in range(LENGTH):
        text.append(int(exact(models, text, terms).argmax()))
    return text[len(prompt) :]


RECIPES = {
    "large_base + alpha*(assistant - small_base)": ("large_base", [(1.3, "assistant", "small_base")]),
    "assistant + 1.5*(large_base - small_base)": ("assistant", [(1.5, "large_base", "small_base")]),
    "large_base + 0.7*(assistant - small_base) + 0.5*(pirate - small_base)": (
        "large_base", [(0.7, "assistant", "small_base"), (0.5, "pirate", "small_base")],
    ),
    "small_base + alpha*(assistant - small_base) + 0.8*(large_base - small_base)": (
        "small_base", [(1.3, "assistant", "small_base"), (0.8, "large_base", "small_base")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", RECIPES)
def test_the_engine_and_generate_agree(models: Models, text: str) -> None:
    anchor, terms = RECIPES[text]
    eft = EmulatedFineTuning(terms=[(w, models[a], models[b]) for w, a, b in terms])
    expected = write(models[anchor], [PROMPT], eft)[0]
    assert len(set(expected)) > 9, "a text that repeats itself shows little"
    assert by_engine(models, text) == expected


@pytest.mark.parametrize(
    "options",
    [{"weight_filter": f} for f in ("top-p 0.9", "top-p 0.3", "mask 0.1")]
    + [{"schedule": s} for s in ("warmup 9", "first 2", "list 0.2 1 0")],
    ids=str,
)
def test_filters_and_schedules_equal_the_engines(models: Models, options: dict[str, str]) -> None:
    expected = write(models["large_base"], [PROMPT], eft_of(models, 1.3, **options))[0]
    assert by_engine(models, "large_base + alpha*(assistant - small_base)", **options) == expected
    assert write(models["large_base"], [PROMPT], eft_of(models, 1.3))[0] != expected


def by_engine(models: Models, text: str, weight_filter: str = "off", schedule: str = "constant") -> list[int]:
    engine = Engine(
        {role: TransformersModel(role, model, CONTEXT, VOCAB) for role, model in models.items()},
        (), Settings(dtype="fp32", threads=1), [b"x"] * VOCAB,
    )  # fmt: skip
    request = make_request(
        dict.fromkeys(models, tuple(PROMPT)), (("EFT", parse(text)),), {"alpha": 1.3},
        Sampling(temperature=0), LENGTH,
        weight_filter=parse_weight_filter(weight_filter), schedule=parse_schedule(schedule),
    )  # fmt: skip
    run = engine.submit(request)
    while engine.step():
        pass
    return [event.record.id for event in run.events() if isinstance(event, TokenEvent)]


def test_alpha_0_is_plain_generate_bit_for_bit(models: Models) -> None:
    large, scores = models["large_base"], torch.randn(2, VOCAB)
    assert eft_of(models, 0.0)(torch.tensor([[1, 2], [3, 4]]), scores) is scores
    assert write(large, [PROMPT], eft_of(models, 0.0)) == write(large, [PROMPT])
    assert write(large, [PROMPT], eft_of(models)) != write(large, [PROMPT])


def test_one_processor_can_be_reused_for_many_texts(models: Models, forwarded: list[int]) -> None:
    eft, large = eft_of(models), models["large_base"]
    texts = [PROMPT, PROMPT, [*PROMPT, 7, 7], [9, 9, 9], PROMPT[:4], [*PROMPT, 50], PROMPT[:1]]
    for text in texts:
        assert write(large, [text], eft) == write(large, [text], eft_of(models))
    eft.reset()
    forwarded.clear()
    write(large, [PROMPT], eft)
    # The whole prompt once, then one token at a time: the caches are on.
    assert forwarded == [len(PROMPT)] * 2 + [1] * 2 * (LENGTH - 1)
    forwarded.clear()
    write(large, [[*PROMPT, 1, 2, 3]], eft)
    assert forwarded[:2] == [3, 3], "the common beginning was read again"


@pytest.fixture
def forwarded(models: Models, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens each forward of the small pair read."""
    calls: list[int] = []
    for role in ("assistant", "small_base"):
        forward = models[role].forward

        def counted(*args: Any, forward: Any = forward, **options: Any) -> Any:
            calls.append(options["input_ids"].shape[1])
            return forward(*args, **options)

        monkeypatch.setattr(models[role], "forward", counted)
    return calls


def test_left_padded_rows_equal_each_row_alone(models: Models) -> None:
    large, prompts = models["large_base"], [PROMPT, [9, 9], [60, 2, 31]]
    alone = [write(large, [prompt], eft_of(models))[0] for prompt in prompts]
    assert write(large, prompts, eft_of(models)) == alone
    assert alone[1] == greedy(models, prompts[1], [(1.0, "assistant", "small_base")])
    # A wrong padding token counts as text, so the padding did matter.
    assert write(large, prompts, eft_of(models, pad_token_id=1)) != alone


def test_a_prompt_may_begin_with_the_padding_token(models: Models) -> None:
    prompts = [[0, 4, 5, 6], [0, 7]]
    ids = torch.tensor([[0, 4, 5, 6], [0, 0, 0, 7]])
    scores = torch.zeros(2, VOCAB)
    batch = eft_of(models)(ids, scores)
    for row, prompt in enumerate(prompts):
        delta = exact_of(models["assistant"], prompt) - exact_of(models["small_base"], prompt)
        torch.testing.assert_close(batch[row].double(), delta.log_softmax(-1), atol=1e-4, rtol=1e-5)


def test_the_padding_token_comes_from_the_models(models: Models) -> None:
    assert eft_of(models).pad_token_id == 0  # the end token: these models have none for padding
    assert eft_of(models, pad_token_id=3).pad_token_id == 3


@pytest.mark.parametrize("prompts", [[PROMPT], [PROMPT, [9, 9], [60, 2, 31]]], ids=len)
def test_beams_equal_uncached_computation(
    models: Models, prompts: list[list[int]], forwarded: list[int]
) -> None:
    large, beams = models["large_base"], {"num_beams": 4, "num_return_sequences": 3}
    found = write(large, prompts, eft_of(models), **beams)
    assert max(forwarded[2:]) == 1, "a reordered beam was read again"
    uncached = Uncached(models["assistant"], models["small_base"])
    assert found == write(large, prompts, uncached, **beams)
    assert len({tuple(row) for row in found}) == 3 * len(prompts)


class Uncached(EmulatedFineTuning):
    """Rereads the whole text for every token."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        for follower in self._followers.values():
            follower.restart()
        return super().__call__(input_ids, scores)


SHAPE = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = {**SHAPE, "intermediate_size": 64, "num_key_value_heads": 2}
OTHER_KINDS = {
    "absolute positions": (GPT2LMHeadModel, GPT2Config(**SHAPE, n_positions=CONTEXT)),
    "sliding windows": (MistralForCausalLM, MistralConfig(**GROUPED, sliding_window=5)),
    "a state beside keys": (
        Lfm2ForCausalLM, Lfm2Config(**GROUPED, layer_types=["conv", "full_attention"]),
    ),
    "a state instead": (MambaForCausalLM, MambaConfig(**SHAPE, state_size=8)),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_models_without_a_kv_cache_give_the_same_texts(models: Models, kind: str) -> None:
    maker, config = OTHER_KINDS[kind]
    pair = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        pair.append(maker(config).eval())
        with torch.no_grad():
            for weight in pair[-1].parameters():
                if weight.ndim > 1:
                    weight.normal_(0, 0.4)
    large, prompts = models["large_base"], [PROMPT, [9, 9], [60, 2, 31]]
    beams = {"num_beams": 3}
    fresh = partial(EmulatedFineTuning, *pair, pad_token_id=0)
    uncached = Uncached(*pair, pad_token_id=0)
    alone = [write(large, [prompt], uncached)[0] for prompt in prompts]
    assert write(large, prompts, fresh()) == alone
    assert write(large, prompts, fresh(), **beams) == write(large, prompts, uncached, **beams)
    eft = fresh()
    for text in ([*PROMPT], [*PROMPT], [*PROMPT, 7], PROMPT[:3]):
        assert write(large, [text], eft) == write(large, [text], uncached)


def test_a_step_equals_the_formula(models: Models) -> None:
    base = models["small_base"]
    eft = EmulatedFineTuning(terms=[(0.7, models["assistant"], base), (0.4, models["pirate"], base)])
    scores = models["large_base"](torch.tensor([PROMPT])).logits[:, -1]
    found = eft(torch.tensor([PROMPT]), scores)
    terms = [(0.7, "assistant", "small_base"), (0.4, "pirate", "small_base")]
    torch.testing.assert_close(found[0].double(), exact(models, PROMPT, terms), atol=1e-4, rtol=1e-5)
    assert found.dtype == torch.float32 and found.exp().sum() == pytest.approx(1)


@pytest.mark.parametrize("value", [0.05, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("kind", ["top-p", "mask"])
def test_the_weight_filter_follows_its_definition(models: Models, kind: str, value: float) -> None:
    scores = models["large_base"](torch.tensor([PROMPT])).logits[:, -1].detach()
    found = eft_of(models, 2.0, weight_filter=f"{kind} {value}")(torch.tensor([PROMPT]), scores)[0]
    anchor = exact(models, PROMPT, [])
    delta = exact_of(models["assistant"], PROMPT) - exact_of(models["small_base"], PROMPT)
    if kind == "mask":
        kept = anchor.exp() >= value * anchor.exp().max()
        mixed = (anchor + 2 * delta).masked_fill(~kept, -torch.inf)
    else:
        kept, mass = torch.zeros(VOCAB, dtype=torch.bool), 0.0
        for token in anchor.argsort(descending=True):
            kept[token] = mass <= value
            mass += float(anchor[token].exp())
        mixed = anchor + 2 * delta * kept
    assert 1 <= kept.sum() < VOCAB or value == 1
    torch.testing.assert_close(found.double(), mixed.log_softmax(-1), atol=1e-4, rtol=1e-5)


def test_several_texts_can_be_sampled_at_once(models: Models) -> None:
    torch.manual_seed(1)
    found = write(
        models["large_base"], [PROMPT, [9, 9]], eft_of(models), do_sample=True, num_return_sequences=3
    )
    assert len(found) == 6 and len({tuple(row) for row in found}) > 2


def test_a_schedule_counts_from_the_prompt(models: Models) -> None:
    large, eft = models["large_base"], eft_of(models, schedule="first 3")
    for prompt in (PROMPT, [9, 9], PROMPT):
        begun = write(large, [prompt], eft_of(models), max_new_tokens=3)[0]
        rest = write(large, [[*prompt, *begun]], max_new_tokens=LENGTH - 3)[0]
        assert write(large, [prompt], eft) == [[*begun, *rest]]


def test_the_narrowest_vocabulary_counts() -> None:
    widths = {"large_base": 128, "assistant": 112, "small_base": 104}
    wide = {
        role: make_model(TINY_LARGE if role == "large_base" else TINY_SMALL, width, CONTEXT, seed).eval()
        for seed, (role, width) in enumerate(widths.items())
    }
    ids, scores = torch.tensor([PROMPT]), torch.randn(1, 128)
    found = eft_of(wide)(ids, scores)
    assert found.shape == (1, 128)
    assert found[0, :104].isfinite().all() and (found[0, 104:] == -torch.inf).all()
    assert found.exp().sum() == pytest.approx(1)
    known = eft_of(wide, vocab_size=VOCAB)(ids, scores)
    assert known[0, :VOCAB].isfinite().all() and (known[0, VOCAB:] == -torch.inf).all()
    narrow = eft_of(wide)(ids, scores[:, :90])
    assert narrow.shape == (1, 90) and narrow.isfinite().all()


def test_models_may_have_different_prompts(models: Models) -> None:
    asked = {models["assistant"]: [70, 71, *PROMPT, 72], models["small_base"]: [PROMPT[:2]]}
    eft = eft_of(models, prompts=asked)
    text: list[int] = []
    for _ in range(LENGTH):
        mixed = exact(models, [*PROMPT, *text], [])
        mixed = mixed + exact_of(models["assistant"], [70, 71, *PROMPT, 72, *text])
        mixed = mixed - exact_of(models["small_base"], [*PROMPT[:2], *text])
        text.append(int(mixed.argmax()))
    assert write(models["large_base"], [PROMPT], eft) == [text]
    assert write(models["large_base"], [PROMPT], eft) == [text]  # again, by the same object
    assert write(models["large_base"], [PROMPT], eft_of(models)) != [text]


def exact_of(model: Qwen2ForCausalLM, text: Sequence[int]) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(torch.tensor([text]), use_cache=False).logits
    return logits[0, -1].double().log_softmax(-1)


def test_a_prompt_of_embeddings_needs_ids_for_the_small_models(models: Models) -> None:
    embeds = models["large_base"].get_input_embeddings()(torch.tensor([PROMPT]))

    def written(eft: EmulatedFineTuning) -> list[int]:
        out = models["large_base"].generate(
            inputs_embeds=embeds, attention_mask=torch.ones(1, len(PROMPT)), logits_processor=[eft],
            max_new_tokens=LENGTH, do_sample=False, pad_token_id=0, eos_token_id=None,
        )  # fmt: skip
        return list(out[0].tolist())

    with pytest.raises(InputError, match="inputs_embeds"):
        written(eft_of(models))
    asked = {models["assistant"]: PROMPT, models["small_base"]: PROMPT}
    assert written(eft_of(models, prompts=asked)) == write(models["large_base"], [PROMPT], eft_of(models))[0]


def test_each_model_may_have_its_prompt_in_batches_and_beams(models: Models) -> None:
    large, prompts = models["large_base"], [PROMPT, [9, 9]]
    own: list[list[int]] = [[70, 71, 72, 73], [74]]
    padded = {"input_ids": torch.tensor([[70, 71, 72, 73], [0, 0, 0, 74]])}  # as a tokenizer gives it
    for beams in ({}, {"num_beams": 3}):
        alone = [
            write(large, [prompt], eft_of(models, prompts={models["assistant"]: o}), **beams)[0]
            for prompt, o in zip(prompts, own, strict=True)
        ]
        for rows in (own, padded):
            eft = eft_of(models, prompts={models["assistant"]: rows})
            assert write(large, prompts, eft, **beams) == alone
    with pytest.raises(InputError, match="2 rows.* 3[.]"):
        write(large, [[1], [2], [3]], eft_of(models, prompts={models["assistant"]: own}))
    with pytest.raises(InputError, match="in no term"):
        eft_of(models, prompts={models["large_base"]: own})


def test_other_dtypes_are_mixed_in_float32(models: Models) -> None:
    half = {role: make_model(TINY_SMALL, VOCAB, CONTEXT, 1).bfloat16().eval() for role in ("a", "b")}
    scores = torch.randn(1, VOCAB)
    same = EmulatedFineTuning(half["a"], half["b"])(torch.tensor([PROMPT]), scores)
    torch.testing.assert_close(same, scores.log_softmax(-1))  # a model minus its twin is nothing
    assert same.dtype == torch.float32


def test_a_model_that_returns_nan_is_named(models: Models) -> None:
    broken = make_model(TINY_SMALL, VOCAB, CONTEXT, 9).eval()
    with torch.no_grad():
        broken.model.norm.weight.fill_(torch.nan)
    for pair, name in (((broken, models["small_base"]), "tuned"), ((models["assistant"], broken), "base")):
        with pytest.raises(NumericalError, match=f"The model {name} gave"):
            write(models["large_base"], [PROMPT], EmulatedFineTuning(*pair))
    with pytest.raises(NumericalError, match="model that generates"):
        write(broken, [PROMPT], eft_of(models))


def test_tokens_ruled_out_by_earlier_processors_stay_out(models: Models) -> None:
    eft, large = eft_of(models, 3.0), models["large_base"]
    unwanted = set(write(large, [PROMPT], eft)[0])
    found = write(large, [PROMPT], eft, suppress_tokens=list(unwanted))[0]
    assert not unwanted & set(found)


@pytest.mark.parametrize("alpha", [-0.1, 11, float("nan"), "1", None, True])
def test_weights_have_limits(models: Models, alpha: Any) -> None:
    with pytest.raises(InputError):
        eft_of(models, alpha)
    pair = (models["assistant"], models["small_base"])
    with pytest.raises(InputError):
        EmulatedFineTuning(terms=[(1.0, *pair), (alpha, *pair)])


@pytest.mark.parametrize("kind", [np.float32, np.int64, torch.tensor])
def test_weights_may_be_numbers_of_numpy_and_torch(models: Models, kind: Any) -> None:
    assert eft_of(models, kind(2)).weights == (2.0,)
    with pytest.raises(InputError, match="negative"):
        eft_of(models, kind(-1))


def test_a_negative_weight_must_be_allowed(models: Models) -> None:
    with pytest.raises(InputError, match="allow_negative=True"):
        eft_of(models, -0.5)
    eft = eft_of(models, -0.5, allow_negative=True)
    assert write(models["large_base"], [PROMPT], eft)[0] == greedy(
        models, PROMPT, [(-0.5, "assistant", "small_base")]
    )


def test_either_a_pair_or_terms_must_be_given(models: Models) -> None:
    pair = (models["assistant"], models["small_base"])
    for options in ({}, {"tuned": pair[0]}, {"terms": [(1, *pair)], "tuned": pair[0], "base": pair[1]},
                    {"terms": [(1, *pair)] * 7}):  # fmt: skip
        with pytest.raises(InputError, match="1 to 6 terms"):
            EmulatedFineTuning(**options)


def test_different_tokenizers_are_refused(models: Models) -> None:
    one = make_tokenizer(384, ["to be or not to be", "that is the question"])
    other = make_tokenizer(384, ["half a league, half a league", "half a league onward"])
    assert eft_of(models, tokenizers=[one, one]).vocab_size == one.get_vocab_size()
    with pytest.raises(FamilyError, match=r"of tokenizer 1 and tokenizer 2 differ in \d+ of \d+ ids"):
        eft_of(models, tokenizers=[one, other])
    longer = make_tokenizer(384, ["to be or not to be", "that is the question"])
    longer.add_tokens(["<extra>"])
    assert eft_of(models, tokenizers=[longer, one]).vocab_size == one.get_vocab_size()


def test_generate_takes_it_in_a_list_of_processors(models: Models) -> None:
    eft = eft_of(models)
    ids = torch.tensor([PROMPT])
    out = models["large_base"].generate(
        ids, logits_processor=LogitsProcessorList([eft]), max_new_tokens=LENGTH, do_sample=False,
        pad_token_id=0, eos_token_id=None, attention_mask=torch.ones_like(ids),
    )  # fmt: skip
    assert out[0, len(PROMPT) :].tolist() == write(models["large_base"], [PROMPT], eft)[0]


def test_importing_the_package_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, eft_demo; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(ImportError):
        from eft_demo import EmulatedFinetuning  # noqa: F401, PLC0415


def test_the_example_in_the_guide_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = (code for code in GUIDE.split("```")[1::2] if "import EmulatedFineTuning" in code)
    monkeypatch.chdir(ROOT)
    exec(example.removeprefix("python\n"), {})  # noqa: S102
    assert "Lima" in capsys.readouterr().out
