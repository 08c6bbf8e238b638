"""The family menu: lists the families and whether they fit, and loads, cancels and measures.

Its server functions exchange JSON with the page. Knows the catalogue, memory plans and the switch; knows
nothing of how a family is loaded.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError
from eft_demo.families.catalogue import Entry, find_entry, names
from eft_demo.models.memory import REMOTE, free_memory
from eft_demo.models.plan import MenuEntry, Plan, menu_entry
from eft_demo.settings import QUANTISATIONS, Settings, show_value
from eft_demo.ui.family_switch import Claim, Switch, refusal_reason
from eft_demo.ui.posted import fields_of

Headers = Mapping[str, str]


def menu(service: Service, switch: Switch, headers: Headers, posted: object) -> str:
    """JSON of everything the menu shows. `posted` may have the `quantisation` to plan with, and the `key`."""
    request = fields_of(posted)
    wanted = request.get("quantisation", switch.settings.quantisation)
    if wanted not in QUANTISATIONS:
        wanted = "auto"
    choices, problems = family_choices(replace(switch.settings, quantisation=str(wanted)))
    return json.dumps(
        {
            "now": service.family.name,
            "title": service.family.title,
            "models": _models(service.plan),
            "choices": [_choice(choice) for choice in choices],
            "problems": problems,
            "quantisation": wanted,
            "quantisations": list(QUANTISATIONS),
            "why_not": _why_not(switch, headers, posted),
            "progress": _progress(switch),
        }
    )


def load_family(switch: Switch, headers: Headers, posted: object) -> str:
    """Start loading the family that `posted` names, with its `quantisation`. An error message, or "".

    This affects every visitor, so `posted` needs the `key`.
    """
    return _begin(switch, switch.start, headers, posted)


def measure_quantisation(switch: Switch, headers: Headers, posted: object) -> str:
    """Start measuring how `quantisation` changes `family`. An error message, or "" if it started."""
    return _begin(switch, switch.measure, headers, posted)


def _begin(switch: Switch, begin: Callable[[str, object], None], headers: Headers, posted: object) -> str:
    request = fields_of(posted)
    name = request.get("family")
    try:
        if reason := _why_not(switch, headers, posted):
            raise InputError(reason)
        known = names(switch.settings)
        if not isinstance(name, str) or name not in known:
            raise InputError(f"There is no family {show_value(name)}. Choose one of {', '.join(known)}.")
        begin(known[name], request.get("quantisation", "auto"))
    except EFTError as refusal:
        return str(refusal)
    return ""


def loading(switch: Switch) -> str:
    """JSON of the loading progress."""
    return json.dumps(_progress(switch))


def cancel_loading(switch: Switch, headers: Headers, posted: object) -> str:
    """Stop loading or measuring. An error message, or ""."""
    reason = _why_not(switch, headers, posted)
    if not reason:
        switch.cancel()
    return reason


def _why_not(switch: Switch, headers: Headers, posted: object) -> str:
    claim = Claim(fields_of(posted).get("key"), headers)
    return refusal_reason(switch.settings, switch.key, claim)


def family_choices(settings: Settings) -> tuple[list[MenuEntry], list[str]]:
    """Every family with its memory plan, and the errors in the files of the others."""
    free = free_memory()
    choices, problems = [], []
    for known in names(settings).values():
        try:
            entry: Entry = find_entry(known, settings)
            choices.append(menu_entry(entry, settings, free))
        except EFTError as error:
            problems.append(str(error))
    return choices, problems


def _choice(choice: MenuEntry) -> dict[str, object]:
    plan = choice.plan
    return {
        "name": choice.name,
        "title": choice.title,
        "licence": choice.licence,
        "note": choice.note,
        "gated": choice.gated,
        "pinned": choice.pinned,
        "here": choice.here,
        "download_bytes": choice.download_bytes,
        "parameters": dict(choice.parameters),
        "needed_bytes": dict(plan.needed_bytes),
        "rows": plan.rows,
        "free_bytes": dict(plan.free_bytes),
        "problem": plan.problem,
        "warning": plan.warning,
        "models": _models(plan),
    }


def _models(plan: Plan | None) -> list[dict[str, object]]:
    """Where each model is loaded: one entry per role."""
    return [
        {
            "role": place.role,
            "source": Path(place.source).name if Path(place.source).is_absolute() else place.source,
            # How a server stores its model is not known.
            "dtype": "?" if place.device == REMOTE else str(place.dtype).removeprefix("torch."),
            "quantisation": place.quantisation,
            "device": place.device,
            "parameters": place.parameters,
            "weights_bytes": place.weights_bytes,
            "cache_bytes": place.cache_bytes,
            "reason": place.reason,
        }
        for place in (plan.placements if plan else ())
    ]


def _progress(switch: Switch) -> dict[str, object]:
    progress = switch.progress
    family = {known: name for name, known in names(switch.settings).items()}.get(progress.family, "")
    return {**asdict(progress), "family": family}
