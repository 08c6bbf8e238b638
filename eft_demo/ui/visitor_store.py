"""A cache with quotas per visitor: packed items, dropped when unused for long or to make room.

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
from eft_demo.ui.visitors import NOBODY, Visitor

LEAST_BYTES = 4096  # the minimum that an item counts, so that a million small ones are limited too
MEGABYTE = 1_000_000
T = TypeVar("T")


@dataclass(slots=True)
class _Item(Generic[T]):
    """An item: `whole` while it may grow, then `packed` in a seventh or less of the memory."""

    visitor: Visitor
    opened: bool
    used_s: float
    whole: T | None
    packed: bytes = b""

    @property
    def size_bytes(self) -> int:
        return max(LEAST_BYTES, len(self.packed))


class VisitorStore(Generic[T]):
    """Items by their unguessable names. Safe to use from any thread.

    Opened files are counted separately, so that they never displace runs.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self.by_id: OrderedDict[str, _Item[T]] = OrderedDict()  # in the order of last use
        self._lock = Lock()

    def put(self, name: str, item: T, visitor: Visitor | None, opened: bool) -> None:
        """Store an item, which may grow until it is packed."""
        with self._lock:
            self.by_id[name] = _Item(visitor or NOBODY, opened, time.monotonic(), item)
            self._make_room(name)

    def pack(self, name: str) -> None:
        """Pack an item, which must not grow any more. Does nothing if it has been dropped."""
        with self._lock:
            item = self.by_id.get(name)
        if item is None or item.whole is None:
            return
        packed = zlib.compress(pickle.dumps(item.whole, pickle.HIGHEST_PROTOCOL), 1)
        with self._lock:
            item.packed, item.whole = packed, None
            if name in self.by_id:
                self._make_room(name)

    def get(self, name: str) -> T | None:
        """The item of that name, or a copy of it once it is packed; None if there is none."""
        with self._lock:
            self._drop_unused()
            item = self.by_id.get(name)
            if item is None:
                return None
            item.used_s = time.monotonic()
            self.by_id.move_to_end(name)
            whole, packed = item.whole, item.packed
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
        items = {name: item for name, item in self.by_id.items() if item.opened == opened}
        limit = settings.max_opened_files if opened else settings.max_kept_runs
        own = [name for name, item in items.items() if item.visitor == items[newest].visitor]
        for name in own[: max(0, len(own) - limit)]:
            del self.by_id[name], items[name]
        while sum(item.size_bytes for item in items.values()) > settings.max_kept_mb * MEGABYTE:
            name = _oldest_of_heaviest_user(items)
            del self.by_id[name], items[name]

    def _drop_unused(self) -> None:
        past_s = time.monotonic() - 60 * self._settings.keep_minutes
        while self.by_id and next(iter(self.by_id.values())).used_s < past_s:
            self.by_id.popitem(last=False)


def _oldest_of_heaviest_user(items: dict[str, _Item[T]]) -> str:
    """The name of the oldest item of the visitor who holds most, at the address that holds most."""
    addresses: Counter[str] = Counter()
    for item in items.values():
        addresses[item.visitor.address] += item.size_bytes
    address = max(addresses, key=lambda one: addresses[one])
    visitors: Counter[Visitor] = Counter()
    for item in items.values():
        if item.visitor.address == address:
            visitors[item.visitor] += item.size_bytes
    visitor = max(visitors, key=lambda one: visitors[one])
    return next(name for name, item in items.items() if item.visitor == visitor)
