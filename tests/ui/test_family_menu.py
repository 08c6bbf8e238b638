"""The family menu: its contents; posted values are checked and never used as a path."""

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.families.catalogue import find_entry
from eft_demo.families.hub import Watcher
from eft_demo.settings import Settings
from eft_demo.ui import family_menu as menu
from eft_demo.ui.family_switch import Switch, load_chosen
from tests.tiny import make_family

HERE = {"host": "localhost:7860"}
HUB = """title: From the hub
licence: MIT
context: 64
prompt: "{prompt}"
roles:
  large_base:
    repo: some/large
    gated: true
    shape: {parameters: 90000000000000, width: 9, hidden: 9, layers: 9, kv_heads: 9, head_dim: 9}
  small_base: {repo: some/small}
  tuned: {repo: some/tuned}
behaviours: [{role: tuned, title: Tuned, description: Tuned.}]
"""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    assets = tmp_path_factory.mktemp("assets")
    make_family(assets / "one")
    (assets / "families").mkdir()
    (assets / "families" / "hub.yaml").write_text(HUB)
    (assets / "families" / "bad.yaml").write_text("title: Bad\n")
    own = tmp_path_factory.mktemp("own") / "mine.yaml"
    own.write_text(HUB.replace("From the hub", "Mine"))
    return Settings(assets=assets, dtype="fp32", threads=1, family=str(own))


@pytest.fixture(scope="module")
def service(settings: Settings) -> Iterator[Service]:
    service = Service.load(settings, "one")
    yield service
    service.stop()


def make_switch(settings: Settings, load: Any = load_chosen) -> Switch:
    return Switch(settings, load, lambda service: None)


def with_key(switch: Switch, posted: object = None) -> object:
    """A post of a page that was opened by the link with the key."""
    return {**posted, "key": switch.key} if isinstance(posted, dict) else posted


def shown_menu(service: Service, switch: Switch, posted: object = None) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(menu.menu(service, switch, HERE, posted))
    return shown


def test_the_menu_lists_every_family_with_its_memory(service: Service, settings: Settings) -> None:
    switch = make_switch(settings)
    shown = shown_menu(service, switch, {"key": switch.key})
    assert switch.key not in json.dumps(shown)
    assert (shown["now"], shown["title"], shown["why_not"]) == ("one", "Tiny", "")
    by_name = {choice["name"]: choice for choice in shown["choices"]}
    assert set(by_name) == {"one", "hub", "mine"}
    one, hub = by_name["one"], by_name["hub"]
    assert one["here"] and one["pinned"] and not one["gated"] and not one["problem"]
    assert one["parameters"]["large_base"] > one["parameters"]["small_base"] > 0
    assert 0 < one["needed_bytes"]["cpu"] < one["free_bytes"]["cpu"]
    assert hub["gated"] and not hub["pinned"] and not hub["here"] and "GB" in hub["problem"]
    assert hub["download_bytes"] > 1e14
    assert len(shown["problems"]) == 1 and "bad.yaml" in shown["problems"][0]


def test_the_menu_shows_how_the_loaded_family_is_stored(service: Service, settings: Settings) -> None:
    rows = {row["role"]: row for row in shown_menu(service, make_switch(settings))["models"]}
    assert set(rows) == set(service.family.roles)
    assert rows["large_base"]["dtype"] == "float32" and rows["large_base"]["device"] == "cpu"
    assert rows["large_base"]["weights_bytes"] == 4 * rows["large_base"]["parameters"]
    assert "/" not in rows["large_base"]["source"]  # paths on the server are private


@pytest.mark.parametrize("posted", [None, 5, "x", [], {"quantisation": []}, {"quantisation": "int4"}])
def test_invalid_quantisation_is_planned_as_auto(
    service: Service, settings: Settings, posted: object
) -> None:
    assert shown_menu(service, make_switch(settings), posted)["quantisation"] == "auto"


def test_a_plan_follows_the_quantisation(service: Service, settings: Settings) -> None:
    sizes = []
    for kind in ("none", "nf4"):
        choices = shown_menu(service, make_switch(settings), {"quantisation": kind})["choices"]
        sizes.append(next(c for c in choices if c["name"] == "hub")["needed_bytes"]["cpu"])
    assert sizes[1] < sizes[0] / 2


@pytest.mark.parametrize(
    "posted",
    [{}, {"family": None}, {"family": ["one"]}, {"family": "../../etc/passwd"},
     {"family": "/etc/passwd"}, {"family": "mine.yaml"}, {"family": "</script>"}],
)  # fmt: skip
def test_only_families_of_the_menu_can_be_named(settings: Settings, posted: object) -> None:
    switch = make_switch(settings, lambda *_: pytest.fail("it must not load"))
    assert "There is no family" in menu.load_family(switch, HERE, with_key(switch, posted))
    assert switch.progress.state == "idle"


def test_the_file_that_the_app_was_started_with_is_named_without_its_path(settings: Settings) -> None:
    begun = threading.Event()
    asked = []

    def load(chosen: Settings, watcher: Watcher) -> None:
        asked.append(chosen.family)
        begun.set()

    switch = make_switch(settings, load)
    assert menu.load_family(switch, HERE, with_key(switch, {"family": "mine", "quantisation": "int8"})) == ""
    assert begun.wait(30) and asked == [settings.family]
    assert json.loads(menu.loading(switch))["family"] == "mine"


def test_a_users_file_named_as_a_family_hides_neither(
    service: Service, settings: Settings, tmp_path: Path
) -> None:
    own = tmp_path / "one.yaml"
    own.write_text(HUB.replace("From the hub", "Mine"))
    switch = make_switch(replace(settings, family=str(own)))
    shown = {choice["name"]: choice["title"] for choice in shown_menu(service, switch)["choices"]}
    assert shown == {"one": "Tiny", "hub": "From the hub", "one (own file)": "Mine"}
    assert find_entry(str(own), settings).name == "one (own file)"  # so that links and runs tell them apart


@pytest.mark.parametrize(
    "posted", [None, [], "one", 5, {}, {"key": ""}, {"key": None}, {"key": ["x"]}, {"key": "x"}]
)
def test_without_the_key_the_menu_can_only_be_read(
    service: Service, settings: Settings, posted: object
) -> None:
    switch = make_switch(settings, lambda *_: pytest.fail("it must not load"))
    asked = {"family": "one", "quantisation": "nf4", **posted} if isinstance(posted, dict) else posted
    reason = shown_menu(service, switch, asked)["why_not"]
    assert "link that the terminal printed" in reason and switch.key not in reason
    for ask in (menu.load_family, menu.measure_quantisation, menu.cancel_loading):
        assert ask(switch, HERE, asked) == reason
    assert switch.progress.state == "idle"


def test_a_wrong_quantisation_gives_an_error_message(settings: Settings) -> None:
    switch = make_switch(settings)
    posted = with_key(switch, {"family": "one", "quantisation": {"x": 1}})
    assert "Quantisation is one of" in menu.load_family(switch, HERE, posted)


def test_a_family_deleted_meanwhile_is_missing_from_the_menu(
    service: Service, settings: Settings, tmp_path: Path
) -> None:
    shutil.copytree(settings.assets, tmp_path / "assets")
    moved = Settings(assets=tmp_path / "assets", family="one")
    switch = make_switch(moved)
    shutil.rmtree(tmp_path / "assets" / "one")
    assert [choice["name"] for choice in shown_menu(service, switch)["choices"]] == ["hub"]
