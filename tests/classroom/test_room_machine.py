"""A class room, whatever presenters and phones do in any order: votes count once, and nothing is left."""

import gc
import weakref
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings as run_with
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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
# An option, and how many polls too late.
VOTES = [("7", 0), ("9", 0), ("7", 1), ("8", 0), ("", 0), (None, 0), (7, 0)]
ANY = st.integers(0, 11)  # one of a list, whatever its length


@dataclass(eq=False)
class Model:
    """What must be so of a room, kept in the simplest way."""

    room: Room
    seen_s: float
    asked: str = ""  # the open poll
    revealed: bool = False
    polls: int = 0
    votes: dict[str, str] = field(default_factory=dict)
    phones: list[str] = field(default_factory=list)  # every token that was given


class Rooms(RuleBasedStateMachine):
    """Two kinds of people: presenters with a room, phones with a token."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.classroom = Classroom(LIMITS, lambda: self.now_s)
        self.living: list[Model] = []
        self.ended: list[Model] = []

    @initialize()
    def begins(self) -> None:
        """A room with two phones."""
        self.opens("school")
        self.joins(0, True)
        self.joins(0, True)

    @rule(address=ADDRESSES)
    def opens(self, address: str) -> None:
        """Where there are too many rooms, one without phones and presenter makes room."""
        for most, full in (
            (LIMITS.max_rooms_address, [model for model in self.living if model.room.address == address]),
            (LIMITS.max_rooms, self.living),
        ):
            left = [m for m in full if not m.room.students and m.room.seen_s <= self.now_s - HERE_S]
            if len(full) >= most and not left:
                return refused(lambda: self.classroom.open(address), "too_many_rooms")
            if len(full) >= most:
                first = min(left, key=lambda model: model.room.seen_s)
                self.living.remove(first)
                self.ended.append(first)
        self.living.append(Model(self.classroom.open(address), self.now_s))
        return None

    @precondition(lambda self: self.living)
    @rule(at=ANY, invited=st.booleans())
    def joins(self, at: int, invited: bool) -> None:
        model = self.living[at % len(self.living)]
        room, before = model.room, dict(model.room.students)
        try:
            same, token = self.classroom.join(room.code.lower(), "phone", "", room.invite if invited else "")
        except EFTError as refusal:  # this address may have sent too many wrong codes
            full = len(before) >= LIMITS.max_students
            assert (refusal.code == "room_full" and full) or (
                refusal.code == "too_many_codes" and not invited
            )
            return
        assert same is room and token not in model.phones and len(room.students) <= LIMITS.max_students
        for gone in set(before) - set(room.students):  # who made room had left without a vote
            assert before[gone].seen_s <= self.now_s - HERE_S and gone not in model.votes
        model.phones.append(token)

    @precondition(lambda self: any(model.phones for model in self.living))
    @rule(at=ANY)
    def rejoins(self, at: int) -> None:
        model, token = self.phone(at)
        if token not in model.room.students:  # it was away, and another took its place
            refused(lambda: self.classroom.joined(model.room.code, token), "no_room")
            return
        assert self.classroom.join(model.room.code, "another address", token) == (model.room, token)
        assert self.classroom.view(model.room, token)["mine"] == model.votes.get(token)

    @precondition(lambda self: self.living)
    @rule(at=ANY, number=st.sampled_from([0, 1, 1, 2, 2]), revealed=st.sampled_from([False, False, True]))
    def shows(self, at: int, number: int, revealed: bool) -> None:
        model = self.presented(at)
        if not number:
            self.classroom.show(model.room, Shown())
            model.asked, model.votes = "", {}
            return
        poll = Poll(
            str(number), "token", "Which?", OPTIONS, revealed=revealed, answer="7" if revealed else None
        )
        new = model.asked != poll.id
        if new and model.polls >= LIMITS.max_room_polls:
            refused(lambda: self.classroom.show(model.room, Shown(poll)), "too_many_polls")
            return
        self.classroom.show(model.room, Shown(poll))
        if new:
            model.votes, model.revealed, model.asked = {}, False, poll.id
            model.polls += 1
        model.revealed = model.revealed or revealed

    @precondition(lambda self: any(model.room.students for model in self.living))
    @rule(cast=st.lists(st.tuples(ANY, st.sampled_from(VOTES)), min_size=1, max_size=6))
    def votes(self, cast: list[tuple[int, tuple[object, int]]]) -> None:
        for at, (option, late) in cast:
            here = [model for model in self.living if model.room.students]
            model = here[at % len(here)]
            token = list(model.room.students)[at % len(model.room.students)]
            self.vote(model, token, model.room.polls - late, option)

    def vote(self, model: Model, token: str, number: int, option: object) -> None:
        late, times = number != model.polls, len(model.room.students[token].voted_s)
        assert self.classroom.joined(model.room.code, token) is model.room
        try:
            self.classroom.vote(model.room, token, number, option)
        except EFTError as refusal:
            if late or not model.asked or model.revealed:
                assert refusal.code == "poll_closed"
            elif option not in ("7", "9"):
                assert refusal.code == "no_option"
            else:
                assert refusal.code == "too_many_votes" and times == LIMITS.max_votes_per_minute
            return
        assert not late and model.asked and not model.revealed
        assert isinstance(option, str) and option in ("7", "9")
        model.votes[token] = option

    @precondition(lambda self: self.living)
    @rule(at=ANY, surely=st.sampled_from([False, False, False, True]))
    def ends(self, at: int, surely: bool) -> None:
        if surely:
            model = self.presented(at)
            self.classroom.end(model.room)
            self.living.remove(model)
            self.ended.append(model)

    @precondition(lambda self: self.living)
    @rule(at=ANY, code=st.text(max_size=8), secret=st.one_of(st.none(), st.text(), st.integers()))
    def forges(self, at: int, code: str, secret: object) -> None:
        room = self.living[at % len(self.living)].room
        for wrong in (secret, room.invite, *room.students):
            refused(lambda wrong=wrong: self.classroom.presented(room.code, wrong), "no_room")
        for wrong in (secret, room.invite, room.secret):
            refused(lambda wrong=wrong: self.classroom.joined(room.code, wrong), "no_room")
        refused(lambda: self.classroom.join(code, "forger", secret), "no_room", "too_many_codes")

    @precondition(lambda self: self.ended)
    @rule(at=ANY)
    def haunts(self, at: int) -> None:
        """Nobody gets back into a room that has ended."""
        model = self.ended[at % len(self.ended)]
        room = model.room
        refused(lambda: self.classroom.presented(room.code, room.secret), "no_room")
        refused(
            lambda: self.classroom.join(room.code, "ghost", None, room.invite), "no_room", "too_many_codes"
        )
        for token in model.phones:
            refused(lambda token=token: self.classroom.joined(room.code, token), "no_room")

    @rule(seconds=st.sampled_from([1.0, 30.0, HERE_S, 599.0, 601.0]))
    def waits(self, seconds: float) -> None:
        self.now_s += seconds
        past_s = self.now_s - 60 * LIMITS.room_minutes
        self.ended += [model for model in self.living if model.seen_s <= past_s]
        self.living = [model for model in self.living if model.seen_s > past_s]

    def phone(self, at: int) -> tuple[Model, str]:
        phones = [(model, token) for model in self.living for token in model.phones]
        return phones[at % len(phones)]

    def presented(self, at: int) -> Model:
        """A room whose presenter is here."""
        model = self.living[at % len(self.living)]
        assert self.classroom.presented(model.room.code, model.room.secret) is model.room
        model.seen_s = self.now_s
        return model

    @invariant()
    def every_vote_counts_once_and_only_for_its_poll(self) -> None:
        self.classroom.expire()
        assert list(self.classroom.rooms.values()) == [model.room for model in self.living]
        for model in self.living:
            room, tally = model.room, self.classroom.tally(model.room)
            counts = {option.id: list(model.votes.values()).count(option.id) for option in OPTIONS}
            assert tally["counts"] == (counts if model.asked else {})
            assert tally["voted"] == len(model.votes) and set(model.votes) <= set(room.students)
            for token in room.students:
                view = self.classroom.view(room, token)
                assert view["mine"] == model.votes.get(token)
                assert ("'answer'" in str(view)) == bool(model.asked and model.revealed)


def refused(act: object, *codes: str) -> None:
    with pytest.raises(EFTError) as caught:
        act()  # type: ignore[operator]
    assert caught.value.code in codes


TestRooms = Rooms.TestCase
TestRooms.settings = run_with(max_examples=100, stateful_step_count=40, deadline=None)


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


def test_rooms_that_were_left_empty_keep_nobody_from_opening_one() -> None:
    now_s = 0.0
    classroom = Classroom(replace(Settings(), max_rooms_address=2), lambda: now_s)
    taught, empty = classroom.open("school"), classroom.open("school")
    classroom.join(taught.code, "school")
    refused(lambda: classroom.open("school"), "too_many_rooms")
    now_s = HERE_S
    opened = classroom.open("school")
    assert set(classroom.rooms) == {taught.code, opened.code} and empty.code not in classroom.rooms
    refused(lambda: classroom.open("school"), "too_many_rooms")


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


def test_a_phone_may_change_its_vote_only_so_often_and_sending_it_again_is_no_change() -> None:
    now_s = 0.0
    classroom = Classroom(replace(Settings(), max_votes_per_minute=3), lambda: now_s)
    room = classroom.open("teacher")
    classroom.show(room, Shown(Poll("a", "token", "Which?", OPTIONS)))
    token = classroom.join(room.code, "school")[1]
    for option in ("7", "9", "9", "9", "7"):
        classroom.vote(room, token, 1, option)
    refused(lambda: classroom.vote(room, token, 1, "9"), "too_many_votes")
    assert room.votes == {token: "7"}
    now_s = 61.0
    classroom.vote(room, token, 1, "9")
    assert classroom.tally(room)["counts"] == {"7": 0, "9": 1}
