"""A custom prompt format for one model, as a value; `families.prompt` renders it."""

from dataclasses import dataclass

from eft_demo.errors import InputError
from eft_demo.settings import show_value

PLACEHOLDER = "{prompt}"
KINDS = ("plain", "few-shot", "chat")
MAX_TEXT_CHARS = 8000


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """`text` contains {prompt} once; for `chat` it is the system prompt or empty. Raises InputError."""

    kind: str
    text: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"The prompt format must be one of {', '.join(KINDS)}; it is {show_value(self.kind)}.",
                code="unknown_format",
            )
        if not isinstance(self.text, str) or len(self.text) > MAX_TEXT_CHARS:
            raise InputError(
                f"A prompt format must be text of up to {MAX_TEXT_CHARS:,} characters.", code="format_text"
            )
        if self.kind != "chat" and self.text.count(PLACEHOLDER) != 1:
            raise InputError(
                f"A prompt format must contain {PLACEHOLDER} exactly once, where the question goes; this one "
                f"contains it {self.text.count(PLACEHOLDER)} times.",
                code="format_placeholder",
            )


def parse_format(text: str) -> tuple[str, PromptFormat]:
    """Parse `role:kind:text`, as used in links and on the command line. Raises InputError."""
    role, *own = text.split(":", 2)  # the text may contain colons
    if len(own) != 2:
        message = f"A prompt format must be role:kind:text; got {show_value(text)}."
        raise InputError(message, code="format_syntax")
    return role, PromptFormat(*own)
