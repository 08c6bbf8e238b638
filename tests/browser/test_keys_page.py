"""Keys: input methods, browser shortcuts and held keys trigger nothing by accident."""

from collections.abc import Iterator
from typing import Any

import pytest

from eft_demo.settings import Settings
from eft_demo.ui.saved_page import to_html
from tests.fakes import make_service
from tests.saying import run_that_says
from tests.site import BROWSER_MARKS, Site, run, serving, wait_end

pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS

# Records who listens to keys, and how many runs the page requests.
WATCH = """(() => {
  const add = EventTarget.prototype.addEventListener;
  window.listeners = new Set();
  EventTarget.prototype.addEventListener = function (type, ...rest) {
    if (type.startsWith("key") && (this === document || this instanceof Element)) window.listeners.add(this);
    return add.call(this, type, ...rest);
  };
  const ask = window.fetch;
  window.asked = 0;
  window.fetch = (...args) => {
    if (String(args[0]?.url || args[0]).includes("queue/join")) window.asked += 1;
    return ask(...args);
  };
})()"""
# Sends every key to every listening element and the focused one in it; returns the handled keys.
SEND = """([keys, init]) => {
  const places = [...window.listeners].filter((place) => place === document || place.closest(".eft"));
  const targets = places.flatMap((place) => place === document ? [document.body]
    : [place, ...place.querySelectorAll("button, input, textarea, .t, .node, .cand")].slice(0, 6));
  const taken = [];
  for (const target of new Set(targets))
    for (const key of keys) {
      const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...init });
      target.dispatchEvent(event);
      if (event.defaultPrevented) taken.push(key + " at " + target.outerHTML.slice(0, 60));
    }
  return [targets.length, taken];
}"""
KEYS = [
    "Enter",
    " ",
    "Escape",
    "Delete",
    "ArrowRight",
    "ArrowDown",
    "Home",
    "End",
    "Tab",
    "?",
    "r",
    "R",
    "z",
    "y",
]


@pytest.fixture(scope="module")
def site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings(), pause_s=0.05), browser) as site:
        yield site


def watched(site: Site) -> Any:
    page = site.new_page()
    page.add_init_script(WATCH)
    site.listen(page)
    page.goto(site.url)
    page.wait_for_selector(".pane")
    return page


def asked(page: Any) -> int:
    return int(page.evaluate("window.asked"))


def with_branches(site: Site) -> Any:
    """A page with everything that listens to keys: tokens, candidates, a tree, a chooser."""
    page = watched(site)
    run(page, "gold", 8)
    wait_end(page)
    page.locator(".pane.up .t").first.click()
    page.keyboard.press("r")
    page.wait_for_selector(".node")
    wait_end(page)
    page.click("[aria-controls=eft-columns]")
    return page


def test_no_handler_takes_a_key_of_an_input_method(site: Site) -> None:
    page = with_branches(site)
    run(page, "chant", 256)
    page.wait_for_selector(".t")
    before = asked(page)
    for init in ({"keyCode": 229}, {"isComposing": True}, {"keyCode": 229, "isComposing": True}):
        places, taken = page.evaluate(SEND, [KEYS, init])
        assert places > 10 and taken == [], init
        assert asked(page) == before, init
        assert page.locator("[data-part=stop]").is_enabled(), init  # it still runs
        assert page.locator("dialog[open]").count() == 0, init
    page.keyboard.press("Escape")
    wait_end(page)


def test_no_handler_takes_a_shortcut_of_the_browser_a_dead_key_or_altgr(site: Site) -> None:
    page = with_branches(site)
    ours = {"Enter", "z", "y"}  # run, undo, redo
    for modifiers, keys in (
        ({"altKey": True}, KEYS),
        ({"ctrlKey": True, "altKey": True}, KEYS),
        ({"metaKey": True}, [key for key in KEYS if key not in ours]),
    ):
        places, taken = page.evaluate(SEND, [keys, modifiers])
        assert places > 10 and taken == [], modifiers
        assert asked(page) == 2, modifiers
    assert page.evaluate(SEND, [["Dead", "Process", "Unidentified"], {}])[1] == []
    assert page.evaluate(SEND, [["r", "?", "Enter"], {"modifierAltGraph": True}])[1] == []
    assert asked(page) == 2


def test_enter_that_ends_a_composition_runs_nothing_and_the_next_one_runs(site: Site) -> None:
    """As in Safari: compositionend first, then Enter with key code 229. Here with real events."""
    page = watched(site)
    page.focus("#eft-prompt")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Input.imeSetComposition", {"text": "日本", "selectionStart": 2, "selectionEnd": 2})
    devtools.send("Input.insertText", {"text": "日本の首都は"})
    key = {"type": "rawKeyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
    devtools.send("Input.dispatchKeyEvent", key)
    devtools.send("Input.dispatchKeyEvent", {**key, "type": "keyUp"})
    assert page.input_value("#eft-prompt") == "日本の首都は"
    assert asked(page) == 0
    page.keyboard.press("Enter")
    page.wait_for_function("window.asked === 1")
    wait_end(page)


def test_enter_that_is_held_down_runs_once(site: Site) -> None:
    page = watched(site)
    for runs, place in enumerate((".examples a", "#eft-prompt", "[data-part=run]"), 1):
        page.fill("#eft-prompt", "gold")
        page.focus(place)
        for _ in range(4):  # playwright marks those after the first as repeats
            page.keyboard.down("Enter")
        page.keyboard.up("Enter")
        wait_end(page)
        assert asked(page) == runs, place
        assert "\n" not in page.input_value("#eft-prompt"), place
        if runs == 1:
            assert page.evaluate("document.activeElement.id") == "eft-alpha", "the examples are put away"


def test_enter_held_on_a_token_moves_to_its_candidates_and_starts_no_branch(site: Site) -> None:
    page = watched(site)
    run(page, "gold", 8)
    wait_end(page)
    page.locator(".pane.up .t").first.focus()
    for _ in range(4):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    assert page.evaluate("document.activeElement.className").startswith("cand")
    assert asked(page) == 1


def test_letters_match_by_key_position_and_ignore_caps_lock(site: Site) -> None:
    page = watched(site)
    run(page, "gold", 8)
    wait_end(page)
    page.locator(".pane.up .t").first.click()
    send = """([key, code, init]) => document.activeElement.dispatchEvent(
        new KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true, ...init }))"""
    page.evaluate(send, ["к", "KeyR", {}])
    page.wait_for_selector(".node")
    wait_end(page)
    assert page.locator("[data-part=undo]").is_enabled()
    page.evaluate(send, ["Z", "KeyZ", {"ctrlKey": True}])  # with caps lock
    assert page.locator("[data-part=redo]").is_enabled()


def test_keys_in_elements_of_extensions_are_ignored(site: Site) -> None:
    page = watched(site)
    run(page, "gold", 8)
    wait_end(page)
    page.evaluate(
        "() => { const box = document.createElement('div'); box.contentEditable = true; box.id = 'extension';"
        "document.body.append(box); box.focus(); }"
    )
    page.keyboard.type("r?R")
    assert page.locator("#extension").inner_text() == "r?R"
    assert asked(page) == 1
    assert page.locator("dialog[open]").count() == 0


def test_a_saved_page_ignores_shortcuts_of_the_browser_and_input_methods(site: Site, tmp_path: Any) -> None:
    path = tmp_path / "run.html"
    path.write_text(to_html(run_that_says("Lima")), encoding="utf-8")
    page = site.new_page()
    page.goto(path.as_uri())
    page.locator(".t").first.focus()
    send = """init => {
        const event = new KeyboardEvent("keydown", { key: "End", bubbles: true, cancelable: true, ...init });
        document.activeElement.dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    for init in (
        {"keyCode": 229},
        {"isComposing": True},
        {"ctrlKey": True},
        {"altKey": True},
        {"metaKey": True},
    ):
        assert page.evaluate(send, init) is False
    assert page.evaluate(send, {}) is True


def test_undo_in_a_run_does_not_leave_its_load_in_the_header(site: Site) -> None:
    """The stream that would say that the server is idle is no longer heard."""
    page = site.open()
    run(page, "gold", 8)
    wait_end(page)
    run(page, "chant", 256)
    page.wait_for_selector("[data-part=load]:visible")
    page.wait_for_selector(".t:has-text('l')")
    page.click("[data-part=undo]")
    wait_end(page)
    assert page.locator("[data-part=load]").is_hidden()
