"""A lesson on the page without any model: walked by keyboard, found again after a reload, shown as text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.lessons.reader import lesson_files, read_lesson
from eft_demo.settings import Settings
from eft_demo.ui import lessons
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, Site, serving, violations
from tests.tiers import exhaustive, first_of

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
STEPS = read_lesson(lesson_files()[0]).steps
HOSTILE = "<img src=x onerror=window.pwned=1> <script>window.pwned=1</script> {{ value }} ${value}"


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(Service.without_models(Settings()), browser) as site:
        yield site


def wait_step(page: Any, number: int) -> None:
    page.wait_for_function(
        "text => document.querySelector('[data-part=lesson-at]')?.textContent === text",
        arg=f"Step {number} of {len(STEPS)}",
    )


def shows_its_run(page: Any, number: int) -> None:
    """Wait until the columns and the selected token of the step are shown."""
    place = STEPS[number - 1].show.select
    assert place
    page.wait_for_function(
        "name => document.querySelector('.pane:has(.t[aria-pressed=true])')?.innerText.startsWith(name)",
        arg=place.column,
    )


CHANGED = "[data-part=lesson], [data-part=columns], [data-part=side], .legend"  # by each step


@pytest.mark.parametrize(("width", "height", "theme"), first_of((1280, 720, "light"), (360, 740, "dark")))
def test_the_ten_steps_are_walked_by_keyboard(site: Site, width: int, height: int, theme: str) -> None:
    page = site.open(width, height, query=f"/?__theme={theme}")
    page.locator("[data-part=teach-open]").press("Enter")
    page.locator("[data-part=lesson-open]").press("Enter")
    wait_step(page, 1)
    page.wait_for_function("document.activeElement.dataset.part === 'lesson-title'")
    for number, step in enumerate(STEPS, 1):
        wait_step(page, number)
        shows_its_run(page, number)
        assert page.locator("[data-part=lesson-title]").inner_text() == step.title
        assert page.locator("[data-part=lesson-answer]").is_hidden()
        page.locator("[data-part=lesson-reveal]").press("Enter")
        assert page.locator("[data-part=lesson-answer]").inner_text() == step.answer
        assert page.locator("[data-part=lesson-note]").is_hidden()
        assert violations(page, "html" if number == 1 else CHANGED) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert f"step={number}" in page.url
        page.keyboard.press("PageDown")
    assert page.locator("[data-part=lesson-next]").is_disabled()
    page.reload()
    wait_step(page, len(STEPS))
    shows_its_run(page, len(STEPS))
    page.keyboard.press("PageUp")
    wait_step(page, len(STEPS) - 1)
    page.locator("[data-part=lesson-close]").press("Enter")
    assert page.locator("[data-part=lesson]").is_hidden() and "lesson" not in page.url
    assert page.evaluate("document.activeElement.dataset.part") == "teach-open"


def test_the_arrow_keys_walk_on_from_the_token_that_a_step_selects(site: Site) -> None:
    """The first step asks for it, before any token was clicked."""
    page = site.open(1280, 720)
    page.locator("[data-part=teach-open]").press("Enter")
    page.locator("[data-part=lesson-open]").press("Enter")
    shows_its_run(page, 1)
    page.wait_for_function("document.activeElement.dataset.part === 'lesson-title'")
    here = "[data-part=columns] .t[aria-pressed=true]"
    before = int(page.get_attribute(here, "data-i"))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert int(page.get_attribute(here, "data-i")) == before + 2
    page.locator("[data-part=lesson-actions] button").first.click()
    page.keyboard.press("ArrowRight")
    assert page.get_attribute(here, "data-i") == "1"
    page.evaluate("document.activeElement.blur()")  # as after a reload
    page.keyboard.press("ArrowLeft")
    assert page.get_attribute(here, "data-i") == "0"
    page.focus("#eft-alpha")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute(here, "data-i") == "0", "the slider has its keys for itself"


def test_presented_the_focus_follows_the_token_that_a_step_selects(site: Site) -> None:
    page = site.open(1280, 720, query="/#lesson=ten-steps")
    shows_its_run(page, 1)
    page.locator("[data-part=teach-open]").press("Enter")
    page.locator("[data-part=present-open]").press("Enter")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    for number in (2, 3):
        page.keyboard.press("PageDown")
        wait_step(page, number)
        shows_its_run(page, number)
        assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"


def test_slider_texts_and_plot_stay_in_sight_and_links_set_the_state(site: Site) -> None:
    page = site.open(1280, 720, query="/#lesson=ten-steps&step=6")
    shows_its_run(page, 6)
    page.wait_for_selector(".plot .barlayer .point")
    for name in ("alpha", "columns", "plot", "lesson-next"):
        box = page.locator(f"[data-part={name}]").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 720, name
    page.get_by_role("button", name="0", exact=True).click()
    assert page.locator("[data-part=alpha-value]").inner_text() == "0.00"
    page.wait_for_selector(".pane.up .t.parts")
    page.get_by_role("button", name="All values at once").click()
    page.wait_for_selector("[data-part=tab-strip][aria-selected=true]")
    page.locator("[data-part=lesson-next]").click()  # what the next step does not say is as usual
    wait_step(page, 7)
    page.wait_for_function("document.querySelectorAll('.pane').length === 3")
    page.wait_for_selector("[data-part=tab-bars][aria-selected=true]")
    page.evaluate("location.hash = 'lesson=ten-steps&step=2'")
    wait_step(page, 2)
    page.evaluate("location.hash = 'lesson=ten-steps&step=10'")
    shows_its_run(page, 10)
    page.wait_for_function(  # the plot's name of the token that the step selects
        "[...document.querySelectorAll('.plot .xtick text')].some("
        "one => one.textContent === 'Kenya' && one.innerHTML.includes('bold'))"
    )
    page.evaluate("location.hash = 'lesson=ten-steps&step=8'")
    shows_its_run(page, 8)
    candidate = page.locator("[data-part=card-table] .cand").nth(6)  # to compare, as the step asks
    candidate.focus()
    page.keyboard.press("Space")
    for seen in (candidate, page.locator("[data-part=card-said]")):
        assert seen.evaluate(
            "one => { const at = one.getBoundingClientRect();"
            " return one.contains(document.elementFromPoint(at.x + at.width / 2, at.y + at.height / 2)); }"
        )


def lesson_after_own_run(site: Site) -> Any:
    page = site.open(1280, 720)
    page.fill("[data-part=prompt]", "a question")
    page.locator("[data-part=prompt]").press("Control+Enter")
    page.wait_for_selector(".pane .t")
    page.wait_for_function("document.querySelector('[data-part=stop]').disabled")
    page.locator("[data-part=teach-open]").press("Enter")
    page.locator("[data-part=lesson-open]").press("Enter")
    wait_step(page, 1)
    return page


def test_showing_a_step_again_by_keyboard_leaves_the_focus_at_the_step(browser: Any) -> None:
    with serving(make_service(Settings()), browser) as site:
        page = lesson_after_own_run(site)
        again = page.locator("[data-part=lesson-show]")
        again.press("Enter")
        again.press("Enter")  # yes, replace the run
        again.wait_for(state="hidden")
        page.wait_for_function("document.activeElement.dataset.part === 'lesson-title'")


@exhaustive
def test_a_person_s_own_run_is_named_and_a_recorded_one_stays_after_the_lesson(browser: Any) -> None:
    with serving(make_service(Settings()), browser) as site:
        page = lesson_after_own_run(site)
        page.keyboard.press("PageDown")
        page.keyboard.press("PageDown")
        wait_step(page, 3)
        assert "your own run" in page.inner_text("[data-part=lesson-run]")
        again, other = page.locator("[data-part=lesson-show]"), page.get_by_text("A second example")
        again.click()
        assert again.inner_text() == "Replace your run?"
        at = other.bounding_box()
        page.mouse.click(at["x"] + 5, at["y"] + 5)
        sure = page.get_by_role("button", name="Replace your run? A second example")
        assert sure.inner_text() == "Replace your run?" and "?" not in again.inner_text()
        assert sure.bounding_box()["width"] <= at["width"]  # so it does not move into the next row
        page.mouse.click(at["x"] + 5, at["y"] + 5)  # the second press needs no aiming
        page.wait_for_function("document.querySelector('.pane .text').textContent.includes('Persian')")
        page.wait_for_selector("[data-part=lesson-show]", state="hidden")
        assert "Replace" not in page.inner_text("[data-part=lesson-actions]")
        assert "your own run" not in page.inner_text("[data-part=lesson-body]")
        page.click("[data-part=lesson-close]")
        page.reload()
        page.wait_for_function("document.querySelector('.pane .text')?.textContent.includes('Persian')")


def test_a_hostile_lesson_is_shown_as_text(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = f"'{HOSTILE}'"
    (tmp_path / "hostile.yaml").write_text(
        f"title: Hostile\nsteps:\n- title: {entry[:60]}'\n  text: [{entry}]\n  do: {entry}\n"
        f"  question: {entry}\n"
        f"  answer: {entry}\n  actions: [{{label: '<b>bold</b>', tab: bars}}]\n"
    )
    (tmp_path / "broken.yaml").write_text("title: <b>x</b>\nsteps: '<img src=x onerror=window.pwned=1>'\n")
    monkeypatch.setattr(lessons, "lesson_files", lambda _: sorted(tmp_path.glob("*.yaml")))
    page = site.open(query="/#lesson=hostile&step=99")
    page.wait_for_selector("[data-part=lesson-text] p")
    page.click("[data-part=lesson-reveal]")
    for name in ("lesson-text", "lesson-do", "lesson-question", "lesson-answer"):
        assert HOSTILE in page.locator(f"[data-part={name}]").inner_text()
    assert page.get_by_role("button", name="<b>bold</b>").is_visible()
    assert page.locator(".lesson img, .lesson script, .lesson b").count() == 0
    page.evaluate("location.hash = 'lesson=broken'")
    page.wait_for_function("document.querySelector('.lesson').innerText.includes('broken.yaml, line 2')")
    assert page.locator(".lesson img").count() == 0
    page.evaluate("location.hash = 'lesson=<i>none</i>'")
    page.wait_for_function("document.querySelector('.lesson').innerText.includes('There is no lesson')")
    page.evaluate("history.replaceState(null, '', '/')")
    page.reload()
    page.locator("[data-part=lesson-choice] option").first.wait_for(state="attached")
    page.locator("[data-part=teach-open]").press("Enter")
    page.locator("[data-part=lesson-open]").press("Enter")  # not again the one that cannot be read
    page.wait_for_function("document.querySelector('.lesson').innerText.includes(\"no lesson 'ten-steps'\")")
