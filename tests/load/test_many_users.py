"""Many users at once: accepted runs are complete, texts are not mixed up, surplus runs are rejected."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.errors import Overloaded
from eft_demo.settings import Settings
from tests.asking import spec
from tests.fakes import make_service

pytestmark = pytest.mark.load
USERS = 30  # 48 sequences hold 16 of them at first; the others wait until steps prove quick
BEHAVIOUR = "assistant"


def say(service: Service, prompt: str) -> list[tuple[str, str | None]]:
    """(text, finish reason) of every column; the models repeat the prompt."""
    run = service.start_run(spec(prompt, BEHAVIOUR, temperature=0.0, length=64))
    return [(trace.text, trace.finish_reason) for trace in collect(run)]


def test_thirty_users_get_their_own_text_and_leave_no_sequences() -> None:
    service = make_service(Settings(dtype="fp32", threads=1))
    try:
        prompts = [f"user {number} asks 🎈{number * 7919}" for number in range(USERS)]
        with ThreadPoolExecutor(USERS) as pool:
            heard = list(pool.map(lambda prompt: say(service, prompt), prompts))
        assert heard == [[(prompt, "stop")] * 3 for prompt in prompts]
        assert service.engine.active_sequences == service.engine.waiting == 0
    finally:
        service.stop()


def test_surplus_runs_are_rejected_and_accepted_ones_complete() -> None:
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
