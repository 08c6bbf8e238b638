"""A run read to its end, and the one place that makes a trace of it: whoever writes one asks here.

Knows events, services and traces; does not know where any is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.service import Service
from eft_demo.method.recipe import Recipe, parse
from eft_demo.models.provenance import made_with
from eft_demo.runs.events import Event, TokenEvent
from eft_demo.runs.text import Utf8Stream
from eft_demo.runs.trace import OwnFormat, PanelTrace, RunTrace, gather_pieces

WAIT_S = 1.0  # only how often an interrupted wait looks up; an event ends the wait at once


def collect(run: Run, panels: Sequence[tuple[str, Recipe]]) -> list[PanelTrace]:
    """Wait for every panel of `run` and return their traces, in order. Cancels the run if interrupted."""
    traces = empty_traces(panels)
    try:
        while not all(trace.finish_reason for trace in traces):
            for event in run.events(WAIT_S):
                add_event(traces, event)
    finally:
        run.cancel()
    return traces


def empty_traces(panels: Sequence[tuple[str, Recipe]]) -> list[PanelTrace]:
    """One trace per panel, for `add_event` to fill."""
    return [PanelTrace(name, str(recipe)) for name, recipe in panels]


def add_event(traces: Sequence[PanelTrace], event: Event) -> None:
    """Write what an event tells into its panel's trace."""
    trace = traces[event.panel]
    trace.text += event.text
    if isinstance(event, TokenEvent):
        trace.tokens.append(event.record)
        return
    trace.finish_reason, trace.error = event.finish_reason, event.error
    trace.ttft_s, trace.tokens_per_s = event.ttft_s, event.tokens_per_s
    trace.acceptance_rate, trace.speedup = event.acceptance_rate, event.speedup


def roles_of(panels: Iterable[PanelTrace]) -> list[str]:
    """The models that the panels' recipes name, each once."""
    return list(dict.fromkeys(role for panel in panels for role in parse(panel.recipe).roles))


def make_trace(
    service: Service, prompt: str, request: RunRequest, panels: Sequence[PanelTrace], known: bool = True
) -> RunTrace:
    """The run as it stands now: what was asked, what came of it, its tokens' texts and what made it.

    `panels` may be some of the request's and may still be growing. `known` is whether all of them were made
    here.
    """
    now = [_as_it_stands(panel, service.family.token_bytes) for panel in panels]
    roles = roles_of(now)
    return RunTrace(
        family=service.family.name,
        prompt=prompt,
        sampling=request.sampling,
        controls=dict(request.controls),
        panels=now,
        weight_filter=str(request.weight_filter),
        schedule=str(request.schedule),
        speculation=str(request.speculation),
        pieces=gather_pieces(now, service.family.token_bytes),
        formats={
            role: OwnFormat(own.kind, own.text) for role, own in request.formats.items() if role in roles
        },
        made_with=made_with(service.family, service.plan, roles) if known else None,
    )


def _as_it_stands(panel: PanelTrace, token_bytes: Sequence[bytes]) -> PanelTrace:
    """A copy, for a token that comes while the trace is made would be one without its text.

    The text of one that still streams is that of its tokens so far, half a character at the end included.
    """
    tokens = list(panel.tokens)
    if panel.finish_reason:
        return replace(panel, tokens=tokens)
    stream = Utf8Stream(token_bytes)
    text = "".join([*(stream.push(record.id) for record in tokens), stream.flush()])
    return replace(panel, tokens=tokens, text=text)
