"""The page without any model: it says so, and recorded runs are replayed and inspected like any other."""

from collections.abc import Iterator
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.runs.replay import read_run
from eft_demo.settings import Settings
from eft_demo.ui import replays
from tests.site import BROWSER_MARKS, Site, serving, texts, violations
from tests.tiers import first_of

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(Service.without_models(Settings()), browser) as site:
        yield site


@pytest.mark.parametrize(("width", "theme"), first_of((1400, "dark"), (360, "light")))
def test_a_page_without_a_model_plays_recorded_runs(site: Site, width: int, theme: str) -> None:
    page = site.open(width, query=f"/?__theme={theme}")
    assert page.locator("#eft-prompt").is_hidden() and page.locator(".pane").first.is_hidden()
    assert "No model is loaded" in page.locator("[data-part=absent]").inner_text()
    assert violations(page) == []
    page.locator("[data-part=absent-gallery] button").nth(3).press("Enter")
    page.select_option("[data-part=replay-speed]", "instant")
    page.wait_for_function("document.querySelector('[data-part=replay-play]').textContent === 'Replay'")
    assert "Persian" in texts(page)[2]
    page.locator(".pane .t").last.focus()
    page.keyboard.press("Home")
    assert "token 1 of" in page.locator("[data-part=card-title]").inner_text()
    page.wait_for_selector(".plot .barlayer .point")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-error]:not([hidden])", state="attached")


def test_a_recorded_run_has_plots_and_sliders_and_explains_why_it_cannot_continue(site: Site) -> None:
    recorded = read_run(replays.RUNS / "filter.json")
    page = site.open()
    page.eval_on_selector("[data-part=replay-speed]", "menu => { menu.value = 'instant'; }")
    page.locator("[data-part=absent-gallery] button").nth(8).press("Enter")
    page.wait_for_function("document.querySelector('[data-part=replay-play]').textContent === 'Replay'")
    before = texts(page)
    assert page.locator("[data-part=alpha-value]").inner_text() == "2.00"  # where it was recorded
    page.focus("[data-part=tab-bars]")
    page.keyboard.press("ArrowRight")  # log-odds: of the text of the column that steers
    count = len(recorded.columns[1].tokens)
    page.wait_for_function(
        "n => document.querySelector('[data-part=odds-plot]').data?.[0].y.length === n", arg=count
    )
    assert "The text is that of Up-scaled." in page.locator("[data-part=panel-odds]").inner_text()
    page.keyboard.press("ArrowRight")  # what-if
    page.wait_for_function(
        "n => document.querySelector('[data-part=strip-plot]').data?.[0].z[12].length === n", arg=count
    )
    page.focus("#eft-alpha")
    page.keyboard.press("Home")
    page.wait_for_selector(".pane.up .t.parts")
    assert "Estimated from this run" in page.locator("[data-part=as-if-text]").inner_text()
    page.keyboard.press("End")  # beyond the recorded value, unrecorded candidates may win anywhere
    page.wait_for_function(
        "document.querySelector('[data-part=as-if-text]').textContent.includes(' uncertain')"
    )
    page.keyboard.press("Home")
    page.wait_for_selector(".pane.up .t.parts")
    for key, place in (("r", ".pane.up .t"), ("Space", "[data-part=mode-same]")):
        page.locator(place).first.press(key)
        page.wait_for_selector("[data-error=branch]:not([hidden])")
        assert page.locator("[data-error=branch]").inner_text().endswith("no model is loaded.")
        page.wait_for_selector("[data-part=stop]:disabled", state="attached")
        assert page.is_checked("[data-part=mode-free]") and texts(page) == before
        page.evaluate("document.querySelector('[data-error=branch]').hidden = true")
    page.locator("[data-part=as-written]").press("Enter")
    assert page.locator("[data-part=alpha-value]").inner_text() == "2.00"
    assert page.locator(".t.would").count() == 0 and violations(page) == []
