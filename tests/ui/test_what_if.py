"""What other slider values would have drawn: scored on request, compared with fresh runs, or refused.

The page's own modules read the answer. The models are hashes with most of the probability outside of the
recorded candidates, so that an estimate from these is often wrong.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from eft_demo.engine.engine import Engine
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError
from eft_demo.method.recipe import parse
from eft_demo.method.schedule import parse_schedule
from eft_demo.runs.events import EndEvent, TokenEvent
from eft_demo.runs.made_with import ModelMade
from eft_demo.runs.spec import FIRST
from eft_demo.settings import Settings
from eft_demo.ui import what_if
from eft_demo.ui.branches import start_branch, start_same_text
from eft_demo.ui.run_store import RunStore, StoredRun
from eft_demo.ui.stream import Encoder, rules
from tests.asking import ids_of, spec
from tests.fakes import ROLES, make_family
from tests.javascript import Modules, find_node, modules
from tests.keeping import kept_to_end
from tests.toy import ToyModel
from tests.waiting import PATIENCE_S, until

Json = dict[str, Any]
LENGTH, UP = 24, 2
VALUES = [0.0, 1.0, 0.5, 1.5, 3.0]
ASKED: Json = {"run": "a", "column": UP, "control": "alpha", "values": VALUES}


def toy_service(settings: Settings) -> Service:
    """The service of a family without weights whose models spread their probability; not started."""
    family = make_family()
    models = {role: ToyModel(role, family.vocab, seed=seed) for seed, role in enumerate(ROLES)}
    return Service(family, Engine(models, (), settings, family.token_bytes), settings)


class CutToy(ToyModel):
    """A toy whose server would send only the likeliest log-probs."""

    def sent(self, text: object) -> None: ...

    def ask(self, wanted: object) -> None: ...


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = toy_service(Settings())
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def runs(service: Service) -> RunStore:
    """One finished run, "a", of base, tuned and up-scaled."""
    runs = RunStore()
    asked = {"columns": FIRST, "controls": {"alpha": 1.5}, "length": LENGTH}
    runs.keep("a", kept_to_end(service.start_run(spec("Hi", "assistant", **asked, seed=5, temperature=1.3))))
    return runs


async def stays() -> bool:
    return False


def scored(service: Service, runs: RunStore, **posted: Any) -> Json:
    scoring = what_if.begin(service, runs, ASKED | posted)
    return dict(json.loads(asyncio.run(what_if.answer(scoring, service, stays))))


def texts_of(answer: Json, recorded: tuple[int, ...]) -> dict[float, list[int]]:
    """By value, the id that is drawn in each token's place."""
    texts = {value: list(recorded) for value in answer["values"]}
    for value, changed in zip(answer["values"], answer["changed"], strict=True):
        for position, token in changed:
            texts[value][position] = token
    return texts


def drawn_at(service: Service, runs: RunStore, alpha: float) -> list[int]:
    """By position, what a branch at that alpha draws after the recorded text before it."""
    drawn = []
    for position in range(LENGTH):
        posted = {"run": "a", "column": UP, "position": position, "controls": {"alpha": alpha}}
        run, stored = start_branch(service, runs, posted)
        drawn.append(ids_of(kept_to_end(run, stored).traces[UP])[position])
    return drawn


def test_the_answer_is_what_branches_at_these_values_draw(service: Service, runs: RunStore) -> None:
    answer = scored(service, runs)
    recorded = ids_of(runs.find("a").traces[UP])
    texts = texts_of(answer, recorded)
    assert answer["control"] == "alpha" and answer["values"] == VALUES
    assert texts[1.5] == list(recorded)
    for alpha in (0.0, 0.5, 3.0):
        assert texts[alpha] == drawn_at(service, runs, alpha) != list(recorded)
    encoder = Encoder(spec(), service.family.token_bytes, service.family.stop_ids)
    changed = {token for pairs in answer["changed"] for _, token in pairs}
    assert answer["labels"] == {str(token): json.loads(json.dumps(encoder.shown(token))) for token in changed}


@pytest.mark.skipif(find_node() is None, reason="the page's modules need Node.js")
def test_the_page_names_a_token_that_was_not_recorded(service: Service, runs: RunStore) -> None:
    """Its estimate can only choose among the recorded candidates; what the server scored is the truth."""
    stored = runs.find("a")
    trace, head = stored.traces[UP], stored.spec
    encoder = Encoder(head, service.family.token_bytes, service.family.stop_ids)
    line = json.loads(encoder.run_line("a", 1))
    column = line["columns"][UP] | {"sampling": line["sampling"], "filter": line["filter"], "given": 0}
    events = [TokenEvent(UP, record, "", 0.0) for record in trace.tokens]
    tokens = [json.loads(encoder.token_line(event)) for event in events]
    for n, token in enumerate(tokens):
        token |= {"n": n, "v": {"alpha": 1.5}}
    truth = drawn_at(service, runs, 0.0)
    listed = [[row[0] for row in token["c"]] for token in tokens]
    missed = [n for n in range(LENGTH) if truth[n] not in listed[n]]
    with modules("lib/counterfactual.js", "lib/strip.js") as page:
        estimated, exact = chosen_by(page, column | {"rules": rules()}, tokens, scored(service, runs))
    assert missed and all(estimated[n] != truth[n] for n in missed)
    assert exact == [{"id": token, "sure": True, "unrecorded": 0, "exact": True} for token in truth]


def chosen_by(page: Modules, column: Json, tokens: list[Json], answer: Json) -> tuple[list[int], list[Json]]:
    """What the page's modules choose at alpha 0, without the server's answer and with it."""
    script = """([column, tokens, answer]) => [null, readScored(answer)].map(
        (scored) => tokens.map((token) => choiceOf({ ...column, scored }, token, { alpha: 0 }, [1])))"""
    estimated, exact = page.evaluate(script, [column, tokens, answer])
    return [choice["id"] for choice in estimated], exact


def test_a_schedule_scales_the_values_and_other_controls_stay(service: Service) -> None:
    runs = RunStore()
    recipe = "large_base + alpha*(small_tuned - small_base) + beta*(large_base - small_base)"
    asked = spec(
        "Hi", "assistant", columns=(("Blend", parse(recipe)),), controls={"alpha": 1.5, "beta": 0.5},
        seed=5, length=LENGTH, schedule=parse_schedule("first 6"),
    )  # fmt: skip
    runs.keep("a", kept_to_end(service.start_run(asked)))
    recorded = ids_of(runs.find("a").traces[0])
    texts = texts_of(scored(service, runs, column=0), recorded)
    assert texts[1.5] == list(recorded)
    assert texts[0.0][:6] != list(recorded[:6]) and texts[0.0][6:] == list(recorded[6:])
    by_beta = texts_of(scored(service, runs, column=0, control="beta", values=[0.5, 2.0]), recorded)
    assert by_beta[0.5] == list(recorded) and by_beta[2.0][6:] != list(recorded[6:])


def test_a_given_text_stays_where_the_value_draws_as_before(service: Service, runs: RunStore) -> None:
    """A column that scores another's text did not draw it: its own value changes nothing all the same."""
    run, stored = start_same_text(service, runs, {"run": "a", "column": 0})
    runs.keep("same", kept_to_end(run, stored))
    assert ids_of(stored.traces[UP]) == ids_of(stored.traces[0])
    answer = scored(service, runs, run="same")
    assert answer["changed"][VALUES.index(1.5)] == []
    assert answer["changed"][VALUES.index(0.0)] == []  # the text is the base's
    assert answer["changed"][VALUES.index(3.0)]


def test_a_column_with_its_own_seed_is_scored_with_it(service: Service, runs: RunStore) -> None:
    run, stored = start_branch(service, runs, {"run": "a", "column": UP, "position": 0, "seed": 99})
    runs.keep("child", kept_to_end(run, stored))
    again, rewritten = start_branch(service, runs, {"run": "child", "column": 1, "position": 0})
    runs.keep("grandchild", kept_to_end(again, rewritten))
    assert rewritten.seeds[UP] == 99 != rewritten.spec.sampling.seed
    assert scored(service, runs, run="grandchild")["changed"][VALUES.index(1.5)] == []


def test_only_as_many_values_are_scored_as_one_affords(runs: RunStore) -> None:
    scores = LENGTH * make_family().vocab / 1_000_000
    assert scores < 1
    most = replace(Settings(), max_what_if_scores=1)
    poor = toy_service(most)
    poor.start()
    try:
        answer = scored(poor, runs, values=[n / 20 for n in range(61)])
        afforded = int(1 / scores) - 1  # the recorded values are scored too
        assert answer["values"] == [n / 20 for n in range(min(61, afforded))]
    finally:
        poor.stop()


def test_a_text_too_long_for_two_values_is_refused(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(what_if, "STEP_SCORES", 1)
    with pytest.raises(EFTError, match=f"{LENGTH} tokens.* 200 million"):
        what_if.begin(toy_service(Settings()), runs, ASKED)


@pytest.mark.parametrize(
    ("posted", "words"),
    [
        ({"run": "nothing"}, "no longer"),
        ({"column": 7}, "token"),
        ({"column": 0}, "alpha"),  # no slider affects the base
        ({"control": "beta"}, "beta"),
        ({"control": ["alpha"]}, "a list"),
        ({"values": []}, "0"),
        ({"values": [0.5] * 129}, "129"),
        ({"values": {"0": 1}}, "128"),
        ({"values": [0, 3.5]}, "3.5"),
        ({"values": [0, "x"]}, "x"),
        ({"values": [-1]}, "-1"),
    ],
)
def test_a_posted_value_is_checked(service: Service, runs: RunStore, posted: Json, words: str) -> None:
    with pytest.raises(EFTError, match=words):
        what_if.begin(service, runs, ASKED | posted)


def test_a_column_that_still_streams_is_not_scored(service: Service) -> None:
    runs = RunStore()
    run = service.start_run(spec("Hi", "assistant", columns=FIRST, controls={"alpha": 1.0}, length=LENGTH))
    runs.keep("a", StoredRun.of_run(run))
    with pytest.raises(EFTError, match="finished"):
        what_if.begin(service, runs, ASKED)
    run.cancel()


def test_an_opened_run_is_scored_only_by_the_models_that_wrote_it(service: Service, runs: RunStore) -> None:
    trace = runs.find("a").trace(service)
    runs.keep("file", StoredRun.of_file(trace))
    assert scored(service, runs, run="file") == scored(service, runs)
    assert trace.made_with
    other = replace(trace.made_with, models={"large_base": ModelMade("bf16", "none", "cpu", revision="f00")})
    for made in (other, None):
        runs.keep("file", StoredRun.of_file(replace(trace, made_with=made)))
        with pytest.raises(EFTError, match="Other models"):
            what_if.begin(service, runs, ASKED | {"run": "file"})


def test_a_model_whose_server_cuts_its_rows_leaves_the_pages_estimate(runs: RunStore) -> None:
    cut = toy_service(Settings())
    cut.engine.models = {
        **cut.engine.models,
        "large_base": CutToy("large_base", cut.family.vocab, seed=0),
    }
    with pytest.raises(EFTError, match="large_base.* estimate"):
        what_if.begin(cut, runs, ASKED)


def test_a_lent_gpu_is_not_used_for_it(runs: RunStore) -> None:
    lent = toy_service(Settings())
    lent.engine.has_device = False
    with pytest.raises(EFTError, match="GPU"):
        what_if.begin(lent, runs, ASKED)


def test_a_page_that_is_gone_ends_the_scoring(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, forward = Event(), ToyModel.forward

    def held(self: ToyModel, *given: Any) -> Any:
        gate.wait(PATIENCE_S)
        return forward(self, *given)

    monkeypatch.setattr(ToyModel, "forward", held)
    slow = toy_service(Settings())
    slow.start()

    async def left() -> bool:
        return True

    try:
        scoring = what_if.begin(slow, runs, ASKED)
        assert "error" in json.loads(asyncio.run(what_if.answer(scoring, slow, left)))
        gate.set()
        until(lambda: scoring.run.done)
        ends = [event.finish_reason for event in scoring.run.events() if isinstance(event, EndEvent)]
        assert ends == ["cancelled"]
    finally:
        gate.set()
        slow.stop()
