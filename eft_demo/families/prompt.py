"""Rendering a prompt for a role: as plain text, with a few examples first, or with its chat template.

Different prompts also show up in the difference of two models, so the format is a value that the page can
show and edit. Earlier turns of a conversation are written as the format writes a question and its answer: a
chat template gets them as messages; otherwise the part of the text with {prompt} is repeated, from its last
empty line on, so that examples before it come once. Knows text; knows no token ids.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from eft_demo.errors import FamilyError
from eft_demo.families.rendering import TemplateProblem, render
from eft_demo.runs.conversation import Pair
from eft_demo.runs.prompt_format import PLACEHOLDER, PromptFormat

# Placeholders for the texts during rendering, in private-use characters that no template writes. The spaces
# around them, of a kind that no template writes either, show whether the template strips a text.
_MARK = "\ue000question{}\ue000"
_PROBE = "\u2003"
_MARKED = re.compile(f"({_PROBE}?)\ue000question([0-9]+)\ue000({_PROBE}?)")
# Tags around thinking: templates look for them, mostly to leave the thinking of earlier turns out.
_THINKING_TAG = re.compile("(</?think(?:ing)?>)")
_EMPTY_LINE = "\n\n"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A role's Jinja chat template and its special tokens."""

    text: str
    tokens: Mapping[str, str]  # such as bos_token
    thinking: bool = False  # for templates that can ask for thinking or for none


@dataclass(frozen=True, slots=True)
class Frame:
    """The text before and after a question, and whether the question is stripped of outer spaces."""

    before: str
    after: str
    trims: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """A whole prompt: `fixed[0] + texts[0] + fixed[1] + ...`. Only `fixed` may contain control tokens."""

    fixed: tuple[str, ...]  # one more than texts
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Marked:
    """A text that a template gets a mark for."""

    text: str
    what: str  # for error messages
    begins: bool = True  # the message begins with it, so the template may strip it there
    ends: bool = True
    may_miss: bool = False  # thinking, which a template may leave out


class _Marks(list[_Marked]):
    """The marked texts in the order of the messages."""

    def mark(self, marked: _Marked) -> str:
        """What stands for the text in its message."""
        self.append(marked)
        mark = _MARK.format(len(self) - 1)
        return _PROBE * marked.begins + mark + _PROBE * marked.ends


def around(prompt_format: PromptFormat, template: ChatTemplate | None) -> Frame:
    """The texts before and after the question of a first turn; `template` is the role's.

    Raises FamilyError if a chat template is needed and is missing or fails.
    """
    if prompt_format.kind != "chat":
        before, after = prompt_format.text.split(PLACEHOLDER)
        return Frame(before, after)
    probe = " . "
    rendered = _render_chat(prompt_format.text, (), "", probe, template)
    before, after = rendered.fixed
    return Frame(before, after, trims=rendered.texts[0] != probe)


def render_prompt(
    prompt_format: PromptFormat,
    template: ChatTemplate | None,
    question: str,
    turns: Sequence[Pair] = (),
    system: str = "",
) -> Rendered:
    """The whole prompt of a role for `question` after earlier `turns`; `template` is the role's.

    `system` is the system prompt of a chat format that has none of its own; other formats ignore it. Raises
    FamilyError if a chat template is needed and is missing or fails.
    """
    if prompt_format.kind == "chat":
        return _render_chat(prompt_format.text, turns, system, question, template)
    return _render_text(prompt_format.text, turns, question)


def _render_text(text: str, turns: Sequence[Pair], question: str) -> Rendered:
    """Repeat the part with the placeholder for each turn, and join the turns as its examples are joined."""
    before, after = text.split(PLACEHOLDER)
    head, gap, opening = before.rpartition(_EMPTY_LINE)
    between = gap or "\n"
    fixed, texts = [before], []
    for asked, answer in turns:
        texts += [asked, answer.rstrip()]
        is_apart = not after or not answer or after[-1].isspace() or answer[0].isspace()
        fixed += [after if is_apart else f"{after} ", between + opening]
    return Rendered((*fixed, after), (*texts, question))


def _render_chat(
    own_system: str, turns: Sequence[Pair], system: str, question: str, template: ChatTemplate | None
) -> Rendered:
    if template is None:
        raise FamilyError(
            "This model's tokenizer has no chat template. Please choose the plain format for its role."
        )
    marks = _Marks()
    messages = [{"role": "system", "content": own_system}] if own_system else []
    if system and not own_system:
        messages = [{"role": "system", "content": marks.mark(_Marked(system, "the system prompt"))}]
    has_system = bool(messages)
    for asked, answer in turns:
        messages += [
            {"role": "user", "content": marks.mark(_Marked(asked, "an earlier question"))},
            {"role": "assistant", "content": "".join(_answer_pieces(marks, answer))},
        ]
    messages.append({"role": "user", "content": marks.mark(_Marked(question, "the question"))})
    try:
        # Off unless the family file asks for it: Qwen3's template would start the answer with thinking, which
        # base models do not know.
        variables = {**template.tokens, "enable_thinking": template.thinking}
        text = render(template.text, messages, variables)
    except TemplateProblem as problem:
        advice = "leave the system prompt empty, or choose" if has_system else "choose"
        raise FamilyError(
            f"This model's chat template cannot render this prompt ({problem}). Please {advice} the plain "
            "format for its role."
        ) from None
    return _read_marks(text, marks)


def _answer_pieces(marks: _Marks, answer: str) -> Iterator[str]:
    """The marks of an answer's texts, with thinking tags and the space at them as they are."""
    pieces = _THINKING_TAG.split(answer)
    last = len(pieces) - 1
    for index, piece in enumerate(pieces):
        if index % 2:
            yield piece
            continue
        text = piece if index == 0 else piece.lstrip()
        yield piece[: len(piece) - len(text)]
        text = text if index == last else text.rstrip()
        if text or last == 0:
            yield marks.mark(_Marked(text, "an earlier answer", index == 0, index == last, index < last))
        yield piece[len(piece.rstrip()) :] if index < last and text else ""


def _read_marks(text: str, marks: _Marks) -> Rendered:
    """The rendered text with the texts in place of their marks, stripped where the template strips them."""
    found = list(_MARKED.finditer(text))
    written = Counter(int(match[2]) for match in found)
    for index, marked in enumerate(marks):
        if written[index] != 1 and not (marked.may_miss and not written[index]):
            raise FamilyError(
                f"This model's chat template writes {marked.what} {written[index]} times instead of once. "
                "Please choose the plain format for its role."
            )
    ends = [0, *(match.end() for match in found)]
    starts = [*(match.start() for match in found), len(text)]
    fixed = tuple(text[end:start] for end, start in zip(ends, starts, strict=True))
    return Rendered(fixed, tuple(_stripped(marks[int(match[2])], match) for match in found))


def _stripped(marked: _Marked, match: re.Match[str]) -> str:
    text = marked.text
    if marked.begins and not match[1]:
        text = text.lstrip()
    return text.rstrip() if marked.ends and not match[3] else text
