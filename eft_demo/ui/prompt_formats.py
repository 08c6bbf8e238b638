"""Prompt formats on the page: the family's default for each model, and visitors' own, checked.

Knows prompt formats and the service. Whatever the page sends is untrusted JSON and is checked here.
"""

import json

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.families.prompt import around
from eft_demo.runs.prompt_format import KINDS, PLACEHOLDER
from eft_demo.runs.spec import RunSpec
from eft_demo.settings import show_value
from eft_demo.ui.posted import error_json, fields_of


def family_formats(service: Service) -> list[dict[str, object]]:
    """Per role: the family's default format, and the kinds it supports (chat needs a template)."""
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


def preview(service: Service, posted: object) -> str:
    """JSON for the page: {"text"}, the full prompt of a role; or {"error"}.

    `posted` has `role`, `kind` and `text`.
    """
    request = fields_of(posted)
    role = request.get("role")
    try:
        if not isinstance(role, str) or role not in service.family.prompts:
            raise InputError(
                f"There is no model {show_value(role)} here. Please reload the page.", code="unknown_role"
            )
        chosen = RunSpec(formats={role: request}).formats[role]  # type: ignore[dict-item]  # checks it
        frame = around(chosen, service.family.templates.get(role))
    except EFTError as refusal:
        return error_json(refusal)
    return json.dumps({"text": frame.before + PLACEHOLDER + frame.after})
