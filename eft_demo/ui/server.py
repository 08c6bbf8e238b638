"""The server around the page: what it serves, what it refuses, how it starts and stops.

Knows ports, routes, headers and signals; knows nothing of models or of the page's contents.
"""

import errno
import re
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import gradio as gr
import plotly
import typer
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from eft_demo.errors import InputError
from eft_demo.settings import Settings, show_value
from eft_demo.ui.address import OwnAddress
from eft_demo.ui.connections import bound
from eft_demo.ui.gate import Gate, Refusal, Unknown, rules
from eft_demo.ui.layout import MAX_PARALLEL_RUNS, Page, style

PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
PORTS_TRIED = 50
GOODBYE_S = 3.0  # for cancelled runs to say so to their pages
SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)  # Gradio's page makes one of eleven letters and digits
NOT_HERE = "This server does not know that {}. Please reload the page."


def launch(demo: Page, settings: Settings) -> None:
    """Serve the page until SIGTERM or Ctrl+C, then end the runs with a word to their pages and return."""
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    typer.echo(f"EFT Demo is at {start(demo, settings)}")
    stopping.wait()
    typer.echo("Stopping: no new runs, ending those going on.")
    stop(demo)


def start(demo: Page, settings: Settings) -> str:
    """Start serving in the background and return the address. Raises InputError if no port is free."""
    port = free_port(settings.host, settings.port)
    if port != settings.port and settings.port:
        typer.echo(f"Port {settings.port} is in use, so this server takes {port}.")
    demo.queue(max_size=MAX_PARALLEL_RUNS, api_open=False, default_concurrency_limit=MAX_PARALLEL_RUNS)
    demo.launch(
        server_name=settings.host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        show_error=False,
        ssr_mode=False,
        run_history=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        footer_links=[],
        allowed_paths=[],
        max_file_size="1kb",
        max_threads=2 * MAX_PARALLEL_RUNS,  # every run holds one; moving a slider must not wait for another
        state_session_capacity=500,
        root_path="",  # the page knows its own address, see address.py
        theme=page_theme(),
        head=style(),
        app_kwargs={
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
            "routes": [Route("/healthz", health(demo)), Route("/eft/plotly.min.js", plotly_js)],
            "middleware": [Middleware(OwnAddress)],
            "exception_handlers": {RequestValidationError: not_as_asked},
            "lifespan": gated(demo, settings),
        },
    )
    bound(demo.server)
    host = "localhost" if settings.host in ("127.0.0.1", "0.0.0.0") else settings.host
    return f"http://{host}:{port}"


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


def free_port(host: str, wanted: int) -> int:
    """`wanted`, or the next free port above it; 0 means any.

    Raises InputError if the next 50 are taken, or the address is none of this machine's.
    """
    for port in range(wanted, min(wanted + PORTS_TRIED, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                    raise InputError(
                        f"This machine cannot listen on {show_value(host)} ({error.strerror}). "
                        "Choose another address with --host, such as 127.0.0.1 or 0.0.0.0."
                    ) from None
                continue
            return int(probe.getsockname()[1])
    raise InputError(
        f"No port from {wanted} to {wanted + PORTS_TRIED - 1} is free on {host}. Choose another with --port."
    )


def health(demo: Page) -> Callable[[Request], Response]:
    """The health route: 200 while the engine's thread lives and the server is not closing, else 503."""

    def healthz(request: Request) -> Response:
        alive = demo.service.alive and not demo.live.closing
        engine = demo.service.engine
        body = {"status": "ok" if alive else "down", "rows": engine.active_rows, "waiting": engine.waiting}
        return JSONResponse(body, status_code=200 if alive else 503)

    return healthz


def gated(demo: Page, settings: Settings) -> Callable[[gr.routes.App], AbstractAsyncContextManager[None]]:
    """The server's lifespan: puts the gate before Gradio's middleware, which would answer other sites."""

    @asynccontextmanager
    async def lifespan(app: gr.routes.App) -> AsyncIterator[None]:
        app.middleware_stack = Gate(app.middleware_stack, rules(settings), unknown(demo))
        yield

    return lifespan


def unknown(demo: Page) -> Unknown:
    """What refuses events, functions and sessions that are not here: Gradio takes each for a bug of ours."""

    def check(path: str, query: Mapping[str, str], posted: object) -> Refusal | None:
        if not isinstance(posted, dict):
            streams = demo._queue.pending_messages_per_session
            lost = path.rstrip("/").endswith("/queue/data") and query.get("session_hash") not in streams
            odd = "/heartbeat/" in path and not SESSION.fullmatch(path.rpartition("/")[2])
            return Refusal(404, NOT_HERE.format("session")) if lost or odd else None
        session = posted.get("session_hash")
        if not (isinstance(session, str) and SESSION.fullmatch(session)):
            return Refusal(400, "What is posted here must name its session (session_hash).")
        if "/queue/join" in path and not _known(posted.get("fn_index"), demo.fns):
            return Refusal(404, NOT_HERE.format("event"))
        if "/component_server" not in path:
            return None
        component, name = posted.get("component_id"), posted.get("fn_name")
        block = demo.blocks[component] if _known(component, demo.blocks) else None
        offered = getattr(getattr(block, str(name), None), "_is_server_fn", False)
        return None if offered else Refusal(404, NOT_HERE.format("function"))

    return check


def _known(number: object, known: Mapping[int, object]) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number in known


def not_as_asked(request: Request, error: Exception) -> Response:
    """The answer to a post that Gradio cannot read; its own repeats the post, which may be no text at all."""
    return JSONResponse({"detail": "What was posted is not what this page posts."}, status_code=422)


def plotly_js(request: Request) -> Response:
    """Plotly's own script from the installed package: nothing is fetched from elsewhere."""
    return FileResponse(
        PLOTLY_JS, media_type="text/javascript", headers={"Cache-Control": "public, max-age=86400"}
    )
