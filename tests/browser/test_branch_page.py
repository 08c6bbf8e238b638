"""Branches, samples, shared text and previews at other slider values, in a real browser by keyboard alone."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from eft_demo.settings import Settings
from eft_demo.ui import what_if
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, Site, run, serving, texts, wait_end
from tests.tiers import exhaustive

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
HOSTILE = "<img src=x onerror='window.pwned=1'>${window.pwned=1}{{pwned}}"


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings()), browser) as site:
        yield site


@pytest.fixture(autouse=True)
def _no_runs_yet(site: Site) -> None:
    site.demo.live.store.by_id.clear()


def runs(site: Site) -> int:
    """The number of runs so far; showing a text again must not add one."""
    return len(site.demo.live.store.by_id)


def opened(site: Site) -> Any:
    return site.open(height=1400)


def finish(page: Any, prompt: str, length: int = 60) -> None:
    """Run to the end."""
    run(page, prompt, length)
    wait_end(page)


def until(page: Any, condition: str, arg: object = None) -> None:
    """Poll every 100 ms, not once a frame: frames are rare on a busy machine."""
    page.wait_for_function(condition, arg=arg, polling=100)


def wait_nodes(page: Any, count: int) -> None:
    until(page, "n => document.querySelectorAll('.node').length === n", count)
    wait_end(page)


def focus(page: Any, selector: str) -> None:
    page.evaluate("selector => document.querySelector(selector).focus()", selector)


def focus_token(page: Any, index: int, column: str = ".pane.up") -> None:
    focus(page, f"{column} .t")
    for _ in range(index):
        page.keyboard.press("ArrowRight")


def focused(page: Any) -> str:
    name: str = page.evaluate(
        "document.activeElement.dataset.part || document.activeElement.className.split(' ')[0]"
    )
    return name


def branch_at(page: Any, index: int, column: str = ".pane.up") -> str:
    """Enter on a token, down to another candidate, Enter: its name."""
    focus_token(page, index, column)
    page.keyboard.press("Enter")
    assert focused(page) == "cand"
    name: str = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    return name


def test_a_candidate_becomes_a_branch_and_undo_and_redo_need_no_model(site: Site) -> None:
    page = opened(site)
    finish(page, "abcdef")
    before = texts(page)
    name = branch_at(page, 2)
    wait_nodes(page, 2)
    after = texts(page)
    assert after[:2] == before[:2] and after[2] != before[2]
    assert after[2].startswith("ab") and name not in before[2]
    token = page.locator(".pane.up .t").nth(2)
    assert token.get_attribute("aria-pressed") == "true" and token.evaluate(
        "t => t === document.activeElement"
    )
    assert "given, not sampled" in page.locator("[data-part=card-verdict]").inner_text()
    count = runs(site)
    page.keyboard.press("Control+z")
    assert texts(page) == before and page.locator(".node").count() == 2, "undo moves and removes nothing"
    page.keyboard.press("Control+y")
    assert texts(page) == after and page.locator(".node").count() == 2
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    assert texts(page) == after and runs(site) == count


def test_keys_move_in_the_tree_and_delete_branches(site: Site) -> None:
    page = opened(site)
    finish(page, "abcdef")
    first = texts(page)
    branch_at(page, 1)
    wait_nodes(page, 2)
    second = texts(page)
    branch_at(page, 4, ".pane:not(.up)")
    wait_nodes(page, 3)
    third = texts(page)
    assert third[2] == second[2] and third[0] != first[0]
    focus(page, ".node[aria-selected=true]")
    levels = page.eval_on_selector_all(".node", "nodes => nodes.map(node => node.getAttribute('aria-level'))")
    assert levels == ["1", "2", "3"]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert texts(page) == second and page.locator(".node[aria-selected=true]").get_attribute("data-id") == "1"
    assert page.evaluate("document.activeElement.dataset.id") == "1"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert texts(page) == first
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    assert page.locator(".node").count() == 0 and texts(page) == first
    assert page.evaluate("document.activeElement.dataset.part") == "undo", "the list has gone with the focus"
    said = page.text_content("[data-part=status]")
    assert re.search("Removed: Branch .*Now shown: Run 1: abcdef", said), said
    page.keyboard.press("Control+z")
    assert page.locator(".node").count() == 3


def test_a_button_deletes_the_shown_branch_and_undo_brings_it_back(site: Site) -> None:
    page = opened(site)
    finish(page, "abcdef")
    first, button = texts(page), page.locator("[data-part=delete-branch]")
    assert button.is_hidden()
    branch_at(page, 1)
    wait_nodes(page, 2)
    second = texts(page)
    button.click()
    assert texts(page) == first and page.locator(".node").count() == 0 and button.is_hidden()
    page.locator("[data-part=undo]").click()
    assert texts(page) == second and page.locator(".node").count() == 2
    page.locator(".node").first.click()
    assert texts(page) == first and button.is_hidden(), "the first text is no branch"


@exhaustive
def test_every_sample_has_its_own_noise(site: Site) -> None:
    page = opened(site)
    finish(page, "abcdef", length=4)
    focus_token(page, 2)
    focus(page, "[data-part=samples]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("[data-part=samples]").input_value() == "3"
    focus_token(page, 2)
    page.keyboard.press("r")
    wait_nodes(page, 4)
    labels = page.locator(".node").all_inner_texts()
    assert [f"seed {k}" in labels[k] for k in (1, 2, 3)] == [True] * 3
    assert page.locator(".node[aria-level='2']").count() == 3
    page.eval_on_selector("#eft-temperature", "f => { f.value = '0'; f.dispatchEvent(new Event('input')); }")
    finish(page, "abcdef", length=4)
    focus_token(page, 2)
    assert page.locator("[data-part=samples]").is_hidden() and "same" in page.inner_text(
        "[data-part=branching]"
    )
    page.keyboard.press("r")
    wait_nodes(page, 6)
    wait_end(page)
    assert page.locator(".node").count() == 6  # one more text, not three that are equal


def test_all_columns_can_continue_from_one_token(site: Site) -> None:
    page = opened(site)
    finish(page, "chant", length=6)
    low, _, high = texts(page)
    assert set(low) == {"l"} and set(high) == {"h"}
    focus_token(page, 3)
    page.keyboard.press("Shift+R")
    wait_nodes(page, 2)
    assert texts(page)[0] == "hhhlll" and texts(page)[2] == "hhhhhh"


def test_every_column_scores_one_text_and_the_scores_are_compared(site: Site) -> None:
    page = opened(site)
    finish(page, "chant", length=6)
    free = texts(page)
    focus(page, "[data-part=mode-free]")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('.pane .text').textContent === 'hhhhhh'")
    wait_end(page)
    assert texts(page) == ["hhhhhh"] * 3
    assert "Scores the text of Up-scaled" in page.locator(".pane .what").first.inner_text()
    focus(page, "[data-part=tab-bars]")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('[data-part=odds-plot]').data?.[0].y.length === 6")
    odds = page.evaluate("document.querySelector('[data-part=odds-plot]').data[0].y")
    assert odds[0] > 1 and odds[5] == pytest.approx(6 * odds[0], rel=0.01)
    count = runs(site)
    focus(page, "[data-part=mode-same]")
    page.keyboard.press("ArrowLeft")
    assert texts(page) == free
    # Without a shared text, the odds are over the text of the mixed column, which recorded its large base.
    until(page, "document.querySelector('[data-part=odds-note]').textContent.includes('of Up-scaled')")
    page.keyboard.press("ArrowRight")
    assert texts(page) == ["hhhhhh"] * 3
    page.select_option("[data-part=same-of]", label="Base")
    until(page, "document.querySelectorAll('.pane .text')[2].textContent === 'llllll'")
    wait_end(page)
    assert runs(site) == count + 1


def test_a_new_run_says_that_its_columns_write_their_own_texts_again(site: Site) -> None:
    page = opened(site)
    finish(page, "chant", length=6)
    assert page.locator("[data-part=notice]").is_hidden()
    focus(page, "[data-part=mode-free]")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('.pane .text').textContent === 'hhhhhh'")
    wait_end(page)
    finish(page, "gold")
    assert page.locator("[data-part=mode-free]").is_checked()
    assert "its own text again" in page.locator("[data-part=notice-text]").inner_text()
    finish(page, "chant", length=6)
    assert page.locator("[data-part=notice]").is_hidden()


def test_after_a_branch_its_first_token_is_in_view_and_named_anew(site: Site) -> None:
    page = site.open(1280, 720)
    finish(page, "many words of a text " * 12, length=256)
    branch_at(page, 4)
    wait_nodes(page, 2)
    token = page.locator(".pane.up .t").nth(4)
    count = page.locator(".pane.up .t").count()
    assert count > 200 and token.get_attribute("aria-label").startswith(f"Token 5 of {count},")
    assert token.evaluate("""token => {
      const at = token.getBoundingClientRect(), box = token.closest('.text').getBoundingClientRect();
      return token === document.activeElement && at.top >= box.top && at.bottom <= box.bottom;
    }""")


def test_moved_sliders_recolour_the_text_and_one_key_continues_from_there(site: Site) -> None:
    page = opened(site)
    finish(page, "chant", length=6)
    count = runs(site)
    focus(page, "#eft-alpha")
    page.keyboard.press("Home")
    until(page, "document.querySelector('.pane.up .t.parts') !== null")
    said = page.locator("[data-part=as-if-text]").inner_text()
    assert "α 0.00" in said and "6 of 6 tokens of Up-scaled" in said and "token 1: h becomes l" in said
    assert page.locator(".pane.up .t.would").count() == 6 and page.locator(".pane.up .t.beyond").count() == 5
    assert page.locator(".pane.up .t.parts").get_attribute("data-would") == "l"
    assert texts(page)[2] == "hhhhhh" and runs(site) == count
    focus_token(page, 2)
    assert "would be l" in page.locator(".pane.up .t").nth(2).get_attribute("aria-label")
    assert "α 0.00" in page.locator("[data-part=card-print]").inner_text()
    page.keyboard.press("r")
    wait_nodes(page, 2)
    assert texts(page)[2] == "llllll" and runs(site) == count + 1
    assert "α 0.00" in page.locator(".node").nth(1).inner_text()
    page.keyboard.press("Control+z")
    assert texts(page)[2] == "hhhhhh" and page.locator("[data-part=alpha-value]").inner_text() == "1.00"
    assert page.locator(".t.would, .t.parts, .t.beyond").count() == 0


def test_the_bars_are_those_of_the_moved_sliders(site: Site) -> None:
    page = opened(site)
    finish(page, "chant", length=6)
    term = "document.querySelector('[data-part=plot]').data?.[1].y"
    until(page, f"{term}?.length === 6 && {term}.every(nats => nats !== 0)")
    written = page.evaluate(term)
    focus(page, "#eft-alpha")
    page.keyboard.press("Home")
    until(page, f"{term}.every(nats => nats === 0)")
    height = "document.querySelectorAll('.plot .barlayer .trace')[1].querySelector('path').getBBox().height"
    until(page, f"{height} < 1")  # plotly redraws changed numbers only with another datarevision
    page.locator("[data-part=as-written]").press("Enter")
    until(page, f"{height} > 1")
    assert page.evaluate(term) == written


def test_the_strip_and_the_text_select_each_others_tokens(site: Site) -> None:
    page = opened(site)
    finish(page, "chant", length=6)
    focus(page, "[data-part=tab-bars]")
    page.keyboard.press("ArrowLeft")
    until(page, "document.querySelector('[data-part=strip-plot]').data?.[0].z.length === 13")
    cells = page.evaluate("document.querySelector('[data-part=strip-plot]').data[0].text[0]")
    assert cells == ["l"] * 6
    focus_token(page, 4)
    until(page, "document.querySelector('[data-part=strip-plot]').layout.shapes[0].x0 === 3.5")
    place = page.evaluate(
        """() => {
          const box = document.querySelector('[data-part=strip-plot]'), at = box.getBoundingClientRect();
          const { xaxis, yaxis } = box._fullLayout;
          return [at.left + xaxis._offset + xaxis.d2p(2), at.top + yaxis._offset + yaxis.c2p(0)];
        }"""
    )
    page.mouse.click(*place)
    until(page, "document.querySelector('.pane.up .t.parts') !== null")
    assert page.locator(".pane.up .t[aria-pressed=true]").get_attribute("data-i") == "2"
    assert page.locator("[data-part=alpha-value]").inner_text() == "0.00"


def note_of_strip(page: Any, words: str) -> None:
    until(
        page, "words => document.querySelector('[data-part=strip-note]').textContent.includes(words)", words
    )


def test_the_strip_is_exact_once_the_models_have_scored_the_text(site: Site) -> None:
    page = opened(site)
    finish(page, "chant", length=6)
    asked = []
    page.on("request", lambda request: asked.append(request.post_data or ""))
    page.click("[data-part=tab-strip]")
    note_of_strip(page, "Every row is exact")
    grades = page.evaluate("document.querySelector('[data-part=strip-plot]').data[0].z.flat()")
    assert set(grades) == {0, 3}  # the same token or another one; none is uncertain
    focus(page, "#eft-alpha")
    page.keyboard.press("Home")
    until(page, "document.querySelector('[data-part=as-if-text]').textContent.startsWith('At α 0.00')")
    page.keyboard.press("End")
    until(page, "document.querySelector('[data-part=as-if-text]').textContent.startsWith('At α 3.00')")
    assert sum('"what_if"' in body for body in asked) == 1  # once per run and column


def test_where_the_server_refuses_the_estimate_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(what_if, "STEP_SCORES", 1)
    page = opened(site)
    finish(page, "chant", length=6)
    focus(page, "#eft-alpha")
    page.keyboard.press("Home")
    until(page, "document.querySelector('[data-part=as-if-text]').textContent.startsWith('Estimated')")
    page.click("[data-part=tab-strip]")
    note_of_strip(page, "estimated from the recorded candidates")
    assert "Estimated" in page.locator("[data-part=as-if-text]").inner_text()


def test_typed_text_triggers_no_shortcut(site: Site) -> None:
    page = opened(site)
    finish(page, "abcdef")
    focus_token(page, 2)
    focus(page, "#eft-prompt")
    page.keyboard.type(" Rr")
    page.keyboard.press("Control+z")
    assert runs(site) == 1 and page.locator(".node").count() == 0


def test_a_run_that_the_server_dropped_is_restored_and_can_be_continued(site: Site) -> None:
    page = opened(site)
    finish(page, "abcdef")
    before = texts(page)
    site.demo.live.store.by_id.clear()
    branch_at(page, 2)
    wait_nodes(page, 2)
    assert texts(page)[:2] == before[:2] and texts(page)[2].startswith("ab")
    assert page.locator("[data-error=branch]").is_hidden()


def test_hostile_text_stays_text_in_tree_cards_and_chips(site: Site) -> None:
    page = opened(site)
    finish(page, HOSTILE)
    branch_at(page, 1)
    wait_nodes(page, 2)
    page.locator(".pane.up .t").nth(4).dispatch_event("pointerover", {"clientX": 9})
    until(page, "!document.querySelector('[data-part=peek]').hidden")
    focus(page, "#eft-alpha")
    page.keyboard.press("Home")
    assert HOSTILE[2:12] in page.locator(".node").nth(1).inner_text()
    assert page.evaluate("window.pwned") is None
    assert page.locator(".eft script, .eft iframe, .eft img, .eft object").count() == 0
