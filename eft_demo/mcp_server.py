"""EFT as tools for assistants, over MCP on stdin and stdout: generate, score, explain_token.

The models load with the first question, so an assistant that lists the tools waits for no download. Every
check is that of `api`; the forms of the answers are those of `runs.answers`. Needs the package `mcp`.
"""

from collections.abc import Callable
from functools import wraps
from inspect import getdoc
from threading import Lock
from typing import Annotated, ParamSpec, TypeVar

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from eft_demo import __version__
from eft_demo.api import EFT, Writing, load
from eft_demo.errors import EFTError, InputError
from eft_demo.families.catalogue import Entry
from eft_demo.method.recipe import UPSCALED
from eft_demo.runs.answers import Answer, changes_of, explanation_of, run_of, scores_of
from eft_demo.runs.export import pieces_of, token_texts
from eft_demo.runs.trace import ColumnTrace
from eft_demo.settings import ALPHA, SEED, TEMPERATURE, Settings

INSTRUCTIONS = """\
Emulated fine-tuning: a large base model behaves as if it had been tuned, because alpha times what tuning \
changed in a small model is added to it. Recipes name models by their roles: large_base, small_base, and \
small_tuned for the chosen behaviour. All log-probs are in nats. The same arguments give the same text, so \
explain_token explains what generate wrote for them."""

Prompt = Annotated[str, Field(description="The question, as a person would type it.")]
Alpha = Annotated[
    float,
    Field(
        description=f"Weight of what tuning changed, from 0 (base alone) to {ALPHA.high:g}; the paper's is 1."
    ),
]
Behaviour = Annotated[
    str, Field(description="What small_tuned was tuned to, such as pirate; empty for the family's first.")
]
Columns = Annotated[
    list[str],
    Field(description="Recipes, as RECIPE or NAME:RECIPE; empty for Base, Tuned and Up-scaled."),
]
Column = Annotated[str, Field(description="The recipe whose text is explained.")]
Temperature = Annotated[
    float, Field(description=f"0 always takes the likeliest token; up to {TEMPERATURE.high:g}.")
]
Seed = Annotated[int, Field(description="Of the random numbers, which all columns share.")]
MaxTokens = Annotated[int | None, Field(description="The longest answer; null for the default.")]
Text = Annotated[str, Field(description="The answer to score.")]
GivenText = Annotated[
    str, Field(description="Explain this answer in place of the one that the models write; empty for theirs.")
]
Position = Annotated[
    int | None, Field(description="Which token, from 0; null for the one that tuning changed most.")
]

P = ParamSpec("P")
R = TypeVar("R")


def serve(settings: Settings, family: str | Entry) -> None:
    """Serve the tools until the assistant closes stdin."""
    tools = Tools(lambda: load(family, settings))
    try:
        make_server(tools).run("stdio")
    finally:
        tools.close()


def make_server(tools: "Tools") -> MCPServer:
    """The server with its three tools. Nothing that is asked is logged: the library does so below WARNING."""
    server = MCPServer("EFT Demo", instructions=INSTRUCTIONS, version=__version__, log_level="WARNING")
    for tool in (tools.generate, tools.score, tools.explain_token):
        server.add_tool(_told(tool), description=getdoc(tool))
    return server


def _told(tool: Callable[P, R]) -> Callable[P, R]:
    """The tool with errors that the assistant can read, each with its code."""

    @wraps(tool)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return tool(*args, **kwargs)
        except EFTError as refusal:
            raise ToolError(f"{refusal} ({refusal.code})") from None

    return call


class Tools:
    """The tools, on a family that `load` opens when it is first needed. Safe to use from many threads."""

    def __init__(self, load: Callable[[], EFT]) -> None:
        self._load, self._lock = load, Lock()
        self._loaded: EFT | None = None

    def generate(
        self,
        prompt: Prompt,
        alpha: Alpha = ALPHA.default,
        behaviour: Behaviour = "",
        columns: Columns = [],  # noqa: B006  # read only; the schema shows it as the default
        temperature: Temperature = 0.0,
        seed: Seed = int(SEED.default),
        max_tokens: MaxTokens = None,
    ) -> Answer:
        """Answer a prompt with the base model, the tuned model and the up-scaled one, or with other recipes.

        Each column says which of its tokens tuning changed: where another token than the base's is likeliest.
        """
        run = self._run(prompt, alpha, behaviour, columns, temperature, seed, max_tokens)
        trace = _ended(run).trace
        answer = run_of(trace)
        for shown, column in zip(answer["columns"], trace.columns, strict=True):
            shown["changed"] = changes_of(column, pieces_of(trace))
        return answer

    def score(
        self,
        prompt: Prompt,
        text: Text,
        alpha: Alpha = ALPHA.default,
        behaviour: Behaviour = "",
        columns: Columns = [],  # noqa: B006
    ) -> Answer:
        """Say how likely each column finds a given answer: log-prob of every token, their sum, perplexity."""
        scored = self._eft().score(prompt, text, columns=columns, behaviour=behaviour, alpha=alpha)
        return scores_of(_ended(scored).trace)

    def explain_token(
        self,
        prompt: Prompt,
        position: Position = None,
        text: GivenText = "",
        alpha: Alpha = ALPHA.default,
        behaviour: Behaviour = "",
        column: Column = f"Up-scaled:{UPSCALED}",
        temperature: Temperature = 0.0,
        seed: Seed = int(SEED.default),
        max_tokens: MaxTokens = None,
    ) -> Answer:
        """Which tokens did tuning change, and why this one? Explains one token of an answer.

        Give the arguments that generate got, and a position. The answer lists all tokens, those that tuning
        changed, and of the explained one what every model adds, its rivals, and why it was chosen.
        """
        if text:
            run = self._eft().score(prompt, text, columns=[column], behaviour=behaviour, alpha=alpha)
        else:
            run = self._run(prompt, alpha, behaviour, [column], temperature, seed, max_tokens)
        trace = _ended(run).trace
        (found,), pieces = trace.columns, pieces_of(trace)
        place = _most_changed(found) if position is None else _checked(position, len(found.tokens))
        return {
            "recipe": found.recipe,
            "text": found.text,
            "tokens": token_texts(found, pieces),
            "changed": changes_of(found, pieces),
            "explained": explanation_of(found, place, pieces),
        }

    def close(self) -> None:
        """Stop the engine, if it was started."""
        with self._lock:
            if self._loaded is not None:
                self._loaded.close()

    def _run(
        self,
        prompt: str,
        alpha: float,
        behaviour: str,
        columns: list[str],
        temperature: float,
        seed: int,
        max_tokens: int | None,
    ) -> Writing:
        return self._eft().run(
            prompt,
            columns=columns,
            behaviour=behaviour,
            temperature=temperature,
            seed=seed,
            length=max_tokens,
            alpha=alpha,
        )

    def _eft(self) -> EFT:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded


def _ended(run: Writing) -> Writing:
    """The run, once it has ended. Raises EFTError if a column ended with an error."""
    for _ in run:
        pass
    return run


def _checked(position: int, count: int) -> int:
    if not 0 <= position < count:
        raise InputError(
            f"The answer has {count} tokens, so a position is from 0 to {count - 1}; got {position}.",
            code="position_range",
        )
    return position


def _most_changed(column: ColumnTrace) -> int:
    """The position whose log-prob the recipe's terms moved most; 0 if there are none."""
    moved = {record.position: abs(record.logprob - record.anchor_logprob) for record in column.tokens}
    return max(moved, key=lambda place: moved[place], default=0)
