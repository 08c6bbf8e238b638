"""The evaluation scores the models' answers: an oracle gets full marks, an echo none."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from eft_demo.atlas.behaviours import answer, content
from eft_demo.atlas.facts import Fact, load_facts
from eft_demo.atlas.quiz import questions
from eft_demo.engine.engine import Engine
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.lab.evaluate import Result, evaluate, evaluate_recipe, to_markdown
from eft_demo.lab.share import Share
from eft_demo.method.recipe import BASE, TUNED, UPSCALED
from eft_demo.settings import Settings
from tests.fakes import ANSWER, ROLES, EchoModel, make_family

COUNT = 12
ASKED = questions(load_facts(), COUNT, behaviour="brief")
KNOWN = {q.prompt: q.fact for q in ASKED}


def _said(fact: Fact) -> bytes:
    rng = random.Random(0)
    return (" " + answer("brief", content(fact, None, rng), rng)).encode()


class Oracle(EchoModel):
    """Knows the quiz by heart and answers with the brief behaviour, byte by byte, then stops."""

    def logits_after(self, history: Sequence[int]) -> Tensor:
        text = b"".join(self.family.token_bytes[token] for token in history)
        question, _, said = text.partition(ANSWER)
        fact = KNOWN.get(question.removeprefix(b"User: ").decode())
        whole = _said(fact) if fact else b""
        rest = whole[len(said) :]
        logits = torch.zeros(self.vocab)
        logits[self.id_of_byte[rest[:1]] if rest else 0] = 12.0
        return logits


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The large base is an oracle, the small models echo the question."""
    family, settings = make_family(), Settings(dtype="fp32", threads=1)
    models = {role: (Oracle if role == "large_base" else EchoModel)(role, family) for role in ROLES}
    service = Service(family, Engine(models, family.stop_ids, settings, family.token_bytes), settings)
    service.start()
    yield service
    service.stop()


def test_correct_answers_score_1_and_an_echo_scores_0(service: Service) -> None:
    oracle = evaluate_recipe(service, "brief", "large base", BASE, ASKED)
    assert oracle.factual == oracle.style == Share(COUNT, COUNT)
    echo = evaluate_recipe(service, "brief", "small tuned", TUNED, ASKED)
    assert echo.factual.value < 0.2 and echo.style.value < 0.2


def test_a_zero_difference_changes_nothing(service: Service) -> None:
    """Tuned and small base both echo, so the up-scaled answers are the oracle's."""
    base = evaluate_recipe(service, "brief", "x", BASE, ASKED)
    upscaled = evaluate_recipe(service, "brief", "x", UPSCALED, ASKED)
    assert (base.factual, base.style) == (upscaled.factual, upscaled.style)


def test_the_interval_is_wilsons() -> None:
    low, high = Share(81, 263).interval  # the worked example of Newcombe (1998), table I, method 3
    assert round(low, 4) == 0.2553 and round(high, 4) == 0.3662
    assert Share(0, 10).interval[0] == pytest.approx(0) and Share(10, 10).interval[1] == pytest.approx(1)


def test_the_table_names_what_was_asked() -> None:
    kinds = {"country capital": Share(9, 10)}
    shares = Share(9, 10), Share(10, 10), Share(0, 10), kinds
    rows = [
        asdict(Result(p, "assistant", "up-scaled", "large_base + ...", *shares)) for p in ("unseen", "kinds")
    ]
    counts = {"unseen": 10, "kinds": 10}
    table = to_markdown(
        {"questions": counts, "temperature": 0.0, "top_p": 1.0, "alpha": 1.0, "results": rows}
    )
    assert (
        "10 questions about held-out entities" in table and "| assistant | **up-scaled** | 0.900 (" in table
    )
    assert "| country capital | 10 | 0.90 |" in table
    assert "| country capital | assistant | **up-scaled** | 0.900 (" in table


def test_an_unknown_part_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "load", None)
    with pytest.raises(InputError, match="no part 'all'.*unseen"):
        evaluate(Settings(), questions=1, sampling=False, behaviours=[], parts=["all"])


@pytest.mark.parametrize("name", ["", "rude", "Pirate", "pirate "])
def test_an_unknown_behaviour_is_refused_before_anything_is_loaded(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Service, "load", None)
    with pytest.raises(InputError, match=f"no behaviour '{name}'.*pirate") as refused:
        evaluate(Settings(), questions=1, sampling=False, behaviours=["pirate", name])
    assert refused.value.code == "unknown_behaviour"
