"""The draft length: chosen by measured costs, and no drafts where they would lose."""

from collections import abc

import pytest
from torch import Tensor

from eft_demo.engine.batch import make_layout
from eft_demo.engine.costs import Costs
from eft_demo.engine.draft_length import BLOCKS, PLAIN, ROUND
from eft_demo.engine.engine import Engine
from eft_demo.engine.sequence import Drafting, Sequence
from eft_demo.engine.speculate import drafter_of
from eft_demo.method.recipe import Recipe, parse
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.models.protocol import Slot
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.settings import Settings
from tests.asking import make_request
from tests.toy import ToyModel

UPSCALED = parse("large_base + alpha*(assistant - small_base)")
BASE, TUNED = parse("large_base"), parse("assistant")
ROLES = ("large_base", "small_base", "assistant")
AUTO = Speculation()


def test_costs_are_measured_or_interpolated() -> None:
    costs = Costs()
    assert costs.least("m", 3) is None and costs.usual("m", 3) is None
    for seconds in (4.0, 2.0, 3.0):
        costs.add("m", 2, seconds)
    usual = costs.usual("m", 2)
    assert costs.least("m", 2) == pytest.approx(2.0 * 1.01) and usual is not None and 2.0 < usual < 4.0
    costs.add("m", 10, 6.0)
    assert costs.least("m", 6) == pytest.approx((2.02 + 6) / 2)
    assert costs.least("m", 1) == pytest.approx(2.02), "flat below what was measured"
    assert costs.least("m", 100) == pytest.approx(6.0), "and above: trying will tell"
    for _ in range(300):
        costs.add("m", 10, 60.0)
    assert costs.least("m", 10) == pytest.approx(60.0), "a machine that became slower shows"


@pytest.mark.parametrize(
    ("recipe", "drafter"),
    [
        ("large_base + alpha*(assistant - small_base)", "assistant"),
        ("large_base + 0.5*(assistant - small_base) + 0.5*(pirate - small_base)", "assistant"),
        ("assistant + beta*(large_base - small_base)", "assistant"),
        ("small_base + alpha*(large_tuned - large_base)", "small_base"),
        ("small_base + alpha*(assistant - small_base) + beta*(large_base - small_base)", "assistant"),
        ("large_base", "small_base"),
        ("large_tuned", "small_base"),
        ("assistant", None),
        ("small_base + 1*(assistant - small_base)", None),
    ],
)
def test_every_recipe_has_the_expected_drafter(recipe: str, drafter: str | None) -> None:
    roles = ("large_base", "small_base", "assistant", "pirate", "large_tuned")
    assert drafter_of(parse(recipe), roles) == drafter
    assert drafter_of(parse(recipe), ("large_base",)) is None


def choice(
    large_s: float,
    small_s: float,
    recipes: list[Recipe],
    acceptance: float = 0.7,
    beside_s: float = 0.0,
    **how: float,
) -> dict[str, int]:
    """The drafts for each recipe if forwards take this long; the large one `per_token_s` more per token."""
    engine = Engine(
        {role: ToyModel(role, 20) for role in ROLES}, (), Settings(dtype="fp32", threads=1), [b"x"] * 20
    )
    prompts = {role: (1, 2) for recipe in recipes for role in recipe.roles}
    columns = tuple((str(recipe), recipe) for recipe in recipes)
    request = make_request(
        prompts, columns, {"alpha": how.get("alpha", 1.0)}, Sampling(), 100, speculation=AUTO
    )
    run = engine.submit(request)
    engine.step()
    costs = engine.forwards.costs = Costs()
    for tokens in range(1, 65):
        costs.add("large_base", tokens, large_s + how.get("per_token_s", 0.0) * tokens)
        costs.add("assistant", tokens, small_s)
        costs.add("small_base", tokens, small_s)
        costs.add(PLAIN, tokens, beside_s * tokens)
        costs.add(ROUND, tokens, beside_s * tokens)
    rows: list[Sequence] = engine._seqs
    for row in rows:
        if row.drafting:
            row.drafting.expected = acceptance
    found = engine._planner.blocks(make_layout(rows))
    run.cancel()
    while engine.step():
        pass
    return {str(row.recipe): block for row, block in found.items()}


def test_an_expensive_large_model_gets_more_drafts_if_they_are_better() -> None:
    blocks = [choice(0.1, 0.005, [UPSCALED], a).get(str(UPSCALED), 0) for a in (0.05, 0.4, 0.7, 0.95)]
    assert blocks[0] == 0 and blocks == sorted(blocks) and blocks[-1] == BLOCKS[-1] and 2 <= blocks[1] < 8


def test_nothing_is_drafted_if_drafts_are_slower() -> None:
    assert choice(0.01, 0.01, [UPSCALED], 0.3) == {}, "the small models are as dear as the large one"
    assert choice(0.01, 0.001, [UPSCALED], per_token_s=0.02) == {}, "a block costs as much as its tokens"
    assert choice(0.01, 0.001, [UPSCALED], beside_s=0.05) == {}, "the attribution is what takes the time"
    assert choice(0.1, 0.005, [TUNED]) == {}, "no large model, nothing to save"


class Slow(ToyModel):
    """A model whose forward takes some time per token, on a clock that all models share."""

    now_s = 0.0
    per_token_s = 0.01

    def forward(self, slots: abc.Sequence[Slot], tokens: Tensor, keep: int = 1) -> Tensor:
        Slow.now_s += self.per_token_s * tokens.numel()
        return super().forward(slots, tokens, keep)


def test_trying_drafts_that_do_not_pay_costs_little_time() -> None:
    engine = Engine(
        {role: Slow(role, 20) for role in ROLES}, (), Settings(dtype="fp32", threads=1), [b"x"] * 20
    )
    engine.forwards.clock = lambda: Slow.now_s
    drafted = []
    for _ in range(2):
        request = make_request(
            dict.fromkeys(ROLES, (1, 2)), (("U", UPSCALED),), {"alpha": 1.0}, Sampling(), 60, speculation=AUTO
        )
        run = engine.submit(request)
        start_s = Slow.now_s
        while engine.step():
            pass
        tokens = [event for event in run.events() if isinstance(event, TokenEvent)]
        drafted.append(sum(token.record.draft is not None for token in tokens))
        assert len(tokens) == 60 and Slow.now_s - start_s < 1.5 * 60 * 3 * Slow.per_token_s
    assert 0 < drafted[0] < 30 and drafted[1] == 0


def test_no_sequence_is_slowed_down_for_another() -> None:
    both = choice(0.1, 0.005, [BASE, UPSCALED])
    assert set(both) == {str(BASE), str(UPSCALED)} and len(set(both.values())) == 1
    # Without the small base the base has no drafter and would get one token instead of several.
    alone = parse("large_base + 0.5*(assistant - large_base)")
    assert choice(0.1, 0.005, [alone]) and choice(0.1, 0.005, [BASE, alone]) == {}


def test_columns_that_must_be_equal_bit_for_bit_do_not_draft() -> None:
    assert choice(0.1, 0.005, [BASE, UPSCALED], alpha=0.5)
    assert choice(0.1, 0.005, [BASE, UPSCALED], alpha=0) == {}
    assert choice(0.1, 0.005, [UPSCALED], alpha=0), "alone it is compared with nothing"


@pytest.mark.parametrize("block", [0, 2, 5])
def test_mode_on_drafts_even_if_it_is_slower(block: int) -> None:
    engine = Engine(
        {role: ToyModel(role, 20) for role in ROLES}, (), Settings(dtype="fp32", threads=1), [b"x"] * 20
    )
    request = make_request(
        dict.fromkeys(ROLES, (1, 2)), (("U", UPSCALED),), {"alpha": 1.0}, Sampling(), 20,
        speculation=Speculation("on", block),
    )  # fmt: skip
    run = engine.submit(request)
    while engine.step():
        pass
    *tokens, end = run.events()
    drafted = [event.record.draft is not None for event in tokens if isinstance(event, TokenEvent)]
    assert drafted[0] is False and all(drafted[1:-1])
    assert isinstance(end, EndEvent) and end.acceptance_rate is not None
    assert end.speedup is not None and end.speedup > 0


def test_the_speed_up_shown_is_at_most_the_tokens_gained_per_step() -> None:
    """A plain step's time is an estimate, which is too long if the machine was busy when it was measured."""
    now_s = 0.0
    drafting = Drafting("assistant", 0.7, lambda: now_s)
    position = 1
    for hits in ((True, True, False), (True, False)):  # two rounds of 3 and 2 tokens
        drafting.begin_round(position, plain_s=1.0)
        for hit in hits:
            drafting.record(hit)
        position += len(hits)
        now_s += 2.0
    assert drafting.speedup(position) == pytest.approx(5 * 1.0 / 4.0), "as measured"
    now_s = 0.1
    assert drafting.speedup(position) == pytest.approx(5 / 2), "five tokens in two rounds"
    assert drafting.speedup(position + 3) == pytest.approx(8 / 5), "and three in plain steps"
    assert drafting.speedup(position - 1) == pytest.approx(4 / 2), "cancelled before the last was given out"
