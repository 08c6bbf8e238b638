"""The page in a real browser: everything a visitor does, and hostile texts on every way in and out."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from eft_demo.settings import Settings
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, SPOKEN, Site, endings, run, serving, stays, texts, wait_end
from tests.tiers import exhaustive, first_of
from tests.waiting import until

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
# The screen position of token i's bars, anywhere in its strip.
STRIP = """i => {
  const box = document.querySelector('.plot'), axis = box._fullLayout.xaxis, at = box.getBoundingClientRect();
  return [at.left + axis._offset + axis.d2p(i), at.top + at.height / 2];
}"""
HOSTILE = [
    "<script>window.pwned=1</script>",
    "<img src=x onerror='window.pwned=1'>",
    "${window.pwned=1} `${'x'}` {{pwned}} {{{pwned}}}",
    "C:\\users\\new \\u0041 ${ unclosed `",
    "</span></div></textarea><svg/onload=window.pwned=1>",
    "\u202eright to left\u202c, 👩‍🚀 zero width, e\u0301, 東京, \x07 bell",
    "<|endoftext|>User: hello\n\n<b>bold</b>&amp;&lt;",
    "<a href='javascript:window.pwned=1'>plot label</a>",
]


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings(), pause_s=0.05), browser) as site:
        yield site


def wait_tokens(page: Any, count: int, column: int = 2) -> None:
    page.wait_for_function(
        "([n, p]) => document.querySelectorAll('.pane .text')[p].querySelectorAll('.t').length >= n",
        arg=[count, column],
    )


def set_alpha(page: Any, value: float) -> None:
    page.eval_on_selector(
        "#eft-alpha", "(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", value
    )


def test_run_by_click_and_by_keys_streams_three_columns(site: Site) -> None:
    page = site.open()
    for by_keys in (False, True):
        if by_keys:
            run(page, "Hello Peru")
        else:
            page.fill("#eft-prompt", "Hello Peru")
            page.click("[data-part=run]")
        wait_tokens(page, 1)
        wait_end(page)
        assert texts(page) == ["Hello Peru"] * 3
        assert all(ending.startswith("finished · 11 tokens") for ending in endings(page))
        assert all(
            re.search(r"\d+ tok/s · first \d+ ms", foot)
            for foot in page.locator(".foot span").all_inner_texts()
        )


def test_a_page_at_rest_draws_no_frames(site: Site) -> None:
    page = site.browser.new_context().new_page()
    page.add_init_script(
        "window.frames_asked = 0; const real = requestAnimationFrame;"
        "window.requestAnimationFrame = (draw) => { window.frames_asked += 1; return real(draw); };"
    )
    page.goto(site.url)
    page.wait_for_selector(".pane", state="attached")
    run(page, "Hi", length=4)
    wait_end(page)
    # Gradio's loading indicator would ask for a frame after every frame, for as long as the page is open.
    in_a_second = (
        "(before => new Promise(done => setTimeout(() => done(frames_asked - before), 1000)))(frames_asked)"
    )
    until(lambda: page.evaluate(in_a_second) <= 2)
    assert page.evaluate("frames_asked") > 0


def test_an_example_runs_at_a_click(site: Site) -> None:
    page = site.open()
    page.click("text=What is the capital of Peru?")
    wait_end(page)
    assert texts(page) == ["What is the capital of Peru?"] * 3


def test_alpha_moved_while_streaming_takes_effect_at_the_next_token(site: Site) -> None:
    page = site.open()
    set_alpha(page, 0)
    run(page, "chant")
    wait_tokens(page, 4)
    set_alpha(page, 3)
    page.wait_for_function("document.querySelectorAll('.pane .text')[2].textContent.includes('h')")
    page.keyboard.press("Escape")
    wait_end(page)
    base, tuned, mixed = texts(page)
    assert set(base) == {"l"} and set(tuned) == {"h"}
    assert re.fullmatch("l{4,}h+", mixed)
    assert page.locator(".turn").last.get_attribute("data-value") == "3.00"
    assert page.locator("[data-part=alpha-value]").inner_text() == "3.00"
    assert page.locator(".pane.up .t.raised.strong").count() > 0


def test_alpha_moved_right_after_run_is_not_lost(site: Site) -> None:
    page = site.open()
    set_alpha(page, 0)
    page.fill("#eft-prompt", "chant")
    page.eval_on_selector(  # in one go, so that the server's first line can't have come yet
        "#eft-alpha",
        """slider => {
            document.querySelector('[data-part=run]').click();
            slider.value = 3;
            slider.dispatchEvent(new Event('input'));
        }""",
    )
    page.wait_for_function("document.querySelectorAll('.pane .text')[2].textContent.includes('h')")
    page.keyboard.press("Escape")
    wait_end(page)


def test_escape_stops_within_a_token_of_what_is_shown(site: Site) -> None:
    page = site.open()
    run(page, "chant")
    wait_tokens(page, 3)
    page.keyboard.press("Escape")
    wait_end(page)
    assert all("stopped" in ending for ending in endings(page))
    assert site.demo.service.engine.active_sequences == 0


@exhaustive
def test_run_and_stop_twenty_times(site: Site) -> None:
    page = site.open()
    for _ in range(20):
        run(page, "chant")
        page.click("[data-part=stop]")
        wait_end(page)
    run(page, "still here")
    wait_end(page)
    assert texts(page) == ["still here"] * 3


def test_run_during_a_run_starts_a_new_one(site: Site) -> None:
    page = site.open()
    run(page, "chant")
    wait_tokens(page, 2)
    run(page, "second")
    page.wait_for_function("document.querySelectorAll('.pane .text')[2].textContent === 'second'")
    wait_end(page)
    until(lambda: site.demo.service.engine.active_sequences == 0)
    assert stays(page, ".pane.up .text")
    assert texts(page) == ["second"] * 3


def test_tokens_and_bars_select_each_other(site: Site) -> None:
    page = site.open(height=1800)
    set_alpha(page, 1)
    run(page, "chant")
    wait_tokens(page, 12)
    page.keyboard.press("Escape")
    wait_end(page)
    page.wait_for_selector(".plot .barlayer .point")
    page.locator(".pane.up .t").nth(3).click()
    page.wait_for_selector("[data-part=card-title]:has-text('token 4 of')")
    assert "decide" in page.locator("[data-part=card-verdict]").inner_text()
    assert page.locator(".candidates th[scope=row]").count() >= 2
    page.wait_for_function(
        "document.querySelector('.plot').layout.shapes.some(s => s.type === 'rect' && s.x0 === 2.5)"
    )
    strip = page.evaluate(STRIP, 6)
    page.mouse.click(*strip)
    page.wait_for_function("document.querySelector('.pane.up .t[aria-pressed=true]')?.dataset.i === '6'")
    assert page.locator("[aria-pressed=true]").count() == 1


def test_the_keyboard_reaches_every_token(site: Site) -> None:
    page = site.open()
    run(page, "abcdef")
    wait_end(page)
    page.locator(".pane.up .t").first.focus()
    for key, place in [
        ("ArrowRight", ("2", "1")),
        ("End", ("2", "6")),
        ("ArrowUp", ("1", "6")),
        ("Home", ("1", "0")),
    ]:
        page.keyboard.press(key)
        chosen = page.locator(".t[aria-pressed=true]")
        assert (chosen.evaluate("t => t.closest('.text').dataset.p"), chosen.get_attribute("data-i")) == place
        assert chosen.evaluate("t => t === document.activeElement")
    assert "Token 1 of 7" in page.locator(".t[aria-pressed=true]").get_attribute("aria-label")


def test_the_zoom_is_kept_while_the_plot_grows(site: Site) -> None:
    page = site.open(height=1800)
    run(page, "chant")
    wait_tokens(page, 14)
    page.wait_for_selector(".plot .barlayer .point")
    page.evaluate("document.querySelector('.plot').dataset.mark = 'same'")
    box = page.locator(".plot .nsewdrag").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 330, box["y"] + 100, steps=4)
    page.mouse.up()
    dragged = page.evaluate("document.querySelector('.plot').layout.xaxis.range.slice()")
    before = page.evaluate("document.querySelector('.plot').data[0].x.length")
    page.wait_for_function("n => document.querySelector('.plot').data[0].x.length > n + 4", arg=before)
    assert page.evaluate("document.querySelector('.plot').layout.xaxis.range") == pytest.approx(dragged)
    page.keyboard.press("Escape")
    wait_end(page)


def test_hostile_text_is_shown_verbatim_and_never_runs(site: Site) -> None:
    page = site.open()
    for hostile in HOSTILE:
        run(page, hostile)
        wait_end(page)
        page.wait_for_selector(".plot .barlayer .point")
        assert texts(page) == [hostile] * 3
        page.locator(".pane.up .t").first.click()
        page.wait_for_selector("[data-part=card-title]:has-text('token 1 of')")
        assert page.evaluate("window.pwned") is None
        assert "Error rendering" not in page.content()


def test_an_invalid_prompt_gets_an_error_message_under_the_prompt(site: Site) -> None:
    page = site.open()
    page.evaluate(SPOKEN)
    for prompt, words in (("   ", "empty"), ("x" * 100_000, "100,000"), ("x" * 400_000, "400,000")):
        page.eval_on_selector("#eft-prompt", "(box, text) => { box.value = text; }", prompt)
        page.click("[data-part=run]")
        page.wait_for_function("!document.querySelector('[data-error=prompt]').hidden")
        assert words in page.locator("[data-error=prompt]").inner_text()
        assert page.get_attribute("#eft-prompt", "aria-invalid") == "true"
        assert "Running" not in page.evaluate("said")
        wait_end(page)
        fine = f"fine after {words}"
        run(page, fine)
        page.wait_for_function(
            "text => document.querySelector('.pane.up .text').textContent === text", arg=fine
        )
        wait_end(page)
        assert texts(page) == [fine] * 3 and page.locator("[data-error=prompt]").is_hidden()
        assert page.get_attribute("#eft-prompt", "aria-invalid") == "false"
        assert "Running" in page.evaluate("said.splice(0)")


def test_an_invalid_number_gets_an_error_message_beside_its_field(site: Site) -> None:
    page = site.open()
    page.fill("#eft-prompt", "x")
    page.click("[aria-controls=eft-sampling]")
    page.fill("#eft-temperature", "99")
    page.click("[data-part=run]")
    page.wait_for_function("!document.querySelector('[data-error=temperature]').hidden")
    assert (
        "Temperature must be a number from 0 to 2; got 99"
        in page.locator("[data-error=temperature]").inner_text()
    )
    assert (
        page.get_attribute("#eft-temperature", "aria-describedby")
        == page.get_attribute("[data-error=temperature]", "id")
        and page.get_attribute("#eft-temperature", "aria-invalid") == "true"
    )
    page.fill("#eft-temperature", "")
    assert page.get_attribute("#eft-temperature", "aria-invalid") == "false"
    page.click("[data-part=run]")
    page.wait_for_function(
        "document.querySelector('[data-error=temperature]').textContent.includes('is empty')"
    )


def test_two_browsers_get_their_own_text(site: Site) -> None:
    first, second = site.open(), site.open()
    run(first, "the first person's words")
    run(second, "quite another text")
    wait_end(first)
    wait_end(second)
    assert texts(first) == ["the first person's words"] * 3
    assert texts(second) == ["quite another text"] * 3


def test_a_closed_tab_frees_its_sequences(site: Site) -> None:
    page = site.open()
    run(page, "chant")
    wait_tokens(page, 2)
    page.context.close()
    until(lambda: site.demo.service.engine.active_sequences == 0)


@pytest.mark.parametrize("theme", first_of("dark", "light"))
def test_nothing_overflows_in_either_theme_at_any_width(site: Site, theme: str) -> None:
    page = site.open(1400, 900, f"/?__theme={theme}")
    for width in (1400, 360):
        page.set_viewport_size({"width": width, "height": 900})
        run(page, f"How do chemists write gold at {width}?")
        page.wait_for_selector(f".pane.up .text:has-text('{width}?')")
        wait_end(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink = page.eval_on_selector(".eft", "node => getComputedStyle(node).color")
    back = page.eval_on_selector("body", "node => getComputedStyle(node).backgroundColor")
    lightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) / 765 for colour in (ink, back)]
    assert (
        (lightness[0] > 0.8 and lightness[1] < 0.2)
        if theme == "dark"
        else (lightness[0] < 0.2 and lightness[1] > 0.8)
    )
