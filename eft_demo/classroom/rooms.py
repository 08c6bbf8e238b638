"""The rooms of a server: which phones are in, what is asked, and what each has voted.

A state machine with a given clock. It holds no names: a student is a random token stored on a phone, and a
presenter is one stored in a tab. Knows nothing of pages or connections. Use it from one thread only.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from eft_demo.classroom.codes import (
    MINUTE_S,
    Guesses,
    make_code,
    make_invite,
    make_secret,
    read_code,
    same,
)
from eft_demo.classroom.poll import Poll, Shown
from eft_demo.errors import InputError, Overloaded
from eft_demo.settings import Settings

HERE_S = 60.0  # phones ask for news every 20 s; one that has been silent for longer is locked or gone


@dataclass(slots=True)
class Student:
    """A phone. `voted_s` are the times of its votes in the last minute, changes included."""

    seen_s: float
    voted_s: list[float] = field(default_factory=list)


@dataclass(slots=True, eq=False, weakref_slot=True)
class Room:
    """A room. `votes` has one vote per student in the current poll, whose number is `polls`.

    `news` rises with every change that phones should show, `counts` with every one for the presenter.
    """

    code: str
    secret: str
    invite: str
    address: str
    seen_s: float  # when the presenter last was here
    students: dict[str, Student] = field(default_factory=dict)
    shown: Shown = field(default_factory=Shown)
    polls: int = 0
    votes: dict[str, str] = field(default_factory=dict)
    news: int = 0
    counts: int = 0


class Classroom:
    """All rooms of a server. A wrong code, secret or token always raises InputError with code no_room."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._guesses = Guesses(settings, clock)
        self.rooms: dict[str, Room] = {}

    # ---- the presenter

    def open(self, address: str) -> Room:
        """A new room. If there are too many, it replaces an abandoned one that nobody has joined.

        Raises Overloaded (code too_many_rooms).
        """
        self.expire()
        for ours, most, whose in (
            (True, self._settings.max_rooms_address, "your address"),
            (False, self._settings.max_rooms, "all visitors"),
        ):
            rooms = [room for room in self.rooms.values() if room.address == address or not ours]
            if len(rooms) >= most and not self._end_empty(rooms):
                raise Overloaded(
                    f"There are {len(rooms)} class rooms of {whose}, and at most {most} are allowed. Please "
                    f"end one, or wait: a room ends {self._settings.room_minutes} minutes after its "
                    "presenter has left.",
                    code="too_many_rooms",
                )
        while (code := make_code()) in self.rooms:
            pass
        self.rooms[code] = Room(code, make_secret(), make_invite(), address, self._clock())
        return self.rooms[code]

    def presented(self, code: object, secret: object) -> Room:
        """The presenter's room; the presenter is here now. Raises InputError (code no_room)."""
        self.expire()
        room = self.rooms.get(read_code(code))
        if room is None or not same(secret, room.secret):
            raise _no_room()
        room.seen_s = self._clock()
        return room

    def show(self, room: Room, shown: Shown) -> None:
        """Show this from now on. A new poll starts without votes; a revealed poll stays revealed.

        Raises Overloaded (code too_many_polls).
        """
        old, new = room.shown.poll, shown.poll
        if old and new and _asked(old) == _asked(new):
            if old.revealed:
                shown = replace(shown, poll=old)
        elif new is not None:
            if room.polls >= self._settings.max_room_polls:
                raise Overloaded(
                    f"This room has had {room.polls} polls, which is the limit. Please open another room.",
                    code="too_many_polls",
                )
            room.polls += 1
            room.votes = {}
        if new is None:
            room.votes = {}
        if shown != room.shown:
            room.shown = shown
            room.news += 1
            room.counts += 1

    def end(self, room: Room) -> None:
        """Forget the room with everything in it."""
        self.rooms.pop(room.code, None)

    def tally(self, room: Room) -> dict[str, object]:
        """What the presenter sees: how many phones have joined, are here and have voted, and the votes."""
        past_s = self._clock() - HERE_S
        return {
            "counted": room.counts,
            "joined": len(room.students),
            "here": sum(student.seen_s > past_s for student in room.students.values()),
            "poll": room.shown.poll.id if room.shown.poll else None,
            "voted": len(room.votes),
            "counts": _counts(room),
        }

    # ---- the students

    def join(
        self, code: object, address: str, token: object = None, invite: object = None
    ) -> tuple[Room, str]:
        """(room, token) of a phone. A phone that comes back with its token keeps it.

        Raises InputError (code no_room), or Overloaded (too_many_codes, room_full).
        """
        self.expire()
        room = self.rooms.get(read_code(code))
        if room and isinstance(token, str) and token in room.students:
            return self.joined(code, token), token
        if room is None or not same(invite, room.invite):  # no link was opened: the code was typed or guessed
            self._guesses.check(address)
        if room is None:
            self._guesses.note(address)
            raise InputError(
                "There is no room with this code. Check the code on the screen; a room ends with its lesson.",
                code="no_room",
            )
        self._make_room(room)
        token = make_secret()
        room.students[token] = Student(self._clock())
        room.counts += 1
        return room, token

    def joined(self, code: object, token: object) -> Room:
        """The room of a phone that has joined; it is here now. Raises InputError (code no_room)."""
        self.expire()
        room = self.rooms.get(read_code(code))
        student = room.students.get(token) if room and isinstance(token, str) else None
        if room is None or student is None:
            raise _no_room()
        student.seen_s = self._clock()
        return room

    def vote(self, room: Room, token: str, number: object, option: object) -> None:
        """Count the vote of a phone, which it may change until the answer is revealed.

        Raises InputError (codes poll_closed, no_option) or Overloaded (code too_many_votes).
        """
        poll, student = room.shown.poll, room.students[token]
        if poll is None or poll.revealed or isinstance(number, bool) or number != room.polls:
            raise InputError("This question is closed, so the vote did not count.", code="poll_closed")
        if not isinstance(option, str) or not poll.has(option):
            raise InputError("This question has no such answer, so the vote did not count.", code="no_option")
        if room.votes.get(token) == option:  # sent again, because the answer was lost
            return
        now_s = self._clock()
        student.voted_s = [at_s for at_s in student.voted_s if at_s > now_s - MINUTE_S]
        if len(student.voted_s) >= self._settings.max_votes_per_minute:
            raise Overloaded(
                f"This phone has voted {len(student.voted_s)} times within a minute, which is the limit. "
                "Please try again in a minute.",
                code="too_many_votes",
            )
        student.voted_s.append(now_s)
        room.votes[token] = option
        room.counts += 1

    def view(self, room: Room, token: str) -> dict[str, object]:
        """What a phone shows. Answer, notes, votes and link are left out while a poll is open."""
        poll = room.shown.poll
        asking = poll is not None and not poll.revealed
        return {
            "news": room.news,
            "poll": _phone_poll(room, poll) if poll else None,
            "mine": room.votes.get(token),
            "link": "" if asking else room.shown.link,
        }

    # ---- both

    def expire(self) -> None:
        """Forget the rooms whose presenter has been away for too long. The other methods call this first."""
        past_s = self._clock() - 60 * self._settings.room_minutes
        self.rooms = {code: room for code, room in self.rooms.items() if room.seen_s > past_s}

    def _end_empty(self, rooms: list[Room]) -> bool:
        """End the room that has been abandoned longest among those without phones; False if there is none."""
        past_s = self._clock() - HERE_S
        left = [room for room in rooms if not room.students and room.seen_s <= past_s]
        if left:
            self.end(min(left, key=lambda room: room.seen_s))
        return bool(left)

    def _make_room(self, room: Room) -> None:
        """In a full room, drop the phone that has been away longest without a vote. Raises Overloaded."""
        if len(room.students) < self._settings.max_students:
            return
        past_s = self._clock() - HERE_S
        left = [
            (student.seen_s, token)
            for token, student in room.students.items()
            if student.seen_s <= past_s and token not in room.votes
        ]
        if not left:
            raise Overloaded(
                f"This room is full: it has {len(room.students)} phones, which is the limit. "
                "Please look at the screen of a neighbour.",
                code="room_full",
            )
        del room.students[min(left)[1]]


def _asked(poll: Poll) -> object:
    """What identifies a poll before and after its answer is revealed."""
    return poll.id, poll.kind, poll.title, poll.options


def _counts(room: Room) -> dict[str, int]:
    votes = Counter(room.votes.values())
    return {option.id: votes[option.id] for option in room.shown.poll.options} if room.shown.poll else {}


def _phone_poll(room: Room, poll: Poll) -> dict[str, object]:
    asked: dict[str, object] = {
        "number": room.polls,
        "kind": poll.kind,
        "title": poll.title,
        "prompt": poll.prompt,
        "before": poll.before,
        "options": [{"id": option.id, "label": option.label} for option in poll.options],
        "revealed": poll.revealed,
    }
    if poll.revealed:
        asked |= {"answer": poll.answer, "notes": dict(poll.notes)}
        asked |= {"counts": _counts(room)}
    return asked


def _no_room() -> InputError:
    message = "This room has ended, or its key is wrong. Please open or join a room again."
    return InputError(message, code="no_room")
