"""Settings of a run other than its columns: drafts, schedule, and the control values for each token."""

from threading import Condition

import pytest

from eft_demo.engine.engine import Engine
from eft_demo.engine.run import Run, RunRequest
from eft_demo.errors import EFTError, InputError
from eft_demo.method.recipe import PAD, blend, parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import Schedule, parse_schedule
from eft_demo.method.speculation import Speculation, parse_speculation
from eft_demo.runs.events import TokenEvent
from eft_demo.settings import ALPHA, Settings, check_control, control_range
from tests.asking import make_request
from tests.toy import ToyModel

ROLES = ("large_base", "small_base", "pirate")
CONTROLS = {"alpha": 2.0, "beta": 1.5, "alpha_pirate": 1.0}


def request(schedule: Schedule) -> RunRequest:
    columns = (("Blend", parse("large_base + alpha_pirate*(pirate - small_base)")),)
    prompts = dict.fromkeys(ROLES, (1, 2))
    return make_request(prompts, columns, CONTROLS, Sampling(temperature=0), 4, schedule=schedule)


@pytest.mark.parametrize("text", ["off", "on", "on 1", "on 8", "auto"])
def test_a_speculation_setting_survives_its_text_form(text: str) -> None:
    assert str(parse_speculation(text)) == text


@pytest.mark.parametrize(
    "text", ["", "of", "on 9", "on -1", "on x", "on 1 2", "off 2", "auto 3", None, 5, "on ²"]
)
def test_an_invalid_speculation_setting_is_rejected(text: object) -> None:
    with pytest.raises(InputError):
        parse_speculation(text)


def test_the_speculation_setting_is_auto_by_default() -> None:
    assert Speculation() == parse_speculation("auto")


def test_the_schedule_scales_the_live_controls() -> None:
    run = Run(request(parse_schedule("list 0.5 0 1")), Condition(), list[object]().append)
    assert run.controls_at(0) == {"alpha": 1.0, "beta": 1.5, "alpha_pirate": 0.5}
    assert run.controls_at(1) == {"alpha": 0.0, "beta": 1.5, "alpha_pirate": 0.0}
    assert run.controls_at(2) == CONTROLS
    run.set_control("alpha", 3.0)
    assert run.controls_at(0)["alpha"] == 1.5


def test_records_hold_the_effective_values() -> None:
    models = {role: ToyModel(role, 40, seed=seed) for seed, role in enumerate(ROLES)}
    engine = Engine(models, (), Settings(), [b"x"] * 40)
    run = engine.submit(request(parse_schedule("first 2")))
    while engine.step():
        pass
    records = [event.record for event in run.events() if isinstance(event, TokenEvent)]
    assert [record.controls["alpha_pirate"] for record in records] == [1.0, 1.0, 0.0, 0.0]
    for record in records:
        delta = record.by_role["pirate"] - record.by_role["small_base"]
        assert record.bars[0] == pytest.approx(record.controls["alpha_pirate"] * delta, abs=1e-5)
    assert all(record.logprob == record.by_role["large_base"] for record in records[2:])


def test_every_behaviour_has_its_own_slider() -> None:
    recipe = blend(["pirate", "brief"])
    assert recipe.controls == ("alpha_pirate", "alpha_brief")
    assert parse(str(recipe)) == recipe
    assert check_control("alpha_pirate", 2) == 2.0
    own = control_range("alpha_pirate")
    assert own is not None and own.high == ALPHA.high
    for bad in ("alpha_", "alpha_Ä", "gamma", "", None, 5):
        assert control_range(bad) is None
    with pytest.raises(EFTError, match="alpha_pirate"):
        check_control("alpha_pirate", 9)
    with pytest.raises(EFTError, match="not the name of a control"):
        recipe.with_roles({"pirate": "alpha_role"})


@pytest.mark.parametrize(
    ("alpha", "beta", "same"),
    [(0, 0, "small_base"), (1, 0, "small_tuned"), (0, 1, "large_base")],
)
def test_the_corners_of_the_pad_are_the_models(alpha: float, beta: float, same: str) -> None:
    values = {"small_base": -1.0, "small_tuned": -2.5, "large_base": -4.0}
    weights = PAD.coefficients({"alpha": alpha, "beta": beta})
    mixed = values[PAD.anchor] + sum(
        weight * (values[term.plus] - values[term.minus])
        for weight, term in zip(weights, PAD.terms, strict=True)
    )
    assert mixed == values[same]
