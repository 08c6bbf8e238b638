"""A class room: a presenter and two phones join, vote on a token and on blind columns, and end it."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from tests.site import BROWSER_MARKS, Site, serving, violations

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
PHONE = {"width": 360, "height": 740}
# What the phones' page may not do is in its headers; axe can only be put into it without them.
NO_LIMITS: dict[str, Any] = {"viewport": PHONE, "bypass_csp": True}


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(Service.without_models(Settings()), browser) as site:
        yield site


def phone(site: Site, address: str, **options: Any) -> Any:
    """A phone that has opened this address."""
    page = site.new_page(**options)
    site.listen(page)
    page.goto(address)
    page.wait_for_selector("#another", state="attached")
    return page


def says(page: Any, name: str, text: str) -> None:
    """Wait until a part of the presenter's page contains this text."""
    page.wait_for_function(
        "([name, text]) => document.querySelector(`[data-part=${name}]`)?.textContent.includes(text)",
        arg=[name, text],
    )


def ask(page: Any, what: str) -> None:
    page.click("[data-part=teach-open]")
    page.click(f"[data-part={what}-open]")
    page.wait_for_selector(".option")


# A message between tabs takes a second, as where one of them is busy or slowed down in the background.
LATE_MESSAGES = """{ const post = BroadcastChannel.prototype.postMessage;
    BroadcastChannel.prototype.postMessage = function(m) { setTimeout(() => post.call(this, m), 1000); }; }"""


def copy_of(site: Site, page: Any) -> Any:
    """A duplicate of this tab, which gets all that its original has stored, on a busy machine."""
    stored = page.evaluate("({...sessionStorage})")
    copy = page.context.new_page()
    site.listen(copy)
    copy.add_init_script(f"Object.assign(sessionStorage, {json.dumps(stored)})")
    copy.add_init_script(LATE_MESSAGES)
    copy.goto(page.url)
    return copy


def looks_right(page: Any, width: int) -> None:
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_lesson_with_two_phones(site: Site) -> None:
    page = site.open(1280, 720, query="/#lesson=ten-steps&step=3")
    page.wait_for_selector(".pane.up .t")
    page.click("[data-part=teach-open]")
    page.click("[data-part=room-open]")
    page.wait_for_selector("[data-part=room-qr] svg")
    looks_right(page, 1280)
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")  # as under http
    page.click("[data-part=room-copy]")
    says(page, "room-copy", "Copied")
    code, address = (page.inner_text(f"[data-part=room-{name}]") for name in ("code", "address"))
    first = phone(site, f"http://{address}#{code}", **NO_LIMITS)
    second = phone(site, f"http://{address}", viewport=PHONE, color_scheme="dark")
    second.fill("#typed", f"http://{address}#v=1")  # the address of something else
    second.keyboard.press("Enter")
    second.wait_for_function("document.querySelector('#trouble').textContent.includes('neither')")
    second.fill("#typed", f" http://{address}#{code.lower()} ")
    second.keyboard.press("Enter")
    second.wait_for_selector("#status:focus")  # the form, which had the focus, is gone
    says(page, "room-count", "2 phones joined")
    second.wait_for_selector("#enter", state="hidden")
    assert second.input_value("#typed") == ""  # where the code of another room is typed later
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.part") == "teach-open"

    ask(page, "predict")
    for one, option in ((first, 0), (second, 1)):
        one.locator("#options button").nth(option).click()
    says(page, "room-chip", "2 of 2 voted")
    says(page, "poll-note", "2 votes")
    assert "Prompt: What is the capital of Kenya?" in first.inner_text("#prompt")
    assert second.locator("#options .right").count() == 0 and second.locator("#inspect").is_hidden()
    second.reload()  # a phone that was lost
    second.wait_for_selector("#options .mine")
    second.locator("#options button").nth(0).click()  # it changes its mind
    page.wait_for_function("document.querySelector('.option b').textContent === '2'")
    looks_right(page, 1280)
    looks_right(first, 360)
    second.locator("#options button").nth(0).press("Enter")
    second.evaluate(
        "window.readAgain = 0; new MutationObserver(() => (readAgain += 1))"
        ".observe(document.getElementById('title'), { childList: true, characterData: true, subtree: true })"
    )
    page.click("[data-part=poll-reveal]")
    answer = page.locator(".option.right bdi").inner_text()
    for one in (first, second):
        one.wait_for_selector("#options .right")
        assert answer.strip() in one.inner_text("#options .right")
        assert "large base" in one.inner_text("#options .right .note")
        bars = one.eval_on_selector_all(
            "meter", "all => all.map(one => getComputedStyle(one).getPropertyValue('--bar'))"
        )
        assert len(bars) > 2 and len(set(bars)) == 2  # the answer's bar is green, and no other
        assert one.get_attribute("#link", "href") == "./#lesson=ten-steps&step=3"
        assert "lesson" in one.inner_text("#inspect") and "Run" not in one.inner_text("#inspect")
    assert second.evaluate(
        "document.activeElement.matches('#options button:first-child')"
    )  # it still has the focus
    assert second.evaluate("readAgain") == 0
    looks_right(first, 360)
    page.click("[data-part=poll-close]")
    first.wait_for_selector("#poll", state="hidden")
    page.click("[data-part=lesson-next]")  # step 4 shows the run of step 3
    first.wait_for_selector("#link[href$='step=4']")
    page.click("[data-part=lesson-back]")
    first.wait_for_selector("#link[href$='step=3']")

    ask(page, "blind")
    first.wait_for_selector("#options button")
    first.context.set_offline(True)
    first.locator("#options button").nth(0).click()
    first.wait_for_selector("#trouble:not(:empty)")
    assert "counts" not in first.inner_text("#status")
    assert first.locator("#options .mine").count() == 1
    first.context.set_offline(False)
    says(page, "room-chip", "1 of 2 voted")
    second.context.set_offline(True)
    second.evaluate("dispatchEvent(new Event('online'))")  # asks anew, instead of after 20 s
    second.wait_for_selector("#trouble:has-text('connection is lost')")
    second.context.set_offline(False)
    second.wait_for_selector("#trouble:empty", state="attached")
    page.reload()  # the presenter comes back: the question is over, the room is not
    says(page, "room-chip", "2 phones")
    says(page, "notice-text", "question to the class was closed")
    first.wait_for_selector("#poll", state="hidden")
    assert "closed without an answer" in first.inner_text("#status")
    page.wait_for_selector(".pane.up .t")
    ask(page, "blind")
    second.locator("#options button").nth(1).click()
    says(page, "room-chip", "1 of 2 voted")
    copy = copy_of(site, page)
    says(copy, "notice-text", "This tab is a copy")
    assert copy.locator("[data-part=room-chip]").is_hidden()
    copy.close()
    assert first.locator("#options button").count() == 3 and first.locator("#poll").is_visible()
    says(page, "room-chip", "1 of 2 voted")
    second.context.set_offline(True)
    second.locator("#options button").nth(0).click()  # too late to be another vote
    page.click("[data-part=poll-reveal]")
    first.wait_for_selector("#options .right")
    second.context.set_offline(False)
    second.wait_for_selector("#trouble:has-text('the one before it counts')")
    assert "your vote" in second.locator("#options button").nth(1).inner_text()
    assert "Up-scaled" in first.inner_text("#options .right .note")

    page.click("[data-part=room-chip]")
    looks_right(page, 1280)
    page.click("[data-part=room-end]")
    page.click("[data-part=room-end]")
    says(page, "notice-text", "has ended")
    assert page.locator("[data-part=room-chip]").is_hidden()
    for one in (first, second):
        one.wait_for_selector("#enter")
        assert "ended" in one.inner_text("#trouble")
    assert site.demo.rooms.classroom.rooms == {}
    # The browser itself reports the lost network, the late vote, and the answer that ended each phone's wait.
    site.complaints = [text for text in site.complaints if not re.search("404|409|ERR_INTERNET", text)]
