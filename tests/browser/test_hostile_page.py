"""Fifty hostile texts in every place of the page that shows text: none acts, all are shown as they stand."""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest

from eft_demo.families.text import token_label
from eft_demo.recipe import UPSCALED
from eft_demo.sampling import Sampling
from eft_demo.settings import Settings
from eft_demo.trace import PanelTrace, RunTrace
from tests.fakes import make_service
from tests.hostile import HOSTILE
from tests.records import make_record
from tests.site import BROWSER_MARKS, Site, run, serving, texts, wait_end

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
COLUMNS = 13
BATCHES = [HOSTILE[i : i + COLUMNS] for i in range(0, len(HOSTILE), COLUMNS)]
PIECE_CHARS = 1000  # longer ones would be refused in a file
# What none of the page's own scripts ever makes; plotly's drawings apart.
MADE_OF_TEXT = (
    "script, img, iframe, object, embed, base, meta, math, style, a[href^=javascript], [onload], [onerror]"
)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(make_service(Settings())) as site:
        yield site


@pytest.fixture(autouse=True)
def _nothing_acts(site: Site) -> Iterator[None]:
    yield
    site.close_pages()


def storable(text: str) -> str:
    """Lone surrogates, which UTF-8 cannot hold, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def hostile_run(batch: Sequence[str]) -> RunTrace:
    """A column named after each text, which says that text and the next two; its candidates are others."""
    cut = [
        [text[i : i + PIECE_CHARS] for i in range(0, len(text), PIECE_CHARS)] for text in map(storable, batch)
    ]
    ids = {piece: number for number, piece in enumerate(dict.fromkeys(sum(cut, [])), 1)}
    panels = []
    for place, name in enumerate(batch):
        said = [ids[piece] for text in (cut[place:] + cut)[:3] for piece in text]
        records = []
        for position, chosen in enumerate(said):
            rivals = [(chosen + step) % len(ids) + 1 for step in range(4)]
            chances = {
                token: dict.fromkeys(UPSCALED.roles, -1.0 - i) for i, token in enumerate({chosen, *rivals})
            }
            records.append(make_record(UPSCALED, chosen, chances, position=position))
        panels.append(PanelTrace(name, str(UPSCALED), records, "", "error", name, 0.1, 30.0))
    pieces = {str(number): piece for piece, number in ids.items()}
    return RunTrace("atlas", "\n".join(batch), Sampling(seed=3), {"alpha": 1.0}, panels, pieces=pieces)


def open_at_once(page: Any, trace: RunTrace, name: str) -> None:
    page.eval_on_selector("[data-part=replay-speed]", "menu => { menu.value = 'at once'; }")
    page.click("[data-part=open]")
    page.set_input_files(
        "[data-part=file]",
        {"name": name, "mimeType": "application/json", "buffer": trace.to_json().encode("ascii")},
    )
    page.wait_for_function("document.querySelector('[data-part=replay-play]').textContent === 'Again'")


def contents(page: Any, selector: str) -> list[str]:
    found: list[str] = page.eval_on_selector_all(selector, "all => all.map(node => node.textContent)")
    return [storable(text) for text in found]


def made_of_text(page: Any) -> int:
    count: int = page.evaluate(
        "selector => [...document.querySelectorAll('.eft ' + selector.split(', ').join(', .eft '))].length",
        MADE_OF_TEXT,
    )
    return count


@pytest.mark.parametrize("batch", BATCHES, ids=range(len(BATCHES)))
def test_an_opened_run_shows_every_text_as_it_stands(site: Site, batch: Sequence[str]) -> None:
    page = site.open()
    shown = [storable(text) for text in batch]
    open_at_once(page, hostile_run(batch), batch[0][:200])
    assert contents(page, "[data-part=replay-title]") == [shown[0][:200]]
    assert contents(page, "[data-part=replay-prompt]") == ["\n".join(shown)]
    assert contents(page, ".pane h2") == contents(page, "[data-part=plotted] option") == shown
    assert contents(page, ".pane .sentence") == shown  # each column ends with an error that says its name
    assert contents(page, ".pane .text") == ["".join((shown[p:] + shown)[:3]) for p in range(len(batch))]
    page.select_option("[data-part=colour]", "flip")
    page.check("[data-part=numbers]")
    for place, text in enumerate(shown):
        page.locator(".pane .text").nth(place).locator(".t").first.dispatch_event("click")
        label = token_label(text[:PIECE_CHARS].encode())
        assert f"“{label}”" in contents(page, "[data-part=card-title]")[0]
        assert any(label in row for row in contents(page, "[data-part=card-table] tbody tr"))
        assert label in page.locator(".t[aria-pressed=true]").get_attribute("aria-label")
    page.click("[data-part=compare] summary")
    page.wait_for_selector("[data-part=diff] ins")
    assert "".join(contents(page, "[data-part=diff] > :not(del)")) == texts(page)[-1]
    page.check("[data-part=differing]")
    page.wait_for_selector(".plot .barlayer .point")
    assert page.locator(".plot a").count() == 0  # plotly would make links of text
    assert made_of_text(page) == 0


def test_a_hostile_prompt_is_echoed_linked_and_filled_in_as_it_stands(site: Site) -> None:
    page = site.open()
    prompt = "\n".join(text for text in HOSTILE if len(text) < 1000)
    page.eval_on_selector("#eft-prompt", "(box, text) => { box.value = text; }", prompt)
    typed = storable(page.input_value("#eft-prompt"))
    page.focus("#eft-prompt")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".t")
    wait_end(page)
    assert all(len(text) > 90 and typed.startswith(storable(text)) for text in texts(page))
    page.click("[data-part=share]")
    page.wait_for_function("document.querySelector('[data-part=link]').value")
    link = page.input_value("[data-part=link]")
    page.goto(link)
    page.wait_for_function("document.querySelector('#eft-prompt')?.value.length > 1000")
    assert storable(page.input_value("#eft-prompt")) == typed
    assert made_of_text(page) == 0


def test_a_link_with_hostile_names_fills_in_and_runs(site: Site) -> None:
    names = [text for text in HOSTILE if len(text) <= 60 and storable(text) == text][:24:6]
    query = urlencode(
        [("v", "1"), ("prompt", "x"), ("family", "echo"), *(("panel", f"{n}:large_base") for n in names)]
    )
    page = site.open(query=f"/?{query}")
    page.wait_for_function("n => document.querySelectorAll('.pane h2').length === n", arg=len(names))
    assert contents(page, ".pane h2") == names
    run(page, HOSTILE[0])
    page.wait_for_selector(".t")
    wait_end(page)
    assert contents(page, ".pane h2") == names and texts(page) == [HOSTILE[0]] * len(names)
    assert made_of_text(page) == 0


def test_hostile_recipes_are_refused_as_they_stand(site: Site) -> None:
    page = site.open()
    page.click("[aria-controls=eft-columns]")
    for text in (*HOSTILE[:3], HOSTILE[29], HOSTILE[31], HOSTILE[33]):
        page.fill("#eft-recipe-0", text)
        page.wait_for_function(
            "start => document.querySelector('#eft-recipe-error-0 code')?.textContent.startsWith(start)",
            arg=text[:9],
        )
    assert made_of_text(page) == 0
