"""A shelf with quotas: things that visitors left here, packed, until they are used no more or must make room.

What is too much for one visitor goes from their own things, oldest first. What is too much for all goes from
the address that holds most, and there from the visitor who does: whoever leaves much evicts nobody else.
Knows visitors, bytes and minutes; does not know what the things are.
"""

import pickle
import time
import zlib
from collections import Counter, OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from eft_demo.settings import Settings
from eft_demo.ui.visitors import Visitor

SOMEBODY = Visitor("", "")
LEAST_BYTES = 4096  # that a thing counts, so that a million of small ones is much as well
MEGABYTE = 1_000_000
T = TypeVar("T")


@dataclass(slots=True)
class _Thing(Generic[T]):
    """`whole` while it may still grow, `packed` from then on: a seventh or less of the memory."""

    visitor: Visitor
    opened: bool
    used_s: float
    whole: T | None
    packed: bytes = b""

    @property
    def size_bytes(self) -> int:
        return max(LEAST_BYTES, len(self.packed))


class Shelf(Generic[T]):
    """Things by their unguessable names. Safe to use from any thread.

    What was opened is counted apart, so that files never take the place of runs.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self.by_id: OrderedDict[str, _Thing[T]] = OrderedDict()  # in the order of their last use
        self._lock = Lock()

    def put(self, name: str, thing: T, visitor: Visitor | None, opened: bool) -> None:
        """Keep a thing; it may grow until it is packed."""
        with self._lock:
            self.by_id[name] = _Thing(visitor or SOMEBODY, opened, time.monotonic(), thing)
            self._make_room(name)

    def pack(self, name: str) -> None:
        """The thing grows no more. Does nothing if it is not here any more."""
        with self._lock:
            thing = self.by_id.get(name)
        if thing is None or thing.whole is None:
            return
        packed = zlib.compress(pickle.dumps(thing.whole, pickle.HIGHEST_PROTOCOL), 1)
        with self._lock:
            thing.packed, thing.whole = packed, None
            if name in self.by_id:
                self._make_room(name)

    def get(self, name: str) -> T | None:
        """The thing of that name, or a copy of it once it is packed; None if it is not here."""
        with self._lock:
            self._drop_unused()
            thing = self.by_id.get(name)
            if thing is None:
                return None
            thing.used_s = time.monotonic()
            self.by_id.move_to_end(name)
            whole, packed = thing.whole, thing.packed
        if whole is not None:
            return whole
        unpacked: T = pickle.loads(zlib.decompress(packed))  # noqa: S301 (made by `pack`, above)
        return unpacked

    def holds(self, name: object) -> bool:
        """Whether the thing of that name is here still."""
        with self._lock:
            self._drop_unused()
            return name in self.by_id if isinstance(name, str) else False

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self.by_id.clear()

    def _make_room(self, newest: str) -> None:
        self._drop_unused()
        opened, settings = self.by_id[newest].opened, self._settings
        things = {name: thing for name, thing in self.by_id.items() if thing.opened == opened}
        limit = settings.max_opened_files if opened else settings.max_kept_runs
        own = [name for name, thing in things.items() if thing.visitor == things[newest].visitor]
        for name in own[: max(0, len(own) - limit)]:
            del self.by_id[name], things[name]
        while sum(thing.size_bytes for thing in things.values()) > settings.max_kept_mb * MEGABYTE:
            name = _of_whoever_holds_most(things)
            del self.by_id[name], things[name]

    def _drop_unused(self) -> None:
        past_s = time.monotonic() - 60 * self._settings.keep_minutes
        while self.by_id and next(iter(self.by_id.values())).used_s < past_s:
            self.by_id.popitem(last=False)


def _of_whoever_holds_most(things: dict[str, _Thing[T]]) -> str:
    """The name of the oldest thing of the visitor who holds most, at the address that holds most."""
    addresses: Counter[str] = Counter()
    for thing in things.values():
        addresses[thing.visitor.address] += thing.size_bytes
    address = max(addresses, key=lambda one: addresses[one])
    visitors: Counter[Visitor] = Counter()
    for thing in things.values():
        if thing.visitor.address == address:
            visitors[thing.visitor] += thing.size_bytes
    visitor = max(visitors, key=lambda one: visitors[one])
    return next(name for name, thing in things.items() if thing.visitor == visitor)
