"""An engine on an allocated GPU: same texts, live controls, Stop, and a message for every failure."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from eft_demo.engine import zerogpu
from eft_demo.engine.collect import collect
from eft_demo.engine.engine import Engine
from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.service import Service
from eft_demo.engine.zerogpu import ZeroGpuEngine
from eft_demo.errors import InputError, Overloaded
from eft_demo.method.sampling import Sampling
from eft_demo.method.speculation import Speculation
from eft_demo.runs.trace import ColumnTrace
from eft_demo.settings import Settings
from eft_demo.ui import space
from tests.asking import make_request, spec, three
from tests.fake_spaces import FakeSpaces
from tests.fakes import CHANT, ROLES, EchoModel, make_family
from tests.waiting import until

SETTINGS = Settings(threads=1)
WAIT_S = 30.0  # a busy machine is not a failure


def make_service(
    spaces: FakeSpaces, settings: Settings = SETTINGS, pause_s: float = 0.01, **options: bool
) -> Service:
    family = make_family()
    models = {role: EchoModel(role, family, pause_s if role == "large_base" else 0.0) for role in ROLES}
    parts = (models, family.stop_ids, settings, family.token_bytes)
    return Service(family, ZeroGpuEngine(*parts, allocate_gpu=spaces.GPU, **options), settings)


@pytest.fixture
def spaces() -> Iterator[FakeSpaces]:
    spaces = FakeSpaces()
    yield spaces
    spaces.end()


def answer(service: Service, prompt: str = "Grüße", **options: object) -> list[ColumnTrace]:
    columns = three("brief")
    run = service.start_run(spec(prompt, "brief", columns=columns, temperature=0.0, **options))
    return collect(run)


def read(run: Run, until: str) -> str:
    """The text of the up-scaled column up to and including `until`."""
    said, give_up = "", time.monotonic() + WAIT_S
    while until not in said:
        assert time.monotonic() < give_up
        said += "".join(event.text for event in run.events(1.0) if event.column == 2)
    return said


def test_the_text_equals_a_local_run_and_each_run_is_one_call(spaces: FakeSpaces) -> None:
    service = make_service(spaces)
    family = service.family
    models = {role: EchoModel(role, family) for role in ROLES}
    home = Service(family, Engine(models, family.stop_ids, SETTINGS, family.token_bytes), SETTINGS)
    home.start()
    for prompt in ("Grüße", "東京 👩‍🔬"):
        there, here = answer(service, prompt), answer(home, prompt)
        assert [t.text for t in there] == [t.text for t in here] == [prompt] * 3
        assert [t.tokens for t in there] == [t.tokens for t in here]
    home.stop()
    assert len(spaces.tasks) == 1 and len(spaces.durations) == 2 and len(spaces.workers) == 1


def test_alpha_takes_effect_during_a_run(spaces: FakeSpaces) -> None:
    service = make_service(spaces)
    run = service.start_run(spec(CHANT, "brief", controls={"alpha": 0.0}, temperature=0.0, length=256))
    read(run, "lll")
    run.set_control("alpha", 3.0)
    read(run, "hhh")
    run.cancel()


def test_stop_ends_the_run_in_the_other_process_and_frees_its_rows(spaces: FakeSpaces) -> None:
    service = make_service(spaces)
    columns = three("brief")
    for _ in range(2):  # the second run reuses the worker of the first, whose rows must be free
        run = service.start_run(spec(CHANT, "brief", columns=columns, length=256))
        assert service.engine.active_sequences == 3
        read(run, "h")
        run.cancel()
        assert [trace.finish_reason for trace in collect(run)] == ["cancelled"] * 3
        until(lambda: service.engine.active_sequences == 0)


def test_every_column_shows_why_zerogpu_refused(spaces: FakeSpaces) -> None:
    spaces.refusal = "You have used up your quota of 2 minutes."
    for trace in answer(make_service(spaces)):
        assert trace.finish_reason == "error"
        assert ": You have used up your quota of 2 minutes. " in str(trace.error)


def test_a_bug_in_the_other_process_is_reported(spaces: FakeSpaces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "step", lambda self: 1 / 0)
    assert all(": ZeroDivisionError. " in str(trace.error) for trace in answer(make_service(spaces)))


def test_a_run_reserves_time_by_its_length_and_ends_before_it_is_over(
    spaces: FakeSpaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(spaces, pause_s=0.05)
    answer(service, length=1)
    answer(service, length=200)
    short, long = spaces.durations
    assert 10 < short < long < SETTINGS.deadline_s
    assert long - short == pytest.approx(199 * zerogpu.STEP_S, abs=1)
    hurried = make_service(spaces, replace(SETTINGS, deadline_s=9.0)).engine
    assert isinstance(hurried, ZeroGpuEngine) and hurried.duration_s(long_run(), 0) == 9
    monkeypatch.setattr(zerogpu, "START_S", 0.0)
    spaces.end()  # so that the next worker is forked with the new value
    # With drafts the text could be finished in time.
    traces = answer(service, CHANT, length=20, speculation=Speculation("off"))
    assert {trace.error for trace in traces} == {zerogpu.TIME_OVER}


def long_run() -> RunRequest:
    columns = three("brief")
    return make_request({"small_base": (1,)}, columns, {}, Sampling(), 256)


def test_too_many_runs_at_once_are_rejected(spaces: FakeSpaces) -> None:
    service = make_service(spaces, replace(SETTINGS, max_waiting=0))
    run = service.start_run(spec(CHANT, "brief", length=256))
    with pytest.raises(Overloaded, match="1 runs"):
        service.start_run(spec("Hi", "brief"))
    run.cancel()
    until(lambda: service.engine.active_sequences == 0)
    assert answer(service)[0].text == "Grüße"


def test_too_many_controls_are_rejected(spaces: FakeSpaces) -> None:
    controls = {f"alpha_{k}": 1.0 for k in range(zerogpu.MAX_CONTROLS)} | {"alpha": 1.0}
    with pytest.raises(InputError, match="32 .* 33"):
        make_service(spaces).start_run(spec("Hi", "brief", controls=controls))


def test_only_a_space_with_zerogpu_has_a_gpu_decorator(
    spaces: FakeSpaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert space.gpu_decorator(Settings.from_env({"SPACE_ID": "me/eft"})) is None
    on_zerogpu = Settings.from_env({"SPACE_ID": "me/eft", "SPACES_ZERO_GPU": "true"})
    monkeypatch.setitem(sys.modules, "spaces", None)
    with pytest.raises(InputError, match="`spaces`"):
        space.gpu_decorator(on_zerogpu)
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    assert space.gpu_decorator(on_zerogpu) == spaces.GPU


def test_models_on_the_cpu_run_without_zerogpu(spaces: FakeSpaces) -> None:
    service = make_service(spaces, needs_device=False)
    service.start()
    assert answer(service)[0].text == "Grüße"
    service.stop()
    assert len(spaces.tasks) == 1 and not spaces.durations  # ZeroGPU requires one, even if unused
