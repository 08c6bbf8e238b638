"""Which weights the engine accepts, when tuning may be undone, and extreme logits."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eft_demo.engine.engine import Engine
from eft_demo.engine.run import RunRequest
from eft_demo.errors import InputError
from eft_demo.method.recipe import BASE, DOWNSCALED, PAD, TUNED, UPSCALED, blend, parse, undone_model
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.method.weight_filter import WeightFilter
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.settings import HIGHEST_WEIGHT, Settings, check_weight
from tests.asking import changed, make_request
from tests.toy import ToyModel

VOCAB = 24
ROLES = ("large_base", "small_base", "small_tuned")
PLAIN = Settings(dtype="fp32", threads=1)
STUDY = replace(PLAIN, allow_negative_alpha=True)


def engine_of(settings: Settings = PLAIN, models: dict[str, ToyModel] | None = None) -> Engine:
    toys = {role: ToyModel(role, VOCAB, seed=seed) for seed, role in enumerate(ROLES)}
    return Engine({**toys, **(models or {})}, (), settings, [b"x"] * VOCAB)


def ask(recipe: str = str(UPSCALED), alpha: float = 1.0, **changes: Any) -> RunRequest:
    request = make_request(
        dict.fromkeys(ROLES, (1, 2)),
        (("P", parse(recipe)),),
        {"alpha": alpha, "beta": 1.0},
        Sampling(seed=3),
        6,
    )
    return changed(request, **changes)


@pytest.mark.parametrize("alpha", [0, 1, 3.5, 5])
def test_weights_up_to_5_are_accepted(alpha: float) -> None:
    engine = engine_of()
    run = engine.submit(ask(alpha=alpha))
    run.set_control("beta", alpha)
    while engine.step():
        pass
    assert run.done


@pytest.mark.parametrize("name", ["alpha", "beta", "alpha_pirate"])
@pytest.mark.parametrize("value", [-0.001, 5.001, math.nan, math.inf, -math.inf, "1", None, True])
def test_other_weights_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InputError):
        check_weight(name, value)


def test_a_negative_weight_is_refused_and_the_error_names_the_variable_that_allows_it() -> None:
    with pytest.raises(InputError, match="-1.*EFT_ALLOW_NEGATIVE_ALPHA=1") as caught:
        engine_of().submit(ask(alpha=-1))
    assert caught.value.code == "undoing"
    run = engine_of().submit(ask())
    with pytest.raises(InputError) as caught:
        run.set_control("alpha", -0.5)
    assert caught.value.code == "undoing"
    assert run.controls["alpha"] == 1


UNDOING = [
    "large_base - 0.5*(small_tuned - small_base)",
    "large_base - alpha*(small_tuned - small_base)",
    "large_base + 0.5*(small_base - small_tuned)",
    "large_base + alpha*(small_base - small_tuned)",
    "large_base + 0.5*(large_base - small_tuned)",
    "small_tuned + 2*(small_base - small_tuned)",
    "small_tuned + alpha*(small_base - small_tuned)",
    "large_base + 0.3*(small_tuned - small_base) - 0.4*(small_tuned - small_base)",
    "large_base + alpha*(small_tuned - small_base) - beta*(small_tuned - large_base)",
    "large_base + 0.5*(pirate - guarded)",
]
HARMLESS = [
    *map(str, (BASE, TUNED, UPSCALED, DOWNSCALED, PAD, blend(["pirate", "brief"]))),
    "large_base - 0.5*(small_base - small_tuned)",
    "small_base + 1*(small_tuned - small_base)",
    "small_tuned + 0.5*(small_base - small_tuned)",
    "small_tuned + beta*(large_base - small_base)",
    "large_base - 0.5*(small_base - large_base)",
    "large_base + 0.4*(small_tuned - small_base) - 0.4*(small_tuned - small_base)",
]


@pytest.mark.parametrize("text", UNDOING)
def test_a_recipe_that_subtracts_a_tuned_model_is_refused(text: str) -> None:
    recipe = parse(text)
    assert undone_model(recipe, HIGHEST_WEIGHT) in recipe.roles
    if "guarded" not in text:
        with pytest.raises(InputError, match="small_tuned.*EFT_ALLOW_NEGATIVE_ALPHA") as caught:
            engine_of().submit(ask(text))
        assert caught.value.code == "undoing"
        assert engine_of(STUDY).submit(ask(text))


@pytest.mark.parametrize("text", HARMLESS)
def test_a_recipe_that_adds_or_dilutes_tuning_is_allowed(text: str) -> None:
    assert undone_model(parse(text), HIGHEST_WEIGHT) is None


def test_the_app_can_be_started_with_negative_weights_allowed() -> None:
    assert Settings.from_env({"EFT_ALLOW_NEGATIVE_ALPHA": "1"}).allow_negative_alpha
    assert not Settings.from_env({"EFT_ALLOW_NEGATIVE_ALPHA": "0"}).allow_negative_alpha
    with pytest.raises(InputError, match="EFT_ALLOW_NEGATIVE_ALPHA must be 0 or 1; got 'perhaps'"):
        Settings.from_env({"EFT_ALLOW_NEGATIVE_ALPHA": "perhaps"})
    engine = engine_of(STUDY)
    run = engine.submit(ask(alpha=-1.5))
    engine.step()
    run.set_control("alpha", -5)
    with pytest.raises(InputError, match="from -5 to 5"):
        run.set_control("alpha", -5.5)
    while engine.step():
        pass
    records = [event.record for event in run.events() if isinstance(event, TokenEvent)]
    assert [record.controls["alpha"] for record in records] == [-1.5] + [-5.0] * 5
    for record in records:
        delta = record.by_role["small_tuned"] - record.by_role["small_base"]
        assert record.bars[0] == pytest.approx(record.controls["alpha"] * delta, abs=1e-4)


class Extreme(ToyModel):
    """Logits of any size, some of them -inf, different at every position."""

    def __init__(self, name: str, rows: list[list[float]]) -> None:
        super().__init__(name, VOCAB)
        self.rows = rows

    def logits_after(self, history: Any) -> Tensor:
        row = self.rows[len(history) % len(self.rows)]
        return torch.tensor((row * VOCAB)[:VOCAB])


numbers = st.one_of(
    st.floats(-1e4, 1e4, width=32), st.sampled_from([-math.inf, -math.inf, 0.0, 1e4, -1e4]), st.just(math.nan)
)
models = st.lists(st.lists(numbers, min_size=3, max_size=9), min_size=1, max_size=3)
filters = st.sampled_from([WeightFilter(), WeightFilter("top_p", 0.9), WeightFilter("mask", 0.1)])


@settings(max_examples=100)
@given(
    st.tuples(models, models, models), st.floats(0, 5), st.floats(0, 5), filters,
    st.sampled_from([0, 0.7, 2]), st.sampled_from(["off", "on"]),
)  # fmt: skip
def test_extreme_numbers_give_finite_attributions_or_an_error(
    rows: tuple[list[list[float]], ...], alpha: float, beta: float, weight_filter: WeightFilter,
    temperature: float, mode: str,
) -> None:  # fmt: skip
    extreme = {role: Extreme(role, table) for role, table in zip(ROLES, rows, strict=True)}
    engine = engine_of(models=extreme)  # type: ignore[arg-type]
    request = ask(
        "small_base + alpha*(small_tuned - small_base) + beta*(large_base - small_base)",
        alpha,
        weight_filter=weight_filter,
        sampling=Sampling(temperature=temperature, seed=1),
        speculation=Speculation(mode, 3 * (mode == "on")),
        controls={"alpha": alpha, "beta": beta},
    )
    run = engine.submit(request)
    while engine.step():
        pass
    events = run.events()
    *tokens, end = events
    assert isinstance(end, EndEvent) and end.finish_reason in ("length", "error")
    assert end.finish_reason == "length" or "not numbers" in str(end.error)
    for event in tokens:
        assert isinstance(event, TokenEvent)
        record = event.record
        figures = [record.logprob, record.anchor_logprob, record.neg_log_z, record.entropy_nats, *record.bars]
        assert all(map(math.isfinite, figures)), "every sampled token has a finite attribution"
        assert record.anchor_logprob + sum(record.bars) + record.neg_log_z == pytest.approx(
            record.logprob, abs=0.1, rel=1e-4
        )
        shown = [c.logprob for c in record.candidates] + [
            v for c in record.candidates for v in c.by_role.values()
        ]
        assert not any(math.isnan(value) or value == math.inf for value in shown)
