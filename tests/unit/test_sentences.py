"""The sentence under the candidates: it names who decided, and the alpha at which it would turn."""

import pytest

from eft_demo.recipe import BASE, TUNED, UPSCALED, parse
from eft_demo.ui.sentences import explain, surer, telling_rival
from tests.records import make_record

LABELS = {1: "Bolivia", 2: "Cuba"}


def tokens(lead: float, push: float) -> dict[int, dict[str, float]]:
    """Two tokens: the large base leads with 1 by `lead` nats, tuning pushes 1 by `push`."""
    return {
        1: {"large_base": -1.0, "small_tuned": -3.0 + push, "small_base": -3.0},
        2: {"large_base": -1.0 - lead, "small_tuned": -3.0, "small_base": -3.0},
    }


def say(lead: float, push: float, chosen: int = 1, alpha: float = 1.0) -> str:
    record = make_record(UPSCALED, chosen, tokens(lead, push), alpha=alpha)
    return "".join(explain(UPSCALED, record, LABELS.__getitem__))


def test_the_base_decides_and_alpha_would_turn_it():
    sentence = say(6.3, -0.6)
    assert sentence.startswith(
        "The large base decides here: it is 6.3 nats (540 times) surer of Bolivia than of Cuba;"
    )
    assert "tuning pushes the other way by 0.6" in sentence
    assert sentence.endswith(
        "It would sooner say Cuba only from α\u00a0=\u00a010.5, beyond the slider's end."
    )


def test_tuning_decides():
    assert say(-2.0, 4.0).startswith(
        "Tuning decides here: the large base alone is 2.0 nats (7.4 times) surer of Cuba"
    )
    assert say(-2.0, 4.0).endswith("It would sooner say Cuba below α\u00a0=\u00a00.50.")


def test_both_agree():
    assert "Both agree here." in say(2.0, 1.0)
    assert say(2.0, 1.0).endswith("No α would change that.")


def test_the_rival_is_what_the_tuned_model_would_have_said():
    three = tokens(1.0, 0.0) | {3: {"large_base": -6.0, "small_tuned": -0.1, "small_base": -0.2}}
    record = make_record(UPSCALED, 1, three)
    assert telling_rival(UPSCALED, record).id == 3
    assert telling_rival(BASE, make_record(BASE, 1, three)).id == 2
    assert telling_rival(UPSCALED, make_record(UPSCALED, 3, three)).id == 1


def test_the_dice_decide():
    assert say(3.0, -1.0, chosen=2).startswith(
        "The dice decided here: the mix is 2.0 nats (7.4 times) surer of Bolivia"
    )
    assert say(3.0, -1.0, chosen=2).endswith("It would sooner say Cuba only from α\u00a0=\u00a03.00.")


def test_no_say_at_alpha_zero():
    assert "tuning has no say" in say(3.0, -1.0, alpha=0.0)


def test_a_model_alone():
    alone = "".join(explain(BASE, make_record(BASE, 1, tokens(1.0, 0.0)), LABELS.__getitem__))
    assert alone.startswith("The large base model writes this column alone. It is 1.0 nats (2.7 times) surer")
    dice = "".join(explain(TUNED, make_record(TUNED, 2, tokens(1.0, 1.0)), LABELS.__getitem__))
    assert dice.endswith("surer of Bolivia; the dice chose Cuba all the same.")


def test_bold_pieces_are_never_parsed():
    record = make_record(UPSCALED, 1, tokens(6.0, -0.6))
    pieces = explain(UPSCALED, record, {1: "{r}", 2: "{c}{a}"}.__getitem__)
    assert pieces[1::2][:2] == ["{r}", "{c}{a}"]
    assert len(pieces) % 2 == 1


def test_impossible_tokens_and_blends_still_make_sense():
    impossible = tokens(1.0, 1.0)
    impossible[2]["large_base"] = float("-inf")
    record = make_record(UPSCALED, 1, impossible)
    assert "no chance at all" in "".join(explain(UPSCALED, record, LABELS.__getitem__))
    blend = parse("large_base + alpha*(small_tuned - small_base) + 0.5*(small_tuned - small_base)")
    assert "α\u00a0=" not in "".join(
        explain(blend, make_record(blend, 1, tokens(1.0, 1.0)), LABELS.__getitem__)
    )


@pytest.mark.parametrize(
    ("nats", "times"), [(0.0, "1.0"), (-2.0, "7.4"), (6.2, "490"), (9.3, "11,000"), (30, "over a million")]
)
def test_surer(nats: float, times: str):
    assert surer(nats) == f"{abs(nats):.1f} nats ({times} times)"
