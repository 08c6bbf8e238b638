"""Controls before and during a run, by keyboard alone: columns, sliders, the pad, the method."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from eft_demo.method.schedule import parse_schedule
from eft_demo.settings import Settings
from tests.fakes import BRIEF_CHANT, make_service
from tests.site import BROWSER_MARKS, Site, run, serving, texts, wait_end

pytestmark = BROWSER_MARKS
OPENERS = {"Columns": "eft-columns", "Sampling": "eft-sampling", "Method": "eft-method"}
PAD = "small_base + alpha*(small_tuned - small_base) + beta*(large_base - small_base)"

# Moves alpha to 0 as soon as only Base goes on, and notes in `moved` whether the run did.
AT_ONCE = """() => {
    const [text, alpha] = ['[data-part=as-if-text]', '#eft-alpha'].map(part => document.querySelector(part));
    const watch = new MutationObserver(() => {
        if (!text.textContent.startsWith('The columns that α affects are finished')) return;
        watch.disconnect();
        alpha.value = 0;
        alpha.dispatchEvent(new Event('input', {bubbles: true}));
        window.moved = document.querySelector('[data-part=stop]').disabled ? 'too late' : 'running';
    });
    watch.observe(text, {subtree: true, childList: true, characterData: true});
}"""


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings(), pause_s=0.05), browser) as site:
        yield site


def open_drawer(page: Any, name: str) -> None:
    page.focus(f"[aria-controls={OPENERS[name]}]")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#{OPENERS[name]}:visible")


def type_recipe(page: Any, index: int, text: str) -> None:
    page.focus(f"#eft-recipe-{index}")
    page.keyboard.press("Control+a")
    page.keyboard.type(text)


def test_a_run_waits_for_the_sliders_of_a_recipe_typed_just_now(site: Site) -> None:
    page = site.open()
    open_drawer(page, "Columns")
    page.fill("#eft-recipe-0", "large_base + beta*(small_tuned - small_base)")
    run(page, "gold", 8)
    page.wait_for_selector(".t")
    assert page.locator("#eft-beta").count() == 1
    wait_end(page)


def pick(page: Any, menu: str, beginning: str) -> None:
    """Move through a menu by arrow keys, down to the first entry that starts with this text."""
    page.focus(menu)
    page.keyboard.press("Home")
    for _ in range(page.locator(f"{menu} option").count()):
        if page.eval_on_selector(menu, "menu => menu.selectedOptions[0].text").startswith(beginning):
            return
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"{menu} has no {beginning}")


def choose(page: Any, index: int, beginning: str) -> None:
    """A preset for a column."""
    pick(page, f"#eft-column-{index}", beginning)


def wait_names(page: Any, *names: str) -> None:
    page.wait_for_function(
        "names => [...document.querySelectorAll('.pane h2')].map(h => h.textContent).join() === names",
        arg=",".join(names),
    )


def sliders(page: Any) -> list[str]:
    names: list[str] = page.eval_on_selector_all(
        ".slider:not([hidden])", "rows => rows.map(row => row.dataset.control)"
    )
    return names


def value_of(page: Any, control: str) -> str:
    shown: str = page.locator(f"[data-part={control}-value]").inner_text()
    return shown


def wait_sentence(page: Any, where: str, words: str) -> None:
    """Wait for this error message: while typing, others may appear before it."""
    page.wait_for_function(
        """([where, words]) => {
            const place = document.querySelector(`[data-error=${where}]`);
            return !place.hidden && place.textContent.includes(words);
        }""",
        arg=[where, words],
    )


def wait_tokens(page: Any, column: int, pattern: str) -> None:
    page.wait_for_function(
        "([p, pattern]) => RegExp(pattern).test(document.querySelectorAll('.pane .text')[p].textContent)",
        arg=[column, pattern],
    )


def test_closed_drawers_show_the_seed_and_what_is_not_as_usual(site: Site) -> None:
    page = site.open()
    shown = page.locator(".openers").inner_text()
    assert "seed 0" in shown and "temperature" not in shown
    open_drawer(page, "Sampling")
    page.fill("#eft-temperature", "1.5")
    assert page.locator("[data-part=sampling-summary]").inner_text() == "temperature 1.5 · seed 0"


def test_a_typed_recipe_is_checked_as_it_is_typed_and_then_runs(site: Site) -> None:
    page = site.open()
    open_drawer(page, "Columns")
    type_recipe(page, 2, "large_base + 0.7*(assistant small_base)")
    wait_sentence(page, "column-2", "character 29")
    assert page.locator("[data-error=column-2] mark").inner_text() == "s"
    assert page.get_attribute("#eft-recipe-2", "aria-invalid") == "true"
    type_recipe(page, 2, "large_base + 0.7*(gorgon - small_base)")
    wait_sentence(page, "column-2", "no model gorgon")
    type_recipe(page, 2, "large_base + 0.7*(assistant - small_base) + 0.5*(pirate - small_base)")
    wait_names(page, "Base", "Tuned", "Custom recipe")
    page.wait_for_function("document.querySelector('[data-error=column-2]').hidden")
    page.wait_for_function("document.querySelectorAll('.pane .what')[2].textContent.includes('2 behaviours')")
    run(page, "hello")
    wait_end(page)
    assert texts(page) == ["hello"] * 3
    assert sliders(page) == []
    assert "No slider affects" in page.locator("[data-part=no-sliders]").inner_text()
    page.select_option("[data-part=plotted]", label="Custom recipe")
    page.wait_for_function("document.querySelector('.plot').data?.length === 5")
    names = page.evaluate("document.querySelector('.plot').data.map(trace => trace.name)")
    assert "assistant" in names[1] and "pirate" in names[2]


def test_a_slider_is_named_after_size_or_tuning_only_where_it_weighs_that(site: Site) -> None:
    page = site.open()
    open_drawer(page, "Columns")
    label, ticks = page.locator("label[for=eft-beta]"), page.locator(".slider[data-control=beta] .ticks")
    type_recipe(page, 2, "large_base + alpha*(assistant - small_base) + beta*(pirate - small_base)")
    label.get_by_text("strength of the β terms").wait_for()
    assert ticks.inner_text().split() == ["0", "·", "off", "1", "2", "3"]
    assert "strength of tuning" in page.locator("label[for=eft-alpha]").inner_text()
    type_recipe(page, 2, "assistant + beta*(large_base - small_base)")
    label.get_by_text("strength of size").wait_for()
    assert "small only" in ticks.inner_text()


def test_running_an_invalid_recipe_shows_an_error_in_its_column(site: Site) -> None:
    page = site.open()
    open_drawer(page, "Columns")
    type_recipe(page, 0, "large_base + alpha*(")
    wait_sentence(page, "column-0", "the name of a model")
    open_drawer(page, "Sampling")
    run(page, "hello")
    wait_end(page)
    wait_sentence(page, "column-0", "the name of a model")
    assert page.locator("#eft-columns").is_visible() and page.locator("#eft-sampling").is_hidden()


def test_one_to_four_columns_can_be_added_and_removed(site: Site) -> None:
    page = site.open(1280, 720)
    open_drawer(page, "Columns")
    page.focus("[data-part=add-column]")
    page.keyboard.press("Enter")
    wait_names(page, "Base", "Tuned", "Up-scaled", "Small base")
    assert page.locator("[data-part=add-column]").is_disabled()
    tops = page.eval_on_selector_all(".pane", "panes => panes.map(pane => pane.offsetTop)")
    assert len(set(tops)) == 1 and page.evaluate("document.documentElement.scrollWidth") <= 1280
    run(page, "four")
    wait_end(page)
    assert texts(page) == ["four"] * 4
    box, sliders = page.locator(".pane").first.bounding_box(), page.locator(".steer").bounding_box()
    assert sliders["y"] + sliders["height"] <= box["y"] < 360, "not below the open settings"
    for left in (3, 2, 1):
        page.focus("[aria-label='Remove column 1']")
        page.keyboard.press("Enter")
        assert page.locator(".choice").count() == left
    assert page.locator("[aria-label='Remove column 1']").is_disabled()
    summary = page.locator("[data-part=columns-summary]").inner_text()
    assert summary == "Small base · from the next run"
    run(page, "one")
    wait_end(page)
    assert texts(page) == ["one"]


def test_four_columns_lie_side_by_side_on_a_phone(site: Site) -> None:
    page = site.open(360, 800)
    open_drawer(page, "Columns")
    page.focus("[data-part=add-column]")
    page.keyboard.press("Enter")
    position = "getComputedStyle(document.querySelector('.dial')).position"
    assert page.evaluate(position) == "sticky"
    choose(page, 3, "Blend")
    page.wait_for_function(position + " === 'static'")  # so many sliders would cover the text
    choose(page, 0, "Pad")
    wait_names(page, "Pad", "Tuned", "Up-scaled", "Blend")
    page.wait_for_function(
        """() => {
            const panes = [...document.querySelectorAll('.pane')], lefts = panes.map(pane => pane.offsetLeft);
            return new Set(lefts).size === 4 && panes.every(pane => pane.offsetWidth > 300);
        }"""
    )
    for name in OPENERS:
        if page.get_attribute(f"[aria-controls={OPENERS[name]}]", "aria-expanded") == "false":
            open_drawer(page, name)
        page.wait_for_function("document.documentElement.scrollWidth <= 360")


def test_each_slider_affects_the_streaming_text(site: Site) -> None:
    page = site.open()
    open_drawer(page, "Columns")
    choose(page, 0, "Blend")
    choose(page, 1, "Ampl")
    wait_names(page, "Blend", "Amplified", "Up-scaled")
    assert sliders(page) == [
        "alpha",
        "beta",
        "alpha_assistant",
        "alpha_brief",
        "alpha_pirate",
        "alpha_guarded",
    ]
    for control in sliders(page)[2:]:
        assert value_of(page, control) == "0.25"
        page.focus(f"#eft-{control}")
        page.keyboard.press("Home")
    run(page, "chant")
    wait_tokens(page, 0, "l{3,}")
    page.focus("#eft-alpha_pirate")
    page.keyboard.press("End")
    wait_tokens(page, 0, "lh")
    wait_tokens(page, 1, "h{3,}")
    page.focus("#eft-beta")
    page.keyboard.press("End")
    wait_tokens(page, 1, "hl")
    page.keyboard.press("Escape")
    wait_end(page)
    blend, amplified, upscaled = texts(page)
    assert re.fullmatch("l+h+", blend) and re.fullmatch("h+l+", amplified) and set(upscaled) == {"h"}
    turns = page.eval_on_selector_all(
        ".turn", "turns => turns.map(turn => turn.dataset.name + ' ' + turn.dataset.value)"
    )
    assert "α pirate 3.00" in turns and "β 3.00" in turns


def test_a_slider_moved_after_the_text_that_it_affects_shows_its_effect_when_the_run_has_ended(
    site: Site,
) -> None:
    page = site.open()
    said = "document.querySelector('[data-part=as-if-text]').textContent"
    page.evaluate(AT_ONCE)
    run(page, BRIEF_CHANT)
    page.wait_for_function("window.moved")
    assert page.evaluate("window.moved") == "running" and page.is_hidden("[data-part=write-on]")
    page.keyboard.press("Escape")
    wait_end(page)
    page.wait_for_function(f"{said}.includes('α 0.00: 4 of 4 tokens of Up-scaled would change')")
    assert page.is_visible("[data-part=write-on]") and texts(page)[2] == "hhh"
    page.locator("[data-part=as-written]").press("Enter")
    assert value_of(page, "alpha") == "1.00"


def test_a_slider_moved_while_its_text_streams_is_no_preview_when_the_run_has_ended(site: Site) -> None:
    page = site.open()
    run(page, "chant")
    wait_tokens(page, 2, "h{3,}")
    page.focus("#eft-alpha")
    page.keyboard.press("Home")
    wait_tokens(page, 2, "hl")
    page.keyboard.press("Escape")
    wait_end(page)
    page.wait_for_function(
        "document.querySelector('[data-part=as-if-text]').textContent.startsWith('Tuning changed')"
    )
    assert page.is_hidden("[data-part=write-on]") and page.locator(".t.would").count() == 0


def test_the_pad_and_the_sliders_move_each_other(site: Site) -> None:
    page = site.open()
    assert page.locator("[data-part=pad]").is_hidden()
    open_drawer(page, "Columns")
    choose(page, 0, "Pad")
    page.wait_for_selector("[data-part=pad]:visible")
    assert page.locator("[data-part=pad-note]").inner_text() == "This is the up-scaled model."
    page.focus("#eft-beta")
    page.keyboard.press("Tab")  # past the sliders
    alpha = page.locator("[data-part=pad-alpha]")
    assert alpha.evaluate("input => input === document.activeElement")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowDown", "Shift+ArrowDown"):
        page.keyboard.press(key)
    assert (value_of(page, "alpha"), value_of(page, "beta")) == ("0.90", "0.70")
    beta = page.locator("[data-part=pad-beta]")
    assert beta.evaluate("input => input === document.activeElement")
    assert beta.get_attribute("aria-valuetext") == "α 0.90, β 0.70"
    for key in ("Home", "PageDown", "PageDown", "PageDown"):
        page.keyboard.press(key)
    assert beta.get_attribute("aria-valuetext") == "α 0.00, β 0.00: the small base"
    page.focus("#eft-alpha")
    page.keyboard.press("End")
    assert "Outside" in page.locator("[data-part=pad-note]").inner_text()
    knob = page.locator("[data-part=pad-knob]")
    assert knob.evaluate("knob => [knob.style.left, knob.style.bottom]") == ["100%", "0%"]


def test_the_pad_affects_a_streaming_text_by_mouse_and_touch(site: Site) -> None:
    page = site.open(has_touch=True)
    open_drawer(page, "Columns")
    type_recipe(page, 0, PAD)
    page.wait_for_selector("[data-part=pad]:visible")
    page.click("[aria-controls=eft-columns]")
    box = page.locator("[data-part=pad-square]").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] - 5)
    page.mouse.down()
    page.mouse.move(box["x"] - 40, box["y"] + 4, steps=3)  # outside the square, still pressed
    page.mouse.up()
    assert (value_of(page, "alpha"), value_of(page, "beta")) == ("0.00", "0.95")
    run(page, "chant")
    wait_tokens(page, 0, "l{3,}")
    box = page.locator("[data-part=pad-square]").bounding_box()  # the introduction is gone
    page.touchscreen.tap(box["x"] + box["width"] - 1, box["y"] + box["height"] - 1)
    wait_tokens(page, 0, "lh")
    page.keyboard.press("Escape")
    wait_end(page)
    assert re.fullmatch("l+h+", texts(page)[0])
    names = page.eval_on_selector_all(".pane:first-child .turn", "turns => turns.map(t => t.dataset.name)")
    assert {"α", "β"} <= set(names)


def test_the_schedule_is_drawn_and_takes_effect(site: Site) -> None:
    page = site.open()
    open_drawer(page, "Method")
    pick(page, "#eft-schedule", "only")
    page.focus("#eft-schedule-value")
    page.keyboard.press("Control+a")
    page.keyboard.type("5")
    label = page.locator(".curve").get_attribute("aria-label")
    assert label.endswith("1, 1, 1, 1, 1, 0, 0, 0 …")
    assert page.locator("[data-part=method-summary]").inner_text() == "α first 5"
    run(page, "chant", 9)
    wait_end(page)
    assert texts(page)[2] == "hhhhhllll"
    page.keyboard.press("Escape")
    page.focus("#eft-schedule-value")
    page.keyboard.press("Control+a")
    page.keyboard.type("0")
    run(page, "chant", 9)
    wait_end(page)
    wait_sentence(page, "schedule", "number of tokens")


def test_the_drawn_schedule_equals_the_engines(site: Site) -> None:
    page = site.open()
    open_drawer(page, "Method")
    for kind, value, text in [
        ("custom", "0 0.5 1 0.25", "list 0 0.5 1 0.25"),
        ("custom", "0, 0.5; 1", "list 0 0.5 1"),  # as people also write lists
        ("warm", "7", "warmup 7"),
        ("only", "3", "first 3"),
    ]:
        pick(page, "#eft-schedule", kind)
        page.fill("#eft-schedule-value", value)
        points = page.locator(".curve polyline").get_attribute("points").split()
        heights = [float(point.split(",")[1]) for point in points[::2]]
        shares = [1 - (height - 4) / 36 for height in heights]
        assert shares == pytest.approx(parse_schedule(text).curve(24))


def test_the_weight_filter_limits_the_terms_to_tokens_the_anchor_finds_likely(site: Site) -> None:
    page = site.open()
    open_drawer(page, "Method")
    pick(page, "#eft-filter", "contr")
    assert "removed" in page.locator("[data-method=filter] small").inner_text()
    page.focus("#eft-filter-value")
    page.keyboard.press("Control+a")
    page.keyboard.type("0.5")
    run(page, "chant", 6)
    wait_end(page)
    assert texts(page) == ["llllll", "hhhhhh", "llllll"]  # the base leads by more than a factor of two
    page.focus("#eft-filter-value")
    page.keyboard.press("Control+a")
    page.keyboard.type("2")
    run(page, "chant", 6)
    wait_end(page)
    wait_sentence(page, "filter", "weight filter mask")


def test_min_p_is_one_of_the_sampling_fields(site: Site) -> None:
    page = site.open()
    open_drawer(page, "Sampling")
    page.fill("#eft-min_p", "1.5")
    run(page, "hello")
    wait_end(page)
    wait_sentence(page, "min_p", "Min-p must be a number from 0 to 1; got 1.5")


def test_speculative_decoding_marks_drafts_and_gives_the_same_text(site: Site) -> None:
    page = site.open()
    prompt = "the same text, drafted or not"
    open_drawer(page, "Method")
    for mode, summary in [("off", "no drafts"), ("on", "drafts on 4")]:
        pick(page, "#eft-speculation", mode)
        assert page.locator("[data-part=method-summary]").inner_text().endswith(summary)
        run(page, prompt)
        wait_end(page)
        assert texts(page) == [prompt] * 3
    foot = page.locator(".pane.up .foot .drafts")
    assert foot.inner_text().startswith("100 % of drafts accepted")
    assert page.locator(".pane.up .t.accepted").count() > 10
    page.locator(".pane.up .t.accepted").nth(3).click()
    assert "proposed" in page.locator("[data-part=card-more]").inner_text()
    page.focus("#eft-speculation-value")
    page.keyboard.press("Control+a")
    page.keyboard.type("99")
    run(page, prompt)
    wait_end(page)
    wait_sentence(page, "speculation", "The block of speculation")
