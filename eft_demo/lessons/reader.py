"""Reads a lesson: a YAML file with steps, each with texts, states of the page, a question and claims.

A state is written in the words of a share link (prompt, column, alpha, seed ...) plus what a link cannot
say: a recorded run to open, a token to select, a plot, a colour. Knows files, links and recorded runs; knows
no models and no page. `lessons.claims` tests the claims.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from eft_demo.errors import EFTError
from eft_demo.families.files import yaml_files
from eft_demo.families.schema import Part, read_yaml
from eft_demo.figures.tabs import TABS
from eft_demo.method.sampling_settings import SAMPLING
from eft_demo.runs.gallery import GALLERY
from eft_demo.runs.link import from_query
from eft_demo.settings import ASSETS, CONTROLS, show_value

LESSONS, RUNS = ASSETS / "lessons", ASSETS / "runs"
ADVICE = "Please correct the file; docs/teaching.md explains all entries."
MAX_STEPS, MAX_ACTIONS, MAX_TEXT_CHARS, MAX_LABEL_CHARS = 40, 8, 1500, 80
LESSON = ("title", "steps")
STEP = ("title", "text", "show", "do", "actions", "question", "answer", "holds")
# The words of a share link that a lesson may use. `alpha_` and a behaviour is one too.
LINK_WORDS = (
    *("prompt", "behaviour", "system", "column", "filter", "schedule", "speculation", "length"),
    *SAMPLING,
    *CONTROLS,
)
PAGE_WORDS = ("open", "select", "tab", "colour", "run", "help")
SELECT = ("column", "token", "nth")
COLOURS = ("tuning", "probability", "rank", "entropy", "flip", "none")  # as in assets/web/lib/colours.js
TAB_NAMES = ("bars", *(tab.name for tab in TABS))
HELP_TABS = ("what", "see", "keys")
# What a claim may say: of a column's text, and of one of its tokens.
OF_TEXT = ("has", "lacks", "ends", "same_as", "accepted_above", "base_never_below", "base_somewhere_below")
OF_TOKEN = ("changed", "above", "below", "split", "at_alpha", "changes")
CLAIM = ("run", "column", "token", "nth", *OF_TEXT, *OF_TOKEN)


class LessonError(EFTError):
    """A lesson file that cannot be used; the message names file, line and entry."""

    code = "lesson"


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """A token: the `token`th of a column, from 1, or the first of the `nth` occurrence of a text."""

    column: str
    token: int | str
    nth: int = 1


@dataclass(frozen=True, slots=True)
class State:
    """What a link of a lesson sets. `settings` are those of a run, as the page posts them."""

    label: str = ""
    open: str = ""  # name of a recorded run
    settings: Mapping[str, object] = field(default_factory=dict)
    select: TokenPlace | None = None
    tab: str = ""
    colour: str = ""
    help: str = ""
    run: bool = False  # press Run

    @property
    def needs_model(self) -> bool:
        """Whether it makes no sense without a model: anything but sliders concerns the next run."""
        return self.run or bool(self.settings.keys() - {"controls"})


@dataclass(frozen=True, slots=True)
class Claim:
    """What the texts say of a recorded run, so that it can be tested."""

    run: str
    column: str
    line: int
    place: TokenPlace | None
    says: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Step:
    """One step. Texts are plain: the page shows every character as it is."""

    title: str
    text: tuple[str, ...]
    show: State = State()
    do: str = ""
    actions: tuple[State, ...] = ()
    question: str = ""
    answer: str = ""
    holds: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Lesson:
    """A lesson; `name` is its file's name without .yaml."""

    name: str
    title: str
    steps: tuple[Step, ...]


def lesson_files(folder: Path = LESSONS) -> list[Path]:
    """The lesson files, in the order of their names."""
    return yaml_files(folder)


def read_lesson(path: Path) -> Lesson:
    """Read and check a lesson.

    Raises LessonError, which names file, line and entry, but not the folder, because visitors read it.
    """
    try:
        top = read_yaml(path, ADVICE)
        parts = top.table(LESSON, required=LESSON)
        title = _text(parts["title"], MAX_LABEL_CHARS)
        steps = tuple(_step(part) for part in _list(parts["steps"], MAX_STEPS))
        if not steps:
            raise parts["steps"].error("steps is empty.")
    except LessonError:
        raise
    except EFTError as error:  # of the YAML file, where it is called a family's
        raise LessonError(str(error).replace(str(path), path.name)) from None
    return Lesson(path.stem, title, steps)


def _step(part: Part) -> Step:
    parts = part.table(STEP, required=("title", "text"))
    show = _state(parts["show"], labelled=False) if "show" in parts else State()
    actions = tuple(_state(one) for one in _list(parts["actions"], MAX_ACTIONS)) if "actions" in parts else ()
    question, answer = (_text(parts[name]) if name in parts else "" for name in ("question", "answer"))
    if bool(question) != bool(answer):
        raise part.error(f"{part.name} needs a question and an answer, or neither.")
    holds = _list(parts["holds"], MAX_STEPS) if "holds" in parts else []
    return Step(
        title=_text(parts["title"], MAX_LABEL_CHARS),
        text=_paragraphs(parts["text"]),
        show=show,
        do=_text(parts["do"]) if "do" in parts else "",
        actions=actions,
        question=question,
        answer=answer,
        holds=tuple(_claim(one, show.open) for one in holds),
    )


def _list(part: Part, most: int) -> Sequence[Part]:
    part.expect(list)
    if len(part.parts) > most:
        raise part.error(f"{part.name} may have at most {most} entries; it has {len(part.parts)}.")
    return list(part.parts.values())


def _text(part: Part, most: int = MAX_TEXT_CHARS) -> str:
    text = " ".join(str(part.expect(str)).split())
    if len(text) > most:
        raise part.error(f"{part.name} may have at most {most:,} characters; it has {len(text):,}.")
    return text


def _paragraphs(part: Part) -> tuple[str, ...]:
    if isinstance(part.value, str):
        return (_text(part),)
    return tuple(_text(one) for one in _list(part, MAX_STEPS))


def _number(part: Part, low: float, high: float) -> float:
    value = part.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise part.error(f"{part.name} must be a number from {low:g} to {high:g}; it is {show_value(value)}.")
    return float(value)


def _one_of(part: Part, known: Sequence[str]) -> str:
    if part.value not in known:
        raise part.error(f"{part.name} must be one of {', '.join(known)}; it is {show_value(part.value)}.")
    return str(part.value)


def _state(part: Part, labelled: bool = True) -> State:
    part.expect(dict)
    own = [key for key in part.parts if str(key).startswith("alpha_")]
    words = (*LINK_WORDS, *own, *PAGE_WORDS)
    parts = part.table(("label", *words) if labelled else words, required=("label",) if labelled else ())
    state = State(
        label=_text(parts["label"], MAX_LABEL_CHARS) if labelled else "",
        open=_recorded(parts["open"]) if "open" in parts else "",
        settings=_settings(parts),
        select=_place(parts["select"]) if "select" in parts else None,
        tab=_one_of(parts["tab"], TAB_NAMES) if "tab" in parts else "",
        colour=_one_of(parts["colour"], COLOURS) if "colour" in parts else "",
        help=_one_of(parts["help"], HELP_TABS) if "help" in parts else "",
        run=bool(parts["run"].expect(bool)) if "run" in parts else False,
    )
    if len(parts) == labelled:
        raise part.error(f"{part.name} sets nothing.")
    if state.run and (state.open or state.select):
        raise parts["run"].error(f"{part.name} cannot both run the prompt and show a recorded run.")
    return state


def _settings(parts: Mapping[str, Part]) -> dict[str, object]:
    """The settings of a run that these entries set, read as a link with only this entry would be."""
    settings: dict[str, object] = {}
    for name, part in parts.items():
        if name not in LINK_WORDS and not name.startswith("alpha_"):
            continue
        values = part.texts() if name == "column" else (_scalar(part),)
        if not values:
            raise part.error(f"{part.name} is empty.")
        link = from_query(urlencode([("v", "1"), *((name, value) for value in values)]))
        if link is None or link.left_out:
            raise part.error(link.left_out[0] if link else f"{part.name} cannot be read.")
        posted = link.spec.as_posted()
        if name == "column":
            settings["columns"] = posted["columns"]
        elif name in CONTROLS or name.startswith("alpha_"):
            settings["controls"] = {**settings.get("controls", {}), **link.spec.controls}  # type: ignore[dict-item]
        else:
            settings[name] = posted[name]
    return settings


def _scalar(part: Part) -> str:
    value = part.value
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise part.error(f"{part.name} must be a text or a number; it is {show_value(value)}.")
    if isinstance(value, float) and part.name.endswith((".prompt", ".system")):  # 1.50 would become 1.5
        raise part.error(f"{part.name} is a number. Please put it in quotes, so that it stays as it is.")
    return str(value)


def _recorded(part: Part) -> str:
    name = str(part.expect(str))
    if name not in (known := [entry.name for entry in GALLERY]):
        raise part.error(f"There is no recorded run {show_value(name)}. There are {', '.join(known)}.")
    if not (RUNS / f"{name}.json").is_file():
        raise part.error(f"The recorded run {name} is not installed.")
    return name


def _place(part: Part) -> TokenPlace:
    return _token(part.table(SELECT, required=("column", "token")))


def _token(parts: Mapping[str, Part]) -> TokenPlace:
    token = parts["token"]
    kind: type[int | str] = int if isinstance(token.value, int) else str
    nth = int(parts["nth"].expect(int, 1)) if "nth" in parts else 1
    return TokenPlace(_text(parts["column"], MAX_LABEL_CHARS), token.expect(kind, 1), nth)


def _claim(part: Part, shown: str) -> Claim:
    parts = part.table(CLAIM, required=("column",))
    run = _recorded(parts["run"]) if "run" in parts else shown
    if not run:
        raise part.error(f"{part.name} has no run, and its step shows no recorded run.")
    says = {name: _said(parts[name]) for name in (*OF_TEXT, *OF_TOKEN) if name in parts}
    if not says:
        raise part.error(f"{part.name} claims nothing: it needs one of {', '.join((*OF_TEXT, *OF_TOKEN))}.")
    if any(name in OF_TOKEN for name in says) and "token" not in parts:
        raise part.error(f"{part.name} has no token. Please add it.")
    if ("at_alpha" in says) != ("changes" in says):
        raise part.error(f"{part.name} needs at_alpha and changes, or neither.")
    place = _token(parts) if "token" in parts else None
    return Claim(run, _text(parts["column"], MAX_LABEL_CHARS), part.line, place, says)


def _said(part: Part) -> object:
    name = part.name.rpartition(".")[2]
    if name in ("changed", "split", "changes"):
        return part.expect(bool)
    if name == "ends":
        return _one_of(part, ("stop", "length"))
    if name == "at_alpha":
        return _number(part, CONTROLS["alpha"].low, CONTROLS["alpha"].high)
    if name in ("has", "lacks"):
        return _text(part)
    if name == "same_as":
        parts = part.table(("run", "column"), required=("run", "column"))
        return _recorded(parts["run"]), _text(parts["column"], MAX_LABEL_CHARS)
    return _number(part, 0, 1)
