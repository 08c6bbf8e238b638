"""The page: one gr.HTML component with a constant skeleton, drawn by the modules in assets/web.

Knows the family's behaviours, the limits and the examples, and sends them to the page as the first NDJSON
line. No text from a person or a model passes through a template: the skeleton has no placeholders, and the
modules use textContent only.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict

import anyio.from_thread
import gradio as gr

from eft_demo.engine.service import Service
from eft_demo.figures.tabs import TABS
from eft_demo.method.roles import SMALL_TUNED
from eft_demo.models.memory import freeze_loaded_objects
from eft_demo.models.provenance import made_with
from eft_demo.runs.spec import FIRST
from eft_demo.settings import ASSETS, COLUMNS, CONTROLS, Range, Settings, control_range
from eft_demo.ui import endpoints, handlers, lessons, links, replays, run_store
from eft_demo.ui import prompt_formats as formats
from eft_demo.ui import stream as wire
from eft_demo.ui.columns import describe_column, presets
from eft_demo.ui.family_switch import (
    OVER,
    Load,
    Measure,
    Switch,
    cannot_measure,
    load_chosen,
    load_first,
)
from eft_demo.ui.room_routes import Rooms
from eft_demo.ui.run_form import sampling_ranges
from eft_demo.ui.server_functions import Served, address_of, server_functions
from eft_demo.ui.space import gpu_decorator
from eft_demo.ui.visitors import Arrivals, Turns, Visitor
from eft_demo.ui.web_modules import LATER, page_modules
from eft_demo.ui.world import world_of

TITLE = "EFT Demo: emulated fine-tuning, token by token"
MAX_PARALLEL_RUNS = 192  # the engine decides who waits; more are refused before Gradio would queue them


class Page(gr.Blocks):  # type: ignore[misc]  # gradio is Any to mypy
    """The demo with its active runs, so that they can be ended when the server stops."""

    service: Service  # the one in use: read again at each event, because the family can be switched
    live: handlers.LiveRuns
    switch: Switch
    rooms: Rooms  # once it is served, as the next
    arrivals: Arrivals

    def switch_service(self, service: Service) -> None:
        """Serve all visitors with another family from now on, and return the old service."""
        self.live.store.renew()  # first: from here on, a page of the old family is refused
        old, self.service = self.service, service
        self.column.value = page_line(service, self.live.store.serial)
        self.config = self.get_config_file()  # what a page gets when it is opened
        old.stop(OVER.format(title=service.family.title))
        del old
        freeze_loaded_objects()


def open_page(settings: Settings, measure: Measure) -> Page:
    """The page with the configured family, or with the bundled one and the reason. Raises EFTError."""
    service, notice = load_first(settings, gpu_decorator(settings))
    return build_demo(service, settings, notice, measure=measure)


def build_demo(
    first: Service,
    settings: Settings,
    notice: str = "",
    load: Load = load_chosen,
    measure: Measure = cannot_measure,
) -> Page:
    """The whole page, served by `first` at the start. Nothing is started.

    `measure` describes the effect of quantising the large base.
    """
    live = handlers.LiveRuns(store=run_store.RunStore(settings))
    turns = Turns(settings)

    def run_eft(event: gr.EventData, request: gr.Request) -> Iterator[str]:
        visitor = Visitor(request.session_hash or "", address_of(request))

        async def has_gone() -> bool:
            return not live.streams.is_read(visitor.session, settings.blocked_s)

        def in_turn(work: Callable[[], handlers.StartedRun]) -> handlers.StartedRun:
            return anyio.from_thread.run(turns.take, visitor, work, has_gone)  # Gradio calls this in a thread

        yield from handlers.stream_run(demo.service, live, event._data, visitor, in_turn)
        forget(demo, live.streams.forgotten())

    served = Served(lambda: demo.service, lambda: demo.switch, live, turns)
    with Page(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 600)) as demo:
        column = gr.HTML(
            value=page_line(first, live.store.serial, notice),
            html_template=asset("skeleton.html"),
            js_on_load=loader(),
            apply_default_css=False,
            elem_id="eft",
            server_functions=server_functions(served),
        )
        column.eft_run(
            run_eft,
            outputs=column,
            show_progress="hidden",
            api_visibility="private",
            trigger_mode="multiple",  # a new run need not wait for the end of the old one
            concurrency_limit=MAX_PARALLEL_RUNS,
        )
        if settings.api:
            endpoints.offer(served, MAX_PARALLEL_RUNS, lambda: forget(demo, live.streams.forgotten()))
    demo.service, demo.live, demo.column = first, live, column
    demo.switch = Switch(settings, load, demo.switch_service, measure)
    built: Page = demo
    return built


def forget(page: Page, sessions: Iterable[str]) -> None:
    """Free what Gradio keeps for sessions until they listen, which is for ever if they never do."""
    for session in sessions:
        page._queue.pending_messages_per_session.pop(session, None)
        page._queue.pending_event_ids_session.pop(session, None)


def page_line(service: Service, serial: int = 0, notice: str = "") -> str:
    """Everything the page needs to know before the first run. `serial` counts the families so far."""
    family, settings = service.family, service.settings
    behaviour = family.behaviours[0].role if family.behaviours else SMALL_TUNED
    behaviours = [{"role": b.role, "title": b.title, "about": b.description} for b in family.behaviours]
    ranges = sampling_ranges(settings)
    return wire.line(
        "page",
        serial=serial,
        notice=notice,
        formats=formats.family_formats(service),
        chips=list(service.chips),
        made_with=asdict(made_with(family, service.plan, family.roles)),
        behaviours=behaviours,
        examples=[
            {"prompt": e.prompt, "shows": e.shows, "behaviour": e.behaviour, "alpha": e.alpha}
            for e in family.examples
        ],
        sizes=_sizes(service),
        world=world_of(family),
        welcome=replays.recorded(settings.welcome) if family.roles else None,
        pace=None if settings.zero_gpu else settings.pace,
        controls={
            name: _range(limits)
            for name in CONTROLS
            if (limits := control_range(name, settings.allow_negative_alpha))
        },
        fields={name: {**_range(limits), "help": limits.help} for name, limits in ranges.items()},
        max_prompt_chars=settings.max_prompt_chars,
        columns=[describe_column(name, recipe, behaviour, family.captions) for name, recipe in FIRST],
        max_columns=int(COLUMNS.high),
        rules=wire.rules(settings.allow_negative_alpha),
        address=links.address(settings),
        absent=not family.roles,
        recorded=replays.recorded_list(),
        lessons=lessons.lesson_list(),
        max_file_bytes=replays.max_file_bytes(settings.run_scale),
        plots=[{"name": tab.name, "label": tab.label, "title": tab.title, "hint": tab.hint} for tab in TABS],
        presets=[
            {"title": preset.title, **describe_column(preset.name, preset.recipe, behaviour, family.captions)}
            for preset in presets(family)
        ],
    )


def asset(name: str) -> str:
    """One of the page's own files. They ship with the package, wherever EFT_ASSETS points."""
    return (ASSETS / "ui" / name).read_text(encoding="utf-8")


def loader() -> str:
    """The script that Gradio runs with element, trigger, props, server and watch: it imports the modules."""
    modules = page_modules()
    names = json.dumps([name for name in modules.files if not name.startswith(LATER)])
    text = asset("load.js").replace("VERSION", modules.version).replace("NAMES", names)
    return f'"use strict";\n{text}'


def style() -> str:
    """The style sheet for the document's head, so that the page never appears unstyled."""
    return f"<style>\n{asset('style.css')}</style>"


def _sizes(service: Service) -> list[dict[str, object]]:
    """Role and parameters of each model, for a picture of their sizes."""
    placements = service.plan.placements if service.plan else ()
    return [{"role": place.role, "parameters": place.parameters} for place in placements]


def _range(limits: Range) -> dict[str, object]:
    return {
        "name": limits.name,
        "low": limits.low,
        "high": limits.high,
        "value": limits.default,
        "step": 1 if limits.integer else 0.05,
    }
