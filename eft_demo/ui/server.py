"""The server around the page: what it serves, what it refuses, how it starts and stops.

Knows ports, routes, headers and signals; knows nothing of models or of the page's contents.
"""

import json
import re
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import plotly
import typer
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from eft_demo.settings import Settings
from eft_demo.ui import serving
from eft_demo.ui.layout import MAX_PARALLEL_RUNS, Page, style
from eft_demo.ui.switching import has_key
from eft_demo.ui.visitors import Listening

PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
# A prompt far too long must still arrive whole, or it could not be answered with a sentence.
MAX_BODY_BYTES = 1_000_000
MAX_FILE_BODY_BYTES = 10_000_000  # a recorded run comes as a JSON string, where every quote takes two
# Ways past the queue and its checks, and what of Gradio this page has no use for: a link that would write a
# person's page to the disk, a proxy, an editor of the program.
CLOSED = re.compile(r"^(/gradio_api)?/(run|api|call|deep_link|dev|proxy=.*|(undo-)?vibe-[a-z-]+)(/|$)")
WATCH_S = 0.5  # between two looks at the engine
GOODBYE_S = 3.0  # for cancelled runs to say so to their pages

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def launch(demo: Page, settings: Settings) -> None:
    """Serve the page until SIGTERM or Ctrl+C, then end the runs with a word to their pages and return.

    Raises SystemExit with a status of 1 if the engine dies: whatever supervises the process starts it anew.
    """
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    typer.echo(welcome(start(demo, settings), demo.switch.key if has_key(settings) else ""))
    while not (dead := demo.service.dead) and not stopping.wait(WATCH_S):
        pass
    if dead:
        typer.echo("The engine failed and cannot go on, so this process ends with status 1.", err=True)
    else:
        typer.echo("Stopping: no new runs, ending those going on.")
    stop(demo)
    if dead:
        raise SystemExit(1)


def welcome(url: str, key: str) -> str:
    """What the terminal says at the start. The link with the key is for whoever sits at it."""
    if not key:
        return f"EFT Demo is at {url}"
    return (
        f"EFT Demo is at {url}/#key={key}\n"
        f"Whoever opens that link may load other models for everybody; all others open {url}"
    )


def start(demo: Page, settings: Settings) -> str:
    """Start serving in the background and return the address. Raises InputError if no port is free."""
    sockets = serving.listen(settings.host, settings.port)
    port = serving.port_of(sockets)
    if port != settings.port and settings.port:
        typer.echo(f"Port {settings.port} is in use, so this server takes {port}.")
    demo.queue(max_size=MAX_PARALLEL_RUNS, api_open=False, default_concurrency_limit=MAX_PARALLEL_RUNS)
    # Gradio sets up its page in `launch`, and ZeroGPU its GPU. A page that seems to be running already gets
    # no server from it, and no requests to that, which would go through the proxies of the environment.
    demo.local_url = serving.address(settings.host, port)
    demo.is_running, demo.has_launched, demo.is_colab = True, True, False
    demo.launch(
        _frontend=False,
        prevent_thread_lock=True,
        inline=False,
        quiet=True,
        share=False,
        show_error=False,
        root_path="",
        ssr_mode=False,
        run_history=False,
        mcp_server=False,
        num_workers=0,
        pwa=False,
        enable_monitoring=False,
        footer_links=[],
        allowed_paths=[],
        max_file_size="1kb",
        max_threads=2 * MAX_PARALLEL_RUNS,  # every run holds one; moving a slider must not wait for another
        state_session_capacity=500,
        theme=page_theme(),
        head=style(),
        app_kwargs={
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
            "lifespan": lambda app: _queue_runs(demo, app),
            "routes": [Route("/healthz", health(demo)), Route("/eft/plotly.min.js", plotly_js)],
            "middleware": [Middleware(Gate), Middleware(Listening, streams=demo.live.streams)],
        },
    )
    demo.server = serving.Server(demo.app, sockets)
    demo.server.start()
    return demo.local_url


@asynccontextmanager
async def _queue_runs(demo: Page, app: gr.routes.App) -> AsyncIterator[None]:
    """Start Gradio's queue in the server's loop, before the first request is taken."""
    demo.run_startup_events()
    await demo.run_extra_startup_events()
    app.startup_events_triggered = True
    yield


def page_theme() -> gr.themes.Base:
    """Gradio's plain theme with fonts that it brings along; in the weights whose files hold all letters."""
    sans = gr.themes.LocalFont("Source Sans Pro", weights=(400, 700))
    mono = gr.themes.LocalFont("Inconsolata", weights=(400, 700))
    return gr.themes.Base(font=[sans, "sans-serif"], font_mono=[mono, "monospace"])


def stop(demo: Page) -> None:
    """End every run, give the pages a moment to hear of it, and close the server."""
    demo.live.close()
    waited = threading.Event()
    for _ in range(int(GOODBYE_S / 0.1)):
        if not demo.live.by_id:
            break
        waited.wait(0.1)
    waited.wait(0.2)  # the last lines are on their way
    demo.close(verbose=False)


def health(demo: Page) -> Callable[[Request], Response]:
    """The health route: 200 while the engine works and the server is not closing, else 503."""

    def healthz(request: Request) -> Response:
        engine = demo.service.engine
        alive = demo.service.alive and not demo.live.closing
        status = "down" if not alive else "hangs" if demo.service.hangs else "ok"
        body = {"status": status, "rows": engine.active_rows, "waiting": engine.waiting}
        return JSONResponse(body, status_code=200 if status == "ok" else 503)

    return healthz


def plotly_js(request: Request) -> Response:
    """Plotly's own script from the installed package: nothing is fetched from elsewhere."""
    return FileResponse(
        PLOTLY_JS, media_type="text/javascript", headers={"Cache-Control": "public, max-age=86400"}
    )


class Gate:
    """ASGI middleware: no uploads, no huge bodies, and headers that keep browsers from guessing types."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = _refusal(scope)
        if refusal is not None:
            await _answer(_with_headers(send), *refusal)
            return
        await self.app(scope, receive, _with_headers(send))


def _refusal(scope: Scope) -> tuple[int, str] | None:
    """Status and sentence for a request that is not let in."""
    if CLOSED.search(scope["path"]):
        return 404, "This app is used through its page; it has no other interface."
    if scope["method"] not in ("POST", "PUT", "PATCH"):
        return None
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if "/upload" in scope["path"] or headers.get("content-type", "").lower().startswith("multipart/"):
        return 403, "This app takes no files."
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return 411, "A request must say its length (Content-Length)."
    limit = MAX_FILE_BODY_BYTES if scope["path"].rstrip("/").endswith("/component_server") else MAX_BODY_BYTES
    if int(length) > limit:
        return (
            413,
            f"A request may have {limit:,} bytes; this one has {int(length):,}. Send less text.",
        )
    return None


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            added = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return sending


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"detail": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
