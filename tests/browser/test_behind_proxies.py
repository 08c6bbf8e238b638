"""The page behind a real nginx and as on a Space: it works under its own address."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from eft_demo.settings import Settings
from tests import nginx
from tests.fakes import CHANT, make_service
from tests.site import (
    ARGUMENTS,
    BROWSER_MARKS,
    CHROMIUM,
    NAMES,
    SLOW_MS,
    listen,
    run,
    serving,
    texts,
    wait_end,
)
from tests.tiers import exhaustive

pytestmark = [*BROWSER_MARKS, nginx.needs_nginx]
TOKENS = 60
PAUSE_S = 0.02  # so a run takes more than a second
# Chromium treats names under .localhost as secure; under this one it sends no Sec-Fetch headers.
NAME, DOCUMENTED = NAMES
PLAIN = "location / { proxy_pass http://127.0.0.1:PORT; }"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "deploying.md"
WHOLE, UNDER_A_PATH = re.findall(r"```nginx\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
LAYOUTS = {
    "the document": ("/", WHOLE),
    "the document, under a path": ("/tools/eft/", UNDER_A_PATH),
    "bare": ("/", PLAIN),
    "host": ("/", "location / { proxy_pass http://127.0.0.1:PORT; proxy_set_header Host $host; }"),
    "stripped": ("/tools/eft/", "location /tools/eft/ { proxy_pass http://127.0.0.1:PORT/; }"),
    "without the last slash": ("/tools/eft", "location /tools/eft { proxy_pass http://127.0.0.1:PORT/; }"),
    "not stripped": (
        "/tools/eft/",
        "proxy_set_header X-Forwarded-Prefix /tools/eft; "
        "location /tools/eft/ { proxy_pass http://127.0.0.1:PORT; }",
    ),
    "no slash": (
        "/eft",
        "location = /eft/ { return 302 $scheme://$http_host/eft; } "
        "location = /eft { proxy_pass http://127.0.0.1:PORT/; }",
    ),
    "chunked": (
        "/",
        "proxy_http_version 1.1; proxy_request_buffering off; proxy_set_header Connection ''; " + PLAIN,
    ),
    "wrong words": (
        "/",
        "proxy_set_header X-Forwarded-Host inner.invalid; proxy_set_header X-Forwarded-Proto https; " + PLAIN,
    ),
}
USUAL = ("bare", "the document, under a path")
# What the hub's page allows its frame.
SANDBOX = "allow-downloads allow-forms allow-modals allow-popups allow-same-origin allow-scripts"
FONT_IS_HERE = (
    "[...document.fonts].some((font) => font.status === 'loaded' && font.family.includes('Source'))"
)
LONG = "ü" * 1400  # each takes six bytes in an address, and nginx accepts 8 kB
NOT_FOUND = "Failed to load resource: the server responded with a status of 404 (Not Found)"
WATCH = """() => {
  window.arrivals = new Set();
  const look = () => {
    arrivals.add(document.querySelectorAll('.pane .t').length);
    requestAnimationFrame(look);
  };
  look();
}"""


@pytest.fixture(scope="module")
def app(browser: Any) -> Iterator[int]:
    """The port of a page with slow models."""
    with serving(make_service(Settings(), PAUSE_S), browser) as site:
        yield urlsplit(site.url).port or 0


@pytest.fixture(scope="module")
def addresses(app: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The page's address by layout: one nginx with a server for each."""
    ports = {name: nginx.free_port() for name in LAYOUTS}
    blocks = [
        nginx.server_block(ports[name], inside.replace("PORT", str(app)).replace("7860", str(app)))
        for name, (_, inside) in LAYOUTS.items()
    ]
    with nginx.running(tmp_path_factory.mktemp("nginx"), "\n".join(blocks), list(ports.values())):
        yield {
            name: f"http://{DOCUMENTED if inside == WHOLE else NAME}:{ports[name]}{path}"
            for name, (path, inside) in LAYOUTS.items()
        }


def heard(page: Any, origin: str) -> list[str]:
    """What the page will complain of: its errors, and its requests to other origins."""
    complaints: list[str] = []
    page.set_default_timeout(SLOW_MS)
    listen(page, complaints, (origin + "/", "data:", "blob:"))
    return complaints


def use(page: Any, address: str, folder: Path) -> None:
    """A visitor's actions: run, watch, look at the plot, share, save, open. `page` may be a frame."""
    top = page if hasattr(page, "context") else page.page
    page.wait_for_selector(".pane", state="attached")
    assert page.evaluate("getComputedStyle(document.body).getPropertyValue('--body-text-color')"), "no theme"
    page.wait_for_function(FONT_IS_HERE)
    page.evaluate(WATCH)
    run(page if page is top else _Frame(page), CHANT, TOKENS)
    page.wait_for_selector(".t")
    wait_end(page)
    assert [len(text) for text in texts(page)] == [TOKENS] * 3
    # Ten updates a second are requested; they did not all arrive at the end.
    assert len(page.evaluate("[...arrivals]")) > 5
    page.wait_for_function("document.querySelector('.plot')?.data?.[0].x.length > 0")
    page.click("[data-part=share]")
    page.wait_for_function("document.querySelector('[data-part=link]').value")
    assert page.input_value("[data-part=link]").startswith(address)
    with top.expect_download() as download:
        page.locator("[data-part=formats] button").nth(1).click()
    download.value.save_as(folder / "run.json")
    assert json.loads((folder / "run.json").read_text())
    page.locator("dialog[open]").press("Escape")
    page.click("[data-part=open]")
    page.eval_on_selector("[data-part=replay-speed]", "menu => { menu.value = 'instant'; }")
    page.set_input_files("[data-part=file]", folder / "run.json")
    page.wait_for_function("document.querySelector('[data-part=replay-play]').textContent === 'Replay'")
    assert [len(text) for text in texts(page)] == [TOKENS] * 3


class _Frame:
    """A frame with its page's keyboard, for steps that press keys."""

    def __init__(self, frame: Any) -> None:
        self._frame, self.keyboard = frame, frame.page.keyboard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._frame, name)


@pytest.mark.parametrize(
    "layout",
    [*USUAL, *(pytest.param(name, marks=exhaustive) for name in sorted({*LAYOUTS} - {*USUAL, "no slash"}))],
)
def test_the_page_works_from_its_own_address(
    layout: str, addresses: dict[str, str], browser: Any, tmp_path: Path
) -> None:
    address = addresses[layout]
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    complaints = heard(page, address.removesuffix(urlsplit(address).path))
    page.goto(address)
    use(page, address.rstrip("/") + "/", tmp_path)
    page.context.close()
    # Without its slash, the page requests two files under the wrong path before it redirects.
    assert complaints == ([] if address.endswith("/") else [NOT_FOUND] * len(complaints))


def test_the_page_works_in_a_frame_like_that_of_a_space(browser: Any, tmp_path: Path) -> None:
    """In a frame of another origin, under a root path, and in a browser that refuses cookies and storage."""
    settings = Settings(space="somebody/eft", root_path="/proxied", allowed_hosts="*.localhost")
    with serving(make_service(settings, PAUSE_S), browser) as site:
        port = urlsplit(site.url).port
        _use_as_on_a_space(browser, f"http://space.localhost:{port}/proxied/", tmp_path)


def _use_as_on_a_space(browser: Any, address: str, tmp_path: Path) -> None:
    profile = tmp_path / "profile" / "Default"
    profile.mkdir(parents=True)
    refusing = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (profile / "Preferences").write_text(json.dumps(refusing))
    context = browser.browser_type.launch_persistent_context(
        profile.parent, executable_path=CHROMIUM, args=ARGUMENTS, viewport={"width": 1400, "height": 1000}
    )
    page = context.new_page()
    complaints = heard(page, address.removesuffix("/proxied/"))
    around = f"<iframe src='{address}' width=1300 height=900 sandbox='{SANDBOX}'></iframe>"
    page.route("https://huggingface.co/**", lambda r: r.fulfill(body=around, content_type="text/html"))
    page.goto("https://huggingface.co/spaces/somebody/eft")
    frame = page.wait_for_selector("iframe").content_frame()
    frame.wait_for_selector(".pane", state="attached")
    assert frame.evaluate("() => { try { return !localStorage } catch { return true } }"), "storage is there"
    use(frame, "https://huggingface.co/spaces/somebody/eft", tmp_path)
    context.close()
    assert [text for text in complaints if not text.startswith("https://huggingface.co/")] == []


def test_a_long_link_opens_behind_a_proxy(addresses: dict[str, str], browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(SLOW_MS)
    page = context.new_page()
    page.goto(addresses["the document"])
    page.wait_for_selector(".pane", state="attached")
    page.fill("#eft-prompt", LONG)
    page.click("[data-part=share]")
    page.wait_for_function("document.querySelector('[data-part=link]').value")
    other = context.new_page()
    other.goto(page.input_value("[data-part=link]"))
    other.wait_for_function("(text) => document.querySelector('#eft-prompt')?.value === text", arg=LONG)
    context.close()


@pytest.mark.parametrize("layout", ["bare", "chunked", "the document"])
def test_the_first_line_of_a_stream_does_not_wait_for_more(addresses: dict[str, str], layout: str) -> None:
    # A buffering proxy would pass on thirteen bytes only with the next four thousand, hours later.
    url = f"http://127.0.0.1:{urlsplit(addresses[layout]).port}/gradio_api/heartbeat/abc123"
    with httpx.stream("GET", url, timeout=20, trust_env=False) as stream:
        assert next(stream.iter_lines()) == "data: ALIVE"


def test_a_proxy_that_removes_the_final_slash_causes_no_redirect_loop(
    addresses: dict[str, str], browser: Any
) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if r.is_navigation_request() else None)
    page.goto(addresses["no slash"])
    page.wait_for_load_state("networkidle")
    assert 0 < len(asked) <= 3
    page.context.close()


@pytest.mark.parametrize("own", [True, False])
def test_only_our_own_site_may_frame_the_page(app: int, browser: Any, own: bool) -> None:
    page = browser.new_page()
    page.set_default_timeout(SLOW_MS)
    inner = f"http://127.0.0.1:{app}/"
    outer = inner + "around" if own else f"http://{NAME}/"
    around = f"<iframe src='{inner}' onload='window.loaded = true'></iframe>"
    page.route(outer, lambda r: r.fulfill(body=around, content_type="text/html"))
    page.goto(outer)
    page.wait_for_function("window.loaded")
    assert (page.frames[1].url == inner) is own
    page.context.close()
