"""Conversations on the page: follow-ups, choice of answers, earlier questions, thinking, reload, links."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from eft_demo.runs.conversation import Turn
from eft_demo.runs.link import Link
from eft_demo.runs.spec import RunSpec
from eft_demo.settings import Settings
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, Site, run, serving, texts, violations, wait_end
from tests.tiers import exhaustive

pytestmark = BROWSER_MARKS
HOSTILE = "<img src=x onerror=window.pwned=1> &amp; \u202egnp"


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(
        make_service(replace(Settings(), listen_s=60.0)), browser
    ) as site:  # the machine may be busy
        yield site


def ask(page: Any, prompt: str, length: int = 60) -> None:
    run(page, prompt, length)
    page.wait_for_selector("[data-part=stop]:enabled, .pane .t", state="attached")
    wait_end(page)


def follow_up(page: Any, prompt: str, length: int = 60) -> None:
    """Ask a follow-up by keyboard."""
    page.focus("[data-part=follow-up]")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "eft-prompt" and not page.input_value("#eft-prompt")
    ask(page, prompt, length)
    page.wait_for_selector("[data-part=follow-up]:visible")


def turns(page: Any) -> list[list[str]]:
    """The paragraphs above each column's text."""
    found: list[list[str]] = page.eval_on_selector_all(
        ".pane",
        "all => all.map(pane => [...pane.querySelectorAll('.turns > *')].map(node => node.innerText))",
    )
    return found


def edits(page: Any) -> list[str]:
    found: list[str] = page.locator("[data-part=earlier] button").all_inner_texts()
    return found


def test_a_follow_up_shows_the_earlier_turns_and_a_reload_brings_them_back(site: Site) -> None:
    page = site.open()
    assert page.is_hidden("[data-part=conversation]")
    ask(page, HOSTILE)
    follow_up(page, "And?")
    assert texts(page) == ["And?"] * 3
    assert turns(page) == [[HOSTILE, HOSTILE, "And?"]] * 3
    assert "Turn 2" in page.inner_text("[data-part=conversation]") and edits(page) == [HOSTILE]
    assert not violations(page)
    ask(page, "Retry")
    assert turns(page) == [[HOSTILE, HOSTILE, "Retry"]] * 3, "Run asks the last question again"
    page.wait_for_function("Object.values(sessionStorage).some(text => text.includes('Retry'))")
    page.reload()
    page.wait_for_selector(".pane .turns")
    assert turns(page) == [[HOSTILE, HOSTILE, "Retry"]] * 3 and edits(page) == [HOSTILE]
    follow_up(page, "Third")
    assert turns(page)[0] == [HOSTILE, HOSTILE, "Retry", "Retry", "Third"]
    page.click("[data-part=teach-open]")
    page.click("[data-part=present-open]")
    asked = page.locator("[data-part=presented-prompt] > span")
    assert asked.first.inner_text().startswith("<img") and asked.all_inner_texts()[1:] == ["Retry", "Third"]
    assert asked.last.evaluate("one => one.scrollWidth <= one.clientWidth"), "earlier questions make room"


def test_each_column_goes_on_from_its_own_answers_or_all_from_one(site: Site) -> None:
    page = site.open()
    ask(page, "chant", 4)
    page.click("[data-part=follow-up]")
    ask(page, "Own", 4)
    assert [shown[1] for shown in turns(page)] == ["llll", "hhhh", "hhhh"]
    page.select_option("[data-part=continue-from]", label="Base in all columns")
    assert page.locator("[data-part=run-changed]").is_visible()
    ask(page, "Own", 4)
    assert [shown[1] for shown in turns(page)] == ["llll"] * 3
    follow_up(page, "More")
    assert page.input_value("[data-part=continue-from]") == "0", "the choice stays"
    assert turns(page)[2] == ["chant", "llll", "Own", "Own", "More"]


def test_an_earlier_question_is_edited_and_a_new_conversation_forgets_all(site: Site) -> None:
    page = site.open()
    ask(page, "one")
    follow_up(page, "two")
    follow_up(page, "three")
    assert edits(page) == ["one", "two"]
    page.click("[data-part=earlier] button:nth-of-type(2)")
    assert page.input_value("#eft-prompt") == "two" and edits(page) == ["one"]
    assert "Turn 2" in page.inner_text("[data-part=status]")
    ask(page, "other")
    assert turns(page) == [["one", "one", "other"]] * 3
    page.click("[data-part=new-conversation]")
    assert edits(page) == []
    ask(page, "fresh")
    assert turns(page) == [[]] * 3


def test_a_branch_keeps_the_earlier_turns(site: Site) -> None:
    page = site.open()
    ask(page, "one")
    follow_up(page, "two")
    page.click(".pane:nth-child(2) .t:nth-of-type(2)")
    page.keyboard.press("r")
    page.wait_for_selector("[data-part=tree] [aria-level='2'][aria-selected=true]", state="attached")
    wait_end(page)
    assert turns(page) == [["one", "one", "two"]] * 3 and texts(page)[1] == "two"
    page.keyboard.press("Control+z")
    assert turns(page) == [["one", "one", "two"]] * 3


def test_a_link_carries_the_conversation_and_the_system_prompt(site: Site) -> None:
    page = site.open()
    ask(page, "chant", 4)
    page.click("[data-part=follow-up]")
    page.fill("#eft-prompt", "And?")
    page.click(".family-chip")
    page.fill("[data-part=system]", "Be kind.")
    assert "no effect" in page.inner_text("[data-part=system-note]")  # this family has no chat template
    page.keyboard.press("Escape")
    assert "system prompt" in page.inner_text("[data-part=formats-changed]")
    page.click("[data-part=share]")
    page.wait_for_function("document.querySelector('[data-part=link]').value")
    other = site.open(query="#" + page.input_value("[data-part=link]").partition("#")[2])
    other.wait_for_selector("[data-part=earlier] button")
    assert edits(other) == ["chant"] and other.input_value("#eft-prompt") == "And?"
    assert other.input_value("[data-part=system]") == "Be kind."
    other.wait_for_selector(".pane .turns")
    assert turns(other) == [["chant", "llll"], ["chant", "hhhh"], ["chant", "hhhh"]], "before the first run"
    other.select_option("[data-part=continue-from]", label="Base in all columns")
    assert [shown[1] for shown in turns(other)] == ["llll"] * 3
    other.select_option("[data-part=continue-from]", "own")
    other.focus("#eft-prompt")
    other.keyboard.press("Control+Enter")
    wait_end(other)
    assert [shown[1] for shown in turns(other)] == ["llll", "hhhh", "hhhh"]


@exhaustive
def test_a_conversation_fits_a_phone(site: Site) -> None:
    page = site.open(360, 740, has_touch=True)
    ask(page, "a rather long question that needs more than a line on a phone")
    page.tap("[data-part=follow-up]")
    page.fill("#eft-prompt", "And?")
    page.tap("[data-part=run]")
    wait_end(page)
    page.wait_for_selector(".pane .turns")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert not violations(page)


def test_turns_that_do_not_fit_get_a_sentence(site: Site) -> None:
    earlier = tuple(Turn("long", ("x" * 9000,)) for _ in range(5))
    query = Link(RunSpec(prompt="And?", turns=earlier)).to_query()
    page = site.open(query="#" + query)
    page.wait_for_selector("[data-part=earlier] button")
    page.focus("#eft-prompt")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-error=turns]:visible")
    assert "start a new conversation" in page.inner_text("[data-error=turns]")
    wait_end(page)
    assert "did not start" in page.inner_text("[data-part=status]")
    page.click("[data-part=new-conversation]")
    assert turns(page) == [[]] * 3


def test_the_status_says_of_a_refused_run_that_it_did_not_start(site: Site) -> None:
    page = site.open()
    ask(page, "one")
    assert "tokens" in page.inner_text("[data-part=status]")
    page.click("[data-part=follow-up]")
    page.keyboard.press("Control+Enter")  # an empty follow-up
    page.wait_for_selector("[data-error=prompt]:visible")
    wait_end(page)
    assert "did not start" in page.inner_text("[data-part=status]")
    page.fill("#eft-prompt", "two")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("document.querySelector('.pane .text')?.textContent === 'two'")
    wait_end(page)
    assert "tokens" in page.inner_text("[data-part=status]")


def test_thinking_is_folded_with_its_own_count(site: Site) -> None:
    page = site.open()
    ask(page, "<think>Hm, so.</think> Yes. <tool_call>x</tool_call>", 200)
    fold = page.locator(".pane .fold").first
    count = len("<think>Hm, so.</think> ") - 1  # this model writes bytes
    label = fold.get_attribute("aria-label")
    assert label.startswith("Thinking, ") and abs(int(label.split()[1]) - count) <= 1
    assert fold.get_attribute("aria-expanded") == "false"
    pane = page.locator(".pane .text").first
    assert "Hm, so." not in pane.inner_text() and "<tool_call>x</tool_call>" in pane.inner_text()
    fold.focus()
    page.keyboard.press("Enter")
    assert "Hm, so." in pane.inner_text() and fold.get_attribute("aria-expanded") == "true"
    page.keyboard.press("Enter")
    page.focus(".pane .t:not(.thinking .t)")
    page.keyboard.press("Home")
    assert "Hm, so." in pane.inner_text(), "going to a folded token opens it"
    fold.click()
    outlined = "one => getComputedStyle(one).outlineStyle === 'solid'"
    assert "Hm, so." not in pane.inner_text() and fold.evaluate(outlined), "the selected token is in there"
    page.click("[data-part=card-after]")
    assert "Hm, so." in pane.inner_text()
    fold.click()
    page.focus(".pane .t:not(.thinking .t)")
    page.keyboard.press("End")
    assert not fold.evaluate(outlined)
    page.click("[data-part=follow-up]")
    ask(page, "And?")
    assert "Hm, so." not in page.inner_text(".pane .answered")
    assert not violations(page)
