"""A cache with quotas per visitor: packed items, kept until they are unused for long or must make room.

Beyond a visitor's quota, their own oldest items are dropped. Beyond the total, items are dropped at the
address that holds most, from the visitor who holds most there, so a heavy user evicts nobody else. Knows
visitors, bytes and minutes; does not know what the items are.
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
LEAST_BYTES = 4096  # the minimum that an item counts, so that a million small ones are limited too
MEGABYTE = 1_000_000
T = TypeVar("T")


@dataclass(slots=True)
class _Thing(Generic[T]):
    """An item: `whole` while it may grow, then `packed` in a seventh or less of the memory."""

    visitor: Visitor
    opened: bool
    used_s: float
    whole: T | None
    packed: bytes = b""

    @property
    def size_bytes(self) -> int:
        return max(LEAST_BYTES, len(self.packed))


class Shelf(Generic[T]):
    """Items by their unguessable names. Safe to use from any thread.

    Opened files are counted separately, so that they never displace runs.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self.by_id: OrderedDict[str, _Thing[T]] = OrderedDict()  # in the order of last use
        self._lock = Lock()

    def put(self, name: str, thing: T, visitor: Visitor | None, opened: bool) -> None:
        """Store an item, which may grow until it is packed."""
        with self._lock:
            self.by_id[name] = _Thing(visitor or SOMEBODY, opened, time.monotonic(), thing)
            self._make_room(name)

    def pack(self, name: str) -> None:
        """Pack an item, which must not grow any more. Does nothing if it has been dropped."""
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
        """The item of that name, or a copy of it once it is packed; None if there is none."""
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
        """Whether the item of that name is still here."""
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
    """The name of the oldest item of the visitor who holds most, at the address that holds most."""
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
