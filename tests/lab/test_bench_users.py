"""The benchmark of a class: what it reads from a stream, and two users of the real app."""

import json

import pytest

from eft_demo.lab.many_users import bench_users, to_markdown
from eft_demo.lab.page_client import Heard, heard_in
from eft_demo.settings import Settings
from tests.tiers import exhaustive


def test_a_run_is_read_from_its_lines() -> None:
    lines = [{"k": "run"}, {"k": "t", "p": 1, "i": 7}, {"k": "t", "p": 0, "i": 5}, {"k": "t", "p": 1, "i": 9}]
    lines += [{"k": "end", "p": 1, "why": "stop"}, {"k": "end", "p": 0, "why": "length"}, {"k": "done"}]
    heard = heard_in("\n".join(map(json.dumps, lines)), 0.5)
    assert heard == Heard(0.5, ((5,), (7, 9)), ("length", "stop")) and heard.tokens == 3


def test_a_refused_run_says_why() -> None:
    assert heard_in('{"k":"error","where":"prompt","text":"full"}\n{"k":"done"}', 0.0).refused == "full"


@pytest.mark.slow
@exhaustive
def test_two_users_get_whole_texts_equal_to_those_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFT_DTYPE", "fp32")
    found = bench_users(Settings.from_env(), 2, rounds=1)
    assert (found["refused"], found["unfinished"], found["equal_to_alone"]) == (0, 0, 1)
    assert 0 < found["first_token_p50_s"] <= found["first_token_p95_s"]
    assert found["ratio"] == pytest.approx(found["tokens_per_s"] / found["in_turn_tokens_per_s"])
    assert "2 users" in to_markdown(found) and "fp32" in to_markdown(found)
