"""Switching the family: who may do it, its progress, and that nothing of the old family stays."""

import gc
import json
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.errors import Cancelled, FamilyError, InputError
from eft_demo.families.hub import Stage, Watcher
from eft_demo.lab.quantisation import what_quantising_changes
from eft_demo.runs.events import EndEvent
from eft_demo.settings import Settings
from eft_demo.ui import family_menu as menu
from eft_demo.ui import family_switch
from eft_demo.ui.family_switch import (
    Claim,
    Progress,
    Switch,
    has_key,
    load_chosen,
    load_first,
    refusal_reason,
)
from eft_demo.ui.handlers import stream_run
from eft_demo.ui.page import Page, build_demo
from eft_demo.ui.run_store import CHANGED
from tests.asking import spec
from tests.tiny import make_family

KEY = "the-key-that-the-terminal-printed"
HERE = {"host": "localhost:7860", "origin": "http://localhost:7860"}
FOREIGN = {**HERE, "origin": "http://evil.example"}
NEEDS_KEY = "link that the terminal printed.*EFT_SWITCH=on"
WAIT_S = 30.0  # a busy machine is not a failure


@pytest.mark.parametrize(
    ("settings", "claim", "reason"),
    [
        ({}, Claim(KEY, HERE), ""),
        ({}, Claim(KEY, {}), ""),
        ({}, Claim(KEY, {"host": "behind.a.proxy", "x-forwarded-for": "8.8.8.8"}), ""),
        ({"host": "0.0.0.0"}, Claim(KEY, HERE), ""),
        # Behind a bare proxy, a stranger's request looks like one from this machine, except for the key.
        ({}, Claim(None, HERE), NEEDS_KEY),
        ({}, Claim(None, {"host": "127.0.0.1:7860"}), NEEDS_KEY),
        ({}, Claim("", HERE), NEEDS_KEY),
        ({}, Claim(KEY[:-1], HERE), NEEDS_KEY),
        ({}, Claim(KEY + "x", HERE), NEEDS_KEY),
        ({}, Claim([KEY], HERE), NEEDS_KEY),
        ({}, Claim({"key": KEY}, HERE), NEEDS_KEY),
        ({}, Claim("é\ud800", HERE), NEEDS_KEY),
        ({}, Claim(0, HERE), NEEDS_KEY),
        ({"host": "0.0.0.0"}, Claim(None, HERE), NEEDS_KEY),
        ({"host": "0.0.0.0", "switch": "on"}, Claim(None, HERE), ""),
        ({"switch": "on"}, Claim(KEY, FOREIGN), "Only this app's own page"),
        ({"switch": "on"}, Claim(None, {**HERE, "origin": "null"}), "Only this app's own page"),
        ({"switch": "off"}, Claim(KEY, HERE), "EFT_SWITCH=off"),
        ({"space": "me/eft", "host": "0.0.0.0"}, Claim(KEY, HERE), "On a Space.*Duplicate"),
        ({"space": "me/eft", "switch": "on", "host": "0.0.0.0"}, Claim(None, HERE), ""),
        ({"zero_gpu": True, "switch": "on"}, Claim(KEY, HERE), "On ZeroGPU.*EFT_FAMILY"),
    ],
)
def test_only_requests_with_permission_may_switch(
    settings: dict[str, Any], claim: Claim, reason: str
) -> None:
    said = refusal_reason(replace(Settings(), **settings), KEY, claim)
    assert re.search(reason, said) if reason else said == ""
    assert KEY not in said


def test_a_key_is_printed_only_if_it_is_used() -> None:
    assert has_key(Settings())
    for settings in ({"switch": "on"}, {"switch": "off"}, {"space": "me/eft"}, {"zero_gpu": True}):
        assert not has_key(replace(Settings(), **settings))


def test_every_start_has_a_new_unguessable_key() -> None:
    keys = {make_switch(lambda *_: "")[0].key for _ in range(20)}
    assert len(keys) == 20 and min(map(len, keys)) >= 24


def until(switch: Switch, *states: str) -> Progress:
    give_up = time.monotonic() + WAIT_S
    while switch.progress.state not in states:
        assert time.monotonic() < give_up, switch.progress
        time.sleep(0.005)
    return switch.progress


def make_switch(load: Callable[..., object]) -> tuple[Switch, list[object]]:
    taken: list[object] = []
    return Switch(Settings(), load, taken.append), taken  # type: ignore[arg-type]


def test_loading_reports_progress_and_then_replaces_the_family() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def load(settings: Settings, watcher: Watcher) -> str:
        watcher.report("download", "Qwen/Qwen2.5-7B", 5, 10)
        reached.set()
        assert go_on.wait(WAIT_S)
        return f"{settings.family} in {settings.quantisation}"

    switch, taken = make_switch(load)
    assert switch.progress == Progress()
    switch.start("qwen2.5", "nf4")
    assert reached.wait(WAIT_S) and switch.progress.state == "loading" and taken == []
    assert (switch.progress.stage.what, switch.progress.stage.done_bytes) == ("Qwen/Qwen2.5-7B", 5)
    with pytest.raises(InputError, match="already being loaded or measured"):
        switch.start("atlas", "none")
    go_on.set()
    assert until(switch, "loaded").family == "qwen2.5"
    assert taken == ["qwen2.5 in nf4"]


def without_end(stage: str, what: str, reached: threading.Event) -> Callable[[Settings, Watcher], str]:
    """Work that reports its one stage repeatedly until it is cancelled."""

    def work(settings: Settings, watcher: Watcher) -> str:
        while True:
            watcher.report(stage, what)
            reached.set()

    return work


def test_cancel_stops_at_the_next_step_and_another_can_be_loaded() -> None:
    reached = threading.Event()
    load = without_end("load", "large_base", reached)
    switch, taken = make_switch(load)
    for _ in range(2):
        reached.clear()
        switch.start("qwen2.5", "auto")
        assert reached.wait(WAIT_S)
        switch.cancel()
        assert "goes on" in until(switch, "cancelled").message
    assert taken == []


@pytest.mark.parametrize(
    ("error", "sentence"),
    [(FamilyError("The disk is full."), "The disk is full."), (ZeroDivisionError("x"), family_switch.BUG)],
)
def test_a_failure_gives_an_error_message(error: Exception, sentence: str) -> None:
    def load(settings: Settings, watcher: Watcher) -> str:
        raise error

    switch, taken = make_switch(load)
    switch.start("qwen2.5", "auto")
    assert until(switch, "failed").message == sentence and taken == []


def test_a_finished_measurement_reports_its_result(two: Settings) -> None:
    serving: list[object] = []
    switch = Switch(two, load_chosen, serving.append, what_quantising_changes)
    switch.measure("one", "nf4")
    said = until(switch, "measured").message
    sizes = r".*nf4 .* 0\.\d MB .* 0\.\d MB: \d\.\d times .*"
    assert re.match(sizes + r"\d+ tokens .* KL of \d\.\d{4} nats, .* \d+\.\d% ", said)
    switch.measure("one", "none")
    assert "no quantisation 'none'" in until(switch, "failed").message
    assert serving == []


def test_measuring_reports_progress_and_stops_when_cancelled(two: Settings) -> None:
    stages: list[Stage] = []
    cancel = threading.Event()
    settings = replace(two, quantisation="nf4")
    what_quantising_changes(settings, Watcher(stages.append, cancel))
    measured = {stage.what: stage for stage in stages if stage.stage == "measure"}
    assert list(measured) == ["large_base as it is", "large_base in nf4"]
    assert {stage.stage for stage in stages} == {"load", "measure"}
    full, quantised = measured.values()
    assert full.done_bytes == 0 < quantised.done_bytes < quantised.total_bytes < 2 * quantised.done_bytes

    def stop_at_the_second(stage: Stage) -> None:
        stages.append(stage)
        if stage.what == "large_base in nf4":
            cancel.set()

    stages.clear()
    with pytest.raises(Cancelled, match="goes on"):
        what_quantising_changes(settings, Watcher(stop_at_the_second, cancel))
    assert (stages[-1].stage, stages[-1].what) == ("load", "large_base in nf4")


def test_a_measurement_can_be_cancelled() -> None:
    reached = threading.Event()
    measure = without_end("measure", "large_base as it is", reached)
    switch = Switch(Settings(), load_chosen, lambda service: None, measure)
    switch.measure("qwen2.5", "nf4")
    assert reached.wait(WAIT_S)
    switch.cancel()
    assert "goes on" in until(switch, "cancelled").message


@pytest.mark.parametrize("value", ["int4", None, 4, [], {}])
def test_another_quantisation_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="Quantisation is one of auto, none, int8, nf4, fp4"):
        make_switch(lambda *_: "")[0].start("atlas", value)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Two families, `one` and `other`."""
    assets = tmp_path_factory.mktemp("assets")
    for name in ("one", "other"):
        make_family(assets / name)
    return Settings(assets=assets, dtype="fp32", threads=1, family="one")


@pytest.fixture
def page(two: Settings) -> Iterator[Page]:
    demo = build_demo(load_chosen(two), two)
    demo.config = demo.get_config_file()
    yield demo
    demo.service.stop()


def test_after_a_switch_the_new_family_serves_and_the_old_one_is_freed(page: Page) -> None:
    old = weakref.ref(page.service.engine)
    model = weakref.ref(page.service.engine.models["large_base"])
    run = page.service.start_run(spec("Hi", "pirate", length=96))
    page.switch.start("other", "auto")
    until(page.switch, "loaded")
    ends = {event.error for event in run.events(1.0) if isinstance(event, EndEvent)}
    assert ends <= {family_switch.OVER.format(title="Tiny"), None} and run.done
    assert page.service.family.name == "other" and page.service.alive and page.live.store.serial == 1
    shown = next(c for c in page.config["components"] if c["props"].get("elem_id") == "eft")
    assert '"serial":1' in shown["props"]["value"].replace(" ", "")
    del run
    gc.collect()
    assert old() is None and model() is None


def lines_of(page: Page, **posted: object) -> list[dict[str, Any]]:
    """What a page is sent whose request is this, as it was read before any other."""
    *_, text = stream_run(page.service, page.live, {"n": 1, **posted})
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_of_the_old_family_cannot_be_continued_by_the_new_one(page: Page) -> None:
    """`one` and `other` have the same tokenizer, so nothing in the run's tokens tells them apart."""
    columns = [{"name": "Base", "recipe": "large_base"}]
    asked = {"prompt": "Hi", "behaviour": "pirate", "columns": columns, "controls": {"alpha": 1.0}}
    drawn = {"temperature": 0.0, "top_p": 0.95, "top_k": 0, "min_p": 0.0, "seed": 0, "length": 8}
    first, *_ = lines_of(page, serial=0, **asked, **drawn)
    assert first["record"]["family"] == "one"
    kept = page.live.store.find(first["id"])
    page.switch.start("other", "auto")
    until(page.switch, "loaded")
    for kind in ("branch", "same"):
        for serial in ({"serial": 0}, {}):  # a page that knows the serial, and one that does not say it
            posted = {"kind": kind, "run": first["id"], "column": 0, "position": 1, **serial}
            assert not any(line["k"] == "run" for line in lines_of(page, **posted))
        page.live.store.put("late", kept, None, opened=False)  # as if it had been stored meanwhile
        posted = {"kind": kind, "run": "late", "column": 0, "position": 1}
        (sentence,) = [line["text"] for line in lines_of(page, **posted) if line["k"] == "error"]
        assert sentence == CHANGED.format(title="Tiny")
    page.live.store.keep("later", kept)
    assert not page.live.store.holds("later")
    refused = lines_of(page, kind="branch", run="late", column=0, position=1, serial=0)
    assert CHANGED.format(title="Tiny") in [line.get("text") for line in refused]


def test_a_failed_switch_leaves_the_old_family_serving(page: Page, two: Settings) -> None:
    serving = page.service
    (two.assets / "broken").mkdir(exist_ok=True)
    whole = (two.assets / "one" / "family.yaml").read_text()
    damaged = whole.replace("large_base: large_base", "large_base: elsewhere")
    (two.assets / "broken" / "family.yaml").write_text(damaged)
    page.switch.start("broken", "auto")
    assert "missing" in until(page.switch, "failed").message
    assert page.service is serving and serving.alive


def test_the_app_starts_with_the_bundled_family_if_another_cannot_be_loaded(tmp_path: Path) -> None:
    service, notice = load_first(replace(Settings(), family=str(tmp_path / "none.yaml")))
    assert service.family.name == "atlas" and "none.yaml" in notice
    assert "bundled family is used" in notice
    service.stop()


def test_without_any_family_recorded_runs_are_served(tmp_path: Path) -> None:
    service, notice = load_first(replace(Settings(), assets=tmp_path))
    assert not service.family.roles and "There is no family 'atlas'" in notice
    service.stop()
    both_missing = replace(Settings(), assets=tmp_path, family="another")
    service, notice = load_first(both_missing)
    assert not service.family.roles and "'another'" in notice and "'atlas'" in notice
    service.stop()


def test_the_app_can_start_without_a_family_and_load_one_later(two: Settings) -> None:
    service, notice = load_first(replace(two, family="none"))
    assert (service.family.name, notice) == ("none", "")
    demo = build_demo(service, replace(two, family="none"))
    demo.config = demo.get_config_file()
    shown = json.loads(menu.menu(service, demo.switch, HERE, {}))
    assert "none" not in [choice["name"] for choice in shown["choices"]]
    assert not any("'none'" in problem for problem in shown["problems"])
    demo.switch.start("other", "auto")
    until(demo.switch, "loaded")
    assert demo.service.family.name == "other"
    demo.service.stop()


def test_the_configured_family_is_served_without_a_notice(two: Settings) -> None:
    service, notice = load_first(two)
    assert (service.family.name, notice) == ("one", "") and isinstance(service, Service)
    service.stop()
