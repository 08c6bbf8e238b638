"""Share links: made from the page's settings, and read back into settings to fill in.

Knows the settings of a run and the contents of a link; knows nothing of Gradio. A link never starts a run.
"""

import json
from dataclasses import asdict, dataclass

from eft_demo.engine.service import Service
from eft_demo.errors import EFTError
from eft_demo.families.prompt import around
from eft_demo.models.provenance import made_with
from eft_demo.runs.conversation import as_json, fits, for_columns
from eft_demo.runs.link import Link, from_query
from eft_demo.runs.link_text import trimmed
from eft_demo.runs.made_with import Facts, differences
from eft_demo.runs.prompt_format import PromptFormat
from eft_demo.runs.spec import RunSpec, check_role
from eft_demo.runs.trace import roles_of
from eft_demo.settings import COLUMNS, Settings, show_value
from eft_demo.ui.posted import error_json, fields_of
from eft_demo.ui.run_form import read_run_spec

DAMAGED = "All other settings have their defaults."
MAX_SAID = 3  # messages on dropped values that are shown; with more, the link is better sent again
# Some chat and mail programs cut longer links (Discord at 2,000 characters, Excel and old Outlooks at 2,083);
# browsers accept far more.
LONG_CHARS = 2000


def address(settings: Settings) -> str:
    """The base address of links: the Space's page, which its frame cannot know; "" means this page."""
    return f"https://huggingface.co/spaces/{settings.space}" if settings.space else ""


def make_link(service: Service, posted: object) -> str:
    """JSON {"query"} of a link to the page's settings, or {"error"}: `posted` is what Run would send.

    A long link comes with a "note".
    """
    try:
        spec = read_run_spec(service, fields_of(posted))
        query = Link(spec, _facts_here(service, spec)).to_query()
    except EFTError as refusal:
        return error_json(refusal)
    if len(query) <= LONG_CHARS:
        return json.dumps({"query": query})
    note = (
        f"This link has {len(query):,} characters, and some chat and mail programs cut links at "
        f"{LONG_CHARS:,}. If so, send the run as a file."
    )
    return json.dumps({"query": query, "note": note})


def read_link(service: Service, posted: object) -> str:
    """JSON {"settings", "view", "note"} of the page's own address; the note says what does not fit here.

    `posted` has the `query`: the address from its ? or # on. {} for an address that is not a link; only a
    note for a link that is too long.
    """
    query = fields_of(posted).get("query")
    if not isinstance(query, str):
        return "{}"
    try:
        link = from_query(query, service.settings.allow_negative_alpha)
    except EFTError as refusal:
        return json.dumps({"note": f"{refusal} {DAMAGED}"})
    return "{}" if link is None else json.dumps(_fitting(service, link))


def _facts_here(service: Service, spec: RunSpec) -> Facts:
    """The versions and choices that such a run would be made with here."""
    return made_with(service.family, service.plan, roles_of(spec.for_behaviour().columns)).facts


@dataclass(frozen=True, slots=True)
class Fit:
    """Settings that fit the loaded models, sentences on what does not, and roles whose format changes."""

    settings: dict[str, object]
    lost: list[str]
    changed: list[str]


def fit(service: Service, spec: RunSpec) -> Fit:
    """What the page can fill in of these settings."""
    family = service.family
    settings = spec.as_posted()
    settings.pop("family", None)  # the page already has one, or the link is for another one
    if not spec.prompt:
        settings.pop("prompt", None)  # half-typed text stays
    lost: list[str] = []
    columns: list[dict[str, str]] = settings.get("columns", [])[: int(COLUMNS.high)]  # type: ignore[index]
    if columns:  # an empty name becomes the recipe, because the page has no field to change a name
        settings["columns"] = [
            {**column, "name": column["name"].strip() or column["recipe"]} for column in columns
        ]
    if spec.length and spec.length > (most := service.settings.max_new_tokens):
        settings.pop("length", None)
        lost.append(f"Its length is {spec.length:,} tokens; the limit here is {most:,}.")
    turns = for_columns(spec.turns, range(len(columns))) if columns else spec.turns
    if turns:
        settings["turns"] = as_json(turns)
    if len(spec.columns) > COLUMNS.high:
        lost.append(f"It has {len(spec.columns)} columns; the page shows the first {COLUMNS.high:.0f}.")
    changed: list[str] = []
    if not _is_for_us(service, spec):
        lost.append(f"This link is for {show_value(spec.family)}, but {family.title} is loaded here.")
        for name in ("columns", "behaviour", "formats"):
            settings.pop(name, None)
        if not fits(turns, 1):
            settings.pop("turns", None)
            lost.append("Its earlier turns are answers of other columns, so they are left out.")
    else:
        changed = _formats_that_fit(service, spec, settings, lost)
        _choose_behaviour(service, settings, lost)
    return Fit(settings, lost, changed)


def _is_for_us(service: Service, spec: RunSpec) -> bool:
    return service.family.name in (spec.family or service.family.name, trimmed(spec.family))


def _fitting(service: Service, link: Link) -> dict[str, object]:
    """The settings of the link that fit the loaded models, what it shows, and a note on the rest."""
    fitting = fit(service, link.spec)
    lost = ["This link is damaged."] if link.left_out else []
    lost += link.left_out[:MAX_SAID]
    if len(link.left_out) > MAX_SAID:
        lost.append(f"And {len(link.left_out) - MAX_SAID} more problems.")
    lost += fitting.lost
    said = [f"{' '.join(lost)} The rest is filled in."] if lost else []
    if changed := fitting.changed:
        said.append(f"This link changes the prompt format of {', '.join(changed)}. The first chip shows it.")
    if link.made and _is_for_us(service, link.spec):
        chosen = link.spec.model_copy(update={"behaviour": fitting.settings.get("behaviour", "")})
        said.append(differences("link", link.made, _facts_here(service, chosen)))
    note = " ".join(filter(None, said))
    return {"settings": fitting.settings, "view": link.view.as_json(), "note": note}


def _choose_behaviour(service: Service, settings: dict[str, object], lost: list[str]) -> None:
    """Remove the behaviour from `settings` if the family does not have it."""
    wanted = str(settings.pop("behaviour", ""))
    for behaviour in service.family.behaviours:
        if behaviour.role in (wanted, trimmed(wanted)):
            settings["behaviour"] = behaviour.role
    if wanted and "behaviour" not in settings:
        lost.append(f"This link uses the behaviour {show_value(wanted)}, which is not available here.")


def _formats_that_fit(
    service: Service, spec: RunSpec, settings: dict[str, object], lost: list[str]
) -> list[str]:
    """The roles whose prompt format changes; invalid formats move from `settings` to `lost`."""
    valid: dict[str, PromptFormat] = {}
    for role, own in spec.formats.items():
        try:
            check_role(role, service.family)
            around(own, service.family.templates.get(role))
            valid[role] = own
        except EFTError as refusal:
            lost.append(f"This link changes prompt formats, which is not possible here. {refusal}")
    settings.pop("formats", None)
    if valid:
        settings["formats"] = {role: asdict(own) for role, own in valid.items()}
    return list(valid)
