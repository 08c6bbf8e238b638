"""The app under strain: bad requests are bad, answers are judged rightly, a small trial of the real app."""

import json

import pytest

from eft_demo.lab.bad_requests import CALLS, by_hand, refusal, spoiled
from eft_demo.lab.soak import Amounts, bench_soak, to_markdown
from eft_demo.ui.server_functions import HEAVY, LIGHT
from tests.tiers import exhaustive

EVENT = (3, 5)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, '{"detail": "no"}', "no"),
        (503, '{"detail": "busy"}', "busy"),
        (409, '{"error": "poll_closed", "detail": "closed"}', "closed"),
        (200, json.dumps(json.dumps({"error": "why"})), "why"),
        (200, json.dumps("a sentence"), "a sentence"),
        (200, '""', None),
        (200, json.dumps(json.dumps({"stored": False})), None),
    ],
)
def test_an_answer_is_a_refusal_with_its_reason_or_an_acceptance(
    status: int, body: str, reason: str | None
) -> None:
    assert refusal(status, body) == reason


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, '{"detail": "no"}'), (404, "Not Found"), (422, '{"detail": []}'), (200, '{"error": null}')],
)
def test_an_error_without_a_reason_is_neither(status: int, body: str) -> None:
    with pytest.raises(ValueError, match="HTTP|reason"):
        refusal(status, body)


def test_bad_requests_are_many_and_the_same_for_a_seed() -> None:
    hand = by_hand(EVENT)
    assert len(hand) >= 80 and len({(post.path, post.body, post.kind) for post in hand}) == len(hand)
    made = list(spoiled(EVENT, 300, seed=1))
    assert made == list(spoiled(EVENT, 300, seed=1)) != list(spoiled(EVENT, 300, seed=2))
    bodies = [json.loads(post.body) for post in made]
    named = {str(body.get("fn_name")) for body in bodies if isinstance(body, dict)}
    assert named >= {*LIGHT, *HEAVY} and set(CALLS) - {"exec"} <= {*LIGHT, *HEAVY, "what_if"}


@pytest.mark.slow
@exhaustive
def test_a_small_strain_of_the_real_app_leaves_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFT_DTYPE", "fp32")
    monkeypatch.setenv("EFT_MAX_SEQUENCES", "24")
    monkeypatch.setenv("EFT_MAX_WAITING", "4")
    amounts = Amounts(crowd=3, witnesses=2, gone=4, bad=40, runs=5, disconnects=4, settle_s=0)
    found = bench_soak(amounts)
    assert found["crowd_served"] == 3 and found["crowd_unfinished"] == found["overload_unfinished"] == 0
    assert found["overload_users"] == 36 == found["overload_served"] + found["overload_refused"]
    assert found["overload_refused"] > 0 and found["overload_http_500"] == 0
    assert found["strangers_equal"] == found["strangers_witnesses"] and found["strangers_refused"] == 0
    assert found["bad_failed"] == {} and found["bad_good_one_after"] == 1
    assert found["bad_refused"] + found["bad_accepted"] == found["bad_by_hand"] + 40
    assert found["day_sequences"] == found["day_waiting"] == found["day_refused"] == 0
    assert "36 users at once" in to_markdown(found)
