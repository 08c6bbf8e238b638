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
    for _, recipe in spec.columns:
        recipe.coefficients(spec.controls)
        if not settings.allow_negative_alpha:
            refuse_undoing(recipe)
        for role in recipe.roles:
            _check_role(role, request.prompts, models)


def _check_role(
    role: str, prompts: Mapping[str, tuple[int, ...]], models: Mapping[str, LanguageModel]
) -> None:
    if role not in models:
        raise InputError(
            f"There is no model {role!r} here. Choose one of {', '.join(models)}.", code="unknown_role"
        )
    if not prompts.get(role):
        raise InputError(f"There is no prompt for the model {role}. Please write one.", code="prompt_empty")
    length, room = len(prompts[role]), models[role].context
    if length >= room:
        raise InputError(
            f"The prompt is {length:,} tokens long; the model {role} has room for {room:,} tokens, "
            "prompt and answer together. Please shorten the prompt.",
            code="prompt_too_long",
            where="prompt",
        )
