"""A run read to its end. Knows events and traces; does not know where either is shown."""

from __future__ import annotations

from collections.abc import Sequence

from eft_demo.engine.events import Event, TokenEvent
from eft_demo.engine.run import Run
from eft_demo.recipe import Recipe
from eft_demo.trace import PanelTrace

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
