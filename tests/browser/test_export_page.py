"""A saved run in a real browser, from the disk: colours, cards and keys work, and no text of it ever acts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eft_demo.runs import export
from eft_demo.runs.trace import RunTrace
from tests.hostile import HOSTILE
from tests.saying import run_that_says, storable
from tests.site import BROWSER_MARKS, browsing

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def page(browser: "sync_api.Browser") -> Iterator["sync_api.Page"]:
    """A page that must not complain, ask for anything but its own file, or be taken over."""
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda r: complaints.append(r.url) if not r.url.startswith("file:///") else None)
    yield page
    assert page.evaluate("window.pwned") is None
    assert complaints == []
    page.close()


def show(page: "sync_api.Page", tmp_path: Path, run: RunTrace) -> None:
    path = tmp_path / "run.html"
    path.write_text(export.to_html(run), encoding="utf-8")
    page.goto(path.as_uri())
    page.wait_for_selector(".t")


def test_every_hostile_text_is_shown_verbatim_and_nothing_acts(page: "sync_api.Page", tmp_path: Path) -> None:
    for text in HOSTILE:
        show(page, tmp_path, run_that_says(text))
        # What a page holds of a lone surrogate is the replacement character.
        shown = page.evaluate(
            "[...document.querySelectorAll('.pane')].map(p => p.querySelector('.t').textContent)"
        )
        assert shown[0] == storable(text)
        assert storable(page.locator("#prompt").evaluate("e => e.textContent")) == storable(text)
        assert storable(page.locator(".pane h2").nth(1).evaluate("e => e.textContent")) == storable(text)
        page.locator(".t").nth(0).focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("script").count() == 2
        assert (
            page.evaluate("document.querySelectorAll('img, iframe, object, svg, base, [onload]').length") == 0
        )


def test_tokens_are_walked_by_keys_and_the_card_tells_of_them(page: "sync_api.Page", tmp_path: Path) -> None:
    show(page, tmp_path, run_that_says("Lima"))
    assert "“Lima” · token 1 of 3" in page.locator("#title").inner_text()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert "⟨end⟩" in page.locator("#title").inner_text()
    page.keyboard.press("ArrowLeft")
    assert "⟨E2 80⟩" in page.locator("#title").inner_text()
    page.keyboard.press("Home")
    pressed = page.locator("[aria-pressed=true]")
    assert pressed.count() == 1
    assert pressed.get_attribute("aria-label").startswith("Token 1 of 3, Lima, ")
    page.locator(".pane").nth(1).locator(".t").first.click()
    table = page.locator("#tables table").first.inner_text()
    assert "small tuned" in table
    attribution = page.locator("#tables table").nth(1).inner_text()
    assert "together: log p" in attribution
    assert "+ alpha*(small tuned - small base)" in attribution


@pytest.mark.parametrize(("text", "mark"), [("\u200b", True), ("\x07", True), ("Lima", False)])
def test_a_token_that_leaves_no_trace_is_marked(
    page: "sync_api.Page", tmp_path: Path, text: str, mark: bool
) -> None:
    show(page, tmp_path, run_that_says(text))
    signs = page.locator(".t").first.locator(".sign")
    assert signs.count() == int(mark)
    if mark:
        before = signs.first.evaluate("sign => getComputedStyle(sign, '::before').content")
        assert page.locator("#title").inner_text().split("”")[0].strip("“") in before


def test_colours_follow_the_chosen_measure(page: "sync_api.Page", tmp_path: Path) -> None:
    show(page, tmp_path, run_that_says("Lima"))
    first = page.locator(".pane").nth(1).locator(".t").first
    assert "lowered" in first.get_attribute("class")
    page.select_option("#mode", "none")
    ground = "e => [getComputedStyle(e).backgroundImage, getComputedStyle(e).backgroundColor]"
    assert first.evaluate(ground) == ["none", "rgba(0, 0, 0, 0)"]
    for mode in ("probability", "rank", "entropy", "tuning"):
        page.select_option("#mode", mode)
        assert page.locator("#legend").inner_text()
