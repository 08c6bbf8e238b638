"""Own questions: choices have the models' log-probs, replies are independent, and figures are counts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2ForCausalLM

from eft_demo.cli import INTERRUPTED
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.families.family import encode_prompt
from eft_demo.lab import ask as lab
from eft_demo.lab.ask import Pair, Reply, ask, cells_of, compare, table, to_json, to_jsonl, verdict
from eft_demo.lab.questions import Asked, parse_questions
from eft_demo.method.recipe import BASE, REFERENCE, TUNED, UPSCALED, parse
from eft_demo.method.sampling import Sampling
from eft_demo.runs.spec import FIRST
from eft_demo.settings import Settings
from tests.command_line import run_cli

FILE = """{"prompt": "What is the capital of Peru?", "answer": "Lima"}
{"prompt": "Which river flows through Köln?", "choices": ["The Rhine", "Iron", "Lima"], "answer": "A"}
{"prompt": "What is gold?"}
"""
QUESTIONS = parse_questions(FILE)
LENGTH = 12


@pytest.fixture(scope="module")
def service(tiny_settings: Settings) -> Iterator[Service]:
    service = Service.load(tiny_settings, "tiny")
    yield service
    service.stop()


@pytest.fixture(scope="module")
def replies(service: Service) -> list[Reply]:
    return list(ask(service, QUESTIONS, FIRST, [0.0, 1.0, 0.0], length=LENGTH))


def test_a_recipe_without_alpha_is_asked_once() -> None:
    cells = cells_of(FIRST, [0.0, 1.0, 0.0])
    assert [(cell.column, cell.alpha) for cell in cells] == [
        ("Base", None),
        ("Tuned", None),
        ("Up-scaled", 0.0),
        ("Up-scaled", 1.0),
    ]


def test_at_alpha_0_up_scaled_replies_as_the_base(replies: list[Reply]) -> None:
    base = [reply for reply in replies if reply.column == "Base"]
    scaled = [reply for reply in replies if reply.alpha == 0]
    assert [reply.text for reply in base] == [reply.text for reply in scaled]
    assert base[1].choice_logprobs == pytest.approx(scaled[1].choice_logprobs, abs=1e-4)
    assert [reply.right for reply in base][2] is None
    assert {reply.text for reply in replies if reply.alpha == 1} != {reply.text for reply in base}


def test_choices_have_the_log_probs_of_transformers(service: Service, replies: list[Reply]) -> None:
    model = Qwen2ForCausalLM.from_pretrained(service.settings.assets / "tiny" / "large_base").eval()
    asked, found = QUESTIONS[1], replies[1].choice_logprobs
    prompt = encode_prompt(service.family, "large_base", asked.prompt)
    for choice, total in zip(asked.choices, found, strict=True):
        answer = service.family.codec.encode(f" {choice}")  # the prompt ends with a colon
        with torch.no_grad():
            rows = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(answer) - 1)
        assert total == pytest.approx(
            sum(float(rows[i, t]) for i, t in zip(places, answer, strict=True)), abs=1e-4
        )
    assert replies[1].text == asked.choices[max(range(3), key=found.__getitem__)]
    assert replies[1].right is (replies[1].text == "The Rhine")


def test_a_reply_does_not_depend_on_the_others(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Sampling(temperature=1.0, seed=5)
    together = list(ask(service, QUESTIONS, FIRST, [1.0], sampling=drawn, length=LENGTH))
    monkeypatch.setattr(lab, "RUNS_AT_ONCE", 2)
    apart = list(ask(service, QUESTIONS, FIRST, [1.0], sampling=drawn, length=LENGTH))
    assert [reply.text for reply in together] == [reply.text for reply in apart]
    assert [reply.seed for reply in together] == [5, 6, 7] * 3


def test_the_figures_are_counts_of_the_replies(replies: list[Reply]) -> None:
    for line in table(replies):
        own = [r for r in replies if (r.column, r.alpha) == (line.column, line.alpha)]
        assert (line.answers, line.right.count) == (3, 2)
        assert line.right.hits == sum(r.right is True for r in own)
        assert line.tokens == sum(r.tokens for r in own) > 0
        assert line.changed == sum(r.changed for r in own)
    plain = table(replies)[0]
    assert plain.changed == sum(
        r.changed for r in replies[:3] if r.choice_logprobs
    )  # greedy: its own favourites
    assert plain.lead_nats == pytest.approx(0, abs=1e-4)


def test_other_sliders_are_at_their_defaults(service: Service) -> None:
    blend = parse("large_base + alpha_pirate*(pirate - small_base)")
    fixed = parse("large_base + 1*(pirate - small_base)")
    found = list(ask(service, QUESTIONS[:1], (("Blend", blend), ("Fixed", fixed)), [0.5], length=LENGTH))
    assert [reply.alpha for reply in found] == [None, None]
    assert found[0].text == found[1].text


def test_an_unusable_recipe_is_refused(service: Service) -> None:
    with pytest.raises(InputError) as refused:
        next(ask(service, QUESTIONS, (("Mine", parse("huge_base")),), [1.0]))
    assert refused.value.code == "unknown_role"


def test_few_runs_are_waiting_at_once() -> None:
    """A choice is a run of its own, and the engine has few places for waiting runs."""
    few, many = Asked(1, "a"), Asked(2, "b", choices=("x",) * 10)
    cell = cells_of(FIRST, [])[0]
    parts = list(lab._batches([(cell, i, asked) for i, asked in enumerate([few, many] * 9)]))
    assert [place for part in parts for _, place, _ in part] == list(range(18))
    assert all(sum(max(len(asked.choices), 1) for *_, asked in part) <= lab.RUNS_AT_ONCE for part in parts)
    assert len(parts) == 4


def test_repeated_groups_of_tokens_are_counted() -> None:
    assert lab._repeated([1, 2, 3, 4, 1, 2, 3, 4]) == 1
    assert lab._repeated([7] * 10) == 6 and lab._repeated([1, 2, 3]) == 0


@pytest.mark.parametrize(
    ("pair", "p"), [(Pair(0, 0), 1.0), (Pair(5, 0), 0.0625), (Pair(3, 4), 1.0), (Pair(2, 10), 0.0385742)]
)
def test_mcnemars_exact_p_value(pair: Pair, p: float) -> None:
    assert pair.p_value == pytest.approx(p, abs=1e-6)
    assert Pair(2000, 1).p_value < 1e-300  # 2**2001 is beyond a float


def judged(column: str, recipe: object, rights: str, alpha: float | None = None) -> list[Reply]:
    """Replies that are right where `rights` has a 1."""
    return [
        Reply(i, "", column, str(recipe), alpha, 0, "", "stop", right == "1", 1, 0, 0, 0.0)
        for i, right in enumerate(rights)
    ]


def test_the_verdict_follows_from_the_counts() -> None:
    base, tuned = judged("Base", BASE, "1110000000"), judged("Tuned", TUNED, "1000000000")
    good = judged("Up-scaled", UPSCALED, "1111111111", 1.0)
    pair = compare(good, tuned)
    assert (pair.only_first, pair.only_second) == (9, 0)
    said = verdict([*base, *tuned, *good, *judged("Large tuned", REFERENCE, "1111111110")])
    assert "better than the small tuned model alone" in said[1] and "9 times" in said[1]
    assert "better than the large base alone" in said[2] and "0.016" in said[2]
    assert "112%" in said[3]
    # Of several alphas, the one nearest to 1 counts, not the best one.
    bad = judged("Up-scaled", UPSCALED, "1000000000", 1.2)
    said = verdict([*base, *tuned, *bad, *judged("Up-scaled", UPSCALED, "1111111111", 2.0)])
    assert "as good or better" in said[1] and "alpha 1.2" in said[0]
    said = verdict([*base, *tuned, *judged("Up-scaled", UPSCALED, "1100000000", 1.0)])
    assert "do not decide" in said[1] and "as good or better" in said[2]
    assert verdict([*tuned, *good]) == [] == verdict([])


def test_a_log_prob_of_minus_infinity_is_null_in_files() -> None:
    reply = Reply(
        1, "", "Base", "large_base", None, 0, "x", "chosen", None, 1, 0, 0, -torch.inf, (-torch.inf, -1.0)
    )
    assert json.loads(to_jsonl([reply]))["choice_logprobs"] == [None, -1.0]
    assert json.loads(to_json([reply]))["replies"][0]["lead_nats"] is None


def test_the_command_writes_every_reply_behind_its_figures(
    tmp_path: Path, tiny_assets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"ASSETS": str(tiny_assets), "DTYPE": "fp32", "THREADS": "1"}.items():
        monkeypatch.setenv(f"EFT_{name}", value)
    path, out = tmp_path / "own.jsonl", tmp_path / "replies.jsonl"
    path.write_text(FILE, encoding="utf-8")
    words = ["ask", str(path), "--family", "tiny", "--max-new-tokens", "8", "--alpha", "0", "--alpha", "2"]
    assert run_cli(monkeypatch, *words, "--json", "--out", str(out)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["replies"] == [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["alpha"] for line in found["table"]] == [None, None, 0.0, 2.0]
    for line in found["table"]:
        own = [r for r in found["replies"] if (r["column"], r["alpha"]) == (line["column"], line["alpha"])]
        assert line["right"] == {"hits": sum(r["right"] is True for r in own), "count": 2}
    assert len(found["verdict"]) == 3
    assert run_cli(monkeypatch, *words, "--recipe", "Mine:large_base") == 0
    said = capsys.readouterr().out
    assert "| Mine |" in said and "Up-scaled" not in said


def test_what_an_interrupted_run_has_is_kept(
    tmp_path: Path, tiny_assets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EFT_ASSETS", str(tiny_assets))
    path, out = tmp_path / "own.jsonl", tmp_path / "replies.jsonl"
    path.write_text(FILE, encoding="utf-8")
    usual = lab.ask

    def interrupted(*given: Any, **named: Any) -> Iterator[Reply]:
        found = usual(*given, **named)
        yield next(found)
        yield next(found)
        raise KeyboardInterrupt

    monkeypatch.setattr(lab, "ask", interrupted)
    words = ["ask", str(path), "--family", "tiny", "--max-new-tokens", "4", "--out", str(out)]
    assert run_cli(monkeypatch, *words) == INTERRUPTED
    assert len(out.read_text().splitlines()) == 2


@pytest.mark.parametrize("more", [["--alpha", "9"], ["--sampling", "--seed", "-1"], ["--out", "/none/x"]])
def test_wrong_options_are_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(Service, "load", lambda *_: pytest.fail("the family was loaded"))
    assert run_cli(monkeypatch, "ask", str(path), *more) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_question_without_a_right_answer_is_not_judged() -> None:
    assert not Asked(1, "Hello").judged and Asked(1, "Hello", ("Hi",)).judged
