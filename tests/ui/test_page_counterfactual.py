"""The page's copy of the what-if maths in a real browser, held against the Python that it was copied from."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from eft_demo.method.recipe import UPSCALED, Recipe
from eft_demo.method.sampling import Sampling, gumbel
from eft_demo.method.weight_filter import WeightFilter
from eft_demo.runs import counterfactual as whatif
from eft_demo.runs.trace import TokenRecord
from tests.javascript import Modules, find_node, modules
from tests.mixtures import BLEND, models, record_of

pytestmark = pytest.mark.skipif(find_node() is None, reason="these tests need Node.js")
SAMPLINGS = [
    Sampling(temperature=0, seed=1),
    Sampling(temperature=0.7, top_p=0.95, seed=2**32 - 1),
    Sampling(temperature=1, top_p=1, top_k=3, seed=0),
    Sampling(temperature=1.6, top_p=0.8, min_p=0.1, seed=12345),
]
FILTERS = [WeightFilter("off", 1.0), WeightFilter("mask", 0.1), WeightFilter("top_p", 0.9)]
ALPHAS = [0.0, 0.3, 1.0, 2.5]


@pytest.fixture(scope="module")
def page() -> Iterator[Modules]:
    with modules("lib/counterfactual.js", "lib/noise.js") as loaded:
        yield loaded


def on_the_wire(run: whatif.Run, record: TokenRecord) -> dict[str, Any]:
    """The column and the token as the page holds them, unrounded; null for minus infinity."""
    roles = run.recipe.roles
    terms = [
        [term.scale, term.weight, roles.index(term.plus), roles.index(term.minus)]
        if isinstance(term.weight, str)
        else [term.weight, None, roles.index(term.plus), roles.index(term.minus)]
        for term in run.recipe.terms
    ]
    sampling = {
        name: getattr(run.sampling, name) for name in ("temperature", "top_p", "top_k", "min_p", "seed")
    }
    chosen = {"kind": run.weight_filter.kind, "value": run.weight_filter.value}
    rows = [
        [c.id, *(v if v > float("-inf") else None for v in (c.logprob, *(c.by_role[role] for role in roles)))]
        for c in record.candidates
    ]
    return {
        "column": {"terms": terms, "sampling": sampling, "filter": chosen},
        "token": {
            "i": record.id,
            "n": record.position,
            "v": record.controls,
            "y": [0, record.neg_log_z, 0],
            "c": rows,
        },
    }


def cases() -> Iterator[tuple[whatif.Run, TokenRecord]]:
    for seed in range(12):
        recipe: Recipe = (UPSCALED, BLEND)[seed % 2]
        sampling = SAMPLINGS[seed % len(SAMPLINGS)]
        roles = models(seed, vocab=40, forbidden=seed % 3 == 0)
        record = record_of(recipe, roles, {"alpha": ALPHAS[seed % 4]}, sampling, position=seed, count=10)
        for chosen in FILTERS:
            yield whatif.Run(recipe, sampling, chosen), record


def test_the_page_has_the_same_noise(page: Modules) -> None:
    for seed in (0, 7, 2**32 - 1):
        for position in (0, 1, 1000):
            ids = [0, 1, 4095, 151_000]
            ours = page.evaluate(f"{json.dumps(ids)}.map((id) => gumbelOf({seed}, {position}, id))")
            assert ours == pytest.approx(
                gumbel([seed], [position], torch.tensor([ids]))[0].tolist(), abs=1e-4
            )


def test_the_page_chooses_what_python_chooses(page: Modules) -> None:
    changed = 0
    for run, record in cases():
        data = on_the_wire(run, record)
        for alpha in ALPHAS:
            mine = whatif.choice_at(run, record, {"alpha": alpha})
            theirs = page.evaluate("([d, a]) => choiceAt(d.column, d.token, {alpha: a})", [data, alpha])
            assert (theirs["id"], theirs["changed"]) == (mine.id, mine.changed)
            assert theirs["unrecorded"] == (
                None if mine.unrecorded is None else pytest.approx(mine.unrecorded)
            )
            changed += mine.changed
    assert changed > 10  # the cases tell something


def test_the_page_knows_the_same_flips(page: Modules) -> None:
    for run, record in cases():
        mine = whatif.flip_alphas(run, record)
        theirs = page.evaluate("(d) => flipsOf(d.column, d.token, 'alpha')", on_the_wire(run, record))
        assert [flip[0] for flip in theirs] == [flip[0] for flip in mine]
        assert [flip[1] for flip in theirs] == pytest.approx([flip[1] for flip in mine])
        assert page.evaluate("(d) => flipsOf(d.column, d.token, 'beta')", on_the_wire(run, record)) == []
