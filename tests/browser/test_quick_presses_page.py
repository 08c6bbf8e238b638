"""Several presses of Run on a slow network: the newest run streams, in whatever order the answers arrive.

The tests hold requests back instead of waiting for a slow network.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from eft_demo.settings import Settings
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, SLOW_MS, Site, run, serving, texts, wait_end
from tests.tiers import first_of

pytestmark = BROWSER_MARKS
JOIN, DATA = "**/queue/join*", "**/queue/data*"


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(replace(Settings(), listen_s=SLOW_MS / 1000), pause_s=0.02), browser) as site:
        yield site


@pytest.fixture
def page(site: Site) -> Any:
    return site.open(1280, 720)


def until(page: Any, condition: Any) -> None:
    """Wait for what a route does, which is no condition of the page."""
    for _ in range(SLOW_MS // 10):
        if condition():
            return
        page.wait_for_timeout(10)
    raise AssertionError("still not so")


def shows(page: Any, text: str) -> None:
    """Wait until the last column has this text and its run has ended, without a message."""
    page.wait_for_function("text => document.querySelector('.pane.up .text').textContent === text", arg=text)
    wait_end(page)
    assert page.locator("[data-part=notice]").is_hidden() and page.locator("[data-error=prompt]").is_hidden()


def test_a_run_answered_before_the_page_hears_the_old_stream_end_gets_another(page: Any) -> None:
    held: list[Any] = []

    def hold(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.extend((route, route.fetch()))  # the whole stream of the first run

    page.route(DATA, hold)
    run(page, "Hello")
    until(page, lambda: len(held) == 2)
    with page.expect_request_finished(lambda request: "queue/join" in request.url):
        run(page, "World")
    page.evaluate("new Promise(requestAnimationFrame)")  # Gradio has read the answer
    held[0].fulfill(response=held[1])
    shows(page, "World")
    run(page, "Again")
    shows(page, "Again")


@pytest.mark.parametrize(
    "order", first_of(((2, 5, 0, 3, 1, 4),), ((0, 1, 2, 3, 4, 5),), ((5, 4, 3, 2, 1, 0),))
)
def test_the_newest_of_six_presses_streams_in_whatever_order_they_arrive(
    page: Any, order: tuple[int, ...]
) -> None:
    run(page, "First")
    shows(page, "First")
    joins: list[Any] = []
    page.route(JOIN, lambda route: joins.append(route))
    for count, prompt in enumerate(["chant"] * 5 + ["Hello"], 1):
        run(page, prompt)
        until(page, lambda count=count: len(joins) == count)
    for place in order:
        with page.expect_request_finished(lambda request: "queue/join" in request.url):
            joins[place].continue_()
    page.unroute(JOIN)
    shows(page, "Hello")
    assert texts(page) == ["Hello"] * 3


def test_stop_pressed_before_the_server_answers_stops_the_run(page: Any) -> None:
    joins: list[Any] = []
    page.route(JOIN, lambda route: joins.append(route))
    run(page, "chant", 250)
    until(page, lambda: joins)
    page.click("[data-part=stop]")
    joins[0].continue_()
    page.unroute(JOIN)
    page.wait_for_selector(".pane .foot b")
    wait_end(page)
    assert len(texts(page)[2]) < 250
    run(page, "Hello")
    shows(page, "Hello")
