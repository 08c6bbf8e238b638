"""The functions that the page calls beside runs, in one table: a name that the page uses, and what it does.

Knows which of them are slow enough to delay others, and lets those run one at a time, in fair turns.
Knows nothing of what they do; every one takes the posted JSON and returns text.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import gradio as gr

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError
from eft_demo.ui import columns, handlers, lessons, links, prompt_formats, replays, restored_runs, run_store
from eft_demo.ui import family_menu as menu
from eft_demo.ui import what_if as scoring
from eft_demo.ui.family_switch import Switch
from eft_demo.ui.posted import error_json
from eft_demo.ui.visitors import Turns, Visitor, network


@dataclass(frozen=True, slots=True)
class Served:
    """What the functions act on. `service` and `switch` are read at each call: the family can be switched."""

    service: Callable[[], Service]
    switch: Callable[[], Switch]
    live: handlers.LiveRuns
    turns: Turns


Headers = Mapping[str, str]
Light = Callable[[Served, object, Headers], str]
Heavy = Callable[[Served, object, Headers, Visitor], str]

LIGHT: Mapping[str, Light] = MappingProxyType(
    {
        "set_controls": lambda served, posted, _: handlers.set_controls(served.live, posted),
        "set_pace": lambda served, posted, _: handlers.set_pace(served.live, posted),
        "stop": lambda served, posted, _: handlers.stop(served.live, posted),
        "check_columns": lambda served, posted, _: columns.check_columns(served.service(), posted),
        "make_link": lambda served, posted, _: links.make_link(served.service(), posted),
        "read_link": lambda served, posted, _: links.read_link(served.service(), posted),
        "open_lesson": lambda served, posted, _: lessons.open_lesson(posted),
        "is_stored": lambda served, posted, _: restored_runs.is_stored(served.live.store, posted),
        "show_format": lambda served, posted, _: prompt_formats.preview(served.service(), posted),
        "load_family": lambda served, posted, headers: menu.load_family(served.switch(), headers, posted),
        "measure_quantisation": lambda served, posted, headers: menu.measure_quantisation(
            served.switch(), headers, posted
        ),
        "cancel_loading": lambda served, posted, headers: menu.cancel_loading(
            served.switch(), headers, posted
        ),
        "loading": lambda served, posted, _: menu.loading(served.switch()),
    }
)
HEAVY: Mapping[str, Heavy] = MappingProxyType(
    {
        "save": lambda served, posted, *_: run_store.save(served.service(), served.live.store, posted),
        "plot": lambda served, posted, *_: run_store.plot(served.service(), served.live.store, posted),
        "open_file": lambda served, posted, _, visitor: replays.open_file(
            served.live.store, posted, served.service(), visitor
        ),
        "open_recorded": lambda served, posted, _, visitor: replays.open_recorded(
            served.live.store, posted, service=served.service(), visitor=visitor
        ),
        "restore_run": lambda served, posted, _, visitor: restored_runs.restore_run(
            served.service(), served.live.store, posted, visitor
        ),
        "family_menu": lambda served, posted, headers, _: menu.menu(
            served.service(), served.switch(), headers, posted
        ),
    }
)


def server_functions(served: Served) -> list[Callable[..., str | Awaitable[str]]]:
    """All functions, each under its name, by which Gradio offers it to the page."""
    light = [_light(served, name, act) for name, act in LIGHT.items()]
    heavy = [_heavy(served, name, act) for name, act in HEAVY.items()]
    return [*light, *heavy, _what_if(served)]


def address_of(request: gr.Request) -> str:
    """The caller's network address; empty if there is none."""
    return network(request.client.host) if request.client else ""


def _light(served: Served, name: str, act: Light) -> Callable[..., str]:
    def call(posted: object, request: gr.Request) -> str:
        return act(served, posted, request.headers)

    call.__name__ = name
    return call


def _heavy(served: Served, name: str, act: Heavy) -> Callable[..., Awaitable[str]]:
    async def call(posted: object, request: gr.Request) -> str:
        return await _in_turn(served, request, partial(act, served, posted, request.headers))

    call.__name__ = name
    return call


async def _in_turn(served: Served, request: gr.Request, work: Callable[[Visitor], str]) -> str:
    body = await request.json()  # already read; Gradio does not pass the session here
    visitor = Visitor(str(body.get("session_hash")), address_of(request))
    try:
        return await served.turns.take(visitor, partial(work, visitor), request.is_disconnected)
    except EFTError as refusal:
        return error_json(refusal)


def _what_if(served: Served) -> Callable[..., Awaitable[str]]:
    """Begins in turn; the engine scores after the turn, so that others need not wait for it."""

    async def what_if(posted: object, request: gr.Request) -> str:
        begun: list[scoring.Scoring] = []

        def begin(visitor: Visitor) -> str:
            begun.append(scoring.begin(served.service(), served.live.store, posted, visitor))
            return ""

        refusal = await _in_turn(served, request, begin)
        return refusal or await scoring.answer(begun[0], served.service(), request.is_disconnected)

    return what_if
