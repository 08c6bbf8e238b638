"""What a person may put around the prompt for one model, as a value; `families.prompt` writes the texts."""

from dataclasses import dataclass

from eft_demo.errors import InputError
from eft_demo.settings import show_value

PLACEHOLDER = "{prompt}"
KINDS = ("plain", "few-shot", "chat")
MAX_TEXT_CHARS = 8000


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """`text` holds {prompt} once; for `chat` it is the system prompt, empty for none. Raises InputError."""

    kind: str
    text: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"There is no prompt format {show_value(self.kind)}. Choose one of {', '.join(KINDS)}.",
                code="unknown_format",
            )
        if not isinstance(self.text, str) or len(self.text) > MAX_TEXT_CHARS:
            raise InputError(
                f"A prompt format is a text of up to {MAX_TEXT_CHARS:,} characters.", code="format_text"
            )
        if self.kind != "chat" and self.text.count(PLACEHOLDER) != 1:
            raise InputError(
                f"The prompt format must hold {PLACEHOLDER} once, where the question goes; it does "
                f"{self.text.count(PLACEHOLDER)} times. Please write it once.",
                code="format_placeholder",
            )


def parse_format(text: str) -> tuple[str, PromptFormat]:
    """Read `role:kind:text`, as links and the command line write it. Raises InputError."""
    role, *own = text.split(":", 2)  # neither a role nor a kind has a colon; a text may
    if len(own) != 2:
        raise InputError(f"A prompt format is role:kind:text; got {show_value(text)}.", code="format_syntax")
    return role, PromptFormat(*own)
