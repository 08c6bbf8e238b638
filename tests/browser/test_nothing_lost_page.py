"""Nothing is lost by a cut connection, a killed server, a reload or Back; storage refused or damaged."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eft_demo.settings import Settings
from eft_demo.ui.page import Page
from tests.fakes import make_service
from tests.site import BROWSER_MARKS, Site, endings, run, serving, texts, wait_end
from tests.tiers import exhaustive, first_of
from tests.waiting import until
from tests.wire_cutter import wire_to

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
pytestmark = BROWSER_MARKS
NOTICE = "[data-part=notice-text]"
REFUSED = """for (const name of 'sessionStorage localStorage caches BroadcastChannel cookie'.split(' '))
    Object.defineProperty(name === 'cookie' ? document : window, name, {
        get() { throw new DOMException('refused', 'SecurityError'); } })"""
FILL = """name => {
    for (let n = 1 << 23; n; n >>= 1) try { sessionStorage[name + n] = 'y'.repeat(n); } catch {}
}"""
SERVER = """
import sys
from eft_demo.settings import Settings
from eft_demo.ui import server
from eft_demo.ui.page import build_demo
from tests.fakes import make_service
settings = Settings(port=int(sys.argv[1]))
server.launch(build_demo(make_service(settings, pause_s=0.02), settings), settings)
"""


@pytest.fixture(scope="module")
def serving_site(browser: Any) -> Iterator[Site]:
    with serving(make_service(Settings(), pause_s=0.02), browser) as site:
        site.demo.url = site.url
        yield site


@pytest.fixture
def demo(serving_site: Site) -> Page:
    return serving_site.demo


@pytest.fixture
def context(serving_site: Site) -> Iterator[Any]:
    """A browser of one visitor; an exception in one of its pages fails the test."""
    context = serving_site.new_page(viewport={"width": 1280, "height": 720}).context
    errors: list[str] = []

    def add(error: Any) -> None:
        errors.append(str(error.error))

    context.on("weberror", add)
    yield context
    context.remove_listener("weberror", add)
    for page in context.pages:
        page.close()
    assert errors == []


@pytest.fixture
def changed_context(serving_site: Site, context: Any) -> Any:
    """The same for tests that add scripts, which stay: nobody gets it afterwards."""
    serving_site.contexts = [entry for entry in serving_site.contexts if entry[1] is not context]
    return context


def visit(context: Any, url: str) -> Any:
    empty = [page for page in context.pages if page.url == "about:blank"]
    page = empty[0] if empty else context.new_page()
    page.goto(url)
    page.wait_for_selector(".pane", state="attached")
    return page


def again(page: Any) -> None:
    page.reload()
    page.wait_for_selector(".pane", state="attached")


def notice(page: Any, words: str) -> str:
    """The notice, once it contains these words."""
    page.wait_for_function(
        "words => document.querySelector('[data-part=notice-text]')?.textContent.includes(words)", arg=words
    )
    text: str = page.locator(NOTICE).inner_text()
    return text


def wait_tokens(page: Any, count: int = 8) -> None:
    page.wait_for_function("n => document.querySelectorAll('.pane.up .t').length > n", arg=count)


def write_slowly(page: Any) -> None:
    """Let the next run take a minute: it still streams after whatever the test does meanwhile."""
    page.eval_on_selector("[data-part=pace]", "select => { select.value = '4'; }")
    assert page.input_value("[data-part=pace]") == "4"


def branch(page: Any, index: int) -> None:
    """Resample with another seed from a token of the last column."""
    nodes = page.locator(".node").count()
    page.locator(".pane.up .t").nth(index).press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_function("n => document.querySelectorAll('.node').length > n", arg=nodes)
    wait_end(page)


def speeds(page: Any) -> list[str]:
    found: list[str] = page.locator(".pane .foot > span:first-child").all_inner_texts()
    return found


def test_a_cut_connection_loses_no_text_and_needs_no_reload(demo: Page, context: Any) -> None:
    with wire_to(int(demo.local_url.rstrip("/").rpartition(":")[2])) as wire:
        page = visit(context, f"http://127.0.0.1:{wire.port}")
        page.evaluate("window.stayed = true")
        run(page, "chant")
        wait_tokens(page)
        wire.cut()
        notice(page, "is lost")
        before = texts(page)
        assert all(ending.startswith("cut off") for ending in endings(page)) and len(before[2]) > 8
        assert page.locator("[data-part=stop]").is_disabled()
        page.keyboard.press("Control+Enter")  # requested while the server is down
        page.wait_for_selector("[data-part=stop]:disabled")
        assert texts(page) == before
        # The server has ended the run too, and its sequences are free.
        until(lambda: not demo.live.by_id and not demo.service.engine.active_sequences)
        wire.mend()
        said = notice(page, "was lost for")
        assert "the run stopped" in said and "Press Run" in said
        assert texts(page) == before and page.input_value("#eft-prompt") == "chant"
        branch(page, 3)  # the cut text can be continued
        run(page, "Hello")
        page.wait_for_function("document.querySelector('.pane.up .text').textContent === 'Hello'")
        wait_end(page)
        assert page.evaluate("window.stayed") and not page.locator(".toast-wrap .error").count()


@pytest.mark.parametrize("answer", first_of({"body": "<form>", "content_type": "text/html"}, {"status": 401}))
def test_a_login_page_in_place_of_the_server_is_reported(
    demo: Page, context: Any, answer: dict[str, Any]
) -> None:
    with wire_to(int(demo.local_url.rstrip("/").rpartition(":")[2])) as wire:
        page = visit(context, f"http://127.0.0.1:{wire.port}")
        run(page, "chant")
        wait_tokens(page)
        page.route("**/app_id", lambda route: route.fulfill(**answer))
        wire.cut()
        notice(page, "sign in")
        wire.mend()
        page.unroute("**/app_id")
        notice(page, "was lost for")


def test_a_request_refused_by_a_proxy_is_not_reported_as_unreachable(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    works(page)
    page.route("**/component_server/**", lambda route: route.fulfill(status=413))
    page.click("[data-part=share]")
    page.wait_for_function("document.body.innerText.includes('refused this request')")
    assert "could not be reached" not in page.inner_text("body")


def test_the_run_continues_when_the_network_returns(demo: Page, context: Any) -> None:
    with wire_to(int(demo.local_url.rstrip("/").rpartition(":")[2])) as wire:
        page = visit(context, f"http://127.0.0.1:{wire.port}")
        run(page, "chant", 256)  # longer than a busy machine may take to see the first tokens
        wait_tokens(page)
        wire.hang()
        page.wait_for_selector("[data-error=prompt]:not([hidden])")
        assert "not answered for" in page.inner_text("[data-error=prompt]")
        wire.mend()
        wait_end(page)
        assert page.locator(".pane.up .t").count() == 256
        assert page.locator("[data-error=prompt]").is_hidden()


@pytest.mark.parametrize("others", first_of(6, 5))
def test_tabs_that_leave_no_connection_are_named(demo: Page, context: Any, others: int) -> None:
    elsewhere = visit(context, demo.url)  # has as many runs as that many tabs, without their connections
    elsewhere.evaluate(
        """count => { for (let n = 1; n <= count; n += 1)
            navigator.locks.request("eft has " + n, {mode: "shared"}, () => new Promise(() => {})); }""",
        others,
    )
    page = visit(context, demo.url)
    page.route("**/queue/data*", lambda route: None)  # waits for a connection
    run(page, "chant", 256)
    page.wait_for_selector("[data-error=prompt]:not([hidden])")
    said = page.inner_text("[data-error=prompt]")
    assert ("6 other tabs of this page have runs" in said) == (others == 6), said
    assert ("busy or stopped" in said) == (others == 5), said


def test_a_reload_restores_prompt_settings_texts_and_branches(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    run(page, "abcdef")
    page.wait_for_selector(".t")
    wait_end(page)
    branch(page, 1)
    shown = texts(page)
    page.fill("#eft-prompt", "half typed <b>")
    page.eval_on_selector("#eft-top_p", "f => { f.value = '0.8'; f.dispatchEvent(new Event('input')); }")
    page.select_option("[data-part=behaviour]", "pirate")
    page.click("[aria-controls=eft-method]")
    page.select_option("#eft-schedule", "warmup")
    page.focus("#eft-alpha")
    page.keyboard.press("End")
    again(page)
    assert "texts and settings" in notice(page, "are back")
    assert texts(page) == shown and page.locator(".node").count() == 2
    assert page.input_value("#eft-prompt") == "half typed <b>"
    assert page.input_value("#eft-top_p") == "0.8" and page.input_value("#eft-schedule") == "warmup"
    assert page.input_value("[data-part=behaviour]") == "pirate"
    assert page.locator("[data-part=alpha-value]").inner_text() == "3.00"
    page.keyboard.press("Control+z")
    assert texts(page) != shown and texts(page)[2] == "abcdef"
    branch(page, 2)  # the server continues a restored text
    assert page.locator(".node").count() == 3  # the first branch is still there
    page.fill("#eft-prompt", "chant")
    page.keyboard.press("Control+Enter")
    wait_tokens(page)
    again(page)
    assert "stopped when you left" in notice(page, "stopped")
    assert all(ending.startswith("cut off") for ending in endings(page)) and len(texts(page)[2]) > 4
    assert all("first" in speed and "waiting" not in speed for speed in speeds(page))
    again(page)
    notice(page, "are back.")

    other = visit(context, demo.url)  # another tab does not have it
    assert other.locator("[data-part=notice]").is_hidden() and other.input_value("#eft-prompt") == ""
    page.goto("data:text/html,elsewhere")
    page.go_back()
    page.wait_for_selector(".t")
    assert page.input_value("#eft-prompt") == "chant"
    page.click("[data-part=forget]")
    page.click("[data-part=forget]")
    page.wait_for_selector(".pane .empty")
    assert page.input_value("#eft-prompt") == "" and page.locator("[data-part=notice]").is_hidden()


def test_a_reload_while_the_address_changes_loses_nothing(demo: Page, context: Any) -> None:
    """Chromium may then come back at an earlier address, and the history entry has lost its state."""
    page = visit(context, demo.local_url + "#v=1&prompt=earlier")
    page.wait_for_function("document.querySelector('#eft-prompt').value === 'earlier'")
    run(page, "abcdef", 20)
    wait_end(page)
    address_has(page, "prompt=abcdef")
    page.select_option("[data-part=colour]", "rank")
    address_has(page, "rank")
    page.add_init_script("history.replaceState(null, '', location.pathname + '#v=1&prompt=earlier')")
    again(page)
    assert "settings are back" in notice(page, "are back") and texts(page) == ["abcdef"] * 3


@contextmanager
def served(port: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A separate server process, killed at the end."""
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)], cwd=root, stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout
    line = next(line for line in process.stdout if "is at" in line)
    yield process, int(line.split(":")[-1].split("/")[0])
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_after_a_server_restart_the_page_continues_with_its_texts(context: Any, tmp_path: Path) -> None:
    with served(0) as (_, port):
        page = visit(context, f"http://127.0.0.1:{port}")
        page.evaluate("window.stayed = true")
        run(page, "abcdef")
        page.wait_for_selector(".t")
        wait_end(page)
        branch(page, 1)
        first = texts(page)
        run(page, "chant")
        wait_tokens(page)
    notice(page, "is lost")
    cut = texts(page)
    with served(port):
        assert "restarted" in notice(page, "was lost for")
        assert texts(page) == cut and page.evaluate("window.stayed")
        branch(page, 3)  # the new server does not have that run until the page posts it back
        assert texts(page)[2].startswith(cut[2][:3]) and page.locator("[data-error=branch]").is_hidden()
        page.keyboard.press("Control+z")
        page.click("[data-part=share]")
        with page.expect_download() as download:
            page.locator("[data-part=formats] button").nth(1).click()
        download.value.save_as(tmp_path / "run.json")
        saved = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
        assert [column["text"] for column in saved["columns"]] == cut and saved["family"] == "echo"
        assert first != cut


def test_a_link_is_filled_in_and_later_edits_survive_a_reload(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    page.fill("#eft-prompt", "mine")
    page.goto(demo.url + "/?v=1&prompt=theirs")
    page.wait_for_function("document.querySelector('#eft-prompt')?.value === 'theirs'")
    page.fill("#eft-prompt", "theirs, changed")
    again(page)
    page.wait_for_function("document.querySelector('#eft-prompt')?.value === 'theirs, changed'")
    page.go_back()
    page.wait_for_function("document.querySelector('#eft-prompt')?.value === 'mine'")
    page.goto(demo.url + "/?v=1&prompt=theirs")
    page.wait_for_function("document.querySelector('#eft-prompt')?.value === 'theirs'")


MIX = "large_base + alpha*(pirate - small_base)"  # no preset


def recipes(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all(
        "textarea[id^=eft-recipe-]", "boxes => boxes.map(box => box.value)"
    )
    return found


@pytest.mark.parametrize("has_run", first_of(True, False))
def test_a_typed_recipe_survives_a_link_and_a_reload(demo: Page, context: Any, has_run: bool) -> None:
    page = visit(
        context, demo.url + f"#v=1&prompt=Hi&column=Mix:{MIX}&alpha=2&filter=top-p 0.9".replace(" ", "%20")
    )
    page.wait_for_function("document.querySelector('.pane h2').textContent === 'Mix'")
    if has_run:
        page.focus("#eft-prompt")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector(".t")
        wait_end(page)
    shown = texts(page)
    page.fill("#eft-prompt", "half typed")
    again(page)
    assert "are back" in notice(page, "are back")
    assert recipes(page) == [MIX] and texts(page) == shown and page.input_value("#eft-prompt") == "half typed"
    assert page.locator("[data-part=alpha-value]").inner_text() == "2.00"
    assert page.input_value("#eft-filter") == "top-p", "what stands behind the columns too"
    page.wait_for_function("document.querySelector('.pane .what').textContent")  # its description has arrived


def test_a_link_that_needs_a_missing_model_fills_in_the_rest_with_a_note(demo: Page, context: Any) -> None:
    page = visit(context, demo.url + "#v=1&prompt=Hi&column=Mix:dragon&alpha=2")
    page.wait_for_function("document.querySelector('[data-error=column-0]')?.textContent.includes('dragon')")
    assert page.input_value("#eft-prompt") == "Hi" and recipes(page) == ["dragon"]
    assert page.locator("[data-part=alpha-value]").inner_text() == "2.00"


def works(page: Any) -> None:
    run(page, "Hello")
    page.wait_for_function("document.querySelector('.pane.up .text').textContent === 'Hello'")
    wait_end(page)


@exhaustive
def test_the_page_works_when_browser_storage_is_missing_or_full(
    demo: Page, context: Any, browser: Any
) -> None:
    page = visit(context, demo.url)
    page.evaluate(FILL, "a")
    works(page)
    page.wait_for_function("location.hash.includes('Hello')")
    again(page)
    assert page.input_value("#eft-prompt") == "Hello"  # as the address says; what was stored is older
    assert "did not start" not in page.locator("[data-part=notice]").inner_text()
    works(page)
    assert "full" in page.locator("[data-part=memory-note]").text_content()
    page.click("[data-part=teach-open]")
    page.evaluate(FILL, "b")  # what the page has dropped to store the last run left room
    page.click("[data-part=room-open]")
    page.wait_for_function(
        "document.querySelector('[data-part=room-refusal]').textContent.includes('reload')"
    )
    refused = browser.new_context()
    refused.add_init_script(REFUSED)
    page = visit(refused, demo.url)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    works(page)
    assert "does not let the page store" in page.locator("[data-part=memory-note]").inner_text()
    again(page)
    works(page)
    refused.close()
    assert errors == []


@pytest.mark.parametrize("allowed", ["", "allow-scripts allow-forms"])
def test_a_sandboxed_frame_shows_why_the_page_cannot_work(demo: Page, context: Any, allowed: str) -> None:
    page = context.new_page()
    page.goto(demo.url + "/healthz")  # the same origin; otherwise it may not be framed
    page.evaluate(
        """allowed => {
            const frame = Object.assign(document.createElement('iframe'), { src: '/', width: 600 });
            frame.setAttribute('sandbox', allowed);
            document.body.append(frame);
        }""",
        allowed or "allow-scripts",
    )
    words = page.frame_locator("iframe").get_by_role("alert")
    words.wait_for()
    assert "allow-same-origin" in words.inner_text()
    assert words.get_by_role("link").get_attribute("href").startswith(demo.url)


def test_undo_restores_a_prompt_that_an_example_replaced(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    page.click("#eft-prompt")
    page.keyboard.type("half typed")
    page.locator(".examples a").first.click()
    wait_end(page)
    asked = page.input_value("#eft-prompt")
    assert asked == page.locator(".examples a").first.inner_text()
    page.click("#eft-prompt")
    for _ in range(3):
        if page.input_value("#eft-prompt") != "half typed":
            page.keyboard.press("Control+z")
    assert page.input_value("#eft-prompt") == "half typed"


def test_a_prompt_that_is_too_long_is_refused_with_the_limit_and_can_be_undone(
    demo: Page, context: Any
) -> None:
    page = visit(context, demo.url)
    page.click("#eft-prompt")
    page.keyboard.type("mine ")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("text => navigator.clipboard.writeText(text)", "a\u200b\u202eb " * 25_000)
    page.keyboard.press("Control+v")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-error=prompt]:not([hidden])")
    said = page.inner_text("[data-error=prompt]")
    assert "125,005" in said and "4,000" in said
    assert len(page.input_value("#eft-prompt")) == 125_005
    page.keyboard.press("Control+z")
    assert page.input_value("#eft-prompt") == "mine "


def test_printing_during_a_run_shows_its_prompt_and_does_not_stop_it(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    write_slowly(page)
    run(page, "chant")
    wait_tokens(page)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert "chant" in page.inner_text(".printed") and page.locator(".ask").is_hidden()
    page.pdf()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    wait_tokens(page, page.locator(".pane.up .t").count() + 4)
    assert page.locator("[data-part=notice]").is_hidden()


def test_no_field_is_offered_to_autofill(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    page.click(".family-chip")
    page.wait_for_selector("[data-part=family-formats] textarea", state="attached")
    offered = page.evaluate(
        """() => [...document.querySelectorAll('.eft :is(input, select, textarea)')]
            .filter((field) => field.autocomplete !== 'off').map((field) => field.outerHTML)"""
    )
    assert offered == []


DAMAGES = [  # (kind of stored value, change to one)
    ("tab", """() => '{'"""),
    ("tab", """text => text.replace(/"version":\\d+/, '"version":0')"""),
    ("tab", """text => text.replace('"nodes":[', '"nodes":[{"id": 0, "run": "<img src=x>", "same": 7},')"""),
    ("tab", """text => text.replace('"alpha":1', '"alpha":"<b>"')"""),
    ("run", """() => '{"columns":[{}]}'"""),
    ("text", """text => text.replaceAll('"y":[', '"y":["<img src=x onerror=window.pwned=1>",')"""),
]
DAMAGE = """([kind, change]) => {
    for (const key of Object.keys(sessionStorage).filter((key) => key.startsWith('eft-' + kind))) {
        const before = sessionStorage[key];
        sessionStorage[key] = eval(change)(before);
        if (sessionStorage[key] === before) throw new Error('nothing was damaged');
    }
}"""


@exhaustive
def test_damaged_stored_entries_are_dropped(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    works(page)
    for kind, change in DAMAGES:
        page.goto(demo.url + "/healthz")  # the same origin without our page
        page.evaluate(DAMAGE, [kind, change])
        page.goto(demo.url)
        page.wait_for_selector(".pane .empty")
        assert not page.locator(".t").count() and not page.evaluate("window.pwned")
        works(page)
    again(page)
    notice(page, "are back")


@exhaustive
def test_a_reloaded_page_says_when_other_models_wrote_its_texts(demo: Page, context: Any) -> None:
    """As after the same family was loaded with another quantisation."""
    page = visit(context, demo.url)
    works(page)
    page.goto(demo.url + "/healthz")  # the same origin without our page
    page.evaluate(DAMAGE, ["run", """text => text.replace(/"torch":"[^"]*"/, '"torch":"0.1"')"""])
    page.goto(demo.url)
    notice(page, "are back. Other models or versions wrote these texts")
    again(page)
    notice(page, "are back. Other models or versions wrote these texts")
    works(page)
    again(page)
    notice(page, "are back.")


def runs_listed(page: Any) -> list[str]:
    found: list[str] = page.locator(".node").all_inner_texts()
    return found


def address_has(page: Any, *parts: str) -> None:
    page.wait_for_function("parts => parts.every(part => location.hash.includes(part))", arg=list(parts))


def test_every_run_stays_and_the_address_holds_the_state(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    page.fill("#eft-prompt", "half typed")
    address_has(page, "prompt=half+typed", "seed=0")
    assert not [body for body in sent if "half" in body], "typed text is not sent before Run"
    run(page, "abcdef")
    page.wait_for_selector(".t")
    wait_end(page)
    address_has(page, "prompt=abcdef", "selected=3.")
    changed = page.locator("[data-part=run-changed]")
    assert changed.is_hidden()
    page.select_option("[data-part=behaviour]", "pirate")
    page.eval_on_selector(
        "#eft-seed", "f => { f.value = '3'; f.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    assert changed.is_visible() and "behaviour, seed" in page.get_attribute("[data-part=run]", "title")
    page.select_option("[data-part=colour]", "rank")
    run(page, "uvwxyz", 12)
    page.wait_for_function("document.querySelector('.pane.up .text').textContent.startsWith('uv')")
    wait_end(page)
    assert changed.is_hidden()
    first, second = runs_listed(page)
    assert "abcdef" in first and "Run 2" in second and "behaviour pirate" in second and "seed 3" in second
    page.keyboard.press("Escape")
    page.locator(".pane.up .t").nth(2).click()
    page.locator("[data-part=mode-same]").check()
    page.wait_for_function("document.querySelector('.eft').classList.contains('same-text')")
    wait_end(page)
    address_has(page, "prompt=uvwxyz", "behaviour=pirate", "seed=3", "colour=rank", "same=3", "selected=3.")
    page.keyboard.press("Control+z")
    assert texts(page)[2] == "abcdef" and len(runs_listed(page)) == 2
    assert page.input_value("#eft-prompt") == "abcdef" and changed.is_hidden(), "the settings follow"
    address_has(page, "prompt=abcdef", "behaviour=assistant", "seed=0")
    page.fill("#eft-prompt", "half typed")
    page.keyboard.press("Escape")
    page.locator(".node").last.click()
    assert page.input_value("#eft-prompt") == "half typed" and changed.is_visible(), (
        "unless they were changed"
    )
    page.fill("#eft-prompt", "abcdef")
    page.locator("[data-part=undo]").click()
    assert texts(page)[2] == "abcdef" and changed.is_hidden()
    branch(page, 2)  # and the later run is still there
    assert len(runs_listed(page)) == 3 and page.locator(".node[aria-level='2']").count() == 1
    page.locator(".node").last.click()
    assert texts(page)[2].startswith("uv")
    page.keyboard.press("Delete")
    assert len(runs_listed(page)) == 2 and texts(page)[2] == "abcdef"
    page.keyboard.press("Control+z")
    assert len(runs_listed(page)) == 3 and texts(page)[2].startswith("uv")
    again(page)
    notice(page, "are back")
    assert len(runs_listed(page)) == 3 and texts(page)[2].startswith("uv") and changed.is_hidden()

    other = context.new_page()
    other.goto(demo.url + "#v=1&prompt=uvwxyz&colour=rank&same=3&selected=2.3&seed=3")
    notice(other, "come from a link")
    assert other.input_value("[data-part=colour]") == "rank" and other.locator(".t").count() == 0
    other.focus("#eft-prompt")
    other.keyboard.press("Control+Enter")
    other.wait_for_function("document.querySelector('.eft').classList.contains('same-text')")
    other.wait_for_function("document.querySelector('.t[aria-pressed=true]')?.dataset.i === '2'")
    assert other.locator(".pane").nth(1).locator(".t[aria-pressed=true]").count() == 1
    other.evaluate("""location.hash = 'v=3&prompt=And&turn=' + encodeURIComponent('["Hi","Ho"]')""")
    other.wait_for_function("document.querySelector('#eft-prompt').value === 'And'")
    other.wait_for_function("document.querySelector('.pane .turns')?.textContent.includes('Ho')")
    assert other.locator(".t").count() == 0, "the columns show the link's turns, and the run is in the list"
    other.keyboard.press("Escape")
    other.locator("[data-part=undo]").click()
    assert other.locator(".t").count() > 0


def test_a_link_brings_back_the_branch_that_is_shown(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    run(page, "abcdef")
    page.wait_for_selector(".t")
    wait_end(page)
    for index in (2, 4):  # the second is a branch of the first, at another alpha
        page.locator(".pane.up .t").nth(index).click()
        page.locator(".cand").nth(1).click()
        page.wait_for_function("n => document.querySelectorAll('.node').length === n", arg=index // 2 + 1)
        wait_end(page)
        if index == 2:
            page.eval_on_selector(
                "#eft-alpha", "f => { f.value = '2'; f.dispatchEvent(new Event('input', {bubbles: true})); }"
            )
    written = texts(page)
    address_has(page, "branch=", "alpha=1&", "%22alpha%22%3A2")
    page.click("[data-part=share]")
    page.wait_for_function("document.querySelector('[data-part=link]').value")
    assert "written after the run" in page.inner_text("[data-part=link-note]")
    other = context.new_page()
    other.goto(page.input_value("[data-part=link]"))
    notice(other, "then the branch")
    other.focus("#eft-prompt")
    other.keyboard.press("Control+Enter")
    other.wait_for_function("document.querySelectorAll('.node').length === 3")
    wait_end(other)
    assert texts(other) == written
    assert other.input_value("#eft-alpha") == "2", "the slider has the value of the shown branch"
    page.keyboard.press("Escape")
    page.fill("#eft-prompt", "another question")
    page.click("[data-part=share]")
    page.wait_for_function("document.querySelector('[data-part=link]').value")
    assert "without the branch" in page.inner_text("[data-part=link-note]")
    assert "branch=" not in page.input_value("[data-part=link]")


def test_the_list_of_runs_is_raised_beside_the_texts(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    for text in ("abcdef", "which run differs in its seed?"):
        run(page, text)
        page.wait_for_function("t => document.querySelector('.pane.up .text').textContent === t", arg=text)
        wait_end(page)
        page.eval_on_selector("[data-field=seed]", "field => { field.value = '1234567'; }")
    button = page.locator("[data-part=runs-open]")
    assert button.inner_text().split() == ["Runs", "2"]
    button.click()
    box = page.locator("[data-part=branches]").bounding_box()
    assert page.locator(".node .facts").last.evaluate(
        "one => one.textContent === 'seed 1234567' && one.scrollWidth <= one.clientWidth"
    )
    assert box["y"] > 0 and box["y"] + box["height"] <= 720 and page.evaluate("scrollY") == 0
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert texts(page)[2] == "abcdef" and page.locator(".branches.raised").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".branches.raised").count() == 0
    assert page.evaluate("document.activeElement.dataset.part") == "runs-open"
    button.click()
    page.locator(".pane.up .t").first.click()  # a press elsewhere lowers it
    assert page.locator(".branches.raised").count() == 0


def test_a_replay_fills_in_its_settings_runs_live_and_can_be_closed(
    demo: Page, context: Any, tmp_path: Path
) -> None:
    page = visit(context, demo.url)
    page.select_option("[data-part=behaviour]", "pirate")
    page.click("[aria-controls=eft-columns]")
    page.fill("#eft-recipe-0", "large_base + beta*(small_tuned - small_base)")  # its slider comes later
    run(page, "abcdef")
    page.wait_for_selector(".t")
    wait_end(page)
    page.click("[data-part=share]")
    with page.expect_download() as download:
        page.locator("[data-part=formats] button").nth(1).click()
    download.value.save_as(tmp_path / "run.json")
    page.keyboard.press("Escape")
    page.fill("#eft-prompt", "half typed")
    page.select_option("[data-part=behaviour]", "assistant")
    page.locator("#eft-alpha").fill("2.5")
    page.click("[data-part=open]")
    page.set_input_files("[data-part=file]", tmp_path / "run.json")
    page.wait_for_selector("[data-part=replay]:not([hidden])")
    assert page.input_value("#eft-prompt") == "abcdef"
    assert page.input_value("[data-part=behaviour]") == "pirate"
    page.click("[data-part=replay-close]")
    assert page.locator("[data-part=replay]").is_hidden() and page.locator(".node").count() == 0
    assert page.input_value("#eft-prompt") == "half typed" and texts(page)[2] == "abcdef"
    assert page.input_value("[data-part=behaviour]") == "assistant"
    assert page.input_value("#eft-alpha") == "2.5"
    page.keyboard.press("Control+z")  # the closed one returns, whole
    assert page.locator("[data-part=replay]").is_visible() and texts(page)[2] == "abcdef"
    page.click("[data-part=replay-live]")
    page.wait_for_selector("[data-part=replay]:is([hidden]), [data-error]:visible", state="attached")
    assert page.locator("[data-error]:visible").count() == 0  # such as "Beta is empty"
    page.wait_for_selector("[data-part=replay]", state="hidden")
    wait_end(page)
    assert [text.split()[0] for text in runs_listed(page)] == ["Run", "Replay", "Run"]
    assert page.input_value("[data-part=behaviour]") == "pirate" and texts(page)[2] == "abcdef"


def test_going_back_after_opening_a_link_restores_the_settings(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    works(page)
    page.fill("#eft-prompt", "half typed")
    page.eval_on_selector("#eft-top_p", "f => { f.value = '0.8'; f.dispatchEvent(new Event('input')); }")
    holds = "text => document.querySelector('#eft-prompt').value === text"
    for prompt in ("theirs", "others"):
        page.evaluate("prompt => { location.hash = '#v=1&prompt=' + prompt; }", prompt)
        page.wait_for_function(holds, arg=prompt)
    page.fill("#eft-prompt", "others, changed")
    page.go_back()
    page.wait_for_function(holds, arg="theirs")
    page.go_back()
    page.wait_for_function(holds, arg="half typed")
    assert page.input_value("#eft-top_p") == "0.8" and texts(page)[2] == "Hello"
    page.go_forward()
    page.go_forward()
    page.wait_for_function(holds, arg="others, changed")
    page.go_back()
    page.wait_for_function(holds, arg="theirs")
    page.fill("#eft-prompt", "theirs, changed")
    again(page)
    notice(page, "are back")
    page.evaluate("location.hash = '#v=1&prompt=last'")
    page.wait_for_function(holds, arg="last")
    page.go_back()
    page.wait_for_function(holds, arg="theirs, changed")
    page.evaluate("location.hash = '#v=1&prompt=others'")  # a link pasted again is read again
    page.wait_for_function(holds, arg="others")


def test_going_back_after_a_link_and_a_reload_restores_the_settings(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    page.fill("#eft-prompt", "mine")
    page.eval_on_selector("#eft-top_p", "f => { f.value = '0.8'; f.dispatchEvent(new Event('input')); }")
    holds = "text => document.querySelector('#eft-prompt')?.value === text"
    page.evaluate("location.hash = '#v=1&prompt=theirs'")
    page.wait_for_function(holds, arg="theirs")
    again(page)
    page.wait_for_function(holds, arg="theirs")
    page.fill("#eft-prompt", "theirs, changed")
    again(page)
    page.wait_for_function(holds, arg="theirs, changed")
    page.go_back()
    page.wait_for_function(holds, arg="mine")
    assert page.input_value("#eft-top_p") == "0.8"
    again(page)
    page.wait_for_function(holds, arg="mine")
    page.go_forward()
    page.wait_for_function(holds, arg="theirs, changed")


def test_a_link_without_a_prompt_keeps_the_typed_prompt(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    page.fill("#eft-prompt", "half typed")
    for value, link in {"0.5": "#v=1&temperature=0.5", "0.4": "#v=1&temperature=0.4&prompt="}.items():
        page.evaluate("link => { location.hash = link; }", link)
        holds = "value => document.querySelector('#eft-temperature').value === value"
        page.wait_for_function(holds, arg=value)
        assert page.input_value("#eft-prompt") == "half typed", link


def test_a_link_is_read_though_the_page_is_stored_before_it_notices(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    page.evaluate("location.hash = '#v=1&temperature=0.5'; dispatchEvent(new Event('pagehide'))")
    page.wait_for_function("document.querySelector('#eft-temperature').value === '0.5'")


def test_going_back_restores_the_settings_though_the_page_is_stored_before_it_notices(
    demo: Page, context: Any
) -> None:
    page = visit(context, demo.url)
    page.fill("#eft-prompt", "mine")
    page.evaluate("location.hash = '#v=1&prompt=theirs'")
    page.wait_for_function("document.querySelector('#eft-prompt').value === 'theirs'")
    page.evaluate("addEventListener('popstate', () => dispatchEvent(new Event('pagehide')))")
    page.go_back()
    page.wait_for_function("document.querySelector('#eft-prompt').value === 'mine'")
    page.go_forward()
    page.wait_for_function("document.querySelector('#eft-prompt').value === 'theirs'")


def copy_of(page: Any) -> Any:
    """A duplicate of the tab, with everything stored for it."""
    with page.expect_popup() as opened:
        page.evaluate("dispatchEvent(new Event('pagehide')); window.open(location.href)")
    opened.value.wait_for_selector(".pane", state="attached")
    return opened.value


@exhaustive
def test_a_duplicated_tab_says_that_the_run_continues_in_the_first_one(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    write_slowly(page)
    run(page, "chant")
    wait_tokens(page)
    copied = copy_of(page)
    said = notice(copied, "copy")
    assert "continues in the original tab" in said and "stopped" not in said and "Press Run" not in said
    assert texts(copied)[2] and copied.locator("[data-part=stop]").is_disabled()
    count = page.locator(".pane.up .t").count()
    wait_tokens(page, count + 8)
    assert page.locator("[data-part=stop]").is_enabled() and page.locator("[data-part=notice]").is_hidden()
    works(copied)  # its own run does not stop the one in the other tab
    wait_tokens(page, page.locator(".pane.up .t").count() + 4)
    again(copied)
    notice(copied, "are back.")
    again(page)  # and the other tab does not have this one
    assert "stopped when you left" in notice(page, "stopped")


def test_a_run_that_has_ended_is_stored_at_once(demo: Page, changed_context: Any) -> None:
    changed_context.add_init_script(  # the tab is discarded before tasks delayed for more than a second
        """const set = setTimeout;
        window.setTimeout = (f, ms, ...rest) => (ms > 1000 && ms < 5000 ? 0 : set(f, ms, ...rest))"""
    )
    page = visit(changed_context, demo.url)
    run(page, "Hello")
    page.wait_for_selector(".t")
    wait_end(page)
    page.wait_for_function(
        """() => {
            const texts = Object.entries(sessionStorage).filter(([key]) => key.startsWith('eft-text'));
            return texts.length && texts.every(([, text]) => JSON.parse(text).end);
        }"""
    )


@exhaustive
def test_the_page_works_when_replaceState_throws(demo: Page, changed_context: Any) -> None:
    refused = "history.replaceState = () => { throw new DOMException('no', 'SecurityError'); }"
    changed_context.add_init_script(refused)
    page = visit(changed_context, demo.url)
    works(page)
    again(page)
    notice(page, "are back")
    assert texts(page)[2] == "Hello"


def test_the_family_menu_clears_its_error_once_it_can_be_read_again(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    context.set_offline(True)
    page.click(".family-chip")
    page.wait_for_selector("[data-part=family-sentence]:not([hidden])")
    assert "could not be reached" in page.inner_text("[data-part=family-sentence]")
    page.keyboard.press("Escape")
    context.set_offline(False)
    page.click(".family-chip")
    page.wait_for_selector("[data-part=family-sentence]", state="hidden")


@exhaustive
def test_an_outage_is_counted_from_the_last_message(demo: Page, context: Any) -> None:
    page = visit(context, demo.url)
    run(page, "chant")
    wait_tokens(page, 2)
    page.evaluate(
        """() => {
            const then = Date.now() - 60_000, stream = window[Symbol.for('eft-link')].oldest();
            Object.defineProperty(stream, 'news', { get: () => then, set() {} });
        }"""
    )
    said = notice(page, "was lost for")
    assert int(said.split("lost for ")[1].split(" s")[0]) >= 60
