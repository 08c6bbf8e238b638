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
                f"There is no prompt format {show_value(self.kind)}. Choose one of {', '.join(KINDS)}."
            )
        if not isinstance(self.text, str) or len(self.text) > MAX_TEXT_CHARS:
            raise InputError(f"A prompt format is a text of up to {MAX_TEXT_CHARS:,} characters.")
        if self.kind != "chat" and self.text.count(PLACEHOLDER) != 1:
            raise InputError(
                f"The prompt format must hold {PLACEHOLDER} once, where the question goes; it does "
                f"{self.text.count(PLACEHOLDER)} times. Please write it once."
            )
