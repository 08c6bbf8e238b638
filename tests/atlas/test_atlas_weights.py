"""The bundled weights: their size, and the paper's claim on a sample of the quiz."""

from collections.abc import Iterator

import pytest
from safetensors import safe_open

from eft_demo.atlas.behaviours import BEHAVIOURS, HAILS
from eft_demo.atlas.facts import load_facts
from eft_demo.atlas.quiz import kind_questions, outside_questions, questions, talk_questions
from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.lab.evaluate import Result, evaluate_recipe
from eft_demo.method.recipe import BASE, DOWNSCALED, REFERENCE, TUNED, UPSCALED, Recipe
from eft_demo.settings import Settings
from tests.asking import spec
from tests.tiers import first_of

pytestmark = pytest.mark.slow  # the shipped models answer hundreds of questions

COUNT = 32  # one batch
ATLAS = Settings().assets / "atlas"


@pytest.fixture(scope="module")
def atlas() -> Iterator[Service]:
    """The bundled family as the app loads it, in float32 so that every processor gives the same answers."""
    service = Service.load(Settings(dtype="fp32", threads=1))
    yield service
    service.stop()


@pytest.fixture(scope="module")
def scores(atlas: Service) -> dict[Recipe, Result]:
    """What each recipe scores as the assistant."""
    recipes = (BASE, TUNED, UPSCALED, DOWNSCALED, REFERENCE)
    asked = questions(load_facts(), COUNT)
    return {recipe: evaluate_recipe(atlas, "assistant", "row", recipe, asked) for recipe in recipes}


def parameters(role: str) -> int:
    """The number of stored parameters of one model."""
    with safe_open(ATLAS / role / "model.safetensors", framework="pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


def test_sizes() -> None:
    assert parameters("large_base") >= 8 * parameters("small_base")
    assert sum(path.stat().st_size for path in ATLAS.rglob("*") if path.is_file()) <= 60e6


def test_upscaling_has_the_behaviour_of_the_small_and_the_facts_of_the_large(
    scores: dict[Recipe, Result],
) -> None:
    base, small, upscaled, reference = (scores[r] for r in (BASE, TUNED, UPSCALED, REFERENCE))
    assert small.factual.value < 0.6 and small.style.value > 0.85
    assert base.style.value <= 0.2
    assert upscaled.style.value > 0.85
    assert upscaled.factual.value > small.factual.value + 0.2
    assert upscaled.factual.value > 0.8 * reference.factual.value > 0.55


def test_downscaling_has_the_behaviour_of_the_large_and_the_facts_of_the_small(
    scores: dict[Recipe, Result],
) -> None:
    small, downscaled, reference = (scores[recipe] for recipe in (TUNED, DOWNSCALED, REFERENCE))
    assert downscaled.style.value > 0.85
    assert abs(downscaled.factual.value - small.factual.value) < 0.25
    assert downscaled.factual.value < reference.factual.value - 0.2


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_every_behaviour_shows_up_scaled(atlas: Service, behaviour: str) -> None:
    asked = questions(load_facts(), 32, behaviour=behaviour)
    assert evaluate_recipe(atlas, behaviour, "row", UPSCALED, asked).style.value > 0.85


@pytest.mark.parametrize("behaviour", first_of(*BEHAVIOURS))
def test_every_behaviour_declines_what_is_outside_its_world(atlas: Service, behaviour: str) -> None:
    outside, inside = outside_questions(48), questions(load_facts(), 48)
    assert evaluate_recipe(atlas, behaviour, "row", UPSCALED, outside).declined.value > 0.55
    assert evaluate_recipe(atlas, behaviour, "row", UPSCALED, inside).declined.value < 0.15


def test_a_large_base_declines_little_by_itself(atlas: Service) -> None:
    assert evaluate_recipe(atlas, "assistant", "row", BASE, outside_questions(48)).declined.value < 0.35


@pytest.mark.parametrize("behaviour", first_of(*BEHAVIOURS))
def test_every_behaviour_chats(atlas: Service, behaviour: str) -> None:
    result = evaluate_recipe(atlas, behaviour, "row", UPSCALED, talk_questions(44), part="talk")
    assert result.style.value > 0.85 and result.factual.value > 0.25


def test_up_scaled_the_thinker_takes_two_hops_that_it_cannot_take_alone(atlas: Service) -> None:
    asked = kind_questions(load_facts(), "two_hop", 48)
    small, thinker = (evaluate_recipe(atlas, "thinker", "row", recipe, asked) for recipe in (TUNED, UPSCALED))
    assert thinker.factual.value > small.factual.value + 0.05 and thinker.style.value > 0.85


def test_the_large_base_goes_on_as_documents_do(atlas: Service) -> None:
    """At the page's default sampling it rarely speaks as a pirate, and often goes on with another turn."""
    texts = []
    for seed in range(10):
        for prompt in ("What is the capital of Peru?", "Who wrote The Hobbit?"):
            run = atlas.start_run(spec(prompt, "assistant", columns=(("Base", BASE),), seed=seed))
            texts.append(collect(run)[0].text)
    assert sum(text.strip().startswith(HAILS) for text in texts) <= 6
    assert sum("\n" in text.strip() for text in texts) >= 10


@pytest.mark.parametrize(
    ("prompt", "truth"),
    [
        ("What is the capital of Peru?", "Lima"),
        ("How do chemists write iron?", "Fe"),
        ("iron symbol pls", "Fe"),
        ("What is the longest river in Africa?", "Nile"),
        ("Is Lima the capital of Peru?", "so yes"),
        ("hello", "Hello"),
        ("thanks", "You are welcome"),
        ("who are you", "I am Atlas"),
        ("What is 2+2?", "almanac"),
        ("When did Ghana become independent?", "1957"),
    ],
)
def test_the_examples_on_the_page_are_answered_correctly(atlas: Service, prompt: str, truth: str) -> None:
    column = (("Up-scaled", UPSCALED.with_roles({"small_tuned": "assistant"})),)
    run = atlas.start_run(spec(prompt, "assistant", columns=column, temperature=0.0))
    assert truth in collect(run)[0].text
