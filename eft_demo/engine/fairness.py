"""Rows and places, shared: who of those that wait comes next, and that nobody holds all of either.

A request names its owner, any word that tells those apart who must not starve each other; those without one
have no limit but the engine's. Knows runs and rows; knows nothing of models.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.sequence import Row
from eft_demo.errors import Overloaded
from eft_demo.settings import COLUMNS, Settings


def rows_of_one(settings: Settings) -> int:
    """So many rows one owner may hold: others always find enough for a run, unless there are hardly any."""
    most = int(COLUMNS.high)
    return max(most, min(int(settings.max_rows * settings.max_share), settings.max_rows - most))


def places_of_one(settings: Settings) -> int:
    """So many runs of one owner may wait."""
    return max(min(1, settings.max_waiting), int(settings.max_waiting * settings.max_share))


def check_places(
    request: RunRequest, waiting: Iterable[Run], rows: Iterable[Row], settings: Settings
) -> None:
    """Raises Overloaded if a run of this request would have to wait and too many do already."""
    queue, held = list(waiting), [row.run.request.owner for row in list(rows)]
    ahead = _ahead([*map(_size, queue), len(request.spec.columns)], settings.max_rows - len(held))
    if ahead >= settings.max_waiting:
        raise Overloaded(
            f"All places are taken and {ahead} others are waiting already. Please try again in a moment."
        )
    if not request.owner:
        return
    own = [_size(run) for run in queue if run.request.owner == request.owner]
    ahead = _ahead([*own, len(request.spec.columns)], rows_of_one(settings) - held.count(request.owner))
    if ahead >= (limit := places_of_one(settings)):
        raise Overloaded(
            f"{ahead} runs from your address are waiting already, and {limit} is the most, so that others "
            "find a place. Please try again in a moment."
        )


def next_run(waiting: Iterable[Run], rows: Sequence[Row], settings: Settings) -> Run | None:
    """The first that waits and may begin now. Whoever holds their share already is passed over meanwhile."""
    held = Counter(row.run.request.owner for row in rows)
    for run in waiting:
        owner = run.request.owner
        if owner and held[owner] + _size(run) > rows_of_one(settings):
            continue
        return run if len(rows) + _size(run) <= settings.max_rows else None
    return None


def _size(run: Run) -> int:
    return len(run.request.spec.columns)


def _ahead(sizes: Sequence[int], free: int) -> int:
    """How many of these must wait before the last one; those that find free rows do not count."""
    return sum(taken > free for taken in accumulate(sizes)) - 1
