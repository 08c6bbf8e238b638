"""The first minute of a stranger: a finished example, what this is, what can be asked, one screen."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from eft_demo.atlas.facts import load_facts
from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from eft_demo.ui.page import page_line
from tests.site import BROWSER_MARKS, Site, run, serving, stays, texts, violations, wait_end
from tests.tiers import exhaustive

pytestmark = BROWSER_MARKS
VIEWED = """() => ['.dial', '.columns', '.attribution', '.side'].map(part => {
  const { top, bottom } = document.querySelector(part).getBoundingClientRect();
  return [Math.round(top), Math.round(bottom)];
})"""


@pytest.fixture(scope="module")
def atlas() -> Iterator[Service]:
    yield Service.load(Settings(threads=1, dtype="fp32"))


@pytest.fixture(scope="module")
def site(atlas: Service, browser: Any) -> Iterator[Site]:
    with serving(atlas, browser) as site:
        yield site


def welcome(site: Site) -> None:
    """From here on a new page shows the recorded run, as it does by default."""
    settings = replace(site.demo.service.settings, welcome=Settings().welcome)
    object.__setattr__(site.demo.service, "settings", settings)
    site.demo.column.value = page_line(site.demo.service, site.demo.live.store.serial)
    site.demo.config = site.demo.get_config_file()


def test_the_prompt_completes_what_is_typed_and_runs_what_is_chosen(site: Site) -> None:
    page = site.open()
    page.click("#eft-prompt")
    page.keyboard.type("capital of keny")
    page.wait_for_selector("[role=option]:has-text('What is the capital of Kenya?')")
    assert violations(page) == []
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#eft-prompt", "aria-activedescendant") == "eft-offered-0"
    page.keyboard.press("Escape")
    assert page.locator("[data-part=offered]").is_hidden()
    assert page.input_value("#eft-prompt") == "capital of keny"
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("[role=option]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(".pane.up .t")
    assert page.input_value("#eft-prompt") == "What is the capital of Kenya?"
    wait_end(page)
    assert "Nairobi" in texts(page)[2]
    page.click("#eft-prompt")
    page.keyboard.press("Control+A")
    page.keyboard.type("currency of keny")
    page.click("[role=option]:has-text('What is the currency of Kenya?')")
    page.wait_for_function("() => document.querySelector('.pane.up').innerText.includes('shilling')")
    wait_end(page)
    assert page.locator("[data-part=offered]").is_hidden(), "other questions cover the run that was chosen"
    page.evaluate(  # Enter right after the last letter
        """() => { const prompt = document.querySelector('#eft-prompt');
        prompt.focus();
        prompt.value = 'What is the capital of Kenya?';
        prompt.dispatchEvent(new Event('input', {bubbles: true}));
        prompt.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', code: 'Enter', bubbles: true})); }"""
    )
    page.wait_for_function("() => document.querySelector('.pane.up').innerText.includes('Nairobi')")
    wait_end(page)
    assert page.locator("[data-part=offered]").is_hidden(), "other questions cover the run"


def test_a_question_outside_what_was_read_gets_a_calm_line(site: Site) -> None:
    page = site.open(1280, 720)
    run(page, "Why do my socks vanish?", 12)
    page.wait_for_selector("[data-part=outside]:not([hidden])")
    page.wait_for_function(f"({VIEWED})()[2][1] <= 720")  # the line takes its place from the texts
    assert f"{len(load_facts()):,} facts" in page.inner_text("[data-part=outside]")
    wait_end(page)
    run(page, "What is the capital of Peru?", 12)
    page.wait_for_selector("[data-part=outside]", state="hidden")
    wait_end(page)


def test_help_has_three_tabs_and_the_sizes_of_the_models(site: Site) -> None:
    page = site.open()
    page.click("[data-part=about]")
    page.wait_for_selector("[data-dialog=help][open]")
    assert page.locator("[data-part=sizes] li").count() == len(site.demo.service.family.roles)
    assert page.locator("[data-dialog=help] a[href*='2310.12962']").is_visible()
    page.focus("#eft-help-what")
    for name in ("see", "keys"):
        page.keyboard.press("ArrowRight")
        assert page.get_attribute(f"#eft-help-{name}", "aria-selected") == "true"
        assert page.locator(f"#eft-help-{name}-panel").is_visible()
        assert violations(page) == []


def test_slider_texts_plot_and_card_are_on_one_screen(site: Site) -> None:
    for width, height in ((1280, 720), (1366, 768), (1920, 1080)):
        page = site.open(width, height)
        run(page, "What is the capital of Peru?", 40)
        page.wait_for_selector(".plot .barlayer .point")
        wait_end(page)
        page.wait_for_selector(".t[aria-pressed=true]")
        for top, bottom in page.evaluate(VIEWED)[:3]:
            assert 0 <= top < bottom <= height
        assert page.evaluate(VIEWED)[3][0] < height / 2
        assert page.evaluate("scrollY") == 0


def test_one_sentence_says_what_tuning_changed(site: Site) -> None:
    page = site.open()
    run(page, "What is the capital of Peru?", 40)
    page.wait_for_function(
        "document.querySelector('[data-part=as-if-text]').textContent.startsWith('Tuning')"
    )
    count = page.locator(".pane.up .t").count()
    assert f"of {count} places" in page.inner_text("[data-part=as-if-text]")
    assert page.locator(".strip i").count() == count
    assert selected_text(page, 4).startswith(page.inner_text(".pane.up .text").strip()[:5])


def selected_text(page: Any, last: int) -> str:
    """What the mouse selects from the left half of the first letter to this token."""
    begin, end = (page.locator(".pane.up .t").nth(i).bounding_box() for i in (0, last))
    page.mouse.move(begin["x"] + 2, begin["y"] + 14)
    page.mouse.down()
    page.mouse.move(end["x"] + 5, end["y"] + 14, steps=3)
    page.mouse.up()
    text: str = page.evaluate("getSelection().toString()")
    return text


def test_a_run_can_be_paused_and_goes_on_token_by_token(site: Site) -> None:
    page = site.open()
    page.select_option("[data-part=pace]", "2")
    run(page, "What is the capital of Peru?", 60)
    page.wait_for_function("document.querySelectorAll('.pane.up .t').length > 1")
    page.click("[data-part=pause]")
    page.wait_for_selector("[data-part=pause]:has-text('Go on')")
    page.wait_for_selector("[data-part=as-if-text]:has-text('The run waits')")
    while not stays(page, ".pane.up .text", 700):
        pass
    page.click("[data-part=teach-open]")
    page.click("[data-part=present-open]")
    page.keyboard.press("p")  # a text that is being written is not guessed, and not cut off
    assert page.locator("[data-part=poll]").is_hidden()
    page.click("[data-part=present-leave]")
    before = page.locator(".pane.up .t").count()
    page.click("[data-part=step]")
    page.wait_for_function("n => document.querySelectorAll('.pane.up .t').length === n + 1", arg=before)
    page.select_option("[data-part=pace]", "0")
    page.click("[data-part=pause]")
    wait_end(page)
    assert page.locator(".pane.up .t").count() > before + 1
    assert page.locator("[data-part=pause]").is_hidden()


def test_a_new_page_shows_a_recorded_run_and_stores_nothing_of_it(site: Site) -> None:
    welcome(site)
    page = site.open(1280, 720)
    page.wait_for_selector(".pane.up .t")
    assert page.input_value("#eft-prompt") == "What is the capital of Kenya?"
    assert "Nairobi" in texts(page)[2] and page.locator("[data-part=stop]").is_disabled()
    assert page.locator(".lead-in").is_visible() and page.locator(".examples a").count() > 3
    page.wait_for_selector(".plot .barlayer .point")
    for top, bottom in page.evaluate(VIEWED)[:3]:  # dial, columns, plot
        assert 0 <= top < bottom <= 720
    assert violations(page) == []
    page.reload()
    page.wait_for_selector(".pane.up .t")
    assert page.locator("[data-part=notice]").is_hidden()
    page.focus("#eft-prompt")
    page.keyboard.type("When?")  # in place of the question that was there
    assert page.input_value("#eft-prompt") == "When?"
    held: list[Any] = []
    page.route("**/component_server/**", lambda route: held.append(route))
    page.evaluate("sessionStorage.clear(); history.replaceState(null, '', '/')")
    waiting: list[Any] = []
    page.route("**/main.js", lambda route: waiting.append(route))
    with page.expect_request("**/main.js"):
        page.goto(site.url + "/?again")
    prompt = page.locator("#eft-prompt")
    prompt.evaluate("field => field.focus()")
    assert prompt.evaluate("field => field !== document.activeElement"), "nothing listens yet"
    with page.expect_request("**/component_server/**"):
        page.unroute("**/main.js")
        for route in waiting:
            route.continue_()
    page.focus("#eft-prompt")  # before there is a question
    while held:
        held.pop().continue_()
    page.unroute("**/component_server/**")
    page.wait_for_selector(".pane.up .t")
    page.keyboard.type("Who?")
    assert page.input_value("#eft-prompt") == "Who?"


def test_run_on_a_new_page_writes_the_texts_of_the_recorded_run(site: Site) -> None:
    welcome(site)
    page = site.open(1280, 720)
    page.wait_for_selector(".pane.up .t")
    recorded = texts(page)
    page.select_option("[data-part=pace]", "0")
    page.click("[data-part=run]")
    page.wait_for_selector(".has-run")
    wait_end(page)
    assert texts(page) == recorded
    page.click("[data-part=teach-open]")
    menu = page.locator("[data-part=teach-menu]").bounding_box()
    for item in page.locator("[data-part=teach-menu] .offer:visible").all():
        assert item.evaluate("b => b.scrollWidth <= b.clientWidth")
        assert item.bounding_box()["width"] < menu["width"]


@exhaustive
def test_a_link_with_the_question_of_the_recorded_run_keeps_its_settings(site: Site) -> None:
    welcome(site)
    page = site.open(1280, 720)
    page.wait_for_selector(".pane.up .t")
    page.locator(".pane").nth(1).locator(".t").nth(2).click()
    page.wait_for_function("location.hash.includes('selected=2.3')")
    fresh = page.evaluate("location.hash")
    page.focus("#eft-alpha")
    page.keyboard.press("End")
    page.wait_for_function("location.hash.includes('alpha=3')")
    linked = page.evaluate("location.hash")
    page = site.open(1280, 720, query="/" + linked)
    page.wait_for_selector("[data-part=notice]:visible")
    assert stays(page, "[data-part=columns]"), "other texts than those of the link"
    assert page.input_value("#eft-alpha") == "3" and page.locator(".pane .t").count() == 0
    assert "Run" in page.inner_text("[data-part=notice]")
    page = site.open(1280, 720, query="/" + fresh)
    page.wait_for_selector(".pane .t[aria-pressed=true]")
    assert page.locator(".pane").nth(1).locator(".t").nth(2).get_attribute("aria-pressed") == "true"
    assert "recorded" in page.inner_text("[data-part=notice]")
