"""The family menu in a real browser, by keyboard: switching, cancelled and failed loads, own formats."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.errors import FamilyError
from eft_demo.families.hub import Watcher
from eft_demo.lab.quantisation import what_quantising_changes
from eft_demo.settings import Settings
from eft_demo.ui.family_switch import load_chosen
from tests.site import BROWSER_MARKS, SLOW_MS, Site, serving, wait_end
from tests.tiny import make_family

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
NOTICE = "The family <b>${x}</b> cannot be had. Until then the bundled family runs."
FULL = "The disk is full: <img src=x onerror=window.pwned=1> could not be saved."
waiting = threading.Event()  # the slow family has reported its progress


def load(settings: Settings, watcher: Watcher) -> Service:
    """The real loader, except for an endless family and one whose download fails."""
    while settings.family == "slow":
        watcher.report("download", "some/large", 1_500_000_000, 6_000_000_000)
        waiting.set()
        assert watcher.cancel
        watcher.cancel.wait(0.1)
    if settings.family == "full":
        raise FamilyError(FULL)
    return load_chosen(settings, watcher)


@pytest.fixture(scope="module")
def site(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assets = tmp_path_factory.mktemp("assets")
    for name in ("first", "other"):
        entry = make_family(assets / name) / "family.yaml"
        entry.write_text(entry.read_text().replace("title: Tiny", f"title: {name.title()} family"))
    for name in ("slow", "full"):
        shutil.copytree(assets / "first", assets / name)
    settings = Settings(assets=assets, dtype="fp32", threads=1, family="first")
    with serving(load_chosen(settings), browser, NOTICE, load, what_quantising_changes) as site:
        yield site


@pytest.fixture
def page(site: Site) -> Any:
    """A page opened by the link with the key."""
    return site.open(query=f"/#key={site.demo.switch.key}")


def open_menu(page: Any) -> None:
    page.focus(".family-chip")
    page.keyboard.press("Enter")
    page.wait_for_selector(".family-choice")


def choose(page: Any, family: str) -> None:
    """By keyboard: go to the radio buttons, then down to the wanted one."""
    page.focus(".family-choice input:checked")
    for _ in range(5):
        if page.input_value(".family-choice input:checked") == family:
            return
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"{family} is not in the menu")


def press_load(page: Any) -> None:
    page.focus("[data-part=family-load]")
    page.keyboard.press("Enter")


def sentence(page: Any) -> str:
    page.wait_for_function("document.querySelector('[data-part=family-sentence]').textContent")
    said: str = page.text_content("[data-part=family-sentence]")
    return said


def test_the_page_shows_at_once_why_the_bundled_family_is_used(page: Any) -> None:
    assert page.text_content("[data-error=family-notice]") == NOTICE


def test_the_menu_opens_and_closes_by_keyboard_and_shows_each_familys_memory(page: Any) -> None:
    assert page.text_content(".family-chip") == "First family"
    open_menu(page)
    assert page.text_content("dialog[open] h2") == "Models: First family"
    first = page.locator(".family-choice", has_text="First family").nth(0).text_content()
    for words in ("in use", "Apache-2.0", "on this machine", "7 models: large 0.1 M", "✓ fits: needs"):
        assert words in first
    rows = page.locator("[data-part=family-models] tr")
    assert rows.count() == 7 and "float32" in rows.nth(0).text_content()
    page.keyboard.press("Escape")
    assert not page.is_visible("dialog[data-dialog=family]")
    assert page.evaluate("document.activeElement.className") == "chip family-chip"


def test_a_load_can_be_cancelled(page: Any, site: Site) -> None:
    open_menu(page)
    choose(page, "slow")
    waiting.clear()
    press_load(page)
    assert waiting.wait(60)
    page.wait_for_selector("text=Downloading some/large, 1.5 GB of 6.0 GB")
    assert page.is_disabled("[data-part=family-load]")
    assert page.evaluate("document.activeElement.dataset.part") == "family-cancel"
    page.keyboard.press("Enter")
    assert "goes on" in sentence(page)
    assert page.is_enabled("[data-part=family-load]") and page.is_hidden("[data-part=family-stage]")
    assert site.demo.service.family.name == "first"


def test_progress_is_shown_again_after_the_server_could_not_be_reached(page: Any, site: Site) -> None:
    waiting.clear()
    open_menu(page)
    choose(page, "slow")
    press_load(page)
    page.wait_for_selector("[data-part=family-cancel]:not([hidden])")
    assert waiting.wait(SLOW_MS / 1000)
    page.context.set_offline(True)
    assert "cannot be reached" in sentence(page)
    site.complaints.clear()  # the browser reports each request that did not get through
    page.context.set_offline(False)
    page.wait_for_selector("[data-part=family-sentence]", state="hidden")
    page.wait_for_function(
        "document.querySelector('[data-part=family-stage-text]').textContent.includes('1.5 GB')"
    )
    page.click("[data-part=family-cancel]")
    page.wait_for_selector("[data-part=family-cancel]", state="hidden")


def test_a_failed_load_shows_the_reason_and_the_old_family_stays(page: Any, site: Site) -> None:
    open_menu(page)
    choose(page, "full")
    press_load(page)
    assert sentence(page) == FULL
    page.keyboard.press("Escape")
    page.fill("#eft-prompt", "Hi")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".pane .t")
    assert site.demo.service.family.name == "first"


def test_what_quantising_changes_is_measured_on_request(page: Any, site: Site) -> None:
    open_menu(page)
    choose(page, "other")
    assert page.is_disabled("[data-part=family-measure]")
    page.select_option("[data-part=family-quantisation]", "nf4")
    page.wait_for_selector("[data-part=family-measure]:enabled")
    assert page.input_value(".family-choice input:checked") == "other"
    page.click("[data-part=family-measure]")
    page.wait_for_selector("text=of its first choices change")
    assert "In nf4 the large base of" in page.text_content("[data-part=family-report]")
    assert site.demo.service.family.name == "first"


def test_a_measurement_shows_its_progress_and_can_be_cancelled(
    page: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_end(settings: Settings, watcher: Watcher) -> str:
        while True:
            watcher.report("measure", "large_base in nf4", 1_500_000_000, 2_000_000_000)
            assert watcher.cancel
            watcher.cancel.wait(0.1)

    monkeypatch.setattr(site.demo.switch, "_measure", without_end)
    open_menu(page)
    page.select_option("[data-part=family-quantisation]", "nf4")
    page.focus("[data-part=family-measure]:enabled")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Measuring large_base in nf4, 1.5 GB of 2.0 GB")
    assert page.evaluate("document.activeElement.dataset.part") == "family-cancel"
    page.keyboard.press("Enter")
    assert "goes on" in sentence(page)
    assert page.is_enabled("[data-part=family-measure]") and page.is_hidden("[data-part=family-cancel]")
    assert page.is_hidden("[data-part=family-report]")


def test_a_prompt_format_can_be_changed_and_reset(page: Any, site: Site) -> None:
    open_menu(page)
    page.focus("[data-role=brief] summary")
    page.keyboard.press("Enter")
    shown = page.locator("[data-role=brief] .whole")
    page.wait_for_function("document.querySelector('[data-role=brief] .whole').textContent")
    assert shown.text_content() == "User: {prompt}\nAssistant:"
    assert "the family's default" in page.text_content("[data-role=brief] summary")
    write_format(page, "without a place")
    page.wait_for_selector("[data-role=brief] .sentence:not([hidden])")
    assert "{prompt}" in page.text_content("[data-role=brief] .sentence")
    write_format(page, "<b>${1}</b> {prompt}")
    page.wait_for_selector("[data-role=brief] .whole:has-text('<b>${1}')")
    assert "changed by you" in page.text_content("[data-role=brief] summary")
    page.keyboard.press("Escape")
    assert page.is_visible("text=prompts changed: brief")
    page.select_option("[data-part=behaviour]", "brief")
    with page.expect_request("**/queue/join*") as request:
        page.fill("#eft-prompt", "Hi")
        page.keyboard.press("Control+Enter")
    asked = request.value.post_data_json["event_data"]
    assert asked["formats"] == {"brief": {"kind": "plain", "text": "<b>${1}</b> {prompt}"}}
    wait_end(page)
    page.click("[data-part=share]")
    page.wait_for_function("document.querySelector('[data-part=link]').value")
    link = page.input_value("[data-part=link]")
    page.keyboard.press("Escape")
    other = page.context.new_page()
    other.goto(link)
    other.wait_for_selector("text=prompts changed: brief")
    other.wait_for_selector("[data-error=link]:not([hidden])")  # it appears a moment after the chip
    assert "brief" in other.text_content("[data-error=link]")
    open_menu(other)
    other.focus("[data-role=brief] summary")
    other.keyboard.press("Enter")
    other.wait_for_selector("[data-role=brief] .whole:has-text('<b>${1}')")
    assert other.input_value("[data-role=brief] textarea") == "<b>${1}</b> {prompt}"
    assert not other.evaluate("window.pwned")
    other.close()
    page.wait_for_selector("[data-part=stop]:disabled")
    page.click("[data-part=share]")
    with page.expect_download() as saved:
        page.click("[data-part=formats] button:has-text('JSON')")
    page.keyboard.press("Escape")
    page.set_input_files("[data-part=file]", saved.value.path())
    page.wait_for_selector("[data-part=replay]:visible")
    assert "family's: brief." in page.text_content("[data-part=reshown]")
    open_menu(page)
    page.click("[data-role=brief] .plain")
    page.wait_for_selector("text=prompts changed: brief", state="hidden")


def write_format(page: Any, text: str) -> None:
    page.fill("[data-role=brief] textarea", text)
    page.dispatch_event("[data-role=brief] textarea", "change")


def test_the_key_leaves_the_address_bar_and_is_kept_for_this_tab(page: Any, site: Site) -> None:
    key = site.demo.switch.key
    assert page.url == site.url + "/" and key not in page.evaluate("location.href")
    page.reload()
    open_menu(page)
    page.wait_for_selector("[data-part=family-load]:enabled")
    page.keyboard.press("Escape")
    page.fill("#eft-prompt", "Hi")
    page.click("[data-part=share]")
    page.wait_for_function("document.querySelector('[data-part=link]').value")
    assert key not in page.input_value("[data-part=link]")
    assert not page.evaluate("key => document.documentElement.outerHTML.includes(key)", key)


def test_without_the_key_the_menu_explains_how_to_get_it(page: Any, site: Site) -> None:
    stranger = site.open()
    open_menu(stranger)
    choose(stranger, "other")
    assert "link that the terminal printed" in stranger.text_content("[data-part=family-why-not]")
    assert stranger.is_disabled("[data-part=family-load]")
    # The link is entered in the address bar of the open page, which does not reload.
    stranger.evaluate("key => { location.hash = 'a=b&key=' + key; }", site.demo.switch.key)
    stranger.wait_for_selector("[data-part=family-load]:enabled")
    assert stranger.url == site.url + "/#a=b"


def test_after_a_switch_the_new_family_runs_and_other_pages_are_notified(page: Any, site: Site) -> None:
    elsewhere = site.open()
    elsewhere.fill("#eft-prompt", "Hi")
    elsewhere.keyboard.press("Control+Enter")
    elsewhere.wait_for_selector(".pane .t")
    elsewhere.wait_for_selector("[data-part=stop]:disabled", state="attached")
    page.fill("#eft-prompt", "What is kept?")
    open_menu(page)
    choose(page, "other")
    press_load(page)
    page.wait_for_function("document.querySelector('.family-chip')?.textContent === 'Other family'")
    assert page.input_value("#eft-prompt") == "What is kept?"
    assert not page.is_visible("[data-error=family-notice]")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".pane .t")
    elsewhere.fill("#eft-prompt", "Hi")
    elsewhere.keyboard.press("Control+Enter")
    elsewhere.wait_for_selector("[data-error=prompt]:not([hidden])")
    assert "Other family" in elsewhere.text_content("[data-error=prompt]")
    # The old run does not go on with the other family, which has the same tokenizer; its file names its own.
    texts = elsewhere.locator(".pane .text").all_inner_texts()
    elsewhere.locator(".pane .t").first.click()
    elsewhere.keyboard.press("Shift+R")
    elsewhere.wait_for_selector("[data-error=branch]:not([hidden])")
    assert "Other family" in elsewhere.text_content("[data-error=branch]")
    assert elsewhere.locator(".pane .text").all_inner_texts() == texts
    elsewhere.click("[data-part=share]")
    with elsewhere.expect_download() as download:
        elsewhere.locator("[data-part=formats] button").nth(1).press("Enter")
    assert json.loads(Path(download.value.path()).read_text(encoding="utf-8"))["family"] == "first"
