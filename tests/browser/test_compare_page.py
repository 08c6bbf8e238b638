"""Comparing texts, one column at full width, the list of keys: by keyboard alone."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from eft_demo.method.recipe import BASE, TUNED, UPSCALED
from eft_demo.settings import Settings
from eft_demo.ui import handlers
from tests.fakes import make_service
from tests.records import make_record
from tests.scripted import Script
from tests.site import BROWSER_MARKS, Site, run, serving, wait_end

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
# Words of several tokens, tokens in the middle of words, punctuation that belongs to no word.
PIECES = (b"", b"Hap", b"py", b" Lima", b" Qui", b"to", b" is", b".", b" it")
TEXTS = ((1, 2, 3, 6, 8, 7, 0), (1, 2, 4, 5, 6, 8, 7, 0), (1, 3, 6, 8, 0))
WORDS = re.compile(r"\s*(?:[^\W_]+|\S)|\s+$")


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    """Every run has the same three columns."""
    script = Script([("First", BASE), ("Second", TUNED), ("Third", UPSCALED)], PIECES)
    for p, (_, recipe) in enumerate(script.columns):
        chances = {token: dict.fromkeys(recipe.roles, -2.0) for token in range(9)}
        script.write(p, [make_record(recipe, t, chances, position=i) for i, t in enumerate(TEXTS[p])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handlers, "stream_run", lambda *args: script.stream_run(*args[:3]))
        with serving(make_service(Settings()), browser) as site:
            yield site


def ran(site: Site, **size: Any) -> Any:
    page = site.open(**size)
    run(page, "x")
    page.wait_for_selector(".t")
    wait_end(page)
    return page


def shown(page: Any) -> list[list[str]]:
    """The visible tokens of every column."""
    tokens: list[list[str]] = page.evaluate(
        """[...document.querySelectorAll('.pane .text')].map(text => [...text.querySelectorAll('.t')]
             .filter(t => t.textContent && parseFloat(getComputedStyle(t).fontSize) > 0)
             .map(t => t.textContent))"""
    )
    return tokens


def test_the_filter_for_differences_hides_equal_tokens_and_shows_them_again(site: Site) -> None:
    page = ran(site)
    page.keyboard.press("Home")
    page.focus("[data-part=differing]")
    page.keyboard.press("Space")
    page.wait_for_selector("[data-shared]", state="attached")
    page.evaluate("document.querySelector('[aria-pressed=true].t')?.removeAttribute('aria-pressed')")
    # "Happy" has two tokens, but one in the third column; "is" and "it" are in all three.
    assert shown(page) == [["Hap", "py", "Lima", "."], ["Hap", "py", "Qui", "to", "."], ["Hap", "Lima"]]
    page.keyboard.press("Space")
    assert len(shown(page)[1]) == 7


def test_two_texts_are_compared_word_by_word(site: Site) -> None:
    page = ran(site)
    page.focus("[data-part=compare] summary")
    page.keyboard.press("Enter")
    page.select_option("[data-part=compare-from]", label="First")
    page.select_option("[data-part=compare-to]", label="Second")
    pieces = page.eval_on_selector_all(
        "[data-part=diff] > *", "all => all.map(e => [e.tagName, e.textContent])"
    )
    assert pieces == [["SPAN", "Happy"], ["DEL", " Lima"], ["INS", " Quito"], ["SPAN", " is it."]]
    page.focus("[data-part=differing]")
    page.keyboard.press("Space")
    assert page.locator("[data-part=diff]").inner_text().split() == ["…", "Lima", "Quito", "…"]


def test_a_column_can_be_widened_to_full_width_and_narrowed_again(site: Site) -> None:
    page = ran(site)
    pane, button = page.locator(".pane").nth(1), page.locator(".widen").nth(1)
    narrow = pane.bounding_box()["width"]
    button.focus()
    page.keyboard.press("Enter")
    assert pane.bounding_box()["width"] > 2.5 * narrow
    assert button.get_attribute("aria-pressed") == "true"
    run(page, "again")  # a new run keeps it
    wait_end(page)
    assert pane.bounding_box()["width"] > 2.5 * narrow
    page.keyboard.press("Escape")
    assert pane.bounding_box()["width"] == pytest.approx(narrow, abs=1)
    button.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert pane.bounding_box()["width"] == pytest.approx(narrow, abs=1)


def test_the_list_of_keys_opens_and_the_focus_returns_after_closing(site: Site) -> None:
    page = ran(site)
    page.locator(".t").first.focus()
    page.keyboard.press("?")
    dialog = page.locator("dialog[open]")
    page.click("#eft-help-keys")
    assert "stop after the current token" in dialog.inner_text()
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    assert dialog.count() == 0
    assert page.evaluate("document.activeElement.matches('.t')")
    page.focus("#eft-prompt")
    page.keyboard.type("why?")
    assert page.locator("dialog[open]").count() == 0 and page.input_value("#eft-prompt").endswith("why?")
    page.focus("[data-part=help]")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")  # its own button closes it
    assert dialog.count() == 0
    assert page.evaluate("document.activeElement.dataset.part") == "help"
