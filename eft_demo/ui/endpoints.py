"""Endpoints for programs: generate, score, families and recorded, through Gradio's queue.

They have the page's checks, limits and error messages. The first four functions are one endpoint each: what
callers read at `/gradio_api/info` is its name, parameters and docstring. Nothing posted is trusted, and
nothing is kept or logged. Knows the page's rules; the forms of the answers are those of `runs.answers`.
"""

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import anyio.from_thread
import gradio as gr

from eft_demo.engine.collect import make_trace
from eft_demo.engine.given_text import score_text
from eft_demo.engine.run import Run
from eft_demo.engine.service import Service
from eft_demo.errors import EFTError, InputError, at_field
from eft_demo.method.sampling_settings import SAMPLING
from eft_demo.runs.answers import run_of, scores_of, texts_of
from eft_demo.runs.events import add_event, empty_traces
from eft_demo.runs.spec import FIELD_OF, RunSpec, check_family, parse_column
from eft_demo.runs.trace import RunTrace
from eft_demo.settings import ALPHA, COLUMNS, CONTROLS, SEED, TEMPERATURE, control_range, show_value
from eft_demo.ui.columns import MAX_NAME_CHARS, read_columns
from eft_demo.ui.family_menu import family_choices
from eft_demo.ui.gate import Refusal
from eft_demo.ui.handlers import CLOSING, batches
from eft_demo.ui.replays import recorded_list, recorded_run, with_its_texts
from eft_demo.ui.run_form import read_run_spec
from eft_demo.ui.server_functions import Served, address_of
from eft_demo.ui.visitors import CALL, Visitor

LISTEN_S = 30.0  # until somebody reads the answer: an agent posts and reads in two steps
UNREAD = "Nobody has read the answer for {:g} s, so this call was stopped. Please call again."
BUG = "Internal error: this call was stopped. The server log has the traceback."
# The settings of a run by the names that the page posts: fields of RunSpec, and those of its sampling.
RUN_FIELDS = {*RunSpec.model_fields, *FIELD_OF, *SAMPLING} - {"sampling", *FIELD_OF.values()}

Start = Callable[[Service, Visitor], Run]

log = logging.getLogger(__name__)


def generate(
    served: Served,
    request: gr.Request,
    prompt: str = "",
    alpha: float = ALPHA.default,
    columns: list[str] | None = None,
    behaviour: str = "",
    temperature: float = TEMPERATURE.default,
    seed: int = int(SEED.default),
    max_tokens: int | None = None,
    run: dict[str, Any] | None = None,
    tokens: bool = False,
) -> Iterator[dict[str, Any]]:
    """Answer a prompt once per column; all columns share one seed. The texts stream while they grow.

    alpha: weight of what tuning changed, from 0 (the base model alone) to 3; 1 is the paper's choice.
    columns: one recipe per column, as RECIPE or NAME:RECIPE, such as "large_base" or
    "Up-scaled:large_base + alpha*(small_tuned - small_base)"; null: Base, Tuned and Up-scaled.
    behaviour: what small_tuned was tuned to, as /families lists it; empty: the first.
    temperature: from 0 (always the likeliest token) to 2. max_tokens: per column; null: the server's default.
    run: other settings by their names, such as {"top_p": 0.9, "system": "..."}; they win over those above.
    tokens: true for every token with its attribution, in the last update.
    Answers {"columns": [{"name", "recipe", "text", "finish_reason", "error"}]}.
    """
    visitor, service = _heard(served, request), served.service()
    _check_switch("tokens", tokens)
    own = {"temperature": temperature, "seed": seed, "behaviour": behaviour, "length": max_tokens}
    spec = _read_spec(service, prompt, alpha, columns, own, run)
    trace = None
    for trace in _follow(served, service, visitor, lambda: _start(service, spec, visitor)):
        yield texts_of(trace.columns)
    if trace is not None:
        yield run_of(make_trace(service, trace.spec, trace.columns), tokens)


def score(
    served: Served,
    request: gr.Request,
    prompt: str,
    text: str,
    alpha: float = ALPHA.default,
    columns: list[str] | None = None,
    behaviour: str = "",
    run: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Score a text as the answer to a prompt: how likely every column finds each of its tokens.

    alpha, columns, behaviour and run are those of /generate. A space comes before the text if the prompt
    ends without one, as before an answer that a model writes. The end of the text is not scored.
    Answers {"columns": [{"name", "recipe", "text", "logprob", "perplexity", "tokens": [{"text", "logprob",
    "rank"}], "error"}]}: log-probs in nats, their sum, and the perplexity per token.
    """
    visitor, service = _heard(served, request), served.service()
    spec = _read_spec(service, prompt, alpha, columns, {"behaviour": behaviour}, run)

    def start() -> Run:
        return score_text(service, spec, text, visitor.address, visitor.session)

    *_, trace = _follow(served, service, visitor, start)
    return scores_of(make_trace(service, trace.spec, trace.columns))


def families(served: Served, request: gr.Request) -> dict[str, Any]:
    """The family that answers here, with its behaviours, models and limits, and those that the server knows.

    Only the operator of the server can load another family. Answers {"loaded": {"name", "title",
    "behaviours", "models", "limits"}, "known": [{"name", "title", "licence", "fits", "problem"}]}.
    """
    visitor, service = _heard(served, request), served.service()
    known, _ = _in_turn(served, visitor, lambda: family_choices(service.settings))
    family, settings = service.family, service.settings
    behaviours = [
        {"role": each.role, "title": each.title, "about": each.description} for each in family.behaviours
    ]
    limits = {
        "columns": int(COLUMNS.high),
        "alpha": ALPHA.high,
        "max_tokens": settings.max_new_tokens,
        "prompt_chars": settings.max_prompt_chars,
        "runs_at_once": settings.max_runs_each,
        "runs_per_minute": settings.max_runs_per_minute,
    }
    return {
        "loaded": {
            "name": family.name,
            "title": family.title,
            "behaviours": behaviours,
            "models": list(family.roles),
            "limits": limits,
        },
        "known": [
            {
                "name": choice.name,
                "title": choice.title,
                "licence": choice.licence,
                "fits": not choice.plan.problem,
                "problem": choice.plan.problem,
            }
            for choice in known
        ],
    }


def recorded(served: Served, request: gr.Request, name: str = "") -> dict[str, Any]:
    """The recorded runs that ship with the app: their list, or the one of that name with all its tokens.

    Answers {"runs": [{"name", "title", "caption", "prompt"}]}; with a name, a run as /generate answers it
    with tokens.
    """
    visitor, service = _heard(served, request), served.service()
    if name == "":
        return {"runs": recorded_list()}

    def opened() -> dict[str, Any]:
        return run_of(with_its_texts(recorded_run(name), service), tokens=True)

    found: dict[str, Any] = _in_turn(served, visitor, opened)
    return found


ENDPOINTS: Sequence[Callable[..., Any]] = (generate, score, families, recorded)


def offer(served: Served, most_at_once: int, after: Callable[[], None]) -> None:
    """Add the endpoints to the page that is being built. `after` is called when one has answered."""
    for act in ENDPOINTS:
        gr.api(_bound(act, served, after), concurrency_limit=most_at_once)


def misfit(page: gr.Blocks, path: str, posted: Mapping[str, object]) -> Refusal | None:
    """Why a posted call of an endpoint is refused before it gets a place in the queue; None if it fits.

    Gradio would answer these as bugs, and print what was posted.
    """
    call = CALL.fullmatch(path)
    if call is not None:
        name, named = call["name"], bool(call["named"])
    else:
        block = page.fns.get(posted.get("fn_index"))
        name, named = getattr(block, "api_name", None), False
    wanted = {act.__name__: parameters_of(act) for act in ENDPOINTS}.get(name)
    if wanted is None:
        known = ", ".join(act.__name__ for act in ENDPOINTS)
        return Refusal(404, f"There is no endpoint of that name. There are {known}.") if call else None
    if named:
        return _misnamed(name, wanted, posted)
    return _miscounted(name, wanted, posted, call is not None)


def _misnamed(name: str, wanted: Mapping[str, bool], posted: Mapping[str, object]) -> Refusal | None:
    unknown = [key for key in posted if key not in wanted]
    missing = [key for key, needed in wanted.items() if needed and key not in posted]
    if not unknown and not missing:
        return None
    problem = f"has no {show_value(unknown[0])[1:-1]}" if unknown else f"needs {missing[0]}"
    return Refusal(422, f"{name} {problem}. It has {', '.join(wanted) or 'no parameters'}.")


def _miscounted(
    name: str, wanted: Mapping[str, bool], posted: Mapping[str, object], call: bool
) -> Refusal | None:
    data = posted.get("data")
    if call and posted.keys() != {"data"}:
        return Refusal(422, 'The request body of a call must be {"data": [...]} and nothing else.')
    if isinstance(data, list) and len(data) == len(wanted):
        return None
    got = f"{len(data)} values" if isinstance(data, list) else show_value(data)
    order = ", ".join(wanted) or "none"
    return Refusal(
        422,
        f"data must list the {len(wanted)} values of {name} in this order: {order}; got {got}. To name only "
        f"those that you set, post to /gradio_api/call/v2/{name}.",
    )


def parameters_of(act: Callable[..., Any]) -> dict[str, bool]:
    """The parameters that callers post, in their order, and whether each must be given."""
    posted = list(inspect.signature(act).parameters.values())[2:]
    return {parameter.name: parameter.default is parameter.empty for parameter in posted}


def _bound(act: Callable[..., Any], served: Served, after: Callable[[], None]) -> Callable[..., Any]:
    """The endpoint without its first parameter, with errors that Gradio passes on and does not print."""

    @contextmanager
    def guarded() -> Iterator[None]:
        try:
            yield
        except EFTError as refusal:
            raise gr.Error(str(refusal), title=refusal.code, print_exception=False) from None
        except Exception:
            log.exception("A bug ended a call of %s", act.__name__)
            raise gr.Error(BUG, title="internal", print_exception=False) from None
        finally:
            after()

    @wraps(act)
    def streaming(*given: Any, **special: Any) -> Iterator[Any]:
        with guarded():
            yield from act(served, *given, **special)

    @wraps(act)
    def single(*given: Any, **special: Any) -> Any:
        with guarded():
            return act(served, *given, **special)

    bound: Callable[..., Any] = streaming if inspect.isgeneratorfunction(act) else single
    own = inspect.signature(act)
    posted = list(own.parameters.values())[1:]  # Gradio fills in the request itself
    signature = own.replace(parameters=posted, return_annotation=dict[str, Any])
    bound.__signature__ = signature  # type: ignore[attr-defined]
    return bound


def _heard(served: Served, request: gr.Request) -> Visitor:
    """The caller, once somebody reads the answer. Raises EFTError: nothing is done for nobody."""
    if served.live.closing:
        raise EFTError(CLOSING, code="closing")
    visitor = Visitor(request.session_hash or "", address_of(request))
    if not served.live.streams.wait(visitor, served.service().settings, LISTEN_S):
        raise EFTError(UNREAD.format(LISTEN_S), code="unread")
    return visitor


def _in_turn(served: Served, visitor: Visitor, work: Callable[[], Any]) -> Any:
    """The result of work that would delay others, in this visitor's turn. Raises Overloaded."""

    async def gone() -> bool:
        return not served.live.streams.is_read(visitor.session, served.service().settings.blocked_s)

    return anyio.from_thread.run(served.turns.take, visitor, work, gone)  # Gradio calls this in a thread


def _follow(
    served: Served, service: Service, visitor: Visitor, start: Callable[[], Run]
) -> Iterator[RunTrace]:
    """Start a run within the visitor's limits, and yield it again and again while it grows, until its end."""
    live = served.live
    run_id, run = live.reserve(visitor, service.settings), None
    try:
        run = start()
    finally:
        live.register(run_id, run)
    trace = RunTrace(run.request.spec, empty_traces(run.request.spec.columns))
    try:
        for events in batches(service, run):
            for event in events:
                add_event(trace.columns, event)
            yield trace
            if not live.streams.is_read(visitor.session, service.settings.blocked_s):
                raise EFTError(UNREAD.format(service.settings.blocked_s), code="unread")
    finally:
        live.release(run_id)


def _start(service: Service, spec: RunSpec, visitor: Visitor) -> Run:
    return service.start_run(spec, owner=visitor.address, session=visitor.session)


def _read_spec(
    service: Service, prompt: object, alpha: object, columns: object, own: Mapping[str, object], run: object
) -> RunSpec:
    """The run that was asked for, checked as one of the page. Raises EFTError."""
    others = _read_others(run)
    check_family(RunSpec(family=others.get("family", "")).family, service.family)  # type: ignore[arg-type]
    posted = {"prompt": prompt, "columns": _read_columns(columns), **own, **others}
    used = RunSpec(columns=read_columns(posted.get("columns"))).used_controls
    given = RunSpec(controls=others.get("controls", {})).controls  # type: ignore[arg-type]
    if unused := [name for name in given if name not in (*CONTROLS, *used)]:
        message = f"No column of this run uses {show_value(unused[0])[1:-1]}."
        raise InputError(message, code="unused_control", where="run")
    ranges = {name: limits.default for name in used if (limits := control_range(name))}
    posted["controls"] = {**ranges, "alpha": alpha, **given}
    if posted.get("length") is None:
        posted["length"] = service.settings.default_new_tokens
    return read_run_spec(service, posted)


def _read_others(run: object) -> Mapping[str, object]:
    """The settings in `run`. Raises InputError for unknown names."""
    if run is None:
        return {}
    if not isinstance(run, Mapping) or (unknown := [name for name in run if name not in RUN_FIELDS]):
        shown = show_value(unknown[0]) if isinstance(run, Mapping) else show_value(run)
        known = ", ".join(sorted(RUN_FIELDS))
        raise InputError(f"run may set {known}; got {shown}.", code="run_fields", where="run")
    return run


def _read_columns(columns: object) -> list[tuple[str, object]] | None:
    """Columns from RECIPE or NAME:RECIPE. A long recipe without a name is named after its place."""
    if columns is None:
        return None
    if not isinstance(columns, list):
        message = f'columns must list recipes, such as ["large_base"]; got {show_value(columns)}.'
        raise InputError(message, code="columns_type", where="columns")
    found: list[tuple[str, object]] = []
    for index, text in enumerate(columns):
        with at_field(f"column-{index}"):
            if not isinstance(text, str):
                message = f"A column must be a recipe as text; got {show_value(text)}."
                raise InputError(message, code="column_type")
            name, recipe = parse_column(text)
            own = name if name != text or len(text) <= MAX_NAME_CHARS else f"Column {index + 1}"
            found.append((own, recipe))
    return found


def _check_switch(name: str, value: object) -> None:
    if not isinstance(value, bool):
        message = f"{name} must be true or false; got {show_value(value)}."
        raise InputError(message, code=f"{name}_type", where=name)
