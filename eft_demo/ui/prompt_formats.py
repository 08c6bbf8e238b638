"""What each model is shown around the question: the family's way to begin with, and a person's own.

Knows prompt formats and the service; whatever the page sends is untrusted JSON and is checked here.
"""

import json
from collections.abc import Mapping

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.families.prompt import around
from eft_demo.runs.prompt_format import KINDS, PLACEHOLDER, PromptFormat
from eft_demo.settings import show_value


def family_formats(service: Service) -> list[dict[str, object]]:
    """Per role: its format as the family has it, and which kinds it can take (chat needs a template)."""
    family = service.family
    return [
        {
            "role": role,
            "kind": chosen.kind,
            "text": chosen.text,
            "kinds": [kind for kind in KINDS if kind != "chat" or role in family.templates],
        }
        for role, chosen in family.prompts.items()
    ]


def read_formats(service: Service, posted: object) -> dict[str, PromptFormat]:
    """The formats that a person changed, by role. Raises InputError naming the role."""
    if posted is None:
        return {}
    if not isinstance(posted, Mapping):
        raise InputError(f"Prompt formats are given by model; got {show_value(posted)}.")
    known = service.family.prompts
    formats = {}
    for role, given in posted.items():
        if role not in known:
            raise InputError(f"There is no model {show_value(role)} here. The models are {', '.join(known)}.")
        formats[role] = _read(role, given)
    return formats


def preview(service: Service, posted: object) -> str:
    """JSON for the page: {"text"}, all that a role would be shown; or {"error"} with a sentence.

    `posted` has `role`, `kind` and `text`.
    """
    request = posted if isinstance(posted, Mapping) else {}
    role = request.get("role")
    try:
        chosen = read_formats(service, {role: request} if isinstance(role, str) else posted)[str(role)]
        frame = around(chosen, service.family.templates.get(str(role)))
    except EFTError as refusal:
        return json.dumps({"error": str(refusal)})
    except KeyError:
        return json.dumps({"error": f"There is no model {show_value(role)} here. Please reload the page."})
    return json.dumps({"text": frame.before + PLACEHOLDER + frame.after})


def _read(role: str, given: object) -> PromptFormat:
    if not isinstance(given, Mapping):
        raise InputError(f"The prompt format of {role} has a kind and a text; got {show_value(given)}.")
    try:
        return PromptFormat(given.get("kind"), given.get("text"))
    except InputError as refusal:
        raise InputError(f"{role}: {refusal}") from None
