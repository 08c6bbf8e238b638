"""The sentences of the card, made in the page: what decided, what would change it, how a draft fared."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from eft_demo.method.recipe import AMPLIFIED, BASE, DOWNSCALED, PAD, TUNED, UPSCALED, Recipe, blend
from eft_demo.runs.events import TokenEvent
from eft_demo.runs.trace import Draft, TokenRecord
from eft_demo.ui import stream as wire
from tests.asking import spec
from tests.hostile import HOSTILE
from tests.javascript import Modules, find_node, modules
from tests.records import make_record

pytestmark = pytest.mark.skipif(find_node() is None, reason="these tests need Node.js")
LABELS = ("", "Bolivia", "Cuba", "Chad")
Say = Callable[..., str]


@pytest.fixture(scope="module")
def page() -> Iterator[Modules]:
    with modules("lib/runs.js", "lib/sentences.js") as loaded:
        yield loaded


def pieces(
    page: Modules,
    recipe: Recipe,
    record: TokenRecord,
    function: str = "explain",
    labels: Sequence[str] = LABELS,
    weight_filter: str = "off",
    lowest: float = 0,
) -> list[str]:
    """The sentence that a function of the page makes of a record sent over the wire."""
    encoder = wire.Encoder(
        spec(columns=(("Column", recipe),), weight_filter=weight_filter),
        [label.encode("utf-8", "surrogatepass") for label in labels],
        frozenset(),
    )
    run = json.loads(encoder.run_line("id", 1))
    token = json.loads(encoder.event_line(TokenEvent(0, record, "", 0.1)))
    script = f"""([run, token, labels, rules]) => {{
        const made = makeRun(run, rules), [column] = made.columns;
        record(column, token);
        return {function}(column, token, new Map(labels.map((label, id) => [id, label])));
    }}"""
    said: list[str] = page.evaluate(script, [run, token, list(labels), wire.rules(lowest < 0)])
    return said


def tokens(lead: float, push: float) -> dict[int, dict[str, float]]:
    """Two tokens: the large base leads with 1 by `lead` nats, tuning pushes 1 by `push`."""
    return {
        1: {"large_base": -1.0, "small_tuned": -3.0 + push, "small_base": -3.0},
        2: {"large_base": -1.0 - lead, "small_tuned": -3.0, "small_base": -3.0},
    }


@pytest.fixture
def say(page: Modules) -> Say:
    def sentence(lead: float, push: float, chosen: int = 1, alpha: float = 1.0) -> str:
        return "".join(pieces(page, UPSCALED, make_record(UPSCALED, chosen, tokens(lead, push), alpha=alpha)))

    return sentence


def test_the_card_says_that_the_base_decided_and_which_alpha_would_change_it(say: Say) -> None:
    sentence = say(6.3, -0.6)
    assert sentence.startswith("The large base decides here: it prefers Bolivia to Cuba by 6.3 nats (540×);")
    assert "tuning pushes the other way by 0.6" in sentence
    assert "Cuba to Bolivia only from α\u00a0=\u00a010.5, beyond the slider" in sentence


def test_the_card_says_that_tuning_decided(say: Say) -> None:
    assert say(-2.0, 4.0).startswith(
        "Tuning decides here: the large base alone prefers Cuba by 2.0 nats (7.4×)"
    )
    assert say(-2.0, 4.0).endswith("Cuba to Bolivia below α\u00a0=\u00a00.50.")


def test_the_card_says_that_base_and_tuning_agree(say: Say) -> None:
    assert "Both agree here:" in say(2.0, 1.0)
    assert say(2.0, 1.0).endswith("No α would change that.")


def test_the_card_says_that_the_noise_decided(say: Say) -> None:
    assert say(3.0, -1.0, chosen=2).startswith(
        "Chance decided here: the mix prefers Bolivia by 2.0 nats (7.4×)"
    )
    assert say(3.0, -1.0, chosen=2).endswith("Cuba to Bolivia only from α\u00a0=\u00a03.00.")


def test_a_flip_below_0_is_mentioned_only_if_the_slider_reaches_it(page: Modules) -> None:
    record = make_record(UPSCALED, 1, tokens(1.0, 1.0))  # level at alpha -1
    assert "".join(pieces(page, UPSCALED, record)).endswith("No α would change that.")
    sent = "".join(pieces(page, UPSCALED, record, lowest=-3))
    assert sent.endswith("Cuba to Bolivia below α\u00a0=\u00a0-1.00.")


def test_tuning_makes_no_difference_at_alpha_zero(say: Say) -> None:
    assert "tuning makes no difference" in say(3.0, -1.0, alpha=0.0)


def test_the_rival_is_the_tuned_models_first_choice(page: Modules) -> None:
    three = tokens(1.0, 0.0) | {3: {"large_base": -6.0, "small_tuned": -0.1, "small_base": -0.2}}
    for recipe, chosen, rival in [(UPSCALED, 1, "Chad"), (BASE, 1, "Cuba"), (UPSCALED, 3, "Bolivia")]:
        assert rival in pieces(page, recipe, make_record(recipe, chosen, three))[1::2]


def test_the_card_of_a_single_model_names_only_it(page: Modules) -> None:
    alone = "".join(pieces(page, BASE, make_record(BASE, 1, tokens(1.0, 0.0))))
    assert "large base model alone" in alone and "prefers Bolivia to Cuba by 1.0 nats (2.7×)" in alone
    noise = "".join(pieces(page, TUNED, make_record(TUNED, 2, tokens(1.0, 1.0))))
    assert "prefers Bolivia by" in noise and noise.endswith("but the noise chose Cuba.")


def test_bold_parts_of_texts_are_never_parsed_as_markup(page: Modules) -> None:
    record = make_record(UPSCALED, 1, tokens(6.0, -0.6))
    for hostile in (*HOSTILE, "{r}", "{c}{a}{0}"):
        shown = hostile.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        said = pieces(page, UPSCALED, record, labels=("", shown, "{c}{d}", "x"))
        assert said[1::2][:2] == [shown, "{c}{d}"] and len(said) % 2 == 1


def test_the_card_handles_impossible_tokens(page: Modules) -> None:
    impossible = tokens(1.0, 1.0)
    impossible[2]["large_base"] = float("-inf")
    said = "".join(pieces(page, UPSCALED, make_record(UPSCALED, 1, impossible)))
    assert "zero probability" in said


def test_each_term_of_a_blend_is_named(page: Modules) -> None:
    recipe = blend(["brief", "pirate"])
    two = {
        1: {"large_base": -3.0, "small_base": -3.0, "brief": -1.0, "pirate": -3.5},
        2: {"large_base": -2.0, "small_base": -3.0, "brief": -3.0, "pirate": -3.0},
    }
    record = make_record(recipe, 1, two, controls={"alpha_brief": 1.0, "alpha_pirate": 1.0})
    said = "".join(pieces(page, recipe, record))
    assert said.startswith("Tuning decides here: the large base alone prefers Cuba by 1.0 nats (2.7×)")
    assert "tuning adds 1.5 nats to the lead of Bolivia (brief +2.0, pirate −0.5)" in said
    assert said.endswith(
        "Cuba to Bolivia below α brief\u00a0=\u00a00.75, or only from α pirate\u00a0=\u00a02.00."
    )


def test_beta_terms_are_called_size(page: Modules) -> None:
    two = {
        1: {"large_base": -0.2, "small_base": -3.0, "small_tuned": -2.0},
        2: {"large_base": -3.0, "small_base": -2.0, "small_tuned": -1.0},
    }
    amplified = make_record(AMPLIFIED, 1, two, controls={"beta": 1.0})
    said = "".join(pieces(page, AMPLIFIED, amplified))
    assert said.startswith("Size decides here: the small tuned alone prefers") and "β\u00a0=\u00a0" in said
    pad = "".join(pieces(page, PAD, make_record(PAD, 1, two, controls={"alpha": 1.0, "beta": 1.0})))
    assert "tuning and size add 3.8 nats to the lead of Bolivia (size +3.8)" in pad
    assert "β\u00a0=\u00a0" in pad and "α\u00a0=\u00a0" not in pad  # tuning does not distinguish the two
    down = {token: by_role | {"large_tuned": -0.1 * token} for token, by_role in two.items()}
    said = "".join(pieces(page, DOWNSCALED, make_record(DOWNSCALED, 2, down)))
    assert said.startswith("Both agree here: the small base prefers") and "tuning adds 2.7 nats" in said


@pytest.mark.parametrize(
    ("drafted", "overlap", "words"),
    [
        (1, 0.93, "The small tuned model proposed Bolivia and the mix agreed. Their distributions overlap by "
         "93 %, so such a draft is accepted 87 to 93 % of the time."),
        (2, 0.31, "The small tuned model proposed Cuba; with the same noise the mix sampled Bolivia instead. "
         "Their distributions overlap by 31 %, so such a draft is accepted 18 to 31 % of the time."),
        (1, 1.0, "overlap by 100 %, so such a draft is always accepted."),
        (1, 0.999, "overlap by more than 99 %, so such a draft is almost always accepted."),
        (2, 0.0, "overlap by 0 %, so such a draft is never accepted."),
        (2, 0.002, "overlap by less than 1 %, so such a draft is almost never accepted."),
    ],
)  # fmt: skip
def test_the_card_says_whether_a_draft_was_accepted(
    page: Modules, drafted: int, overlap: float, words: str
) -> None:
    record = replace(make_record(UPSCALED, 1, tokens(1.0, 0.0)), draft=Draft(drafted, overlap))
    assert "".join(pieces(page, UPSCALED, record, "explainDraft")).endswith(words)


def test_the_model_that_drafted_is_named(page: Modules) -> None:
    two = {token: {**by_role, "pirate": -1.0, "brief": -1.0} for token, by_role in tokens(1.0, 0.0).items()}
    controls = {"alpha_brief": 1.0, "alpha_pirate": 1.0}
    blended = blend(["brief", "pirate"])
    record = replace(make_record(blended, 1, two, controls=controls), draft=Draft(1, 0.9))
    said = "".join(pieces(page, blended, record, "explainDraft"))
    assert said.startswith("The small brief model proposed Bolivia and the mix agreed.")
    record = replace(make_record(BASE, 1, two), draft=Draft(2, 0.9))
    said = "".join(pieces(page, BASE, record, "explainDraft"))
    assert said.startswith(
        "The small base model proposed Cuba; with the same noise the large base sampled Bol"
    )
    record = replace(make_record(TUNED, 1, two), draft=Draft(2, 0.9))  # as only a file could have it
    assert pieces(page, TUNED, record, "explainDraft") == []


def test_a_token_without_a_draft_does_not_mention_drafts(page: Modules) -> None:
    assert pieces(page, UPSCALED, make_record(UPSCALED, 1, tokens(1.0, 0.0)), "explainDraft") == []


def test_outside_the_weight_filter_the_card_says_so(page: Modules) -> None:
    record = make_record(UPSCALED, 1, tokens(1.0, 2.0))
    outside = replace(record, bars=(0.0,))
    assert pieces(page, UPSCALED, record, "explainFilter", weight_filter="top-p 0.95") == []
    assert pieces(page, UPSCALED, outside, "explainFilter") == []
    said = "".join(pieces(page, UPSCALED, outside, "explainFilter", weight_filter="top-p 0.95"))
    assert "outside the large base's top 95 %" in said


@pytest.mark.parametrize(
    ("nats", "times"), [(0.0, "1.0"), (-2.0, "7.4"), (6.2, "490"), (9.3, "11,000"), (30, "over 1,000,000")]
)
def test_odds_are_written_as_readable_ratios(page: Modules, nats: float, times: str) -> None:
    assert page.evaluate("oddsText", nats) == f"{abs(nats):.1f} nats ({times}×)"
