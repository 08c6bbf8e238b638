"""The link of a page: made from what the page would ask for, and read back into what it can fill in.

Knows what a run is asked with and what a link holds; knows nothing of Gradio. A link never runs anything.
"""

import json
from collections.abc import Mapping

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError
from eft_demo.families.prompt import around
from eft_demo.permalink import Permalink, from_query
from eft_demo.settings import Settings, show_value
from eft_demo.ui.asked import as_posted, read_asked
from eft_demo.ui.formats import read_formats

DAMAGED = "The rest of the page is as it always begins."


def address(settings: Settings) -> str:
    """Where links lead: on a Space its own page, whose frame this page cannot know. Else empty: this page."""
    return f"https://huggingface.co/spaces/{settings.space}" if settings.space else ""


def make_link(service: Service, posted: object) -> str:
    """JSON {"query"} of a link to what the page asks for, or {"error"}: `posted` is what Run would send."""
    try:
        asked = read_asked(service, posted if isinstance(posted, Mapping) else {})
        return json.dumps({"query": asked.to_query()})
    except EFTError as refusal:
        return json.dumps({"error": str(refusal)})


def read_link(service: Service, posted: object) -> str:
    """JSON {"asked", "note"} of the page's own address: what to fill in, and a sentence if not all fits here.

    `posted` has the `query`. {} for an address that is no link; only a note for one that cannot be read.
    """
    query = posted.get("query") if isinstance(posted, Mapping) else None
    if not isinstance(query, str):
        return "{}"
    try:
        link = from_query(query, service.settings.allow_negative_alpha)
    except EFTError as refusal:
        return json.dumps({"note": f"{refusal} {DAMAGED}"})
    return "{}" if link is None else json.dumps(_fitting(service, link))


def _fitting(service: Service, link: Permalink) -> dict[str, object]:
    """What of the link can be filled in with the models that are here."""
    asked, family = as_posted(link), service.family
    known = [behaviour.role for behaviour in family.behaviours]
    note = ""
    try:
        for role, own in read_formats(service, asked.get("formats")).items():
            around(own, family.templates.get(role))
    except EFTError as refusal:
        note = f"This link changes what models are shown, which is not possible here. {refusal}"
        del asked["formats"]
    if link.family != family.name:
        note = f"This link is for the models of {show_value(link.family)}; here {family.title} answers."
        asked.pop("columns", None)
        asked.pop("behaviour", None)
        asked.pop("formats", None)
    elif link.behaviour and link.behaviour not in known:
        note = f"This link asks for the behaviour {show_value(link.behaviour)}, which is not here."
        del asked["behaviour"]
    told = [f"{note} The rest is filled in."] if note else []
    if "formats" in asked:
        told.append(f"This link changes what {', '.join(link.formats)} is shown; the first chip shows how.")
    return {"asked": asked, "note": " ".join(told)}
