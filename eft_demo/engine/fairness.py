"""Fair sharing: picks the next waiting run, and limits the sequences and queue places of each owner.

A request names its owner: any string that distinguishes the users who must not starve each other. Requests
without an owner are limited only by the engine. Knows runs and sequences; knows nothing about models.
"""

from collections import Counter, abc
from collections.abc import Iterable
from itertools import accumulate

from eft_demo.engine.run import Run, RunRequest
from eft_demo.engine.sequence import Sequence
from eft_demo.errors import Overloaded
from eft_demo.settings import COLUMNS, Settings

FEW = 48  # sequences that may always run at once: 16 people with three columns each
STEP_S = 1 / 3  # a step of more must not take longer: three tokens a second are slow, but nobody has to wait


def max_sequences_at(sequence_s: float, settings: Settings) -> int:
    """How many sequences may run at once where a step takes `sequence_s` seconds for each; 0 if unknown.

    Waiting costs more than sharing only while everybody's text is still quick enough to read along.
    """
    readable = int(STEP_S / sequence_s) if sequence_s else 0
    return min(settings.max_sequences, max(FEW, readable))


def max_sequences_of_owner(most: int, settings: Settings) -> int:
    """How many of `most` sequences one owner may hold: leaves enough for someone else's run if it can."""
    own = int(COLUMNS.high)
    return max(own, min(int(most * settings.max_share), most - own))


def max_waiting_of_owner(settings: Settings) -> int:
    """How many runs of one owner may wait."""
    return max(min(1, settings.max_waiting), int(settings.max_waiting * settings.max_share))


def check_queue_room(
    request: RunRequest, waiting: Iterable[Run], seqs: Iterable[Sequence], most: int, settings: Settings
) -> None:
    """Raises Overloaded if this run would have to wait and too many are waiting already.

    `most` sequences may run at once.
    """
    queue, held = list(waiting), [seq.run.request.owner for seq in list(seqs)]
    ahead = _ahead([*map(_size, queue), len(request.spec.columns)], most - len(held))
    if ahead >= settings.max_waiting:
        state = f"{ahead} others are waiting already" if ahead else "no run may wait (EFT_MAX_WAITING)"
        raise Overloaded(f"The server is busy and {state}. Please try again in a moment.")
    if not request.owner:
        return
    own = [_size(run) for run in queue if run.request.owner == request.owner]
    ahead = _ahead(
        [*own, len(request.spec.columns)], max_sequences_of_owner(most, settings) - held.count(request.owner)
    )
    if ahead >= (limit := max_waiting_of_owner(settings)):
        raise Overloaded(
            f"{ahead} runs from your address are waiting already; the limit is {limit}. "
            "Please try again in a moment."
        )


def next_run(
    waiting: Iterable[Run], seqs: abc.Sequence[Sequence], most: int, settings: Settings
) -> Run | None:
    """The first waiting run that may start now, where `most` sequences may run at once.

    Owners who already hold their full share are skipped.
    """
    held = Counter(seq.run.request.owner for seq in seqs)
    for run in waiting:
        owner = run.request.owner
        if owner and held[owner] + _size(run) > max_sequences_of_owner(most, settings):
            continue
        return run if len(seqs) + _size(run) <= most else None
    return None


def _size(run: Run) -> int:
    return len(run.request.spec.columns)


def _ahead(sizes: abc.Sequence[int], free: int) -> int:
    """How many runs must wait ahead of the last one; those that fit into free sequences do not count."""
    return sum(taken > free for taken in accumulate(sizes)) - 1
