"""What another alpha would choose: equal to the real mixture and the real noise wherever all is recorded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eft_demo.errors import InputError
from eft_demo.method.recipe import AMPLIFIED, BASE, UPSCALED
from eft_demo.method.sampling import Sampling, sample
from eft_demo.method.schedule import CONSTANT, Schedule
from eft_demo.runs import counterfactual as whatif
from eft_demo.runs.counterfactual import Choice, Run
from tests.mixtures import BLEND, mixture, models, record_of

seeds = st.integers(0, 10_000)
alphas = st.floats(0, 3)
samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.5, 1.0, 1.7]),
    top_p=st.sampled_from([0.3, 0.9, 1.0]),
    top_k=st.sampled_from([0, 1, 3]),
    min_p=st.sampled_from([0.0, 0.2]),
    seed=seeds,
)


@given(seeds, alphas, alphas, samplings, st.integers(0, 50), st.booleans())
def test_the_choice_is_that_of_the_real_mixture_and_noise(
    seed: int, before: float, after: float, sampling: Sampling, position: int, forbidden: bool
) -> None:
    roles = models(seed, forbidden=forbidden)
    for recipe in (UPSCALED, BLEND):
        record = record_of(recipe, roles, {"alpha": before}, sampling, position)
        choice = whatif.choice_at(Run(recipe, sampling), record, {"alpha": after})
        expected = int(sample(mixture(recipe, roles, {"alpha": after})[0], [sampling], [position]))
        assert choice.id == expected
        assert choice.changed == (expected != record.id)


@given(seeds, alphas, st.floats(0, 1), st.integers(1, 6))
def test_the_share_that_is_not_recorded_is_never_larger_than_said(
    seed: int, alpha: float, part: float, count: int
) -> None:
    roles = models(seed, vocab=60)
    record = record_of(UPSCALED, roles, {"alpha": alpha}, Sampling(), count=count)
    run = Run(UPSCALED, Sampling())
    bound = whatif.unrecorded_share(run, record, {"alpha": part * alpha})
    real = mixture(UPSCALED, roles, {"alpha": part * alpha})[0][0].exp()
    listed = [candidate.id for candidate in record.candidates]
    assert bound is not None
    assert bound >= 1 - float(real[listed].sum()) - 1e-5
    if part in (0, 1):
        assert bound == pytest.approx(1 - float(real[listed].sum()), abs=1e-4)


@given(seeds, st.floats(0.1, 2.9), samplings, st.integers(1, 6), st.floats(0, 1))
def test_a_certain_choice_is_right_however_little_is_recorded(
    seed: int, alpha: float, sampling: Sampling, count: int, part: float
) -> None:
    roles = models(seed, vocab=60)
    record = record_of(UPSCALED, roles, {"alpha": alpha}, sampling, count=count)
    choice = whatif.choice_at(Run(UPSCALED, sampling), record, {"alpha": part * alpha})
    if choice.is_certain:
        logprobs = mixture(UPSCALED, roles, {"alpha": part * alpha})[0]
        assert choice.id == int(sample(logprobs, [sampling], [0]))


def test_what_cannot_be_known_is_said() -> None:
    roles = models(1, vocab=60)
    record = record_of(UPSCALED, roles, {"alpha": 1.0}, Sampling(), count=3)
    run = Run(UPSCALED, Sampling())
    assert whatif.choice_at(run, record, {"alpha": 2.0}).unrecorded is None
    assert not whatif.choice_at(run, record, {"alpha": 2.0}).is_certain
    assert whatif.choice_at(run, record, {"alpha": 1.0}) == Choice(record.id, False, 0.0)
    hot = Run(UPSCALED, Sampling(temperature=2.0))
    assert whatif.choice_at(hot, record, {"alpha": 0.5}).unrecorded is None


def test_a_column_without_terms_never_changes() -> None:
    record = record_of(BASE, models(2), {"alpha": 1.0}, Sampling(), count=2)
    choice = whatif.choice_at(Run(BASE, Sampling()), record, {"alpha": 3.0})
    assert choice == Choice(record.id, False, 0.0)


@given(seeds, alphas, st.booleans())
def test_at_a_flip_alpha_both_tokens_are_equally_likely(seed: int, alpha: float, forbidden: bool) -> None:
    roles = models(seed, forbidden=forbidden)
    for recipe in (UPSCALED, BLEND):
        record = record_of(recipe, roles, {"alpha": alpha}, Sampling())
        run = Run(recipe, Sampling())
        flips = whatif.flip_alphas(run, record)
        assert [abs(value - alpha) for _, value in flips] == sorted(abs(value - alpha) for _, value in flips)
        for rival, value in flips:
            mixed = whatif.mixed_at(run, record, {"alpha": value})
            assert mixed[rival] == pytest.approx(mixed[record.id], abs=1e-6 * (1 + abs(value)))


def test_flips_only_along_a_control_that_the_recipe_knows() -> None:
    record = record_of(AMPLIFIED, models(3), {"beta": 1.0}, Sampling())
    run = Run(AMPLIFIED, Sampling())
    assert whatif.flip_alphas(run, record) == []
    assert whatif.flip_alphas(run, record, "beta")


def test_the_schedule_makes_effective_values_but_not_of_beta() -> None:
    record = record_of(UPSCALED, models(3), {"alpha": 0.5}, Sampling(), position=1)
    schedule = Schedule("warmup", tokens=4)
    assert whatif.effective(schedule, record, {"alpha": 2.0, "beta": 2.0}) == {"alpha": 1.0, "beta": 2.0}
    assert whatif.effective(CONSTANT, record, {"alpha": 2.0}) == {"alpha": 2.0}


def test_strip_choices_and_divergence_agree() -> None:
    sampling = Sampling(temperature=0)
    records = [record_of(UPSCALED, models(seed), {"alpha": 0.0}, sampling, seed) for seed in range(20)]
    run = Run(UPSCALED, sampling)
    rows = whatif.strip(run, records, "alpha", [0.0, 1.0, 3.0])
    assert rows[0] == [Choice(record.id, False, 0.0) for record in records]
    for row, alpha in zip(rows, [0.0, 1.0, 3.0], strict=True):
        assert row == whatif.choices(run, records, {"alpha": alpha})
    assert whatif.first_divergence(rows[0]) is None
    changed = [choice.changed for choice in rows[2]]
    assert whatif.first_divergence(rows[2]) == changed.index(True)


def test_log_odds_add_up_on_one_text_and_refuse_two() -> None:
    greedy = Sampling(temperature=0)
    ours = [record_of(UPSCALED, models(seed), {"alpha": 0.0}, greedy, seed) for seed in range(4)]
    theirs = [record_of(BASE, models(seed), {"alpha": 0.0}, greedy, seed) for seed in range(4)]
    assert whatif.cumulative_log_odds(ours, theirs) == pytest.approx([0.0] * 4, abs=1e-6)
    other = [record_of(UPSCALED, models(seed), {"alpha": 3.0}, greedy, seed) for seed in range(4)]
    with pytest.raises(InputError, match="different texts"):
        whatif.cumulative_log_odds(ours, other)
