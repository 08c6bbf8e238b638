"""Rendering a prompt for a role: as plain text, with a few examples first, or with its chat template.

Different prompts also show up in the difference of two models, so the format is a value that the page can
show and edit. Knows text; knows no token ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from eft_demo.errors import FamilyError
from eft_demo.families.rendering import TemplateProblem, render
from eft_demo.runs.prompt_format import PLACEHOLDER, PromptFormat

# Placeholder for the question during rendering, in private-use characters that no template writes.
_MARK = "\ue000question\ue000"


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A role's Jinja chat template and its special tokens."""

    text: str
    tokens: Mapping[str, str]  # such as bos_token


@dataclass(frozen=True, slots=True)
class Frame:
    """The text before and after a question, and whether the question is stripped of outer spaces."""

    before: str
    after: str
    trims: bool = False


def around(prompt_format: PromptFormat, template: ChatTemplate | None) -> Frame:
    """The texts before and after the question; `template` is the role's.

    Raises FamilyError if a chat template is needed and is missing or fails.
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
        # Without this, Qwen3's template starts the answer with thinking, which base models do not know.
        text = render(template.text, messages, {**template.tokens, "enable_thinking": False})
    except TemplateProblem as problem:
        advice = "leave the system prompt empty, or choose" if system else "choose"
        raise FamilyError(
            f"This model's chat template cannot render this prompt ({problem}). Please {advice} the plain "
            "format for its role."
        ) from None
    parts = text.split(_MARK)
    if len(parts) != 2:
        raise FamilyError(
            f"This model's chat template writes the question {len(parts) - 1} times instead of once. "
            "Please choose the plain format for its role."
        )
    before, after = parts
    if before.endswith(" ") and after.startswith(" "):
        return Frame(before[:-1], after[1:])
    return Frame(before, after, trims=True)
