"""Many people at once: every accepted run is whole, nobody sees another's text, the surplus is refused."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.errors import Overloaded
from eft_demo.settings import Settings
from tests.asking import spec
from tests.fakes import make_service

pytestmark = pytest.mark.load
USERS = 30  # a class; 48 rows hold 16 of them at a time, the others wait
BEHAVIOUR = "assistant"


def say(service: Service, prompt: str) -> list[tuple[str, str | None]]:
    """(text, finish reason) of every column; the models repeat the prompt."""
    run = service.start_run(spec(prompt, BEHAVIOUR, temperature=0.0, length=64))
    return [(trace.text, trace.finish_reason) for trace in collect(run)]


def test_a_class_of_thirty_reads_its_own_text_and_leaves_no_rows() -> None:
    service = make_service(Settings(dtype="fp32", threads=1))
    try:
        prompts = [f"user {number} asks 🎈{number * 7919}" for number in range(USERS)]
        with ThreadPoolExecutor(USERS) as pool:
            heard = list(pool.map(lambda prompt: say(service, prompt), prompts))
        assert heard == [[(prompt, "stop")] * 3 for prompt in prompts]
        assert service.engine.active_sequences == service.engine.waiting == 0
    finally:
        service.stop()


def test_a_surplus_is_refused_in_a_sentence_and_the_accepted_complete() -> None:
    service = make_service(Settings(dtype="fp32", threads=1, max_sequences=6, max_waiting=2), pause_s=0.01)
    try:
        runs, refusals = [], []
        for number in range(20):
            try:
                runs.append(
                    service.start_run(spec(f"number {number}", BEHAVIOUR, temperature=0.0, length=32))
                )
            except Overloaded as error:
                refusals.append(str(error))
        assert refusals and all("waiting" in sentence and "try again" in sentence for sentence in refusals)
        for run in runs:
            assert {t.finish_reason for t in collect(run)} == {"stop"}
        assert service.engine.active_sequences == 0
    finally:
        service.stop()
