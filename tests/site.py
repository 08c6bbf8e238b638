"""A running page in a real browser, for browser tests: any error on the page fails the test.

The browser itself is the fixture `browser` of tests/browser/conftest.py, one for all of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from eft_demo.engine.service import Service
from eft_demo.ui import server
from eft_demo.ui.page import Page, build_demo
from tests.nginx import free_port

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
axe_package = pytest.importorskip("axe_playwright_python", reason="the rules of accessibility are axe's")
AXE = (Path(axe_package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
GRAVE = ("serious", "critical")
CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(p).exists()), None)
NAMES = (
    "eft.test",
    "eft.example.org",
)  # of this machine in the browser; without .localhost, they are not secure
DISABLED = [
    # A page under another site's name may show this machine's page in a frame, as a Space does.
    "LocalNetworkAccessChecks",
    "BlockInsecurePrivateNetworkRequests",
    # The list under the address bar is two more pages in each new window: a quarter of the cost of a load.
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--host-resolver-rules=" + ",".join(f"MAP {name} 127.0.0.1" for name in NAMES),
    "--disable-features=" + ",".join(DISABLED),
]
BROWSER_MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="the browser tests need Debian's chromium in /usr/bin"),
]
STAYS = """(node, ms) => new Promise(done => {
    const before = node.innerText, end = same => { watch.disconnect(); done(same); };
    const watch = new MutationObserver(() => node.innerText === before || end(false));
    watch.observe(node, {subtree: true, childList: true, characterData: true});
    setTimeout(() => end(node.innerText === before), ms);
})"""
# Records the announcements of the page in the list `said`.
SPOKEN = """() => { const said = window.said = [], status = document.querySelector('[data-part=status]');
    new MutationObserver(() => said.push(status.textContent)).observe(status, {childList: true}); }"""
SLOW_MS = 60_000  # a busy machine is not a failure
# Each site is served at this port, unless it is in use, to the contexts of the sites before it: the page's
# files are in their cache then, which saves more than half of a load.
PORT = free_port()
CONTEXTS: dict[Any, list[tuple[dict[str, Any], Any]]] = {}
Listeners = list[tuple[str, Callable[[Any], None]]]  # each with the event it listens to
OWN = ("http://127.0.0.1", "http://localhost", "data:", "blob:")


@dataclass
class Site:
    """A served page, and all errors that a browser reported on it."""

    url: str
    demo: Page
    browser: Any
    contexts: list[tuple[dict[str, Any], Any]]  # with what they were made with
    complaints: list[str] = field(default_factory=list)
    kept: dict[Any, Listeners] = field(default_factory=dict)  # pages that `open` may load again

    def open(self, width: int = 1400, height: int = 1000, query: str = "", **context: Any) -> Any:
        """A newly loaded page of a visitor who stored nothing.

        `context` goes to the browser: forced_colors, reduced_motion ... The window may be that of an earlier
        test, because this halves the time of a load; do not give it scripts that run at each load.
        """
        page = self._used_page(context) or self.new_page(**context)
        page.set_viewport_size({"width": width, "height": height})
        self.kept[page] = self.listen(page)
        page.goto(self.url + query)
        page.wait_for_selector(".pane", state="attached")
        return page

    def _used_page(self, options: dict[str, Any]) -> Any:
        """The page of an earlier test that had the same options, emptied; None if there is none."""
        context = next((known for made_with, known in self.open_contexts() if made_with == options), None)
        if context is None or len(context.pages) != 1 or self.kept.get(context.pages[0]) != []:
            return None  # the last case: it is in use, so it has listeners
        (page,) = context.pages
        page.unroute_all()
        page.emulate_media(media="null", color_scheme=options.get("color_scheme", "light"))
        page.mouse.move(0, 0)
        self._prepare(context)
        page.goto(f"{self.url}/healthz")  # what a page stores when it is left is forgotten after it was left
        page.evaluate("sessionStorage.clear()")
        self._forget(context, page)
        return page

    def new_page(self, **options: Any) -> Any:
        """An empty page of a visitor who stored nothing. The HTTP cache may be warm: that halves a load."""
        known = ((made_with, context) for made_with, context in self.open_contexts() if not context.pages)
        context = next((context for made_with, context in known if made_with == options), None)
        if context:
            self._prepare(context)
            page = context.new_page()
            self._forget(context, page)
            return page
        context = self.browser.new_context(**options)
        context.set_default_timeout(SLOW_MS)
        self.contexts.append((options, context))
        return context.new_page()

    def open_contexts(self) -> list[tuple[dict[str, Any], Any]]:
        """Those that no test has closed."""
        self.contexts[:] = [pair for pair in self.contexts if pair[1] in self.browser.contexts]
        return self.contexts

    def _prepare(self, context: Any) -> None:
        context.set_offline(False)
        context.clear_permissions()

    def _forget(self, context: Any, page: Any) -> None:
        session = context.new_cdp_session(page)
        for host in ("127.0.0.1", "localhost", *NAMES):
            origin = f"http://{host}:{urlsplit(self.url).port}"
            session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        session.detach()

    def listen(self, page: Any) -> Listeners:
        """Record errors, dialogs, text that was executed, and requests to other machines."""
        return listen(page, self.complaints)

    def close_pages(self) -> None:
        """Close every page, or keep it for `open`; fail if one reported an error or executed a text."""
        pages = [page for context in self.browser.contexts for page in context.pages]
        acted = [page.url for page in pages if page.evaluate("window.pwned") is not None]
        for page, listeners in self.kept.items():
            for event, listener in listeners:
                page.remove_listener(event, listener)
        self.kept = {page: [] for page in self.kept if page in pages}
        ours = [context for _, context in self.contexts]
        for context in self.browser.contexts:
            if context not in ours:
                context.close()
            for page in context.pages:
                if page not in self.kept:
                    page.close()
        complaints, self.complaints = self.complaints, []
        assert not acted and not complaints, (acted, complaints)


def listen(page: Any, complaints: list[str], own: str | tuple[str, ...] = OWN) -> Listeners:
    """Add the errors, dialogs and requests (except to addresses like `own`) of a page to `complaints`."""

    def dismiss(box: Any) -> None:
        complaints.append(box.message)
        box.dismiss()

    listeners: Listeners = [
        ("console", lambda m: complaints.append(m.text) if m.type == "error" else None),
        ("pageerror", lambda error: complaints.append(str(error))),
        ("dialog", dismiss),
        ("request", lambda r: None if r.url.startswith(own) else complaints.append(r.url)),
    ]
    for event, listener in listeners:
        page.on(event, listener)
    return listeners


@contextmanager
def browsing() -> Iterator[Any]:
    """A browser that shows no window, until the end of the block."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def serving(service: Service, browser: Any, *more: Any) -> Iterator[Site]:
    """Serve the page of `service` until the end of the block, then stop it. `more` goes to `build_demo`."""
    # A new page starts empty, and runs at full speed: most tests are about one run of their own.
    settings = replace(service.settings, port=PORT, welcome="off", pace=0)
    object.__setattr__(service, "settings", settings)
    demo = build_demo(service, settings, *more)
    site = Site(server.start(demo, settings), demo, browser, CONTEXTS.setdefault(browser, []))
    yield site
    for _, context in site.open_contexts():
        for page in context.pages:
            page.close()
    server.stop(demo)
    demo.service.stop()


def run(page: Any, prompt: str, length: int = 256) -> None:
    """Type a prompt and run it by keyboard."""
    page.fill("#eft-prompt", prompt)
    page.eval_on_selector("#eft-length", "(field, length) => { field.value = length; }", length)
    page.focus("#eft-prompt")
    page.keyboard.press("Control+Enter")


def wait_end(page: Any) -> None:
    """Wait until the run has ended and the page shows it."""
    page.wait_for_selector("[data-part=stop]:disabled")


def stays(page: Any, selector: str, watched_ms: int = 300) -> bool:
    """Whether the texts in an element stay as they are while they are watched. Ends at the first change."""
    same: bool = page.eval_on_selector(selector, STAYS, watched_ms)
    return same


def texts(page: Any) -> list[str]:
    """The text of every column."""
    found: list[str] = page.eval_on_selector_all(
        ".pane .text", "nodes => nodes.map(node => node.textContent)"
    )
    return found


def endings(page: Any) -> list[str]:
    """Why the text of every column ended."""
    found: list[str] = page.eval_on_selector_all(
        ".pane .foot b", "nodes => nodes.map(node => node.textContent)"
    )
    return found


def violations(page: Any, within: str = "html") -> list[str]:
    """The violations that axe rates serious or critical, each with its first element.

    The whole page takes axe more than a second: after a change of some parts, name them (CSS).
    """
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE)
    found = page.evaluate("part => axe.run(part, {resultTypes: ['violations']})", within)["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in GRAVE]
