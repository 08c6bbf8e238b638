"""Invented sessions neither end the runs of listening visitors nor flood the log."""

from asyncio import Queue

from eft_demo.ui.mailboxes import Mailboxes


def test_the_oldest_silent_session_is_evicted() -> None:
    boxes = Mailboxes({"old", "new"}.__contains__, most=3)
    for session in ("old", "made up 1", "new", "made up 2", "made up 3"):
        boxes[session] = Queue()
    assert list(boxes) == ["old", "new", "made up 3"]


def test_listening_sessions_are_never_evicted() -> None:
    boxes = Mailboxes(lambda session: True, most=2)
    for session in "abc":
        boxes[session] = Queue()
    assert list(boxes) == ["a", "b", "c"]


def test_messages_for_a_closed_session_are_dropped() -> None:
    boxes = Mailboxes(lambda session: False)
    boxes["gone"].put_nowait("words")
    assert "gone" not in boxes


def test_a_session_may_be_deleted_for_each_of_its_streams() -> None:
    boxes = Mailboxes(lambda session: True)
    boxes["two"] = Queue()
    for _ in range(2):
        del boxes["two"]
    assert "two" not in boxes
