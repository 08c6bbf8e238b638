"""What another alpha would choose, as the page works it out: equal to the real mixture and the real noise.

The page's own modules run in Node.js; everything they are held against is computed afresh by the method.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from eft_demo.method.mixing import SUPPORT_DELTA_NATS, mix, term_delta
from eft_demo.method.recipe import AMPLIFIED, BASE, UPSCALED, Recipe, parse
from eft_demo.method.sampling import Sampling, gumbel, sample
from eft_demo.method.schedule import Schedule
from eft_demo.method.topk import rank
from eft_demo.method.weight_filter import OFF, WeightFilter
from eft_demo.runs.spec import RunSpec
from eft_demo.runs.text import token_label
from eft_demo.ui import stream as wire
from tests.drawing import FILTERS, samplings
from tests.hostile import HOSTILE
from tests.javascript import Modules, find_node, modules

pytestmark = pytest.mark.skipif(find_node() is None, reason="these tests need Node.js")

ROLES = ("large_base", "small_base", "small_tuned")
BLEND = parse("large_base + alpha*(small_tuned - small_base) + 0.5*(small_base - small_tuned)")
VOCAB = 12
Json = dict[str, Any]
seeds = st.integers(0, 10_000)
alphas = st.floats(0, 3)


@pytest.fixture(scope="module")
def page() -> Iterator[Modules]:
    with modules("lib/counterfactual.js", "lib/noise.js", "lib/sampling.js", "lib/strip.js") as loaded:
        yield loaded


def models(seed: int, vocab: int = VOCAB, forbidden: bool = False) -> dict[str, Tensor]:
    """Log-probs (vocab,) per role; with `forbidden`, each model rules out a token of its own."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(ROLES), vocab, generator=generator) * 2
    if forbidden:
        for row in range(len(ROLES)):
            logits[row, row] = -math.inf
    return dict(zip(ROLES, logits.log_softmax(-1), strict=True))


def mixture(
    recipe: Recipe, roles: dict[str, Tensor], controls: dict[str, float], weight_filter: WeightFilter = OFF
) -> tuple[Tensor, float]:
    """The real thing: log-probs (1, vocab) and log_z."""
    anchor = roles[recipe.anchor][None]
    if not recipe.terms:
        return anchor, 0.0
    deltas = [term_delta(roles[t.plus][None], roles[t.minus][None], anchor) for t in recipe.terms]
    coefficients = torch.tensor([recipe.coefficients(controls)])
    mixed = mix(anchor, torch.stack(deltas, 1), coefficients, [weight_filter])
    return mixed.logprobs, float(mixed.log_z)


def column_of(recipe: Recipe, sampling: Sampling, weight_filter: WeightFilter = OFF, given: int = 0) -> Json:
    """The column as the page makes it of what the server sends."""
    spec = RunSpec(columns=(("Column", recipe),), sampling=sampling, weight_filter=weight_filter)
    run = json.loads(wire.Encoder(spec, [], frozenset()).run_line("id", 1))
    return {
        **run["columns"][0],
        "sampling": run["sampling"],
        "filter": run["filter"],
        "rules": wire.rules(),
        "given": given,
    }


def token_of(
    column: Json,
    recipe: Recipe,
    roles: dict[str, Tensor],
    controls: dict[str, float],
    weight_filter: WeightFilter = OFF,
    position: int = 0,
    count: int = VOCAB,
) -> Json:
    """The token as the page holds it, unrounded, with `count` candidates of the mix beside the one drawn."""
    logprobs, log_z = mixture(recipe, roles, controls, weight_filter)
    chosen = int(sample(logprobs, [Sampling(**column["sampling"])], [position]))
    ids = dict.fromkeys([chosen, *logprobs[0].topk(count).indices.tolist()])
    values = [logprobs[0], *(roles[role] for role in recipe.roles)]
    rows = [[i, *(float(v[i]) if v[i] > -math.inf else None for v in values)] for i in ids]
    rows.sort(key=lambda row: -math.inf if row[1] is None else row[1], reverse=True)
    own = next(row for row in rows if row[0] == chosen)
    return {
        "i": chosen,
        "n": position,
        "s": "x",
        "v": controls,
        "y": [own[2], *([0] * len(recipe.terms)), -log_z, own[1]],
        "c": rows,
    }


def recorded(seed: int, alpha: float, count: int) -> tuple[dict[str, Tensor], Json, Json]:
    """The roles, and column and token of an up-scaled run that recorded `count` candidates at `alpha`."""
    roles = models(seed, vocab=60)
    column = column_of(UPSCALED, Sampling(temperature=1))
    return roles, column, token_of(column, UPSCALED, roles, {"alpha": alpha}, count=count)


def choice(page: Modules, column: Json, token: Json, alpha: float) -> Json:
    made: Json = page.evaluate(
        "([column, token, alpha]) => choiceAt(column, token, {alpha})", [column, token, alpha]
    )
    return made


@example(0, 1.0, 1e-300, Sampling(1.0, 1.0, seed=3), WeightFilter("mask", 0.1), 0, False)  # 0 in float32
@given(seeds, alphas, alphas, samplings(0, 1, 3), FILTERS, st.integers(0, 50), st.booleans())
def test_the_page_chooses_like_the_real_mixture_and_noise(
    page: Modules,
    seed: int,
    before: float,
    after: float,
    sampling: Sampling,
    weight_filter: WeightFilter,
    position: int,
    forbidden: bool,
) -> None:
    roles = models(seed, forbidden=forbidden)
    for recipe in (UPSCALED, BLEND):
        column = column_of(recipe, sampling, weight_filter)
        token = token_of(column, recipe, roles, {"alpha": before}, weight_filter, position)
        real = mixture(recipe, roles, {"alpha": after}, weight_filter)[0]
        assert choice(page, column, token, after)["id"] == int(sample(real, [sampling], [position]))


@given(seeds, st.floats(1, 3), alphas, samplings(0, 1, 3))
def test_a_token_shown_at_other_sliders_has_the_numbers_of_the_real_mixture(
    page: Modules, seed: int, before: float, after: float, sampling: Sampling
) -> None:
    roles = models(seed)
    for recipe in (UPSCALED, BLEND):
        column = column_of(recipe, sampling)
        token = token_of(column, recipe, roles, {"alpha": before})
        shown = page.evaluate("([c, t, alpha]) => remix(c, t, {alpha}, [1])", [column, token, after])
        real, log_z = mixture(recipe, roles, {"alpha": after})
        chosen = torch.tensor([token["i"]])
        assert shown["y"][-1] == pytest.approx(float(real[0, token["i"]]), abs=1e-3)
        assert shown["y"][-2] == pytest.approx(-log_z, abs=1e-3)
        if before != after:
            assert shown["r"] == int(rank(real, chosen))


@given(seeds, alphas, st.floats(0, 1), st.integers(1, 6))
def test_the_unrecorded_mass_is_an_upper_bound(
    page: Modules, seed: int, alpha: float, part: float, count: int
) -> None:
    roles, column, token = recorded(seed, alpha, count)
    bound = choice(page, column, token, part * alpha)["unrecorded"]
    real = mixture(UPSCALED, roles, {"alpha": part * alpha})[0][0].exp()
    missing = 1 - float(real[[row[0] for row in token["c"]]].sum())
    if abs(part * alpha - alpha) > 1e-9:  # else the record itself is the answer
        assert bound >= missing - 1e-5
        if part == 0:
            assert bound == pytest.approx(missing, abs=1e-4)


@given(seeds, st.floats(0.1, 3), st.floats(0, 1), st.integers(1, 6))
def test_the_real_probabilities_lie_where_the_card_says(
    page: Modules, seed: int, before: float, part: float, count: int
) -> None:
    roles, column, token = recorded(seed, before, count)
    shown = page.evaluate("([c, t, alpha]) => remix(c, t, {alpha}, [1])", [column, token, part * before])
    if "hidden" not in shown:
        return  # the record itself
    real = mixture(UPSCALED, roles, {"alpha": part * before})[0][0].exp()
    share = shown["hidden"]["share"]
    for row in shown["c"]:
        least, true = math.exp(row[1]), float(real[row[0]])
        assert least - 1e-4 <= true <= least / (1 - share) + 1e-4
        if shown["hidden"]["how"] == "exact":
            assert true == pytest.approx(least, abs=1e-4)


@given(seeds, st.floats(0.1, 2.9), samplings(0, 1, 3), st.integers(1, 6), st.floats(0, 1))
def test_sure_choices_are_correct(
    page: Modules, seed: int, alpha: float, sampling: Sampling, count: int, part: float
) -> None:
    roles = models(seed, vocab=60)
    column = column_of(UPSCALED, sampling)
    token = token_of(column, UPSCALED, roles, {"alpha": alpha}, count=count)
    made = choice(page, column, token, part * alpha)
    if made["unrecorded"] is not None and made["unrecorded"] <= 1e-6:
        real = mixture(UPSCALED, roles, {"alpha": part * alpha})[0]
        assert made["sure"] and made["id"] == int(sample(real, [sampling], [0]))


def test_an_unknown_choice_is_marked_as_unknown(page: Modules) -> None:
    roles = models(1, vocab=60)
    column = column_of(UPSCALED, Sampling())
    token = token_of(column, UPSCALED, roles, {"alpha": 1.0}, count=3)
    beyond = choice(page, column, token, 2.0)
    assert beyond["unrecorded"] is None and not beyond["sure"]
    assert choice(page, column, token, 1.0) == {"id": token["i"], "sure": True, "unrecorded": 0}
    hot = choice(page, column_of(UPSCALED, Sampling(temperature=2.0)), token, 0.5)
    assert hot["unrecorded"] is None and not hot["sure"]


def test_a_column_without_terms_never_changes(page: Modules) -> None:
    column = column_of(BASE, Sampling())
    token = token_of(column, BASE, models(2), {"alpha": 1.0}, count=2)
    assert choice(page, column, token, 3.0) == {"id": token["i"], "sure": True, "unrecorded": 0}


def test_a_forced_token_stays_while_the_noise_would_choose_the_same(page: Modules) -> None:
    sampling = Sampling(temperature=0)
    column, free = column_of(UPSCALED, sampling, given=1), column_of(UPSCALED, sampling)
    roles = models(3)
    token = token_of(free, UPSCALED, roles, {"alpha": 1.0})
    drawn = token["i"]
    token["i"] = next(row[0] for row in token["c"] if row[0] != drawn)  # given: nobody would have drawn it
    assert choice(page, column, token, 0.999)["id"] == token["i"]
    assert choice(page, free, token, 0.999)["id"] == drawn


@given(seeds, alphas, st.booleans(), FILTERS)
def test_at_a_flip_both_tokens_are_equally_likely(
    page: Modules, seed: int, alpha: float, forbidden: bool, weight_filter: WeightFilter
) -> None:
    roles = models(seed, forbidden=forbidden)
    for recipe in (UPSCALED, BLEND):
        column = column_of(recipe, Sampling(), weight_filter)
        token = token_of(column, recipe, roles, {"alpha": alpha}, weight_filter)
        flips = page.evaluate("([c, t]) => flipsOf(c, t, 'alpha')", [column, token])
        distances = [abs(value - alpha) for _, value in flips]
        assert distances == sorted(distances)
        for rival, value in flips:
            if 1e-3 < abs(value) < 10:  # float32 holds those; at 0 no filter acts
                real = mixture(recipe, roles, {"alpha": value}, weight_filter)[0][0]
                assert float(real[rival]) == pytest.approx(float(real[token["i"]]), abs=1e-3)


def test_flips_only_along_a_control_that_the_recipe_knows(page: Modules) -> None:
    column = column_of(AMPLIFIED, Sampling())
    roles = models(3) | {"large_base": models(4)["large_base"]}
    token = token_of(column, AMPLIFIED, roles, {"beta": 1.0})
    assert page.evaluate("([c, t]) => flipsOf(c, t, 'alpha')", [column, token]) == []
    assert page.evaluate("([c, t]) => flipsOf(c, t, 'beta')", [column, token])


def test_the_pages_noise_equals_pythons(page: Modules) -> None:
    for seed in (0, 7, 2**32 - 1):
        for position in (0, 1, 1000):
            ids = [0, 1, 4095, 151_000]
            ours = page.evaluate(f"{json.dumps(ids)}.map((id) => gumbelOf({seed}, {position}, id))")
            real = gumbel([seed], [position], torch.tensor([ids]))[0].tolist()
            assert ours == pytest.approx(real, abs=1e-4)


@pytest.mark.parametrize("limits", [{"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.9}])
def test_tokens_that_tie_with_the_last_kept_one_are_kept(page: Modules, limits: dict[str, Any]) -> None:
    logprobs = torch.tensor([[1.0, 0.9, 0.9, 0.9, -3.0]]).log_softmax(-1)
    drawn = set()
    for seed in range(40):
        sampling = Sampling(temperature=1, **{"top_p": 1, **limits}, seed=seed)
        script = """([column, rows, seed]) => drawFrom(column, new Map(rows),
            new Map(rows.map(([id]) => [id, gumbelOf(seed, 0, id)])))"""
        ours = page.evaluate(script, [column_of(BASE, sampling), list(enumerate(logprobs[0].tolist())), seed])
        assert ours == int(sample(logprobs, [sampling], [0]))
        drawn.add(ours)
    assert drawn == {0, 1, 2, 3}


def test_the_pages_constants_equal_the_methods(page: Modules) -> None:
    column = column_of(UPSCALED, Sampling())
    deltas = page.evaluate("(column) => deltasOf(column, [7, 0, -1, null, -2])", column)
    assert deltas == [-SUPPORT_DELTA_NATS]
    for temperature in (wire.rules()["greedy_below"] * 0.99, wire.rules()["greedy_below"]):
        assert Sampling(temperature=temperature).is_greedy == (temperature < wire.rules()["greedy_below"])


def strip(page: Modules, column: Json, tokens: list[Json], labels: list[str], factors: list[float]) -> Json:
    spec = RunSpec(columns=(("Column", UPSCALED),))
    layout = json.loads(wire.Encoder(spec, [], frozenset()).run_line("id", 1))["layout"]
    script = """([layout, column, tokens, labels, factors]) => stripFigure(
        { layout, factors, labels: new Map(labels.map((label, id) => [id, label])) },
        { ...column, tokens }, "alpha", { low: 0, high: 3 })"""
    made: Json = page.evaluate(script, [layout, column, tokens, labels, factors])
    return made


def test_the_strip_shows_the_computed_choices(page: Modules) -> None:
    """And plotly takes it, once the colours are those of a theme; and the schedule acts on alpha."""
    column = column_of(UPSCALED, Sampling(temperature=0))
    schedule = Schedule("warmup", tokens=4)
    factors = schedule.curve(5)
    tokens = [
        token_of(column, UPSCALED, models(n), {"alpha": 2 * schedule.factor(n)}, position=n, count=4 + n % 9)
        for n in range(20)
    ]
    labels = [f"<{token}>" for token in range(VOCAB)]
    figure = strip(page, column, tokens, labels, list(factors))
    (heat,) = figure["data"]
    assert heat["y"] == [f"{k / 4:g}" for k in range(13)]
    assert set(heat["z"][8]) == {0}  # alpha 2 is what they were written with
    assert {grade for row in heat["z"] for grade in row} == {0, 1, 2, 3}
    for k, row in enumerate(heat["z"]):
        for token, grade, text in zip(tokens, row, heat["text"][k], strict=True):
            made = choice(page, column, token, k / 4 * schedule.factor(token["n"]))
            changed = made["id"] != token["i"]
            assert grade == {(0, 1): 0, (0, 0): 1, (1, 0): 2, (1, 1): 3}[changed, made["sure"]]
            shown = labels[made["id"]].replace("<", "&lt;").replace(">", "&gt;")
            assert text == (shown + ("" if made["sure"] else "?") if changed else "")
    assert len({place for place, _ in heat["colorscale"]}) == 5  # four plain colours, no shades between
    go.Figure(json.loads(re.sub(r"var\(--\w+\)", "#fff", json.dumps({**figure, "note": None})))["data"])


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_becomes_markup_in_the_strip(page: Modules, text: str) -> None:
    column = column_of(UPSCALED, Sampling(temperature=0))
    tokens = [token_of(column, UPSCALED, models(5), {"alpha": 0.0})]
    label = token_label(text.encode("utf-8", "surrogatepass"))
    figure = strip(page, column, tokens, [label] * VOCAB, [1])
    figure["data"][0].pop("hovertemplate")  # ours; it ends in <extra></extra>
    del figure["cells"]  # of the table, which plotly does not see
    sent = json.dumps(figure)
    assert "<" not in sent and "\\u0000" not in sent


def test_a_strip_of_a_very_long_text_shows_its_beginning_and_says_so(page: Modules) -> None:
    column = column_of(UPSCALED, Sampling(temperature=0))
    token = token_of(column, UPSCALED, models(5), {"alpha": 0.0}, count=2)
    figure = strip(page, column, [{**token, "n": n} for n in range(1030)], ["x"] * VOCAB, [1])
    assert len(figure["data"][0]["x"]) == 1024 and "first 1,024 of 1,030" in figure["note"]
