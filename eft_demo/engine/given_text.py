"""Scores a text that somebody brings: it is given as the answer, token by token, and every column reads it.

Knows services and tokenizers; the engine attributes given tokens as it does in branches.
"""

from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.errors import InputError
from eft_demo.families.family import Family
from eft_demo.families.prompt import around
from eft_demo.runs.spec import RunSpec, check
from eft_demo.runs.text import without_surrogates
from eft_demo.settings import Settings, show_value

WHERE = "text"  # the field that errors name


def score_text(service: Service, spec: RunSpec, text: object, owner: str = "", session: str = "") -> Run:
    """Submit a run whose columns score `text` as the answer to the prompt of `spec`.

    Its end is not scored, so the text may go on. Raises EFTError, of the code text_... for the text.
    """
    family, settings = service.family, service.settings
    checked = check(spec.model_copy(update={"length": None}), family, settings)
    given = _encode(family, checked, _checked_text(text, settings), settings)
    return service.start_run(
        spec.model_copy(update={"length": len(given)}), given, owner=owner, session=session
    )


def _checked_text(text: object, settings: Settings) -> str:
    """The text, if it is one of an allowed length: checked before it is tokenised."""
    if not isinstance(text, str):
        message = f"The text to score must be text; got {show_value(text)}."
        raise InputError(message, code="text_type", where=WHERE)
    if not text.strip():
        raise InputError("The text to score is empty. Please give one.", code="text_empty", where=WHERE)
    if len(text) > settings.max_prompt_chars:
        raise _too_long(f"{len(text):,} characters", settings.max_prompt_chars)
    return text


def _encode(family: Family, spec: RunSpec, text: str, settings: Settings) -> list[int]:
    ids = answer_tokens(family, spec, text)
    if len(ids) > settings.max_new_tokens:
        raise _too_long(f"{len(ids):,} tokens", settings.max_new_tokens)
    return ids


def _too_long(size: str, limit: int) -> InputError:
    return InputError(
        f"The text to score has {size}; the limit is {limit:,}. Please shorten it.",
        code="text_too_long",
        where=WHERE,
    )


def answer_tokens(family: Family, spec: RunSpec, text: str) -> list[int]:
    """The ids of the text after the prompt of the first column's anchor. `spec` names its behaviour.

    A space comes first where the prompt ends without one, as before an answer that a model writes.
    """
    anchor = spec.for_behaviour().columns[0][1].anchor
    chosen = spec.formats.get(anchor, family.prompts[anchor])
    after = around(chosen, family.templates.get(anchor)).after
    apart = not after or after[-1].isspace() or text[0].isspace()
    return family.codec.encode(without_surrogates(text if apart else f" {text}"))
