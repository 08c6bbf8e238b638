"""What the page asks for: the JSON it posts for a run, checked, as the value that a link holds too.

Knows the fields of the page and where each refusal belongs; starts a run of what was asked, and turns a link
back into what the page would post. Knows nothing of Gradio, of streams and of how the page looks.
"""

from collections.abc import Mapping
from dataclasses import asdict

from eft_demo.engine.run import Run
from eft_demo.engine.service import Panels, Service
from eft_demo.errors import InputError
from eft_demo.method.sampling import Sampling
from eft_demo.method.schedule import parse_schedule
from eft_demo.method.speculation import parse_speculation
from eft_demo.method.weight_filter import parse_weight_filter
from eft_demo.runs.link import Permalink
from eft_demo.settings import (
    MIN_P,
    SEED,
    TEMPERATURE,
    TOP_K,
    TOP_P,
    Range,
    Settings,
    check_control,
    show_value,
)
from eft_demo.ui.columns import in_place, read_columns
from eft_demo.ui.prompt_formats import read_formats

MAX_STEERED = 32  # more sliders than any four recipes listen to


def sampling_ranges(settings: Settings) -> dict[str, Range]:
    """The sampling fields of the page, by the name they have on the wire."""
    length = Range("Length", 1, settings.max_new_tokens, settings.default_new_tokens, integer=True)
    return {
        "temperature": TEMPERATURE,
        "top_p": TOP_P,
        "top_k": TOP_K,
        "min_p": MIN_P,
        "seed": SEED,
        "length": length,
    }


def read_asked(service: Service, posted: Mapping[str, object]) -> Permalink:
    """What a run is to be, from untrusted JSON. Raises FieldError, or InputError for the prompt.

    `posted` has prompt, behaviour, `controls` ({name: value}) and every sampling field; where given also
    `columns` ([{name, recipe}...]), the texts `schedule`, `filter`, `speculation`, and `formats`
    ({role: {kind, text}}), a person's own prompt formats.
    """
    with in_place("behaviour"):
        behaviour = service.check_behaviour(posted.get("behaviour"))
    columns = read_columns(service, behaviour, posted.get("columns"))
    controls = _read_controls(columns, posted.get("controls"), service.settings.allow_negative_alpha)
    numbers: dict[str, float | int] = {}
    for name, limits in sampling_ranges(service.settings).items():
        with in_place(name):
            numbers[name] = limits.check(posted.get(name))
    length = int(numbers.pop("length"))
    with in_place("schedule"):
        schedule = parse_schedule(posted.get("schedule", "constant"))
    with in_place("filter"):
        weight_filter = parse_weight_filter(posted.get("filter", "off"))
    with in_place("speculation"):
        speculation = parse_speculation(posted.get("speculation", "auto"))
    return Permalink(
        prompt=service.check_prompt(posted.get("prompt")),
        family=service.family.name,
        behaviour=behaviour,
        panels=columns,
        controls=controls,
        sampling=Sampling(**numbers),  # type: ignore[arg-type]  # whole where their ranges say so
        weight_filter=weight_filter,
        schedule=schedule,
        speculation=speculation,
        length=length,
        formats=read_formats(service, posted.get("formats")),
    )


def as_posted(link: Permalink) -> dict[str, object]:
    """What the page would post to ask for this; what the link leaves open is left out."""
    sampling = link.sampling
    posted: dict[str, object] = {
        "prompt": link.prompt,
        "controls": dict(link.controls),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": sampling.seed,
        "schedule": str(link.schedule),
        "filter": str(link.weight_filter),
        "speculation": str(link.speculation),
    }
    if link.behaviour:
        posted["behaviour"] = link.behaviour
    if link.panels:
        posted["columns"] = [{"name": name, "recipe": str(recipe)} for name, recipe in link.panels]
    if link.length is not None:
        posted["length"] = link.length
    if link.formats:
        posted["formats"] = {role: asdict(own) for role, own in link.formats.items()}
    return posted


def start_asked(service: Service, asked: Permalink, owner: str = "") -> Run:
    """Start what was asked, in the `owner`'s share of rows. Raises InputError or Overloaded."""
    sampling = asked.sampling
    return service.start_run(
        asked.prompt,
        asked.behaviour,
        panels=asked.panels,
        controls=asked.controls,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        seed=sampling.seed,
        max_new_tokens=asked.length,
        weight_filter=asked.weight_filter,
        schedule=asked.schedule,
        speculation=asked.speculation,
        formats=asked.formats,
        owner=owner,
    )


def read_steering(posted: Mapping[str, object]) -> dict[str, float]:
    """The controls that a moved slider or the pad asks for: `values`, {name: value}. Raises InputError."""
    values = posted.get("values")
    if not isinstance(values, Mapping) or not 1 <= len(values) <= MAX_STEERED:
        raise InputError(f"Steering takes 1 to {MAX_STEERED} values; got {show_value(values)}.")
    # Whether a value may be below 0, the run itself knows.
    return {str(name): check_control(name, value, True) for name, value in values.items()}


def _read_controls(columns: Panels, posted: object, allow_negative: bool) -> dict[str, float]:
    """A value for each control that a column listens to; what nobody listens to is left out."""
    given = posted if isinstance(posted, Mapping) else {}
    controls = {}
    for name in dict.fromkeys(name for _, recipe in columns for name in recipe.controls):
        with in_place(name):
            controls[name] = check_control(name, given.get(name), allow_negative)
    return controls
