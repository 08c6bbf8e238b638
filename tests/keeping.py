"""Runs kept as the page's server keeps them, up to their end."""

from eft_demo.engine.run import Run
from eft_demo.ui.run_store import StoredRun


def kept_to_end(run: Run, stored: StoredRun | None = None) -> StoredRun:
    """Store what the run writes until all its columns have ended; `stored` may already hold its start."""
    stored = stored or StoredRun.of_run(run)
    while not all(trace.finish_reason for trace in stored.traces):
        for event in run.events(1.0):
            stored.add(event)
    return stored
