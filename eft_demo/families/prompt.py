"""How a question is put to a role: plain text, a few examples first, or the chat template of its tokenizer.

What each role is shown changes what the difference of two models means, so the format is a value that a page
can show and edit. Knows text; knows no token ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from eft_demo.errors import FamilyError
from eft_demo.families.rendering import TemplateProblem, render
from eft_demo.runs.prompt_format import PLACEHOLDER, PromptFormat

# Stands for the question while a template is rendered: private-use characters that no template writes.
_MARK = "\ue000question\ue000"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A role's chat template in Jinja, and what it calls the control tokens."""

    text: str
    tokens: Mapping[str, str]  # such as bos_token


@dataclass(frozen=True, slots=True)
class Frame:
    """What is written around a question, and whether spaces at its ends are cut."""

    before: str
    after: str
    trims: bool = False


def around(prompt_format: PromptFormat, template: ChatTemplate | None) -> Frame:
    """The texts before and after the question; `template` is the role's.

    Raises FamilyError if there is no template, or if it cannot be used.
    """
    if prompt_format.kind != "chat":
        before, after = prompt_format.text.split(PLACEHOLDER)
        return Frame(before, after)
    if template is None:
        raise FamilyError(
            "This model's tokenizer has no chat template. Please choose the plain format for its role."
        )
    system = [{"role": "system", "content": prompt_format.text}] if prompt_format.text else []
    messages = [*system, {"role": "user", "content": f" {_MARK} "}]
    try:
        # Qwen3's would otherwise have the answer begin with thoughts, which no base model has.
        text = render(template.text, messages, {**template.tokens, "enable_thinking": False})
    except TemplateProblem as problem:
        advice = "leave the system prompt empty, or choose" if system else "choose"
        raise FamilyError(
            f"This model's chat template cannot write this prompt ({problem}). Please {advice} the plain "
            "format for its role."
        ) from None
    parts = text.split(_MARK)
    if len(parts) != 2:
        raise FamilyError(
            f"This model's chat template writes the question {len(parts) - 1} times. "
            "Please choose the plain format for its role."
        )
    before, after = parts
    if before.endswith(" ") and after.startswith(" "):
        return Frame(before[:-1], after[1:])
    return Frame(before, after, trims=True)
