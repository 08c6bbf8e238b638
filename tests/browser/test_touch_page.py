"""Phones, emptied fields, the remembered theme, printing, dropped files."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eft_demo.settings import Settings
from eft_demo.ui.saved_page import to_html
from tests.fakes import make_service
from tests.saying import said
from tests.site import BROWSER_MARKS, Site, run, serving, violations, wait_end
from tests.tiers import exhaustive, first_of

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
PHONE: dict[str, Any] = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings()), browser) as site:
        yield site


# ---- a phone


def test_on_a_phone_enter_adds_a_line_and_the_button_runs(site: Site) -> None:
    page = site.open(360, 740, **PHONE)
    page.tap("#eft-prompt")
    page.keyboard.type("one")
    page.keyboard.press("Enter")
    page.keyboard.type("two")
    assert page.input_value("#eft-prompt") == "one\ntwo"
    assert page.locator(".pane .t").count() == 0
    assert page.get_attribute("#eft-prompt", "enterkeyhint") == "enter"
    button = page.locator("[data-part=run]")
    assert button.is_visible() and "↵" not in button.inner_text()  # no key is shown
    button.tap()
    wait_end(page)
    assert page.locator(".pane .text").first.evaluate("t => t.textContent") == "one\ntwo"
    assert page.evaluate(
        "document.querySelector('.pane .text').getBoundingClientRect().top < innerHeight / 2"
    )
    page.locator(".pane.up .t").nth(1).tap()
    page.wait_for_selector("[data-part=side]:visible")
    assert page.locator("[data-part=peek]").is_hidden(), "the small card would hide the other one"


def with_sheet(site: Site) -> Any:
    """A phone's page after a run, with the sheet of a token open."""
    page = site.open(360, 740, **PHONE)
    run(page, "chant", 6)
    wait_end(page)
    page.locator(".pane.up .t").nth(1).tap()
    page.wait_for_selector("[data-part=side]:visible")
    return page


def test_a_closed_sheet_stays_closed_until_a_token_is_touched(site: Site) -> None:
    page = with_sheet(site)
    page.tap("[data-part=card-close]")
    page.focus("#eft-alpha")
    page.keyboard.press("Home")
    page.wait_for_selector("[data-part=write-on]:visible")
    page.tap("[data-part=write-on]")
    page.wait_for_function("document.querySelectorAll('.node').length === 2")
    wait_end(page)
    assert page.locator("[data-part=side]").is_hidden()
    page.locator(".t:visible").first.tap()
    page.wait_for_selector("[data-part=side]:visible")


def test_on_a_phone_a_new_run_is_not_written_behind_the_sheet(site: Site) -> None:
    page = with_sheet(site)
    page.fill("#eft-prompt", "gold")
    page.tap("[data-part=run]")
    page.wait_for_function("document.querySelector('.pane.up .text').textContent.includes('gold')")
    assert page.locator("[data-part=side]").is_hidden()
    wait_end(page)
    assert page.locator("[data-part=side]").is_hidden()
    page.locator(".pane.up .t").first.tap()
    page.wait_for_selector("[data-part=side]:visible")
    page.locator("[data-part=card-table] .cand").nth(1).tap()
    page.wait_for_selector(".node")
    wait_end(page)
    assert page.locator("[data-part=side]").is_visible(), "a branch goes on from the token that it shows"
    page.tap("[aria-controls=eft-columns]")
    assert page.locator("[data-part=side]").is_hidden(), "it would cover the settings"


@exhaustive
def test_on_touch_screens_no_text_mentions_mouse_or_keys(site: Site) -> None:
    page = site.open(360, 740, **PHONE)
    named = re.compile(r"\b(click|hover|mouse|keyboard|drag|ctrl|enter|esc|shift)\b|[↵↑↓]", re.IGNORECASE)
    seen = page.inner_text(".eft")
    assert "Once a text is there, tap a token" in seen
    run(page, "gold", 20)
    wait_end(page)
    page.locator(".pane.up .t").first.tap()
    page.locator(".pane.up .t").nth(2).tap()
    sheet = page.locator("[data-part=side]").bounding_box()
    token = page.locator(".t[aria-pressed=true]").bounding_box()
    assert token["y"] + token["height"] <= sheet["y"]  # the sheet does not cover what it is about
    assert page.locator("[data-part=peek]").is_hidden()
    page.locator("[data-part=card-table] .cand").nth(1).tap()
    page.wait_for_selector(".node")
    wait_end(page)
    seen += page.inner_text(".eft")
    page.tap("[data-part=card-close]")
    for name in ("strip", "odds", "bars"):
        page.click(f"[data-part=tab-{name}]")
        seen += page.inner_text(".eft")
    for drawer in ("eft-columns", "eft-sampling", "eft-method"):
        page.click(f"[aria-controls={drawer}]")
        seen += page.inner_text(".eft")
    for button in ("share", "open"):
        page.click(f"[data-part={button}]")
        seen += page.inner_text(f"[data-dialog={button}]")
        page.keyboard.press("Escape")
    page.click(".family-chip")
    page.wait_for_selector(".family-choice")
    seen += page.inner_text("[data-dialog=family]")
    found = [seen[max(0, at.start() - 30) : at.end() + 30] for at in named.finditer(seen)]
    assert not found and "Press a cell" in seen and "Tap a candidate" in seen and "Tap one" in seen


def test_on_a_phone_on_its_side_the_card_is_a_sheet_under_the_token(site: Site) -> None:
    page = site.open(740, 360, **PHONE)
    run(page, "gold", 20)
    wait_end(page)
    assert page.locator("[data-part=side]").is_hidden()
    page.locator(".pane.up .t").nth(2).tap()
    page.wait_for_selector("[data-part=side]:visible")
    sheet = page.locator("[data-part=side]").bounding_box()
    token = page.locator(".t[aria-pressed=true]").bounding_box()
    assert 0 <= token["y"] and token["y"] + token["height"] <= sheet["y"]
    assert sheet["y"] + sheet["height"] == 360
    assert page.locator("[data-part=card-title]").bounding_box()["y"] < 360
    assert violations(page) == []


def test_a_turned_phone_shows_the_legend_above_the_bars(site: Site) -> None:
    page = site.open(360, 740, **PHONE)
    run(page, "gold silver tin", 20)
    wait_end(page)
    page.wait_for_selector(".plot .legend")
    for width, height in ((740, 360), (360, 740)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(
            """([width]) => {
              const [plot, legend, bars] = ['.main-svg', '.legend', '.nsewdrag']
                .map((name) => document.querySelector('.plot ' + name).getBoundingClientRect());
              const fits = width - plot.width < 90 && plot.width < width;
              return fits && legend.top > plot.top + 4 && legend.bottom <= bars.top;
            }""",
            arg=[width],
        )


def test_a_scroll_that_begins_on_the_slider_leaves_it_where_it_was(site: Site) -> None:
    page = site.open(360, 740, **PHONE)
    rail = page.locator("#eft-alpha").bounding_box()
    before, x, y = page.input_value("#eft-alpha"), rail["x"] + 4, rail["y"] + rail["height"] / 2
    touches = page.context.new_cdp_session(page)

    def touch(kind: str, *at: float) -> None:
        points = [{"x": at[0], "y": at[1]}] if at else []
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    page.evaluate("scrolled = 0; addEventListener('scroll', () => (scrolled = scrollY))")
    touch("touchStart", x, y)
    assert page.input_value("#eft-alpha") != before
    for k in range(1, 9):
        touch("touchMove", x, y - 20 * k)
    page.wait_for_function("scrolled > 20")
    touch("touchEnd")
    assert page.input_value("#eft-alpha") == before


def test_a_run_beside_a_lesson_brings_its_text_into_sight(site: Site) -> None:
    page = site.open(360, 740, query="/#lesson=ten-steps&step=6", **PHONE)
    page.wait_for_selector(".pane.up .t", state="attached")
    page.fill("[data-part=prompt]", "chant")
    page.tap("[data-part=run]")
    page.wait_for_function("document.querySelector('.pane.up .text')?.textContent.startsWith('h')")
    page.wait_for_function("""() => {
        const { top } = document.querySelector('.pane.up .text').getBoundingClientRect();
        const bar = document.querySelector('.steer').getBoundingClientRect().bottom;
        return top > bar && top < innerHeight / 2;
    }""")


def test_no_field_makes_a_phone_zoom_and_nothing_is_wider_than_it(site: Site) -> None:
    page = site.open(360, 740, **PHONE)
    run(page, "gold", 20)
    wait_end(page)
    page.click(".family-chip")
    page.wait_for_selector(".family-choice")
    page.keyboard.press("Escape")
    for drawer in ("eft-columns", "eft-sampling", "eft-method"):
        page.click(f"[aria-controls={drawer}]")
        small = page.evaluate(
            """() => [...document.querySelectorAll("input, select, textarea")]
                .filter((field) => !["range", "checkbox", "radio"].includes(field.type))
                .filter((field) => parseFloat(getComputedStyle(field).fontSize) < 16)
                .map((field) => field.outerHTML.slice(0, 90))"""
        )
        assert small == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert violations(page) == []


def test_on_a_desktop_fields_keep_their_size_and_enter_runs(site: Site) -> None:
    page = site.open()
    assert page.evaluate("getComputedStyle(document.querySelector('.colour-by select')).fontSize") == "15px"
    assert page.locator("[data-part=run] kbd").is_visible()
    page.fill("#eft-prompt", "gold")
    page.press("#eft-prompt", "Enter")
    wait_end(page)
    assert page.locator(".pane .t").count() > 0


def test_each_field_asks_for_a_fitting_on_screen_keyboard(site: Site) -> None:
    page = site.open(360, 740, **PHONE)
    modes = {
        name: page.get_attribute(f"#eft-{name}", "inputmode") for name in ("temperature", "top_k", "seed")
    }
    assert modes == {"temperature": "decimal", "top_k": "numeric", "seed": "numeric"}
    recipe = page.locator("#eft-recipe-0")
    for name, value in {"autocapitalize": "off", "autocorrect": "off", "spellcheck": "false"}.items():
        assert recipe.get_attribute(name) == value, name


def test_without_hover_tooltips_are_written_as_text(site: Site) -> None:
    desk, phone = site.open(), site.open(360, 740, **PHONE)
    for place in (".pane.up .recipe", ".chip:not(.family-chip)"):
        whole = desk.locator(place).first.get_attribute("title")
        assert phone.locator(place).first.inner_text() == whole, place
    assert desk.locator(".pane.up .recipe").inner_text() != desk.locator(".pane.up .recipe").get_attribute(
        "title"
    )


# ---- an emptied field


def test_an_emptied_field_is_reported_as_empty_with_its_limits(site: Site) -> None:
    page = site.open()
    page.fill("#eft-prompt", "gold")
    page.click("[aria-controls=eft-sampling]")
    for name in ("temperature", "top_p", "top_k", "min_p", "seed", "length"):
        inputs = page.locator(f".field:has(#eft-{name}) input")
        before = inputs.evaluate_all("all => all.map(input => input.value)")
        page.fill(f"#eft-{name}", "")
        page.click("[data-part=run]")
        page.wait_for_selector(f"[data-error={name}]:not([hidden])")
        sentence = page.locator(f"[data-error={name}]").inner_text()
        assert "is empty. Please enter a" in sentence, name
        assert "None" not in sentence and "NaN" not in sentence, name
        assert inputs.evaluate_all("all => all.map(input => input.value)")[1:] == before[1:], name
        page.click("[data-part=share]")
        note = "document.querySelector('[data-part=link-note]').textContent"
        page.wait_for_function(f"words => {note}.includes(words)", arg=sentence.split(".")[0])
        page.keyboard.press("Escape")
        page.fill(f"#eft-{name}", before[0])


def test_letters_in_a_number_field_are_not_reported_as_empty(site: Site) -> None:
    page = site.open()
    page.fill("#eft-prompt", "gold")
    page.click("[aria-controls=eft-sampling]")
    page.fill("#eft-seed", "")
    page.type("#eft-seed", "1e")
    page.click("[data-part=run]")
    page.wait_for_selector("[data-error=seed]:not([hidden])")
    assert "got 'not a number'" in page.locator("[data-error=seed]").inner_text()


@exhaustive
def test_an_emptied_number_of_the_method_stays_empty_and_is_reported(site: Site) -> None:
    page = site.open()
    page.fill("#eft-prompt", "gold")
    page.click("[aria-controls=eft-method]")
    for name, kinds in {"schedule": ("warmup", "first"), "filter": ("top-p", "mask")}.items():
        error = page.locator(f"[data-error={name}]")
        none = page.input_value(f"#eft-{name}")
        for kind in kinds:
            assert error.is_hidden(), kind
            page.select_option(f"#eft-{name}", kind)
            assert page.input_value(f"#eft-{name}-value") != "", kind
            page.fill(f"#eft-{name}-value", "")
            assert page.input_value(f"#eft-{name}-value") == "", kind
            assert "NaN" not in page.locator(".eft").inner_text(), kind
            page.click("[data-part=run]")
            error.wait_for()
            assert "is empty" in error.inner_text(), kind
            page.select_option(f"#eft-{name}", none)
            page.click("[data-part=run]")  # the error goes with its cause
            wait_end(page)
            error.wait_for(state="hidden")


# ---- the theme


def is_dark(page: Any) -> bool:
    dark: bool = page.evaluate("document.body.classList.contains('dark')")
    return dark


def reopened(page: Any) -> Any:
    page.reload()
    page.wait_for_selector(".pane", state="attached")
    return page


@exhaustive
def test_the_theme_follows_the_system_until_one_is_chosen_and_remembered(site: Site) -> None:
    page = site.open(color_scheme="light")
    assert not is_dark(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.body.classList.contains('dark')")
    page.emulate_media(color_scheme="light")
    page.wait_for_function("!document.body.classList.contains('dark')")
    page.click("[data-part=theme]")
    assert is_dark(page) and is_dark(reopened(page))
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")
    assert page.evaluate(
        "new Promise(done => requestAnimationFrame(() => done(document.body.classList.contains('dark'))))"
    )
    other = page.context.new_page()  # another page of the same browser
    site.listen(other)
    other.goto(site.url)
    other.wait_for_selector(".pane")
    assert is_dark(other)
    page.goto(site.url + "/?__theme=light")  # the address decides for its page
    page.wait_for_selector(".pane")
    assert not is_dark(page)
    page.goto(site.url)
    page.wait_for_selector(".pane")
    page.click("[data-part=theme]")  # the system's theme is not a choice
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.body.classList.contains('dark')")


def test_the_page_works_in_a_browser_without_storage(site: Site) -> None:
    page = site.browser.new_context().new_page()
    site.listen(page)
    page.add_init_script(
        "for (const name of ['localStorage', 'sessionStorage'])"
        " Object.defineProperty(window, name,"
        " { get() { throw new DOMException('denied', 'SecurityError'); } });"
    )
    page.goto(site.url)
    page.wait_for_selector(".pane")
    page.click("[data-part=theme]")
    assert is_dark(page)
    assert not is_dark(reopened(page))
    site.complaints[:] = [
        text for text in site.complaints if "denied" not in text
    ]  # those of Gradio's own scripts


def test_a_double_click_does_the_same_as_a_click(site: Site) -> None:
    page = site.open(1280, 720)
    for name in ("share", "open", "help"):
        page.dblclick(f"[data-part={name}]")
        dialog = page.locator(f"dialog[data-dialog={name}]")
        assert dialog.is_visible()
        page.wait_for_function(
            "since => performance.now() - since > 600", arg=page.evaluate("performance.now()")
        )
        page.mouse.click(5, 5)  # a click beside it still closes it
        assert not dialog.is_visible()


# ---- a print


@pytest.mark.parametrize("theme", first_of("dark", "light"))
def test_a_print_is_dark_on_white_and_has_no_buttons(site: Site, theme: str) -> None:
    page = site.open(1280, 720, query=f"/?__theme={theme}")
    prompt = "How do chemists write gold?"
    run(page, prompt, 80)
    wait_end(page)
    assert pages_of(page.pdf(format="A4")) == 1
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator(
        "button:visible, input:visible, select:visible, textarea:visible, kbd:visible"
    ).count() == len(
        page.locator(".cand:visible").all()  # the names of the candidates are text on paper
    )
    assert page.locator("[data-part=printed-prompt]").inner_text() == prompt
    assert "α 1.00" in page.locator("[data-part=printed-settings]").inner_text()
    assert "seed 0" in page.locator("[data-part=printed-settings]").inner_text()
    ground = page.evaluate(
        "['body', '.gradio-container', '.pane']"
        ".map(e => getComputedStyle(document.querySelector(e)).backgroundColor)"
    )
    assert set(ground) <= {"rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"}
    pale = page.evaluate(PALE)
    assert pale == []
    assert page.evaluate("getComputedStyle(document.querySelector('.t')).printColorAdjust") == "exact"
    page.emulate_media(media="screen")
    assert page.locator("[data-part=run]").is_visible() and not page.locator(".printed").is_visible()


# Text that would be unreadable on white paper: contrast below 4.5 to 1.
PALE = """() => {
  const light = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), pale = new Set();
  while (walker.nextNode()) {
    const at = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !at.checkVisibility()) continue;
    if (at.closest("script, style, .unseen")) continue;
    const [r, g, b] = getComputedStyle(at).color.match(/[\\d.]+/g).map(Number);
    const luminance = 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
    if (1.05 / (luminance + 0.05) < 4.5) pale.add(at.outerHTML.slice(0, 80));
  }
  return [...pale];
}"""


def pages_of(pdf: bytes) -> int:
    return pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") + pdf.count(b"/Type /Page/")


@pytest.mark.parametrize("theme", first_of("dark", "light"))
def test_a_saved_page_prints_dark_on_white(site: Site, theme: str, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    path.write_text(to_html(said(["Lima", " is", " it"])), encoding="utf-8")
    page = site.browser.new_context(color_scheme=theme).new_page()
    page.goto(path.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate(PALE) == []
    assert page.locator("select:visible").count() == 0
    assert pages_of(page.pdf(format="A4")) == 1


# ---- a dropped file

DROP = """([files, folder]) => {
  const transfer = new DataTransfer();
  for (const [name, text] of files) transfer.items.add(new File([text], name));
  const asFolder = { value: () => ({ isDirectory: true }), configurable: true };
  if (folder) Object.defineProperty(DataTransferItem.prototype, "webkitGetAsEntry", asFolder);
  const send = (type, target) => {
    const event = new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true });
    target.dispatchEvent(event);
    return event.defaultPrevented;
  };
  const target = document.querySelector(window.dropAt || "body");
  const over = [send("dragenter", target), send("dragover", target)];
  const isShown = () => document.querySelector(".eft").classList.contains("dropping"), before = isShown();
  return [...over, send("drop", target), before, isShown()];
}"""


def test_a_run_dropped_anywhere_on_the_page_opens(site: Site) -> None:
    page = site.open()
    trace = said(["Lima", " is", " it"]).to_json()
    for number, place in enumerate(("body", "#eft-prompt", ".pane .text", "[data-part=run]")):
        name = f"mine-{number}.json"
        page.evaluate("place => { window.dropAt = place; }", place)
        assert page.evaluate(DROP, [[[name, trace]], False]) == [True, True, True, True, False], place
        page.wait_for_selector(f"[data-part=replay]:visible [data-part=replay-title]:text-is('{name}')")
        assert page.url.startswith(site.url), place


# Dropped files, whether they are a folder, and words of the error message.
UNREADABLE = [
    ([["a.json", "{}"], ["b.json", "{}"]], False, "2 files were dropped"),
    ([["photo.png", "\u0089PNG"]], False, "JSON"),
    ([["empty.json", ""]], False, "JSON"),
    ([["big.json", "x" * 9_000_000]], False, "bytes"),
    ([["other.json", json.dumps({"hello": 1})]], False, "no version"),
    ([["holiday", ""]], True, "holiday is a folder"),  # last: whatever the page gets from now on is one
]


@exhaustive
def test_a_dropped_file_that_cannot_be_opened_gets_an_error_message(site: Site) -> None:
    page = site.open()
    for files, folder, words in UNREADABLE:
        page.click("[data-part=help]")  # a dialog is open
        assert page.locator("[data-part=open-error]").is_hidden(), words
        page.evaluate(DROP, [files, folder])
        page.wait_for_selector("[data-part=open-error]:visible")
        assert words in page.locator("[data-part=open-error]").inner_text(), words
        page.keyboard.press("Escape")
        assert page.locator("[data-part=replay]").is_hidden(), words
    page.click("[data-part=help]")
    page.evaluate(DROP, UNREADABLE[0][:2])
    page.wait_for_selector("[data-part=open-error]:visible")
    assert violations(page) == []


def test_a_drag_that_leaves_the_window_is_forgotten_and_text_can_still_be_dragged(site: Site) -> None:
    page = site.open()
    page.evaluate(
        """() => { const transfer = new DataTransfer(); transfer.items.add(new File(["x"], "x.json"));
           const init = { dataTransfer: transfer, bubbles: true, cancelable: true };
           document.body.dispatchEvent(new DragEvent("dragover", init)); }"""
    )
    page.wait_for_selector(".eft.dropping", state="attached")
    page.wait_for_selector(".eft:not(.dropping)", state="attached")
    taken = """([type, place]) => {
        const transfer = new DataTransfer();
        transfer.setData(type, "https://example.org");
        const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
        document.querySelector(place).dispatchEvent(event); return event.defaultPrevented; }"""
    assert page.evaluate(taken, ["text/plain", "#eft-prompt"]) is False
    assert page.evaluate(taken, ["text/uri-list", "#eft-prompt"]) is False
    assert page.evaluate(taken, ["text/uri-list", "body"]) is True  # the browser would follow it
