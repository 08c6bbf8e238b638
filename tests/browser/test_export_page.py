"""A saved run in a real browser, from the disk: it shows what the page shows, and no text of it ever acts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.method.recipe import BASE, UPSCALED
from eft_demo.runs.replay import read_run
from eft_demo.runs.trace import ColumnTrace, Draft, RunTrace
from eft_demo.settings import ASSETS, Settings
from eft_demo.ui.saved_page import to_html, to_worksheet
from tests.asking import make_run
from tests.hostile import HOSTILE
from tests.records import make_record
from tests.saying import run_that_says, storable
from tests.site import BROWSER_MARKS, Site, listen, serving, violations
from tests.tiers import first_of

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
# Of every token: what it says, how it looks, and what a screen reader says when it is walked to.
TOKENS = """() => [...document.querySelectorAll('.columns .t')].map(t => {
  const { backgroundImage, backgroundColor, borderBottom, textDecorationLine } = getComputedStyle(t);
  const kind = t.className.split(' ').filter(Boolean).sort().join(' ');
  const sign = ['::before', '::after'].map(side => getComputedStyle(t, side).content);
  const line = borderBottom.startsWith('0px') ? 'none' : borderBottom;
  return [t.textContent, kind, t.dataset.number, t.style.getPropertyValue('--k'), sign,
    backgroundImage, backgroundColor, line, textDecorationLine];
})"""
# The card of the selected token: title, numbers, sentences, candidates with bars and colours, waterfalls.
CARD = """() => {
  const part = name => document.querySelector('[data-part=' + name + ']');
  const bars = box => [...box.querySelectorAll('i')].map(i => [
    i.style.left, i.style.width, i.style.getPropertyValue('--c'), getComputedStyle(i).backgroundColor]);
  const rows = [...part('card-table').querySelectorAll('tr')].map(row => [
    row.classList.contains('chosen'),
    [...row.cells].map(cell => [cell.textContent, cell.scope, bars(cell)])]);
  return {
    label: document.querySelector('.t[aria-pressed=true]').getAttribute('aria-label'),
    said: ['card-title', 'card-note', 'card-verdict', 'card-more', 'card-print']
      .map(name => part(name).textContent),
    bold: [...part('card-verdict').querySelectorAll('b')].map(b => [b.textContent, b.translate, b.dir]),
    hidden: part('card-verdict').hidden, rows,
    falls: [...part('falls').children].map(fall => [fall.textContent, bars(fall)]),
  };
}"""
PRESS = "([p, i]) => document.querySelector(`.text[data-p='${p}'] .t[data-i='${i}']`).click()"


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(Service.without_models(Settings()), browser) as site:
        yield site


@pytest.fixture
def page(site: Site) -> Any:
    """A page that must not complain, ask for anything but its own file, or be taken over."""
    page = site.new_page()
    listen(page, site.complaints, "file:///")
    return page


def show(page: Any, tmp_path: Path, run: RunTrace) -> None:
    path = tmp_path / "run.html"
    path.write_text(to_html(run), encoding="utf-8")
    page.goto(path.as_uri())
    page.wait_for_selector(".t", state="attached")


def varied() -> RunTrace:
    """Drafts, a moved slider, a line break, parts of letters, markup, and draws against the odds."""
    pieces = ["Li", "ma", " <b>&", "\n", "\udce2\udc80", "\udc99s", " مرحبا", " end", ""]
    chances = {
        token: {
            "large_base": -0.4 * token,
            "small_tuned": -3.0 + 0.2 * token,
            "small_base": -1.0 - 0.1 * token,
        }
        for token in range(1, 10)
    }
    whole = "".join(pieces).encode("utf-8", "surrogateescape").decode()
    columns = []
    for name, recipe in (("Base", BASE), ("Up-scaled", UPSCALED)):
        roles = {token: {role: values[role] for role in recipe.roles} for token, values in chances.items()}
        records = [
            make_record(recipe, token, roles, alpha=0.5 if token > 4 else 1.0, position=token - 1)
            for token in range(1, 10)
        ]
        if recipe.terms:
            records[1] = replace(records[1], draft=Draft(2, 0.9))
            records[2] = replace(records[2], draft=Draft(1, 0.3))
        columns.append(ColumnTrace(name, str(recipe), records, whole, "stop", None, 0.1, 30.0, 0.5, 1.4))
    texts = {str(number): piece for number, piece in enumerate(pieces, 1)}
    return make_run(columns, texts, family="atlas", prompt="Which?", controls={"alpha": 1.0})


@pytest.mark.parametrize(("name", "theme"), first_of(("varied", "dark"), ("pirate", "light")))
def test_a_saved_run_shows_what_the_page_shows(
    site: Site, page: Any, tmp_path: Path, name: str, theme: str
) -> None:
    run = varied() if name == "varied" else read_run(ASSETS / "runs" / "pirate.json")
    page.emulate_media(color_scheme=theme)
    show(page, tmp_path, run)
    other = site.open(query="?__theme=" + theme, color_scheme=theme)
    other.eval_on_selector("[data-part=replay-speed]", "menu => { menu.value = 'instant'; }")
    file = {"name": "run.json", "mimeType": "application/json", "buffer": run.to_json().encode("ascii")}
    other.set_input_files("[data-part=file]", file)
    other.wait_for_function("document.querySelector('[data-part=replay-play]').textContent === 'Replay'")
    for colour in ("tuning", "probability", "rank", "entropy", "flip", "none"):
        for one in (page, other):
            one.select_option("[data-part=colour]", colour)
        assert page.evaluate(TOKENS) == other.evaluate(TOKENS), colour
        legends = [one.locator("[data-part=legend]").inner_text() for one in (page, other)]
        assert legends[0] == legends[1]
    seen = set()
    for p, column in enumerate(run.columns):
        for i in range(len(column.tokens)):
            cards = []
            for one in (page, other):
                one.evaluate(PRESS, [p, i])
                cards.append(one.evaluate(CARD))
            assert cards[0] == cards[1], (column.name, i)
            seen.add(cards[0]["said"][2])
    assert len(seen) > 5  # the sentences differ


@pytest.mark.parametrize("batch", first_of(*((HOSTILE[i::4],) for i in range(4))), ids=range(4))
def test_every_hostile_text_is_shown_verbatim_and_none_is_executed(
    page: Any, tmp_path: Path, batch: Sequence[str]
) -> None:
    for text in batch:
        show(page, tmp_path, run_that_says(text))
        # What a page holds of a lone surrogate is the replacement character.
        shown = page.evaluate("[...document.querySelectorAll('.pane .text')].map(text => text.textContent)")
        assert shown == [storable(text) + "\ufffd"] * 2
        assert storable(page.locator("[data-part=prompt]").evaluate("e => e.textContent")) == storable(text)
        assert storable(page.locator(".pane h2").nth(1).evaluate("e => e.textContent")) == storable(text)
        page.locator(".t").nth(0).focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("script").count() == 2
        assert (
            page.evaluate("document.querySelectorAll('img, iframe, object, svg, base, [onload]').length") == 0
        )


def test_keys_select_tokens_and_the_card_shows_the_selected_one(page: Any, tmp_path: Path) -> None:
    show(page, tmp_path, run_that_says("Lima"))
    title = page.locator("[data-part=card-title]")
    page.keyboard.press("Tab")
    page.keyboard.press("Home")
    assert "“Lima” · token 1 of 3" in title.inner_text()
    page.keyboard.press("End")
    assert "⟨end⟩" in title.inner_text()
    page.keyboard.press("ArrowLeft")
    assert "⟨E2 80⟩" in title.inner_text()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    pressed = page.locator("[aria-pressed=true]")
    assert pressed.count() == 1 and pressed.evaluate("token => token === document.activeElement")
    assert pressed.get_attribute("aria-label").startswith("Token 1 of 3, Lima, ")
    assert "lowered by tuning" in pressed.get_attribute("aria-label")
    assert page.locator(".t:not([role=button]), .t:not([aria-label])").count() == 0
    assert page.locator(".t[tabindex='0']").count() == 2  # Tab reaches each column once
    assert "small tuned" in page.locator("[data-part=card-table]").inner_text()
    assert page.locator(".fall").count() == 2 and page.locator(".verdict:visible").count() == 1


@pytest.mark.parametrize("theme", first_of("dark", "light"))
@pytest.mark.parametrize("width", first_of(360, 1280))
def test_a_saved_page_is_accessible_and_cuts_nothing_off(
    site: Site, theme: str, width: int, tmp_path: Path
) -> None:
    path = tmp_path / "run.html"
    path.write_text(to_html(varied()), encoding="utf-8")
    size = {"width": width, "height": 740}
    page = site.browser.new_context(viewport=size, color_scheme=theme, bypass_csp=True).new_page()
    page.goto(path.as_uri())
    page.wait_for_selector(".t")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    grounds = page.evaluate(
        "[document.body, document.querySelector('.pane')].map(e => getComputedStyle(e).backgroundColor)"
    )
    assert (
        grounds
        == {
            "light": ["rgb(251, 250, 248)", "rgb(255, 255, 255)"],
            "dark": ["rgb(20, 22, 27)", "rgb(27, 30, 37)"],
        }[theme]
    )
    site.close_pages()


@pytest.mark.parametrize(("text", "mark"), [("\u200b", True), ("\x07", True), ("Lima", False)])
def test_a_token_without_visible_text_is_marked(page: Any, tmp_path: Path, text: str, mark: bool) -> None:
    show(page, tmp_path, run_that_says(text))
    page.locator(".t").first.focus()
    signs = page.locator(".t").first.locator(".sign")
    assert signs.count() == int(mark)
    if mark:
        before = signs.first.evaluate("sign => getComputedStyle(sign, '::before').content")
        assert page.locator("[data-part=card-title]").inner_text().split("”")[0].strip("“") in before


def test_numbers_above_tokens_can_be_switched_on(page: Any, tmp_path: Path) -> None:
    show(page, tmp_path, run_that_says("Lima"))
    first = page.locator(".pane").nth(1).locator(".t").first
    number = "t => getComputedStyle(t, '::after').content"
    page.select_option("[data-part=colour]", "rank")
    assert "#" not in first.evaluate(number)
    page.check("[data-part=numbers]")
    assert "#" in first.evaluate(number)


@pytest.mark.parametrize("written", [to_html, to_worksheet])
def test_a_page_that_a_browser_saved_as_drawn_shows_the_run_once(
    site: Site, tmp_path: Path, written: Callable[[RunTrace], str]
) -> None:
    path = tmp_path / "run.html"
    path.write_text(written(varied()), encoding="utf-8")
    page = site.new_page()
    page.goto(path.as_uri())
    first = page.inner_text("body")
    path.write_text(page.content(), encoding="utf-8")  # as "Save page as" does
    page.reload()
    assert page.inner_text("body") == first
    assert not page.is_visible("[data-part=undrawn]")


@pytest.mark.parametrize("written", [to_html, to_worksheet])
@pytest.mark.parametrize("damage", ["data cut", "script cut", "script changed", "a line lost"])
def test_a_damaged_page_says_so(
    site: Site, tmp_path: Path, written: Callable[[RunTrace], str], damage: str
) -> None:
    whole = written(varied())
    head, data, tail = whole.partition('<script type="application/json" id="run">')
    damaged = {
        "data cut": head + data + tail[: len(tail) // 20],
        "script cut": whole[:-2000],
        "script changed": whole.replace("const run =", "const  run ="),
        "a line lost": head + data + tail.replace('{"k":"run"', '{"k":"run', 1),
    }[damage]
    assert damaged != whole
    path = tmp_path / "run.html"
    path.write_text(damaged, encoding="utf-8")
    page = site.new_page()
    page.goto(path.as_uri())
    assert "the file is incomplete or was changed" in page.locator("[data-part=undrawn]").inner_text()
    assert page.is_visible("[data-part=undrawn]")
