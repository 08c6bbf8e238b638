"""What a presenter shows to a room, read from posted JSON: a poll, its answer once revealed, and a link.

Knows the form and the length of each field; knows nothing of rooms, votes or pages. Texts are data and are
never interpreted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from eft_demo.errors import InputError
from eft_demo.settings import show_value

KINDS = ("token", "column")
MAX_ID_CHARS = 64
MAX_TITLE_CHARS = 400  # a question, or the text before the hidden token
MAX_PROMPT_CHARS = 200  # one or two lines of a phone
MAX_BEFORE_CHARS = 400  # the text before the hidden token, or its end
MAX_LABEL_CHARS = 200  # a token, the name of a column, a note
MAX_OPTIONS = 12  # more buttons do not fit a phone
MAX_LINK_CHARS = 16_000  # a prompt of the default length, each character as %xx


@dataclass(frozen=True, slots=True)
class Option:
    """One possible vote."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class Poll:
    """A question to the class. `answer` and `notes` are empty until it is revealed.

    `prompt` and `before` are what the question is about: the prompt of the run, and the text before the
    token. `notes` are facts by the id of an option, such as its probabilities under base and mix.
    """

    id: str
    kind: str
    title: str
    options: tuple[Option, ...]
    prompt: str = ""
    before: str = ""
    revealed: bool = False
    answer: str | None = None
    notes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def has(self, option: object) -> bool:
        """Whether `option` is the id of one of the options."""
        return any(option == one.id for one in self.options)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the presenter shows now: a poll or none, and the end of a share link after the #, or ""."""

    poll: Poll | None = None
    link: str = ""


def read_shown(posted: Mapping[str, object]) -> Shown:
    """The fields `poll` and `link` of what a presenter posted. Raises InputError (code poll_form)."""
    poll, link = posted.get("poll"), posted.get("link", "")
    return Shown(None if poll is None else _read_poll(poll), _text(link, "link", MAX_LINK_CHARS, empty=True))


def _read_poll(posted: object) -> Poll:
    if not isinstance(posted, Mapping):
        raise _wrong("poll", "an object", posted)
    kind = posted.get("kind")
    if kind not in KINDS:
        raise _wrong("kind", " or ".join(KINDS), kind)
    options = _read_options(posted.get("options"))
    poll = Poll(
        _text(posted.get("id"), "id", MAX_ID_CHARS),
        str(kind),
        _text(posted.get("title"), "title", MAX_TITLE_CHARS),
        options,
        _text(posted.get("prompt", ""), "prompt", MAX_PROMPT_CHARS, empty=True),
        _text(posted.get("before", ""), "text before", MAX_BEFORE_CHARS, empty=True),
    )
    if posted.get("revealed") is not True:  # an answer that is sent too early is not kept
        return poll
    answer = posted.get("answer")
    if answer is not None and not (isinstance(answer, str) and poll.has(answer)):
        raise _wrong("answer", "the id of an option", answer)
    notes = _read_notes(posted.get("notes", {}), poll)
    return replace(poll, revealed=True, answer=answer, notes=notes)


def _read_options(posted: object) -> tuple[Option, ...]:
    if not isinstance(posted, list) or not 2 <= len(posted) <= MAX_OPTIONS:
        raise _wrong("options", f"a list of 2 to {MAX_OPTIONS} options", posted)
    options = []
    for one in posted:
        if not isinstance(one, Mapping):
            raise _wrong("option", "an object", one)
        options.append(
            Option(
                _text(one.get("id"), "option's id", MAX_ID_CHARS),
                _text(one.get("label"), "option's label", MAX_LABEL_CHARS, empty=True),
            )
        )
    if len({option.id for option in options}) < len(options):
        raise _wrong("options", "a list without repeated ids", posted)
    return tuple(options)


def _read_notes(posted: object, poll: Poll) -> Mapping[str, str]:
    if not isinstance(posted, Mapping):
        raise _wrong("notes", "an object", posted)
    for option in posted:
        if not poll.has(option):
            raise _wrong("notes", "texts by the id of an option", option)
    return {option: _text(note, "note", MAX_LABEL_CHARS, empty=True) for option, note in posted.items()}


def _text(value: object, name: str, most: int, *, empty: bool = False) -> str:
    wanted = f"a text of {0 if empty else 1} to {most:,} characters"
    if not isinstance(value, str) or len(value) > most or not (value or empty):
        raise _wrong(name, wanted, value)
    return value


def _wrong(name: str, wanted: str, value: object) -> InputError:
    return InputError(f"The poll's {name} must be {wanted}; got {show_value(value)}.", code="poll_form")
