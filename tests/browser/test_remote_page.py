"""A large base on a server: one that does not answer holds only the columns that need it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from tests.completions import MODEL, Completions
from tests.completions import serving as completing
from tests.site import BROWSER_MARKS, Site, endings, run, serving, wait_end
from tests.waiting import PATIENCE_S

pytestmark = BROWSER_MARKS


@pytest.fixture(scope="module")
def server(tiny_assets: Path) -> Iterator[Completions]:
    with completing(tiny_assets / "tiny", {MODEL: "large_base"}) as found:
        yield found


@pytest.fixture(scope="module")
def site(browser: Any, tiny_settings: Settings, server: Completions) -> Iterator[Site]:
    settings = replace(tiny_settings, base_url=server.url, base_answer_s=60.0)
    with serving(Service.load(settings, "tiny"), browser) as site:
        yield site


def test_columns_that_wait_for_a_server_say_so_and_the_others_end(
    site: Site, server: Completions, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, answer, go = site.open(), server.answer, Event()

    def answer_late(handler: Any, body: dict[str, Any]) -> None:
        if len(server.asked) > 5:
            assert go.wait(PATIENCE_S)
        answer(handler, body)

    server.asked.clear()
    monkeypatch.setattr(server, "answer", answer_late)
    run(page, "Hi", length=24)
    said = "the server of the large base has not answered for "
    page.wait_for_function(
        "said => document.querySelectorAll('.pane')[0].textContent.includes(said)", arg=said
    )
    page.wait_for_function("document.querySelectorAll('.pane .foot b')[1].textContent")
    shown = page.eval_on_selector_all(".pane", "panes => panes.map(pane => pane.textContent)")
    assert [said in text for text in shown] == [True, False, True]
    assert not page.is_disabled("[data-part=stop]")
    go.set()
    wait_end(page)
    assert all(endings(page))
    assert not any(said in text for text in page.locator(".pane").all_inner_texts())
