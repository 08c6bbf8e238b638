"""The command line: `python -m eft_demo COMMAND`. Uses only the public functions of the other rooms.

A user error prints one message to stderr and exits with code 2; any other exception is a bug and shows its
traceback. Each command imports what it needs, so that `--help` does not wait for torch.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from eft_demo.errors import EFTError, InputError
from eft_demo.host.environment import error_of_bad_variable, leave_deleted_folder
from eft_demo.host.interrupts import end_quietly
from eft_demo.host.json_log import log_json
from eft_demo.host.limits import check_start, shortage
from eft_demo.host.sockets import check as check_address
from eft_demo.host.terminal import (
    NOT_WRITTEN,
    LastingOutput,
    prepare_streams,
    report_lost_output,
    write_stderr,
    write_stdout,
)
from eft_demo.method.sampling_settings import SAMPLING
from eft_demo.settings import (
    ALPHA,
    AUTO_FAMILY,
    BETA,
    CONTROLS,
    NO_FAMILY,
    Settings,
    check_control,
    notes_on_unknown,
    show_value,
)

if TYPE_CHECKING:
    from eft_demo.engine.service import Service
    from eft_demo.families.hub import Watcher
    from eft_demo.lab.ask import Reply
    from eft_demo.method.sampling import Sampling
    from eft_demo.runs.spec import Columns, RunSpec
    from eft_demo.runs.trace import ColumnTrace, RunTrace

app = typer.Typer(
    help="Emulated fine-tuning: the web app (start) and command-line tools.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_OPTION = re.compile(r"--?[a-z][a-z0-9_-]*(=.*)?|--", re.IGNORECASE | re.DOTALL)
INTERRUPTED = 130  # as a shell reports a program that Ctrl+C ended
AsJson = Annotated[bool, typer.Option("--json", help="Print a single JSON document.")]
FamilyName = Annotated[
    str, typer.Option("--family", "--family-file", help="Model family, or the path of a family file.")
]
Quantisation = Annotated[
    str | None,
    typer.Option("--quant", "--quantisation", help="For the large models: none, int8, nf4, fp4, auto."),
]
SystemPrompt = Annotated[
    str, typer.Option("--system", help="System prompt, for models whose prompt format is a chat template.")
]
BaseUrl = Annotated[
    str | None,
    typer.Option(help="Completion server that runs the large base, such as http://host:8000/v1."),
]
EarlierTurns = Annotated[
    list[str] | None,
    typer.Option(
        "--turn", help='Earlier turn (repeatable): \'["question", "answer"]\', or an answer per column.'
    ),
]


def main(commands: typer.Typer = app, name: str = "python -m eft_demo") -> None:
    """Run the command in sys.argv and exit with its exit code."""
    prepare_streams()
    leave_deleted_folder()
    note_unknown_variables()
    code: object = 0
    try:
        _run_command(commands, name)
    except EFTError as error:
        write_stderr(str(error))
        code = 2
    except SystemExit as ended:
        code = ended.code
    except Exception as error:
        if isinstance(error, OSError) and report_lost_output(error):
            raise SystemExit(NOT_WRITTEN) from None
        if not (reason := shortage(error) or error_of_bad_variable(error)):
            raise
        write_stderr(str(reason))
        code = 2
    try:
        sys.stdout.flush()
    except OSError as error:
        report_lost_output(error)
        code = NOT_WRITTEN
    raise SystemExit(code)


def _run_command(commands: typer.Typer, name: str) -> None:
    try:
        commands(prog_name=name)
    except KeyboardInterrupt:  # while the options are read: a command ends by its own interrupt
        raise SystemExit(INTERRUPTED) from None


def note_unknown_variables() -> None:
    """A line on stderr for every EFT_ variable that names no setting."""
    for note in notes_on_unknown():
        write_stderr(note)


class FreeText(TyperCommand):
    """A command whose argument is free text, which may start with a dash unless it looks like an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accept -5 and "- a list" as text; if -x is not an option, the error explains `--`."""
        ctx.ignore_unknown_options = any(arg[:1] == "-" and not _OPTION.fullmatch(arg) for arg in args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            if not getattr(error, "possibilities", True):  # no similar option exists
                error.message += ". To pass text that looks like an option, put -- before it: -- TEXT"
            raise


@app.command()
def start(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; 0.0.0.0 or :: for all interfaces.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; if it is in use, the next free one.")] = None,
    family: Annotated[
        str | None,
        typer.Option(help="Model family, such as qwen2.5; auto = the largest that runs well here."),
    ] = None,
    family_file: Annotated[Path | None, typer.Option(help="Path of a family file.")] = None,
    quantisation: Quantisation = None,
    base_url: BaseUrl = None,
    root_path: Annotated[str | None, typer.Option(help="Path at which a proxy serves the app.")] = None,
    api: Annotated[bool, typer.Option("--api", help="Also serve the endpoints for programs.")] = False,
) -> None:
    """Serve the web app until Ctrl+C."""
    options = {"host": host, "port": port, "quantisation": quantisation, "root_path": root_path}
    options |= {"family": str(family_file or family or ""), "base_url": base_url, "api": api or None}
    given = {name: value for name, value in options.items() if value not in (None, "")}
    with LastingOutput():
        try:
            settings = _with_options(Settings.from_env(), given)
            if settings.log == "json":
                log_json()
            check_start(with_models=settings.family != NO_FAMILY)
            if settings.family == AUTO_FAMILY:
                settings = _with_chosen_family(settings)
            check_address(settings.host, settings.port)
            from eft_demo.ui.page import open_page
            from eft_demo.ui.server import launch

            launch(open_page(settings, what_quantising_changes), settings)
        except BaseException as error:
            if isinstance(error, SystemExit) and isinstance(error.code, int):
                raise  # the app had started; this is its exit code
            _end_failed_start(error)


def _with_chosen_family(settings: Settings) -> Settings:
    """The settings with the family that this machine runs best; prints which one and why."""
    from eft_demo.models.estimate import choose_here

    name, reason = choose_here(settings)
    write_stdout(f"The family {name} was chosen: {reason}.")
    return replace(settings, family=name)


def what_quantising_changes(settings: Settings, watcher: Watcher) -> str:
    """Run lab's measurement for the page; imported on first use."""
    from eft_demo.lab.quantisation import what_quantising_changes as measure

    return measure(settings, watcher)


def _end_failed_start(error: BaseException) -> NoReturn:
    """Print why the app cannot start and end the process, even if other threads are still running.

    A bug shows its traceback.
    """
    if isinstance(error, KeyboardInterrupt):
        os._exit(INTERRUPTED)
    reason = (
        error
        if isinstance(error, (EFTError, SystemExit))
        else shortage(error) or error_of_bad_variable(error)
    )
    if reason:
        write_stderr(f"EFT Demo cannot start. {reason}")
    else:
        traceback.print_exception(error)
    sys.stdout.flush()
    os._exit(1)


def _with_sampling(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the command's `**sampling` by one option per sampling parameter."""
    signature = inspect.signature(command, eval_str=True)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = []
    for name, limits in SAMPLING.items():
        kind = int if limits.integer else float
        option = Annotated[kind, typer.Option(help=limits.help)]  # type: ignore[valid-type]
        default = kind(limits.default)
        options.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=option))
    command.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return command


@app.command(cls=FreeText)
@_with_sampling
def generate(
    prompt: Annotated[str, typer.Argument(help="The prompt.")],
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="RECIPE or NAME:RECIPE of one column (repeatable); default: the page's first three."
        ),
    ] = None,
    behaviour: Annotated[
        str | None, typer.Option(help="The behaviour that small_tuned stands for; default: the first.")
    ] = None,
    alpha: Annotated[float, typer.Option(help=ALPHA.help)] = ALPHA.default,
    beta: Annotated[float, typer.Option(help=BETA.help)] = BETA.default,
    control: Annotated[
        list[str] | None, typer.Option(help="Slider of one behaviour, such as alpha_pirate=0.5.")
    ] = None,
    weight_filter: Annotated[str, typer.Option(help="off, 'top-p 0.95' or 'mask 0.1'.")] = "off",
    schedule: Annotated[str, typer.Option(help="'warmup 8', 'first 5', 'list 0 0.5 1'.")] = "constant",
    speculation: Annotated[
        str, typer.Option(help="off, on, 'on 4' or auto: speculative decoding, with the same text.")
    ] = "auto",
    max_new_tokens: Annotated[int | None, typer.Option(help="Length limit.")] = None,
    prompt_format: Annotated[
        list[str] | None, typer.Option(help="ROLE:KIND:TEXT, the prompt format of one model.")
    ] = None,
    system: SystemPrompt = "",
    turn: EarlierTurns = None,
    family: FamilyName = "atlas",
    quantisation: Quantisation = None,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
    **sampling: float,
) -> None:
    """Answer PROMPT once per recipe; all recipes share the same random numbers."""
    from eft_demo.runs.prompt_format import parse_format
    from eft_demo.runs.spec import RunSpec, parse_column
    from eft_demo.runs.trace import FILE_DIGITS

    settings = _settings(quantisation, base_url)
    # Checked before anything is loaded; every field of RunSpec also accepts text.
    asked: dict[str, Any] = {
        "prompt": prompt,
        "system": system,
        "turns": turn or [],
        "behaviour": _behaviour(behaviour),
        "columns": [parse_column(text) for text in recipe or ()],
        "controls": {"alpha": alpha, "beta": beta, **_unique(map(_control, control or ()), "--control")},
        "sampling": sampling,
        "weight_filter": weight_filter,
        "schedule": schedule,
        "speculation": speculation,
        "length": max_new_tokens,
        "formats": _unique(map(parse_format, prompt_format or ()), "--prompt-format"),
    }
    spec = RunSpec(**asked)
    _note_unused_controls(spec)
    trace = _run(spec, settings, family)
    write_stdout(trace.to_json(FILE_DIGITS) if as_json else _column_texts(trace))
    if any(column.finish_reason == "error" for column in trace.columns):
        raise SystemExit(1)


def _run(spec: RunSpec, settings: Settings, family: str) -> RunTrace:
    """Load the family, run `spec` to its end and stop."""
    with end_quietly():  # importing torch takes a second, and the import system may swallow an interrupt
        from eft_demo.engine.collect import collect, make_trace
        from eft_demo.engine.service import ignores_system

    service = _load(settings, family, spec.columns)
    try:
        run = service.start_run(spec)
        if ignores_system(service.family, run.request.spec):
            write_stderr("Note: no model of this run takes a system prompt, so --system changes nothing.")
        return make_trace(service, run.request.spec, collect(run))
    finally:
        service.stop()


def _load(settings: Settings, family: str, columns: Columns) -> Service:
    """Load the family, with those of its optional models that the columns name, and start its engine."""
    with end_quietly():
        from eft_demo.engine.service import Service
        from eft_demo.families.catalogue import find_entry
        from eft_demo.families.family import roles_for

    entry = find_entry(family, settings)
    named = {role for _, recipe in columns for role in recipe.roles}
    return Service.load(settings, entry, roles_for(entry, named), _watcher())


def _behaviour(name: str | None) -> str:
    """The name of the option, "" for the family's first one. Raises InputError for an empty name."""
    if name == "":
        raise InputError("--behaviour is empty. Please name one, or leave the option out for the first one.")
    return name or ""


def _control(text: str) -> tuple[str, float]:
    name, sign, value = text.partition("=")
    if (name := name.strip()) in CONTROLS:
        raise InputError(f"--control is for one behaviour's alpha; use --{name}.", code="control_option")
    try:
        return name, float(value if sign else "")
    except ValueError:
        message = f"A control must be NAME=VALUE; got {show_value(text)}."
        raise InputError(message, code="control_syntax") from None


def _unique(pairs: Iterable[tuple[str, Any]], option: str) -> dict[str, Any]:
    """The pairs by name. Raises InputError for a name that is given twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(f"{option} is given twice for {name}; give it once.", code="option_twice")
        found[name] = value
    return found


def _note_unused_controls(spec: RunSpec) -> None:
    """A note on stderr for every control that changes nothing; alpha and beta have defaults."""
    for name in spec.controls:
        if name not in (*CONTROLS, *spec.used_controls):
            write_stderr(f"Note: no column of this run uses {name}, so it changes nothing.")


@app.command()
def evaluate(
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions per model and recipe.")] = 1000,
    sampling: Annotated[bool, typer.Option(help="Sample with the page's defaults, not greedily.")] = False,
    behaviour: Annotated[list[str] | None, typer.Option(help="Default: all of the family.")] = None,
    part: Annotated[
        list[str] | None, typer.Option(help="unseen, list, kinds, talk or outside; default: unseen.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Quiz the models on entities that tuning never saw, in words that no model read; with intervals."""
    from eft_demo.atlas.behaviours import BEHAVIOURS
    from eft_demo.lab import evaluate as quiz

    settings, behaviours = Settings.from_env(), behaviour or list(BEHAVIOURS)
    parts = part or ["unseen"]
    result = quiz.evaluate(
        settings, questions=questions, sampling=sampling, behaviours=behaviours, parts=parts
    )
    write_stdout(json.dumps(result) if as_json else quiz.to_markdown(result))


@app.command()
def matrix(
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions per cell.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Pre-training scale by fine-tuning scale: each cell a bundled model or its emulation.

    With --json, every answer behind the figures too.
    """
    from eft_demo.lab import matrix as lab

    found = lab.measure(Settings.from_env(), questions)
    write_stdout(json.dumps(found.as_json()) if as_json else lab.to_markdown(found))


@app.command()
def ask(
    file: Annotated[Path, typer.Argument(help="Questions, as JSONL or CSV: docs/guide.md.")],
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="RECIPE or NAME:RECIPE (repeatable); default: the page's first three."),
    ] = None,
    behaviour: Annotated[
        str | None, typer.Option(help="The behaviour that small_tuned stands for; default: the first.")
    ] = None,
    alpha: Annotated[
        list[float] | None, typer.Option(help="A value to ask all questions with (repeatable); default: 1.")
    ] = None,
    sampling: Annotated[bool, typer.Option(help="Sample with the page's defaults, not greedily.")] = False,
    seed: Annotated[int, typer.Option(help="With --sampling: the seed of the first question.")] = 0,
    max_new_tokens: Annotated[int | None, typer.Option(help="Length limit of an answer.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write every reply to this file, as JSONL.")] = None,
    family: FamilyName = "atlas",
    quantisation: Quantisation = None,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Ask every column your own questions, at every alpha, and say whether up-scaling helps.

    Where the file names right answers, the table has their share with 95 % intervals.
    """
    from eft_demo.host.outputs import check_file, replace_file, writing
    from eft_demo.lab import ask as lab
    from eft_demo.lab.questions import read_questions
    from eft_demo.runs.spec import FIRST, parse_column

    questions = read_questions(file)
    columns = tuple(parse_column(text) for text in recipe or ()) or FIRST
    settings = _settings(quantisation, base_url)
    negative = settings.allow_negative_alpha
    alphas = [check_control("alpha", value, negative) for value in alpha or [ALPHA.default]]
    drawn = _page_sampling(seed) if sampling else None
    if out:
        check_file(out, "--out")
    service = _load(settings, family, columns)
    count = len(questions) * len(lab.cells_of(columns, alphas))
    replies: list[Reply] = []
    try:
        for reply in lab.ask(
            service,
            questions,
            columns,
            alphas,
            behaviour=_behaviour(behaviour),
            sampling=drawn,
            length=max_new_tokens,
        ):
            replies.append(reply)
            _print_count(len(replies), count)
    finally:  # of a run that is interrupted, what there is so far is kept
        service.stop()
        if out:
            with writing(out, "--out"):
                replace_file(out, lab.to_jsonl(replies))
    write_stdout(lab.to_json(replies) if as_json else lab.to_markdown(replies))


def _page_sampling(seed: int) -> Sampling:
    from eft_demo.method.sampling import Sampling
    from eft_demo.settings import SEED

    return Sampling(seed=int(SEED.check(seed)))


def _print_count(done: int, count: int) -> None:
    if sys.stderr.isatty():
        write_stderr(f"{done:,} of {count:,} answers", end="\x1b[K\r" if done < count else "\x1b[K\n")


@app.command(
    "lm-eval",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def lm_eval(context: typer.Context) -> None:
    """Run EleutherAI's harness, in which `--model eft` is a recipe of a family: docs/models.md."""
    with _needing("This", "lm_eval", "lm_eval>=0.4.13,<0.5"):
        from lm_eval.__main__ import cli_evaluate

        from eft_demo.lab import lm_eval_model  # noqa: F401  # registers the model
    sys.argv = ["lm-eval", *context.args]
    cli_evaluate()


# The measurements that `bench` makes instead of its own, each with the options that it reads.
_INSTEAD: Mapping[str, frozenset[str]] = {
    "soak": frozenset(),
    "users": frozenset(),
    "vocabulary": frozenset(),
    "real": frozenset({"pairs", "new_tokens"}),
}


def _refuse_ignored(context: typer.Context) -> None:
    """Raise InputError for options that the chosen measurement would ignore: its figures would mislead."""
    given = {name: value for name, value in context.params.items() if _is_given(context, name)}
    chosen = next((name for name in _INSTEAD if given.get(name)), None)
    if chosen is None:
        return
    used = _INSTEAD[chosen] | {chosen, "as_json"}
    ignored = [
        f"--{'no-' * (value is False)}{name.replace('_', '-')}"
        for name, value in given.items()
        if name not in used
    ]
    _refuse(f"bench --{chosen} measures something else", f"--{chosen}", ignored)


def _refuse(why: str, option: str, ignored: Sequence[str]) -> None:
    """Raise InputError if any option is given that has no effect beside `option`."""
    if named := " and ".join(ignored):
        raise InputError(
            f"{why} and does not use {named}. Please leave out {named}, or {option}.", code="option_ignored"
        )


def _is_given(context: typer.Context, name: str) -> bool:
    return getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"


@app.command()
def bench(
    context: typer.Context,
    pairs: Annotated[int, typer.Option(min=3, help="Pairs of runs per comparison.")] = 15,
    new_tokens: Annotated[int, typer.Option(min=8, help="Tokens per text.")] = 64,
    start_app: Annotated[bool, typer.Option(help="Also time the start of the app.")] = True,
    larger: Annotated[bool, typer.Option(help="Also measure a larger trio with random weights.")] = True,
    vocabulary: Annotated[
        bool, typer.Option("--vocabulary", help="Instead: what a step costs beside the forwards.")
    ] = False,
    real: Annotated[
        Path | None,
        typer.Option(
            help="Instead: a folder with a family file of your checkpoints, against plain transformers."
        ),
    ] = None,
    users: Annotated[
        int, typer.Option(min=0, max=1000, help="Instead: this many users at once, over HTTP.")
    ] = 0,
    soak: Annotated[
        bool,
        typer.Option(
            "--soak", help="Instead: overload, bad requests, 1,000 runs; a few minutes, Linux only."
        ),
    ] = False,
    family: FamilyName = "atlas",
    as_json: AsJson = False,
) -> None:
    """Time three columns against one stream, and the engine against plain transformers."""
    _refuse_ignored(context)
    if soak:
        from eft_demo.lab import soak as strain

        endured = strain.bench_soak(note=write_stderr)
        write_stdout(json.dumps(endured) if as_json else strain.to_markdown(endured))
        return
    if users:
        from eft_demo.lab import many_users

        crowd = many_users.bench_users(Settings.from_env(), users)
        write_stdout(json.dumps(crowd) if as_json else many_users.to_markdown(crowd))
        return
    if vocabulary:
        from eft_demo.lab import vocabulary as widths

        found = widths.bench_vocabulary(Settings.from_env())
        write_stdout(json.dumps(found) if as_json else widths.to_markdown(found))
        return
    if real is not None:
        from eft_demo.lab import real as checkpoints

        measured = checkpoints.bench_real(Settings.from_env(), real, rounds=pairs, new_tokens=new_tokens)
        write_stdout(json.dumps(measured) if as_json else checkpoints.to_markdown(measured))
        return
    from eft_demo.lab import bench as lab

    result = lab.bench(
        Settings.from_env(), family, pairs=pairs, new_tokens=new_tokens, start_app=start_app, larger=larger
    )
    write_stdout(json.dumps(result) if as_json else lab.to_markdown(result))


@app.command()
def quantisation(
    kind: Annotated[str, typer.Argument(help="int8, nf4 or fp4.")] = "nf4",
    family: FamilyName = "atlas",
    as_json: AsJson = False,
) -> None:
    """Report what quantising the large base saves and how far its predictions on a fixed text shift."""
    from eft_demo.lab import quantisation as lab

    result = lab.report(Settings.from_env(), family, kind)
    write_stdout(json.dumps(asdict(result)) if as_json else lab.to_text(result))


@app.command()
def train_atlas(
    out: Annotated[Path | None, typer.Option(help="Output folder; default: assets/atlas.")] = None,
    work: Annotated[Path, typer.Option(help="Checkpoints to resume from, about 1 GB.")] = Path("build/atlas"),
    stage: Annotated[str | None, typer.Option(help="Only this stage; default: all unfinished.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop after this long; run again to resume.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train the bundled models that are missing in --out, from scratch. Resumes; progress goes to stderr."""
    from eft_demo.atlas.train import train

    out_dir = out or Settings.from_env().assets / "atlas"
    with contextlib.redirect_stdout(sys.stderr):  # stdout is reserved for the result
        outcome = train(out_dir, work, stage=stage, minutes=minutes)
    result = {"out": str(out_dir), "work": str(work), **asdict(outcome)}
    write_stdout(json.dumps(result) if as_json else outcome.to_sentence(out_dir, work))


@app.command()
def record(
    name: Annotated[list[str] | None, typer.Option(help="Only this recorded run; default: all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder; default: assets/runs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record the runs that ship with the page. Repeat this when the bundled weights change."""
    from eft_demo.lab.record import record as record_runs

    settings = Settings.from_env()
    paths = [str(path) for path in record_runs(settings, out or settings.assets / "runs", name)]
    write_stdout(json.dumps(paths) if as_json else "\n".join(paths))


@app.command()
def space(
    out: Annotated[Path, typer.Option(help="A new folder for the repository of the Space.")],
    hardware: Annotated[str, typer.Option(help="zerogpu, gpu or cpu.")] = "zerogpu",
    family: FamilyName = "atlas",
    as_json: AsJson = False,
) -> None:
    """Write a repository for a Hugging Face Space, and print the commands that push it.

    Models of the hub are pinned to their newest commits if the hub answers.
    """
    from eft_demo.publish.space import write_space

    written = write_space(Settings.from_env(), out, hardware, family)
    made = {"out": str(out), "flavor": written.flavor, "commands": written.commands, "notes": written.notes}
    write_stdout(json.dumps(made) if as_json else str(written))


@app.command()
def mcp(
    family: FamilyName = "atlas",
    quantisation: Quantisation = None,
    base_url: BaseUrl = None,
) -> None:
    """Serve tools for assistants over MCP, on stdin and stdout: generate, score, explain_token.

    Assistants start this command themselves. It needs the package mcp: pip install "mcp>=2.3,<3".
    """
    from eft_demo.families.catalogue import find_entry

    settings = _settings(quantisation, base_url)
    entry = find_entry(family, settings)
    with _needing("The MCP server", "mcp", "mcp>=2.3,<3"):
        from eft_demo.mcp_server import serve
    serve(settings, entry)


@app.command()
def doctor(
    family: Annotated[
        str | None, typer.Option("--family", "--family-file", help="Default: atlas; with --pin, all.")
    ] = None,
    quantisation: Quantisation = None,
    base_url: BaseUrl = None,
    pin: Annotated[bool, typer.Option("--pin", help="Pin the catalogue to commits (network).")] = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Only what a family would take here; without --family, every one."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Report what is installed, what was chosen and why, and whether the models answer; exit code 1 if not.

    With --pin, for maintainers of the catalogue: look up every repository, check sizes and that tokenizers
    agree id by id, and write commits and licences into the family files. With --estimate, report the
    download, the memory and the speed to expect, without downloading anything.
    """
    from eft_demo.lab import doctor as lab
    from eft_demo.lab.pin import pin as pin_catalogue

    settings = _settings(quantisation, base_url)
    if pin:
        others = {"--estimate": estimate, "--quant": quantisation, "--base-url": base_url}
        _refuse("--pin runs no model", "--pin", [name for name, value in others.items() if value])
    if estimate:
        checks = lab.estimates(settings, family)
    else:
        checks = pin_catalogue(settings, family) if pin else lab.examine(settings, family or "atlas")
    if as_json:
        write_stdout(json.dumps({"ok": all(c.ok for c in checks), "checks": [asdict(c) for c in checks]}))
    else:
        for check in checks:
            write_stdout(f"{'ok  ' if check.ok else 'FAIL'} {check.name:<14} {check.detail}")
    if not all(check.ok for check in checks):
        raise SystemExit(1)


@contextlib.contextmanager
def _needing(what: str, package: str, requirement: str) -> Iterator[None]:
    """Turn a missing optional package into an InputError that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != package:
            raise
        raise InputError(
            f'{what} needs the package {package}. Please install it: pip install "{requirement}".',
            code=f"{package}_missing",
        ) from None


def _settings(quantisation: str | None, base_url: str | None) -> Settings:
    options = {"quantisation": quantisation, "base_url": base_url}
    return _with_options(Settings.from_env(), {name: v for name, v in options.items() if v is not None})


def _with_options(settings: Settings, given: Mapping[str, object]) -> Settings:
    """The settings with these options. Raises InputError naming the option."""
    return settings.changed(given, {name: f"--{name.replace('_', '-')}" for name in given})


def _watcher() -> Watcher:
    """Report download progress on a terminal; silent elsewhere."""
    from eft_demo.families.hub import QUIET, Stage, Watcher

    def print_progress(stage: Stage) -> None:
        done, total = stage.done_bytes / 1e9, stage.total_bytes / 1e9
        write_stderr(f"{stage.stage} {stage.what}: {done:.2f} of {total:.2f} GB", end="\x1b[K\r")
        if stage.done_bytes == stage.total_bytes:
            write_stderr("", end="\x1b[K")

    return Watcher(print_progress) if sys.stderr.isatty() else QUIET


def _column_texts(trace: RunTrace) -> str:
    return "\n\n".join(_column_text(column) for column in trace.columns)


def _column_text(column: ColumnTrace) -> str:
    head = column.recipe if column.name == column.recipe else f"{column.name}: {column.recipe}"
    count = len(column.tokens)
    speed = f", {column.tokens_per_s:.0f} tokens/s" if column.tokens_per_s else ""
    figures = f"{count} token{'s' * (count != 1)}{speed}, {column.finish_reason}"
    if column.acceptance_rate is not None:
        figures += f", {column.acceptance_rate:.0%} of drafts accepted"
    if column.speedup is not None:
        figures += f", {column.speedup:.1f} times as fast as without drafts"
    error = f"\n{column.error}" if column.error else ""
    return f"== {head}\n{column.text.strip()}{error}\n-- {figures}"
