"""The page's form: the JSON posted for a run or a moved slider, checked.

Knows the page's sliders and limits; `runs.spec` knows what a run is. Knows nothing of Gradio, streams or
layout.
"""

from collections.abc import Iterable, Mapping

from eft_demo.engine.pace import check_rate
from eft_demo.engine.service import Service
from eft_demo.errors import InputError, at_field
from eft_demo.method.sampling_settings import SAMPLING
from eft_demo.runs.spec import RunSpec, check
from eft_demo.settings import Range, Settings, check_control, show_value
from eft_demo.ui.columns import read_columns
from eft_demo.ui.posted import fields_of

MAX_STEERED = 32  # more sliders than any four recipes use


def sampling_ranges(settings: Settings) -> dict[str, Range]:
    """The page's sampling fields, by their names in the wire format."""
    most, usual = settings.max_new_tokens, settings.default_new_tokens
    length = Range("Length", 1, most, usual, integer=True, help="maximum tokens per column")
    return {**SAMPLING, "length": length}


def read_run_spec(service: Service, posted: Mapping[str, object]) -> RunSpec:
    """The requested run, from untrusted JSON in the form of `RunSpec.as_posted`. Raises EFTError.

    The page has sliders and few columns, so its limits are narrower than those of a run.
    """
    family, settings = service.family, service.settings
    columns = read_columns(posted.get("columns"))
    used = RunSpec(columns=columns).used_controls
    controls = _read_controls(used, posted.get("controls"), settings.allow_negative_alpha)
    with at_field("length"):
        length = sampling_ranges(settings)["length"].check(posted.get("length"))
    own = {"family": family.name, "columns": columns, "controls": controls, "length": length}
    spec = RunSpec.from_posted({**posted, **own})
    check(spec, family, settings)
    return spec


def read_pace(posted: Mapping[str, object]) -> float:
    """How many tokens a second the page wants to show; default: 0, full speed. Raises InputError."""
    return check_rate(posted.get("pace", 0))


def read_control_values(posted: Mapping[str, object]) -> dict[str, float]:
    """The controls posted by a moved slider or the pad: `values`, {name: value}. Raises InputError."""
    values = posted.get("values")
    if not isinstance(values, Mapping) or not 1 <= len(values) <= MAX_STEERED:
        raise InputError(f"A slider message has 1 to {MAX_STEERED} values; got {show_value(values)}.")
    # The run itself checks whether a value may be below 0.
    return {str(name): check_control(name, value, True) for name, value in values.items()}


def _read_controls(used: Iterable[str], posted: object, allow_negative: bool) -> dict[str, float]:
    """A value for each control that affects a column; others are dropped."""
    given = fields_of(posted)
    controls = {}
    for name in used:
        with at_field(name):
            controls[name] = check_control(name, given.get(name), allow_negative)
    return controls
