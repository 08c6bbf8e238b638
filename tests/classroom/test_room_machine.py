"""A class room, whatever presenters and phones do in any order: votes count once, and nothing is left."""

import gc
import weakref
from dataclasses import replace

import pytest
from hypothesis import settings as run_with
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from eft_demo.classroom.poll import Option, Poll, Shown
from eft_demo.classroom.rooms import HERE_S, Classroom, Room
from eft_demo.errors import EFTError
from eft_demo.settings import Settings

LIMITS = Settings(
    max_rooms=3,
    max_rooms_address=2,
    max_students=4,
    max_room_polls=6,
    max_votes_per_minute=3,
    room_minutes=20,
)
OPTIONS = (Option("7", "Lima"), Option("9", "Peru"))
ADDRESSES = st.sampled_from(["school", "elsewhere"])


class Model:
    """What must be so of one room, kept in the simplest way."""

    def __init__(self) -> None:
        self.votes: dict[str, str] = {}
        self.open = self.revealed = False
        self.polls = 0
        self.seen_s = 0.0


class Rooms(RuleBasedStateMachine):
    """Two kinds of people: presenters with a room, phones with a token."""

    rooms = Bundle("rooms")
    phones = Bundle("phones")  # (room, token)

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.classroom = Classroom(LIMITS, lambda: self.now_s)
        self.models: dict[Room, Model] = {}  # of the rooms that have not ended

    def alive(self, room: Room) -> bool:
        model = self.models.get(room)
        if model and model.seen_s <= self.now_s - 60 * LIMITS.room_minutes:
            del self.models[room]
        return room in self.models

    def presents(self, room: Room) -> bool:
        """Whether the room lives; it then has its presenter, else asking for it is refused."""
        if self.alive(room):
            assert self.classroom.presented(room.code, room.secret) is room
            self.models[room].seen_s = self.now_s
            return True
        refused(lambda: self.classroom.presented(room.code, room.secret), "no_room")
        return False

    @rule(target=rooms, address=ADDRESSES)
    def opens(self, address: str) -> object:
        living = [room for room in list(self.models) if self.alive(room)]
        ours = sum(room.address == address for room in living)
        if len(living) >= LIMITS.max_rooms or ours >= LIMITS.max_rooms_address:
            refused(lambda: self.classroom.open(address), "too_many_rooms")
            return multiple()
        room = self.classroom.open(address)
        self.models[room] = Model()
        self.models[room].seen_s = self.now_s
        return room

    @rule(target=phones, room=rooms, invited=st.booleans())
    def joins(self, room: Room, invited: bool) -> object:
        if not self.alive(room):
            refused(lambda: self.classroom.join(room.code, "phone", None, room.invite), "no_room")
            return multiple()
        full = len(room.students) >= LIMITS.max_students
        try:
            same, token = self.classroom.join(
                room.code.lower(), "phone", None, room.invite if invited else None
            )
        except EFTError as refusal:  # this address may have sent too many wrong codes
            assert refusal.code == "room_full" and full or refusal.code == "too_many_codes" and not invited
            return multiple()
        assert same is room and len(room.students) <= LIMITS.max_students
        return room, token

    @rule(phone=phones)
    def rejoins(self, phone: tuple[Room, str]) -> None:
        room, token = phone
        if self.alive(room) and token in room.students:
            before = room.votes.get(token)
            assert self.classroom.join(room.code, "another address", token) == (room, token)
            assert room.votes.get(token) == before
        else:
            refused(lambda: self.classroom.joined(room.code, token), "no_room")

    @rule(room=rooms, number=st.integers(1, 3), revealed=st.booleans())
    def shows(self, room: Room, number: int, revealed: bool) -> None:
        if not self.presents(room):
            return
        poll = Poll(str(number), "token", "Which?", OPTIONS, revealed, "7" if revealed else None)
        model, old = self.models[room], room.shown.poll
        new = old is None or old.id != poll.id
        if new and model.polls >= LIMITS.max_room_polls:
            refused(lambda: self.classroom.show(room, Shown(poll)), "too_many_polls")
            return
        self.classroom.show(room, Shown(poll))
        if new:
            model.votes, model.revealed = {}, False
            model.polls += 1
        model.open, model.revealed = True, model.revealed or revealed

    @rule(room=rooms)
    def closes(self, room: Room) -> None:
        if self.presents(room):
            self.classroom.show(room, Shown())
            self.models[room].open, self.models[room].votes = False, {}

    @rule(phone=phones, late=st.integers(0, 1), option=st.sampled_from(["7", "9", "8", "", None, 7]))
    def votes(self, phone: tuple[Room, str], late: int, option: object) -> None:
        room, token = phone
        if not self.alive(room) or token not in room.students:
            refused(lambda: self.classroom.joined(room.code, token), "no_room")
            return
        model, number = self.models[room], room.polls - late
        before = list(room.students[token].voted_s)
        try:
            self.classroom.vote(room, token, number, option)
        except EFTError as refusal:
            if late or not model.open or model.revealed:
                assert refusal.code == "poll_closed"
            elif option not in ("7", "9"):
                assert refusal.code == "no_option"
            else:
                assert refusal.code == "too_many_votes"
                assert len(before) == LIMITS.max_votes_per_minute
            return
        assert not late and model.open and not model.revealed and isinstance(option, str)
        model.votes[token] = option

    @rule(room=consumes(rooms))
    def ends(self, room: Room) -> None:
        if self.presents(room):
            self.classroom.end(room)
            del self.models[room]
            assert room.code not in self.classroom.rooms

    @rule(room=rooms, code=st.text(max_size=8), secret=st.one_of(st.none(), st.text(), st.integers()))
    def forges(self, room: Room, code: str, secret: object) -> None:
        refused(lambda: self.classroom.presented(room.code, secret), "no_room")
        refused(lambda: self.classroom.joined(room.code, secret), "no_room")
        refused(lambda: self.classroom.join(code, "forger", secret), "no_room", "too_many_codes")

    @rule(seconds=st.sampled_from([1.0, 30.0, HERE_S, 600.0, 1200.0]))
    def waits(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def every_vote_counts_once_and_only_for_its_poll(self) -> None:
        living = {room for room in list(self.models) if self.alive(room)}
        self.classroom.expire()
        assert set(self.classroom.rooms.values()) == living
        for room in living:
            model, tally = self.models[room], self.classroom.tally(room)
            assert room.votes == model.votes
            assert tally["voted"] == sum(tally["counts"].values()) == len(model.votes)  # type: ignore[attr-defined]
            assert set(room.votes) <= set(room.students)
            for token in room.students:
                view = self.classroom.view(room, token)
                assert view["mine"] == model.votes.get(token)
                assert ("answer" in (view["poll"] or {})) == (model.open and model.revealed)  # type: ignore[operator]


def refused(act: object, *codes: str) -> None:
    with pytest.raises(EFTError) as caught:
        act()  # type: ignore[operator]
    assert caught.value.code in codes


TestRooms = Rooms.TestCase
TestRooms.settings = run_with(max_examples=60, stateful_step_count=40, deadline=None)


def test_an_ended_room_leaves_no_memory() -> None:
    classroom = Classroom(Settings())
    room = classroom.open("school")
    for _ in range(60):
        classroom.join(room.code, "school")
    assert len(room.students) == 60
    dead = weakref.ref(room)
    classroom.end(room)
    del room
    gc.collect()
    assert classroom.rooms == {} and dead() is None


def test_guesses_are_counted_per_address_and_stop_no_scanned_code_and_nobody_who_has_joined() -> None:
    now_s = 0.0
    classroom = Classroom(replace(Settings(), max_wrong_codes=5), lambda: now_s)
    room = classroom.open("teacher")
    _, token = classroom.join(room.code, "school")
    for _ in range(5):
        refused(lambda: classroom.join("BCDFGH" if room.code != "BCDFGH" else "BCDFGJ", "school"), "no_room")
    refused(lambda: classroom.join(room.code, "school"), "too_many_codes")  # right, but that is not said
    assert classroom.join(room.code, "school", token) == (room, token)
    assert classroom.join(room.code, "school", None, room.invite)[0] is room
    assert classroom.join(room.code, "elsewhere")[0] is room
    now_s = 61.0
    assert classroom.join(room.code, "school")[0] is room


def test_a_full_room_makes_room_only_for_phones_that_left_without_a_vote() -> None:
    now_s = 0.0
    classroom = Classroom(replace(Settings(), max_students=2), lambda: now_s)
    room = classroom.open("teacher")
    classroom.show(room, Shown(Poll("a", "token", "Which?", OPTIONS)))
    voter, idle = (classroom.join(room.code, "school")[1] for _ in range(2))
    classroom.vote(room, voter, 1, "7")
    refused(lambda: classroom.join(room.code, "school"), "room_full")
    now_s = HERE_S
    late = classroom.join(room.code, "school")[1]
    assert set(room.students) == {voter, late} and idle not in room.students
    assert classroom.tally(room)["counts"] == {"7": 1, "9": 0}
