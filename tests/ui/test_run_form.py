"""The page's form: posted values are checked, and equal those of a link."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.method.sampling import Sampling
from eft_demo.runs.link import Link, from_query
from eft_demo.runs.spec import RunSpec
from eft_demo.settings import Settings
from eft_demo.ui.links import read_link
from eft_demo.ui.run_form import MAX_STEERED, read_control_values, read_run_spec
from tests.fakes import make_service

COLUMNS = [
    {"name": "Blend", "recipe": "large_base + alpha_pirate*(pirate - small_base) + 0.5*(brief - small_base)"},
    {
        "name": "Pad",
        "recipe": "small_base + alpha*(small_tuned - small_base) + beta*(large_base - small_base)",
    },
]
POSTED: Mapping[str, Any] = {
    "prompt": "Hi",
    "behaviour": "brief",
    "columns": COLUMNS,
    "controls": {"alpha": 0.5, "beta": 2, "alpha_pirate": 0.25},
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 7,
    "min_p": 0.05,
    "seed": 11,
    "length": 3,
    "schedule": "warmup 4",
    "filter": "mask 0.1",
    "speculation": "on 2",
}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = make_service(replace(Settings(), max_prompt_chars=10_000))
    yield service
    service.stop()


def test_every_posted_setting_reaches_the_run(service: Service) -> None:
    run = service.start_run(read_run_spec(service, POSTED))
    request = run.request.spec
    run.cancel()
    assert [name for name, _ in request.columns] == ["Blend", "Pad"]
    assert request.columns[1][1].roles == ("small_base", "brief", "large_base")
    assert request.controls == {"alpha_pirate": 0.25, "alpha": 0.5, "beta": 2.0}
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p, sampling.seed) == (
        0.5, 0.9, 7, 0.05, 11
    )  # fmt: skip
    assert request.length == 3
    sent = str(request.schedule), str(request.weight_filter), str(request.speculation)
    assert sent == ("warmup 4", "mask 0.1", "on 2")


def test_a_posted_spec_survives_a_link_and_a_post(service: Service) -> None:
    asked = read_run_spec(service, POSTED)
    assert from_query(Link(asked).to_query()) == Link(asked)
    assert read_run_spec(service, asked.as_posted()) == asked
    assert asked.as_posted() == {**asdict(Sampling()), **POSTED, "family": "echo"}


def test_a_link_posts_only_the_fields_it_has() -> None:
    assert {"behaviour", "columns", "length"}.isdisjoint(RunSpec(prompt="Hi").as_posted())


def test_custom_prompt_formats_reach_the_run_and_the_link(service: Service) -> None:
    own = {"brief": {"kind": "few-shot", "text": "Q: 1+1?\nA: 2:\n\nQ: {prompt}\nA:"}}
    asked = read_run_spec(service, {**POSTED, "formats": own})
    link = Link(asked)
    assert from_query(link.to_query()) == link and link.to_query().startswith("v=2&")
    assert asked.as_posted() == {**asdict(Sampling()), **POSTED, "family": "echo", "formats": own}
    run = service.start_run(asked)
    assert run.request.spec.formats == asked.formats
    run.cancel()


def test_a_prompt_may_be_longer_than_a_link(service: Service) -> None:
    long = read_run_spec(service, {**POSTED, "prompt": "x" * 9_000})
    with pytest.raises(InputError, match="4,000"):
        Link(long).to_query()


def test_controls_that_no_column_uses_are_left_out(service: Service) -> None:
    controls = {"alpha": 1, "beta": "x", "alpha_x": None, "__proto__": {}}
    assert read_run_spec(service, {**POSTED, "columns": None, "controls": controls}).controls == {"alpha": 1}


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        ({"controls": {"alpha": 1, "beta": 1}}, "alpha_pirate", "alpha_pirate is empty. Please"),
        ({"controls": {**POSTED["controls"], "beta": -1}}, "beta", "Beta must be a number from 0 to 3"),
        ({"controls": [1]}, "alpha_pirate", "alpha_pirate is empty"),
        ({"temperature": None}, "temperature", "Temperature is empty. Please enter a number from 0 to 2"),
        ({"seed": ""}, "seed", "Seed is empty. Please enter a whole number"),
        ({"length": " "}, "length", "Length is empty"),
        ({"schedule": "warmup "}, "schedule", "number of tokens of the schedule warmup is empty"),
        ({"filter": "top-p "}, "filter", "value of the weight filter top-p is empty"),
        ({"min_p": 2}, "min_p", "Min-p must be"),
        ({"schedule": "warmup 0"}, "schedule", "number of tokens"),
        ({"schedule": "list 0 2"}, "schedule", "factor"),
        ({"schedule": ["warmup"]}, "schedule", "There is no schedule"),
        ({"schedule": None}, "schedule", "There is no schedule"),
        ({"filter": "top-p 0"}, "filter", "weight filter"),
        ({"filter": {"kind": "off"}}, "filter", "weight filter"),
        ({"speculation": "on 99"}, "speculation", "from 0 to 8"),
        ({"speculation": 4}, "speculation", "must be off, on"),
        ({"columns": [*COLUMNS, {"name": "x", "recipe": "y"}]}, "column-2", "no model y"),
        ({"behaviour": "poet"}, "behaviour", "no behaviour 'poet'"),
    ],
)
def test_an_error_names_its_field(
    service: Service, change: Mapping[str, Any], where: str, words: str
) -> None:
    with pytest.raises(EFTError) as caught:
        read_run_spec(service, {**POSTED, **change})
    assert caught.value.where == where and words in str(caught.value)


@pytest.mark.parametrize(
    "posted",
    [
        {},
        {"values": None},
        {"values": {}},
        {"values": [1]},
        {"values": {"alpha": float("nan")}},
        {"values": {"alpha": 1, "beta": "2"}},
        {"values": {"gamma": 1}},
        {"values": {f"alpha_{k}": 1 for k in range(MAX_STEERED + 1)}},
    ],
)
def test_invalid_slider_values_are_refused(posted: Mapping[str, Any]) -> None:
    with pytest.raises(InputError):
        read_control_values(posted)


def test_alpha_below_0_is_accepted_only_if_allowed(service: Service) -> None:
    below = {**POSTED, "controls": {"alpha": -1, "alpha_pirate": -0.5, "beta": 1}}
    with pytest.raises(EFTError, match="alpha_pirate must be a number from 0 to 3"):
        read_run_spec(service, below)
    study = make_service(Settings(allow_negative_alpha=True))
    try:
        asked = read_run_spec(study, below)
        with pytest.raises(EFTError, match="Beta must be a number from 0 to 3"):
            read_run_spec(study, {**below, "controls": {**below["controls"], "beta": -1}})
        query = Link(asked).to_query()
        assert json.loads(read_link(study, {"query": query}))["settings"]["controls"] == below["controls"]
        assert "from 0 to 3; got -" in json.loads(read_link(service, {"query": query}))["note"]
        run = study.start_run(asked)
        run.set_controls(read_control_values({"values": {"alpha": -3}}))
        assert run.controls["alpha"] == -3
        with pytest.raises(InputError, match="from -3 to 3"):
            read_control_values({"values": {"alpha": -3.05}})
        run.cancel()
    finally:
        study.stop()
    run = service.start_run(read_run_spec(service, POSTED))
    with pytest.raises(InputError, match="must not be negative"):
        run.set_controls(read_control_values({"values": {"alpha": -1}}))
    run.cancel()


def test_several_controls_move_together_or_not_at_all(service: Service) -> None:
    run = service.start_run(read_run_spec(service, {**POSTED, "prompt": "chant", "length": 100}))
    run.set_controls({"alpha": 2, "beta": 0.5})
    before = run.controls
    with pytest.raises(InputError, match="alpha_brief"):
        run.set_controls({"alpha": 0, "alpha_brief": 1})
    run.cancel()
    assert run.controls is before and before["alpha"] == 2 and before["beta"] == 0.5
