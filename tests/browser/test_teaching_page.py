"""Teaching without a model: the class guesses a token and a column, and the page is presented."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eft_demo.engine.service import Service
from eft_demo.settings import Settings
from eft_demo.ui.saved_page import to_worksheet
from tests.hostile import HOSTILE
from tests.saying import run_that_says
from tests.site import BROWSER_MARKS, Site, listen, serving, violations
from tests.tiers import first_of

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
LESSON = "#lesson=ten-steps&step=5"
# What a person or a screen reader can get from the page, but for the options themselves.
PERCEIVED = """() => {
    const seen = [...document.querySelectorAll('body *')].filter(one =>
        one.checkVisibility() && !one.closest('[data-part=poll-options], [data-part=status], script, style'));
    const words = one => [...one.childNodes].filter(({nodeType}) => nodeType === 3).map(node => node.data);
    const names = ['aria-label', 'title', 'alt', 'value', 'data-label', 'data-would', 'data-number'];
    const said = one => names.map(name => one.getAttribute(name) || '');
    const announced = document.querySelector('[data-part=status]').textContent.replace(/ 1: .*/, '');
    const all = seen.flatMap(one => [...words(one), ...said(one)]);
    const whole = [...all, document.title, location.href, announced];
    return whole.join(' ') + whole.join('');  // a word may be in several tokens
}"""

WHOLE = """menu => {  // no part of its text is cut
    const width = menu.offsetWidth;
    menu.style.flex = 'none';
    const whole = menu.offsetWidth;
    menu.style.flex = '';
    return width >= whole;
}"""


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(Service.without_models(Settings()), browser) as site:
        yield site


def open_lesson(site: Site, width: int, height: int, theme: str) -> Any:
    page = site.open(width, height, query=f"/?__theme={theme}{LESSON}")
    page.wait_for_selector(".t[aria-pressed=true]")
    return page


def choose(page: Any, entry: str) -> None:
    page.locator("[data-part=teach-open]").press("Enter")
    page.locator(f"[data-part={entry}-open]").press("Enter")


def column_texts(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        ".pane .text", "all => all.map(one => one.textContent.trim())"
    )
    return found


def votes(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all(".option > b", "all => all.map(one => one.textContent)")
    return found


@pytest.mark.parametrize(("width", "height", "theme"), first_of((1280, 720, "light"), (360, 740, "dark")))
def test_a_class_guesses_a_token_and_a_column(site: Site, width: int, height: int, theme: str) -> None:
    page = open_lesson(site, width, height, theme)
    whole = column_texts(page)
    assert "Great" in page.evaluate(PERCEIVED) and "Nairobi" in page.evaluate(PERCEIVED)
    page.hover(".pane:not(.base) .t[data-i='9'] >> visible=true")  # whose small card must go, too
    page.wait_for_selector("[data-part=peek]:not([hidden])")
    page.locator("#eft-alpha").fill("2.5")
    page.locator("[data-part=teach-open]").press("Enter")
    page.keyboard.press("ArrowDown")
    assert violations(page) == [] and page.evaluate("document.activeElement.dataset.part") == "predict-open"
    page.keyboard.press("Enter")
    page.wait_for_selector(".option")
    assert page.input_value("#eft-alpha") == "1"  # of the text that is asked about
    perceived = page.evaluate(PERCEIVED)
    assert not [word for word in ("Great", "Nairobi", "lion", "Nassau") if word in perceived]
    assert sum(text.endswith("\nGreat") for text in page.locator(".option").all_inner_texts()) == 1
    for key in ("1", "4", "4", "2", "Backspace", "7"):
        page.keyboard.press(key)
    assert votes(page) == ["1", "", "", "2"]
    assert "0 votes" in page.text_content("[data-part=status]")  # the one that was taken back
    page.keyboard.press("4")
    assert "3 votes" in page.text_content("[data-part=status]")
    page.keyboard.press("Backspace")
    assert violations(page) == [] and page.evaluate("document.documentElement.scrollWidth") <= width
    page.keyboard.press("Enter")
    page.wait_for_selector(".option.right")
    right = page.locator(".option.right").inner_text()
    assert "Great" in right and "large base 2 %" in right and "mix 31 %" in right
    assert column_texts(page)[-1] == "Great" and "Nairobi" not in page.evaluate(PERCEIVED)
    assert violations(page, "[data-part=poll]") == []
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('[data-part=poll-at]').textContent === 'token 9'")
    assert column_texts(page)[-1] == "Great question! The capital of Kenya is"
    assert "Nairobi" not in page.evaluate(PERCEIVED)
    page.keyboard.press("Escape")
    assert page.locator("[data-part=poll]").is_hidden() and page.locator("[data-part=lesson]").is_visible()
    assert column_texts(page) == whole

    choose(page, "blind")
    page.wait_for_selector(".option")
    assert sorted(column_texts(page)) == sorted(text.strip() for text in whole)
    assert column_texts(page) != whole
    assert page.locator(".t").count() == 0
    perceived = page.evaluate(PERCEIVED)
    assert not [
        word for word in ("Up-scaled", "Tuned", "assistant", "large_base", "behaviour") if word in perceived
    ]
    assert violations(page) == []
    page.locator(".pane .text").first.focus()  # to scroll it
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.part") == "teach-open"
    choose(page, "blind")
    page.wait_for_selector(".option")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.wait_for_selector(".option.right")
    named = dict(zip("ABC", page.locator(".option small").all_inner_texts(), strict=True))
    assert sorted(named.values()) == ["Base", "Tuned", "Up-scaled"]
    assert page.locator(".option.right small").inner_text() == "Up-scaled"
    assert column_texts(page) == whole and violations(page, "[data-part=poll]") == []
    page.reload()  # nothing of a question is kept
    page.wait_for_selector(".t[aria-pressed=true]")
    assert page.locator("[data-part=poll]").is_hidden() and column_texts(page) == whole


def are_seen(page: Any, *names: str) -> None:
    for name in names:
        box = page.locator(f"[data-part={name}]").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 720 and box["height"] > 20, name


def lines_of_text(page: Any) -> int:
    """Lines of a column that are seen at once."""
    lines: int = page.eval_on_selector(
        ".pane .text",
        "one => Math.floor((one.clientHeight - 14) / parseFloat(getComputedStyle(one).lineHeight))",
    )
    return lines


def test_everything_is_presented_on_one_screen(site: Site) -> None:
    page = open_lesson(site, 1280, 720, "light")
    choose(page, "present")
    page.wait_for_selector(".plot .barlayer .point")
    are_seen(page, "presented", "alpha", "columns", "plot", "lesson-title", "lesson-actions")
    assert lines_of_text(page) >= 7 and page.locator("[data-part=lesson-text]").is_hidden()
    page.keyboard.press("t")
    are_seen(page, "presented", "alpha", "columns", "lesson-text", "lesson-reveal")
    assert lines_of_text(page) >= 5
    assert page.get_attribute("[data-part=lesson-fold]", "aria-expanded") == "true"
    assert violations(page) == []
    sizes = (".pane .text", ".pane h2", "[data-part=lesson-text]", "[data-part=presented-prompt]")
    for name in (*sizes, "[data-part=lesson-question]", "[data-part=lesson-answer]"):
        size = page.eval_on_selector(name, "one => parseFloat(getComputedStyle(one).fontSize)")
        assert size >= 28, name
    hidden = ("prompt", "more", "legend", "share", "card-table")
    assert not [name for name in hidden if page.locator(f"[data-part={name}]").is_visible()]
    page.click("[data-part=lesson-fold]")
    are_seen(page, "plot")
    assert violations(page, ".attribution") == []
    page.keyboard.press("PageDown")
    page.wait_for_function("document.querySelector('[data-part=lesson-at]').textContent.startsWith('Step 6')")
    page.wait_for_selector(".t[aria-pressed=true]")
    before = page.locator(".t[aria-pressed=true]").get_attribute("data-i")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        f"document.querySelector('.t[aria-pressed=true]').dataset.i === '{int(before) + 1}'"
    )
    page.keyboard.press("q")
    page.wait_for_selector(".qr svg path")
    assert page.locator("[data-part=qr-link]").inner_text().endswith("/#lesson=ten-steps&step=6")
    assert violations(page, "dialog[open]") == []
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.wait_for_selector(".option")
    assert page.eval_on_selector(".option", "one => parseFloat(getComputedStyle(one).fontSize)") >= 28
    page.set_viewport_size({"width": 820, "height": 1180})
    assert page.eval_on_selector("[data-part=poll-column]", WHOLE)
    page.set_viewport_size({"width": 1280, "height": 720})
    page.keyboard.press("1")
    page.keyboard.press("b")  # would drop the vote
    assert page.locator("[data-part=poll-note]").inner_text().startswith("1 vote. Press again")
    assert votes(page)[0] == "1"
    page.keyboard.press("b")
    page.wait_for_selector("[data-option=A]")
    box = page.locator("[data-part=poll-reveal]").bounding_box()
    assert box["y"] + box["height"] <= 720 and violations(page, "[data-part=poll]") == []
    page.reload()  # it still presents, and the question is over
    page.wait_for_selector("[data-part=presented]")
    page.wait_for_selector(".t[aria-pressed=true]")
    page.keyboard.press("b")
    page.wait_for_selector("[data-option=A]")
    assert page.locator("[data-part=notice]").is_hidden()  # its place belongs to the texts
    page.keyboard.press("Escape")  # first the question, then the large screen
    assert page.locator("[data-part=poll]").is_hidden() and page.locator("[data-part=presented]").is_visible()
    assert page.evaluate("document.activeElement.dataset.part") == "presented-prompt"
    page.keyboard.press("Escape")
    assert page.locator("[data-part=presented]").is_hidden()
    choose(page, "predict")
    page.wait_for_selector(".option")
    page.keyboard.press("PageDown")  # the next step of the lesson is about the whole texts
    page.wait_for_function("document.querySelector('[data-part=lesson-at]').textContent.startsWith('Step 7')")
    assert page.locator("[data-part=poll]").is_hidden()
    page.wait_for_selector(".pane h2 >> text='Alpha 5'")
    page.wait_for_selector("[data-part=no-sliders]")
    assert page.get_by_text("move α").count() == 0 or page.get_by_text("move α").is_hidden()


def test_what_a_lesson_points_at_is_seen_on_the_large_screen(site: Site) -> None:
    page = site.open(1280, 720, query="/#lesson=ten-steps&step=2")
    page.wait_for_selector(".t[aria-pressed=true]")
    choose(page, "present")
    page.wait_for_selector(".plot .legendtext >> text='α · (assistant − small base)'")
    legend = page.locator(".plot .legend")
    assert "Up-scaled" in legend.text_content()
    assert legend.locator(".scrollbar").get_attribute("height") == "0"
    page.click("text='First token'")
    page.wait_for_function("document.querySelector('[data-part=peek]').textContent.includes('token 1 of')")
    page.click("text='Name of the capital'")
    page.wait_for_function("document.querySelector('[data-part=peek]').textContent.includes('in Nairobi')")
    assert page.locator("[data-part=peek]").is_visible()
    page.keyboard.press("PageDown")
    page.wait_for_selector("[data-part=peek]", state="hidden")

    for _ in range(3):
        page.keyboard.press("PageDown")
    page.click("text='All values at once'")
    page.wait_for_selector("[data-part=strip-plot] .heatmaplayer")
    are_seen(page, "strip-plot", "columns", "lesson-actions", "tab-bars")
    page.keyboard.press("t")
    are_seen(page, "strip-plot", "lesson-text", "lesson-reveal", "tab-bars")
    page.keyboard.press("t")
    page.click("[data-part=tab-bars]")
    page.wait_for_selector(".plot .barlayer .point")
    assert page.locator("[data-part=columns]").is_visible() and page.locator("[data-part=tabs]").is_hidden()


def test_a_worksheet_is_printed_with_its_key_and_shows_every_text_as_text(site: Site, tmp_path: Path) -> None:
    page = open_lesson(site, 1280, 720, "light")
    page.locator("[data-part=teach-open]").press("Enter")
    with page.expect_download() as download:
        page.locator("[data-part=worksheet-save]").press("Enter")
    assert download.value.suggested_filename.endswith("-worksheet.html")
    download.value.save_as(tmp_path / "sheet.html")
    hostile = run_that_says(HOSTILE[0])
    for column in hostile.columns:
        column.given = len(column.tokens)  # as of a shared text
    (tmp_path / "hostile.html").write_text(to_worksheet(hostile), "utf-8")
    sheet = site.new_page()
    listen(sheet, site.complaints, (tmp_path.as_uri(), "data:"))
    sheet.goto((tmp_path / "sheet.html").as_uri())
    asked, key = (sheet.locator(f"[data-part={name}]") for name in ("sheet", "key"))
    assert "Great" not in asked.locator(".sheet-text").inner_text()
    assert asked.locator(".who").inner_text().startswith("Written by Up-scaled")
    assert "α = 1.00" in asked.locator(".who").inner_text()  # without it the sums say nothing
    assert (
        "Great" in key.locator(".sheet-text").inner_text()
        and "Great" in asked.locator("table").first.inner_text()
    )
    cells = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.replace('−', '-')))"
    sums = key.locator("table").nth(1).locator("tbody tr").evaluate_all(cells)
    for _, *numbers, logprob, share in sums:
        assert abs(sum(map(float, numbers)) - float(logprob)) < 0.021
        assert abs(math.exp(float(logprob)) - float(share.removesuffix(" %")) / 100) < 0.011
    assert asked.locator("table").nth(1).locator("tbody tr").evaluate_all(cells)[0][-2:] == ["", ""]
    (_, *own, change), (_, *rival, other) = (
        key.locator("table").nth(2).locator("tbody tr").evaluate_all(cells)
    )
    alpha = (float(rival[0]) - float(own[0])) / (float(change) - float(other))
    said = float(key.locator("section").last.inner_text().rsplit("= ", 1)[1].replace("−", "-"))
    assert abs(alpha - said) < 0.02
    wide = asked.locator("table").nth(1).locator("tbody td:nth-child(4)").first
    wide.evaluate("cell => (cell.textContent = '−31.34')")  # as at α = 5
    lines = "(cell, _, all = new Range()) => (all.selectNodeContents(cell), all.getClientRects().length)"
    assert wide.evaluate(lines) == 1, "a number is never broken in two"
    assert violations(sheet) == []
    sheet.uncheck("[data-part=with-key]")
    assert key.is_hidden()
    sheet.goto((tmp_path / "hostile.html").as_uri())
    assert HOSTILE[0] in sheet.locator("[data-part=prompt]").inner_text()
    assert asked.locator(".who").inner_text().startswith("A given text, scored by")
    assert sheet.evaluate("window.pwned") is None and sheet.locator("main img, main script").count() == 0
