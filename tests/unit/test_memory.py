"""Memory: what is gone is given back, what stays is not looked through by the collector again and again."""

import gc
import weakref

from eft_demo.engine.service import Service
from eft_demo.models.memory import free_unused, settle
from eft_demo.settings import Settings


class Node:
    """Something that holds on to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.me = self


def test_what_was_to_stay_is_freed_when_it_is_gone() -> None:
    node = Node()
    gone = weakref.ref(node)
    settle()
    del node
    gc.collect()
    assert gone() is not None
    free_unused()
    assert gone() is None


def test_while_a_service_runs_the_collector_looks_at_little(tiny_settings: Settings) -> None:
    gc.unfreeze()
    service = Service.load(tiny_settings, "tiny", ["large_base"])
    try:
        stays, looked_at = gc.get_freeze_count(), len(gc.get_objects())
        assert looked_at < stays / 10
    finally:
        service.stop()
