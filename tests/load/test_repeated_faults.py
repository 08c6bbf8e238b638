"""The same fault again and again on one service: nothing adds up, and the next run is whole each time."""

import threading
from collections.abc import Iterator

import pytest
import torch

from eft_demo.engine.collect import collect
from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from tests.asking import spec
from tests.fakes import CHANT, make_service
from tests.faults import Fault
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.load
PROMPT = "The fault comes in the middle of this."
BASE, TUNED, UPSCALED = range(3)
REASONS = {"nan": "NaN", "full GPU": "not enough memory"}


@pytest.fixture
def service() -> Iterator[Service]:
    service = make_service(Settings(dtype="fp32", threads=1))
    yield service
    service.stop()


def ask(service: Service) -> list[tuple[str, str | None, str | None]]:
    """(text, finish reason, error) of every column; the models repeat the prompt."""
    run = service.start_run(spec(PROMPT, "assistant", temperature=0.0, length=64))
    return [(trace.text, trace.finish_reason, trace.error) for trace in collect(run)]


def nothing_is_held(service: Service) -> bool:
    engine = service.engine
    return engine.active_sequences == engine.waiting == 0


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("kind", REASONS)
def test_a_fault_again_and_again_ends_only_what_needs_the_model(
    service: Service, kind: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [(PROMPT, "stop", None)] * 3
    assert ask(service) == whole
    model = service.engine.models["large_base"]
    fault, forward = Fault("full GPU", at=9, stays=True, armed=False), model.forward
    if kind == "nan":
        fault.instead = lambda: None

    def forward_or_nan(*args: object, **options: object) -> torch.Tensor:
        before = fault.raised
        logits = fault.around(forward)(*args, **options)
        assert isinstance(logits, torch.Tensor)
        return logits if fault.raised == before else torch.full_like(logits, torch.nan)

    monkeypatch.setattr(model, "forward", forward_or_nan)
    threads = threading.active_count()
    for _ in range(times):
        fault.calls, fault.armed = 0, True
        found = ask(service)
        fault.armed = False
        assert found[TUNED] == whole[TUNED]
        for text, reason, error in (found[BASE], found[UPSCALED]):
            assert 0 < len(text) < len(PROMPT) and PROMPT.startswith(text)
            assert reason == "error" and error and REASONS[kind] in error
        assert ask(service) == whole
    assert nothing_is_held(service) and threading.active_count() <= threads


def test_stop_a_hundred_times_in_a_row_leaves_nothing(service: Service) -> None:
    threads = threading.active_count()
    for number in range(100):
        run = service.start_run(spec(CHANT, "assistant", temperature=0.0, length=250, seed=number))
        assert run.events(PATIENCE_S)
        run.cancel()
        assert {trace.finish_reason for trace in collect(run)} <= {"cancelled", None, ""}
    until(lambda: nothing_is_held(service))
    assert threading.active_count() <= threads
    assert ask(service) == [(PROMPT, "stop", None)] * 3
