"""The web server of the page: what it serves, what it refuses, how it starts and stops.

Knows ports, routes, headers and signals; knows nothing of models or of the page's contents.
"""

import logging
import re
import signal
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import plotly
import typer
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from eft_demo.host.sockets import address, listen, port_of
from eft_demo.settings import Settings
from eft_demo.ui import operators
from eft_demo.ui.connections import connection_limits, limit_connections
from eft_demo.ui.endpoints import misfit
from eft_demo.ui.family_switch import has_key
from eft_demo.ui.gate import ROOM_POST, Gate, Refusal, Unknown, rules
from eft_demo.ui.mailboxes import Mailboxes
from eft_demo.ui.own_address import OwnAddress
from eft_demo.ui.page import MAX_PARALLEL_RUNS, Page, style
from eft_demo.ui.room_routes import Rooms
from eft_demo.ui.serving import Server
from eft_demo.ui.visitors import CALL, Arrivals, TrackArrivals, TrackStreams
from eft_demo.ui.web_modules import module_route, page_modules
from eft_demo.ui.world import route as world_route

PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
FOR_ROOMS = 0.5  # of all connections may wait for news of class rooms; the others are for pages and runs
WATCH_S = 0.5  # between two checks of the engine
LOOK_S = 0.01  # between two looks of an idle Gradio for new runs; its own 0.001 keep a tenth of a core busy
GOODBYE_S = 3.0  # for cancelled runs to notify their pages
SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)  # Gradio's page makes one of eleven letters and digits
FULL = "The server is busy: {} runs have begun or wait. Please try again in a moment."
NO_ANSWER = "There is no such answer here: each can be read once, from the call that asked for it."
NOT_HERE = "This server has no such {}. Please reload the page."

log = logging.getLogger(__name__)


def launch(demo: Page, settings: Settings) -> None:
    """Serve the page until SIGTERM or Ctrl+C, then end the active runs, notify their pages and return.

    Raises SystemExit with status 1 if the engine dies, so that a supervisor restarts the process.
    """
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    typer.echo(welcome(start(demo, settings), demo.switch.key if has_key(settings) else ""))
    log.info("serving", extra={"fields": {"address": demo.local_url, "family": demo.service.family.name}})
    while not (dead := demo.service.dead) and not stopping.wait(WATCH_S):
        pass
    if dead:
        typer.echo("The engine failed and cannot continue. Exiting with status 1.", err=True)
    else:
        typer.echo("Stopping: refusing new runs, ending active ones.")
    log.info("stopping", extra={"fields": {"sequences": demo.service.engine.active_sequences}})
    stop(demo)
    if dead:
        raise SystemExit(1)


def welcome(url: str, key: str) -> str:
    """The lines printed at the start. The link with the key is for the person at the terminal."""
    if not key:
        return f"EFT Demo is at {url}"
    return (
        f"EFT Demo is at {url}/#key={key}\n"
        f"Anybody with that link can switch models for all visitors. Share this one instead: {url}"
    )


def start(demo: Page, settings: Settings) -> str:
    """Start serving in the background and return the address. Raises InputError if no port is free."""
    demo.arrivals = Arrivals()
    demo.rooms = Rooms(settings, most_waiting=int(FOR_ROOMS * connection_limits()[0]))
    bound = listen(settings.host, settings.port)
    port = port_of(bound)
    if port != settings.port and settings.port:
        typer.echo(f"Port {settings.port} is in use, so this server uses {port}.")
    demo.queue(max_size=MAX_PARALLEL_RUNS, api_open=False, default_concurrency_limit=MAX_PARALLEL_RUNS)
    # Gradio sets up its page in `launch`, and ZeroGPU its GPU. If a page seems to be running already, Gradio
    # starts no server and makes no requests to it, which would go through the environment's proxies.
    demo.local_url = address(settings.host, port)
    demo.is_running, demo.has_launched, demo.is_colab = True, True, False
    demo.launch(
        _frontend=False,
        prevent_thread_lock=True,
        inline=False,
        quiet=True,
        share=False,
        show_error=False,
        root_path="",  # the page knows its own address, see own_address.py
        ssr_mode=False,
        run_history=False,
        mcp_server=False,
        num_workers=0,
        pwa=False,
        enable_monitoring=False,
        footer_links=[],
        allowed_paths=[],
        max_file_size="1kb",
        max_threads=2 * MAX_PARALLEL_RUNS,  # every run holds one; moving a slider must not wait for it
        state_session_capacity=500,
        theme=page_theme(),
        head=style(),
        app_kwargs=_app_options(demo),
    )
    queue = demo._queue
    queue.pending_messages_per_session = Mailboxes(demo.live.streams.listens)
    queue.sleep_when_free = LOOK_S
    queue.progress_update_sleep_when_free = WATCH_S  # the page has no progress bars of Gradio's
    demo.app.router.redirect_slashes = False  # it would redirect to what it takes for its own address
    # The gate is outside Gradio's own middleware, which would answer other sites.
    addresses = [one.getsockname()[0] for one in bound]
    demo.server = Server(Gate(demo.app, rules(settings, addresses), unknown(demo)), bound)
    demo.server.start()
    limit_connections(demo.server)
    url: str = demo.local_url
    return url


def _app_options(demo: Page) -> dict[str, Any]:
    """What Gradio's app gets besides its own: routes and middleware, and no pages of documentation."""
    return {
        "docs_url": None,
        "redoc_url": None,
        "openapi_url": None,
        "lifespan": lambda app: _queue_runs(demo, app),
        "routes": [
            *operators.routes(demo),
            Route("/eft/plotly.min.js", plotly_js),
            module_route(page_modules()),
            world_route,
            *demo.rooms.routes(),
        ],
        "middleware": [
            Middleware(OwnAddress),
            Middleware(TrackStreams, streams=demo.live.streams),
            Middleware(TrackArrivals, arrivals=demo.arrivals),
        ],
        "exception_handlers": {RequestValidationError: unreadable_post},
    }


@asynccontextmanager
async def _queue_runs(demo: Page, app: gr.routes.App) -> AsyncIterator[None]:
    """Start Gradio's queue in the server's loop, before the first request is taken."""
    demo.run_startup_events()
    await demo.run_extra_startup_events()
    app.startup_events_triggered = True
    yield


def page_theme() -> gr.themes.Base:
    """Gradio's plain theme with its bundled fonts, in the weights whose files have all letters."""
    sans = gr.themes.LocalFont("Source Sans Pro", weights=(400, 700))
    mono = gr.themes.LocalFont("Inconsolata", weights=(400, 700))
    return gr.themes.Base(font=[sans, "sans-serif"], font_mono=[mono, "monospace"])


def stop(demo: Page) -> None:
    """End every run, give the pages a moment to be notified, and close the server."""
    demo.live.close()
    demo.rooms.news.close()
    waited = threading.Event()
    for _ in range(int(GOODBYE_S / 0.1)):
        if not demo.live.by_id:
            break
        waited.wait(0.1)
    waited.wait(0.2)  # the last lines are being sent
    demo.close(verbose=False)


def unknown(demo: Page) -> Unknown:
    """Refuses unknown events, functions and sessions, which Gradio would report as bugs, and runs beyond all
    limits, which Gradio would queue.
    """

    def check(path: str, query: Mapping[str, str], posted: object) -> Refusal | None:
        if not isinstance(posted, dict):
            return _refused_stream(demo, path, query)
        if ROOM_POST.fullmatch(path):  # a phone has no session
            return None
        is_call = CALL.fullmatch(path) is not None  # each has a session of its own
        session = posted.get("session_hash")
        if not is_call and not (isinstance(session, str) and SESSION.fullmatch(session)):
            return Refusal(400, "The request must name its session (session_hash).")
        if is_call or "/queue/join" in path:
            return _refused_start(demo, path, posted, is_call)
        if "/component_server" not in path:
            return None
        component, name = posted.get("component_id"), posted.get("fn_name")
        block = demo.blocks[component] if _known(component, demo.blocks) else None
        offered = getattr(getattr(block, str(name), None), "_is_server_fn", False)
        return None if offered else Refusal(404, NOT_HERE.format("function"))

    return check


def _refused_stream(demo: Page, path: str, query: Mapping[str, str]) -> Refusal | None:
    """Why a stream cannot be read: it does not exist, or has been read."""
    queue, call = demo._queue, CALL.fullmatch(path)
    if call is not None:
        is_open = call["event"] in queue.pending_event_ids_session.get(call["event"], ())
        return None if is_open else Refusal(404, NO_ANSWER)
    streams = queue.pending_messages_per_session
    lost = path.rstrip("/").endswith("/queue/data") and query.get("session_hash") not in streams
    odd = "/heartbeat/" in path and not SESSION.fullmatch(path.rpartition("/")[2])
    return Refusal(404, NOT_HERE.format("session")) if lost or odd else None


def _refused_start(demo: Page, path: str, posted: Mapping[str, object], is_call: bool) -> Refusal | None:
    """Why a run or a call may not begin."""
    if not is_call and not _known(posted.get("fn_index"), demo.fns):
        return Refusal(404, NOT_HERE.format("event"))
    if (refusal := misfit(demo, path, posted)) is not None:
        return refusal
    begun = _begun_runs(demo)
    return Refusal(503, FULL.format(begun)) if begun >= MAX_PARALLEL_RUNS else None


def _begun_runs(demo: Page) -> int:
    """How many runs were posted and have not ended. The engine refuses some later, when their turn comes."""
    queue = demo._queue
    active = sum(len(batch) for batch in queue.active_jobs if batch)
    return demo.arrivals.count + len(queue) + active


def _known(number: object, known: Mapping[int, object]) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number in known


def unreadable_post(request: Request, error: Exception) -> Response:
    """The answer to a post that Gradio cannot read; its own would repeat the post, which may be binary."""
    return JSONResponse(
        {"detail": "This request does not have the form that the page sends."}, status_code=422
    )


def plotly_js(request: Request) -> Response:
    """Plotly's script from the installed package, so that nothing is fetched from elsewhere."""
    return FileResponse(
        PLOTLY_JS, media_type="text/javascript", headers={"Cache-Control": "public, max-age=86400"}
    )
