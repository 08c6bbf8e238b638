"""The animated picture of README can be made again from the page, here small and in haste."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from eft_demo.settings import Settings
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, Site, serving
from tests.tiers import exhaustive

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings(), pause_s=0.05), browser) as site:
        yield site


@exhaustive
def test_the_picture_of_the_readme_can_be_made_again(site: Site, tmp_path: Path) -> None:
    from scripts.demo_picture import PROMPT, film, main_act, write  # noqa: PLC0415  # needs playwright

    page = site.open(1280, 720)
    frames = film(page, lambda: main_act(page, haste=10))
    write(frames, tmp_path / "demo.webp", scale=0.25)
    assert page.input_value("[data-part=prompt]") == PROMPT and page.input_value("#eft-alpha") == "1"
    assert page.locator("[data-part=card-title]").inner_text().startswith("\u201c")  # a token is selected
    with Image.open(tmp_path / "demo.webp") as picture:
        assert picture.format == "WEBP" and picture.size == (320, 180)
        picture.seek(4)  # there are five frames at least
