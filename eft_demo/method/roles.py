"""What the names of roles mean: which are bases, which are large, who stands in for a behaviour.

`large_base`, `small_base` and `large_tuned` name themselves; every other role is a small model tuned to the
behaviour it is named after. `small_tuned` in a recipe stands for whichever behaviour was chosen.
"""

from collections.abc import Mapping

LARGE_BASE = "large_base"
SMALL_BASE = "small_base"
SMALL_TUNED = "small_tuned"
LARGE_TUNED = "large_tuned"


def is_base(role: str) -> bool:
    """Whether nobody tuned that model."""
    return role.endswith("_base")


def is_large(role: str) -> bool:
    """Whether it is one of the large models. Only a smaller one can draft for it."""
    return role.startswith("large_")


def role_title(role: str) -> str:
    """A role as people read it: `large_base` -> `large base`; a behaviour's own name stays."""
    return role.replace("_", " ")


def played_by(behaviour: str) -> Mapping[str, str]:
    """What to rename in a recipe so that `behaviour` plays small_tuned. Empty: nobody does."""
    return {SMALL_TUNED: behaviour} if behaviour else {}
