"""The names of roles: which models are bases, which are large, and what small_tuned stands for.

`large_base`, `small_base` and `large_tuned` are fixed roles; every other role is a small model tuned to the
behaviour it is named after. `small_tuned` in a recipe is a placeholder for the chosen behaviour.
"""

from collections.abc import Mapping

LARGE_BASE = "large_base"
SMALL_BASE = "small_base"
SMALL_TUNED = "small_tuned"
LARGE_TUNED = "large_tuned"


def is_base(role: str) -> bool:
    """Whether the role is an untuned model."""
    return role.endswith("_base")


def is_large(role: str) -> bool:
    """Whether the role is a large model. Only a smaller model can draft for it."""
    return role.startswith("large_")


def role_title(role: str) -> str:
    """A role as shown to users: `large_base` -> `large base`."""
    return role.replace("_", " ")


def roles_for_behaviour(behaviour: str) -> Mapping[str, str]:
    """The renaming for `Recipe.with_roles` that puts `behaviour` in place of small_tuned; empty for ""."""
    return {SMALL_TUNED: behaviour} if behaviour else {}
