"""Rejects requests that can never run here, before they are queued.

Knows models, recipes and limits; knows nothing about sequences and steps.
"""

from collections.abc import Mapping

from eft_demo.engine.run import RunRequest
from eft_demo.engine.score import check_forced
from eft_demo.errors import InputError
from eft_demo.method.recipe import refuse_undoing
from eft_demo.models.protocol import LanguageModel
from eft_demo.settings import Settings, check_weight


def check_request(
    request: RunRequest, models: Mapping[str, LanguageModel], vocab: int, settings: Settings
) -> None:
    """Raises InputError if these models and settings can never run the request."""
    spec = request.spec
    if not 1 <= len(spec.columns) <= settings.max_sequences:
        raise InputError(
            f"A run needs 1 to {settings.max_sequences} columns; this one has {len(spec.columns)}. "
            "Please leave some out.",
            code="columns_range",
            where="columns",
        )
    for name, value in spec.controls.items():
        check_weight(name, value, settings.allow_negative_alpha)
    check_forced(request, vocab)
    for column, (_, recipe) in enumerate(spec.columns):
        recipe.coefficients(spec.controls)
        if not settings.allow_negative_alpha:
            refuse_undoing(recipe)
        for role in recipe.roles:
            _check_role(role, request, column, models)


def _check_role(role: str, request: RunRequest, column: int, models: Mapping[str, LanguageModel]) -> None:
    if role not in models:
        raise InputError(
            f"There is no model {role!r} here. Choose one of {', '.join(models)}.", code="unknown_role"
        )
    prompts = request.prompts_of(column)
    if not prompts.get(role):
        raise InputError(f"There is no prompt for the model {role}. Please write one.", code="prompt_empty")
    length, room = len(prompts[role]), models[role].context
    if length >= room:
        with_turns = " with the earlier turns" if request.spec.turns else ""
        raise InputError(
            f"The prompt is {length:,} tokens long{with_turns}; the model {role} has room for {room:,} "
            f"tokens, prompt and answer together. Please {_ways_to_shorten(role, request)}.",
            code="prompt_too_long",
            where="prompt",
        )


def _ways_to_shorten(role: str, request: RunRequest) -> str:
    """What a person can do about a prompt that is too long: any part of it may be the long one."""
    spec = request.spec
    ways = ["start a new conversation" if spec.turns else "shorten the prompt"]
    if spec.system:
        ways.append("shorten the system prompt")
    if role in spec.formats:
        ways.append(f"change the prompt format of {role}")
    return " or ".join(ways)
