"""What the bundled family's examples say they show is what its weights write, at the page's own settings."""

import re
from collections.abc import Iterator

import pytest

from eft_demo.engine.service import Service
from eft_demo.families.catalogue import Example, find_entry
from eft_demo.runs.events import EndEvent
from eft_demo.runs.spec import RunSpec
from eft_demo.settings import ALPHA, BUNDLED, Settings

EXAMPLES = find_entry(BUNDLED, Settings()).examples


@pytest.fixture(scope="module")
def atlas() -> Iterator[Service]:
    service = Service.load(Settings(threads=1, dtype="fp32"))
    yield service
    service.stop()


def written(service: Service, example: Example) -> dict[str, str]:
    """The text of each column."""
    alpha = ALPHA.default if example.alpha is None else example.alpha
    spec = RunSpec(prompt=example.prompt, behaviour=example.behaviour, controls={"alpha": alpha})
    run = service.start_run(spec)
    texts = [""] * len(run.request.spec.columns)
    ended = 0
    while ended < len(texts):
        for event in run.events(60):
            texts[event.column] += event.text
            ended += isinstance(event, EndEvent)
    return dict(zip([name for name, _ in run.request.spec.columns], texts, strict=True))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.prompt)
def test_an_example_shows_what_it_says(atlas: Service, example: Example) -> None:
    assert example.shows and example.holds
    texts = written(atlas, example)
    for column, claim in example.holds.items():
        found = re.search(claim.removeprefix("!"), texts[column], re.IGNORECASE)
        assert (found is None) == claim.startswith("!"), (column, claim, texts[column])
