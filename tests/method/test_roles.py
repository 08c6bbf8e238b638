"""Role names: size, tuning and the behaviour that replaces small_tuned."""

import pytest

from eft_demo.method.recipe import UPSCALED, parse
from eft_demo.method.roles import is_base, is_large, role_title, roles_for_behaviour


@pytest.mark.parametrize(
    ("role", "base", "large"),
    [
        ("large_base", True, True),
        ("small_base", True, False),
        ("large_tuned", False, True),
        ("small_tuned", False, False),
        ("pirate", False, False),
        ("largest", False, False),
    ],
)
def test_is_base_and_is_large_of_every_role(role: str, base: bool, large: bool) -> None:
    assert (is_base(role), is_large(role)) == (base, large)


def test_a_behaviour_replaces_small_tuned_and_an_empty_one_keeps_it() -> None:
    assert UPSCALED.for_behaviour("pirate") == parse("large_base + alpha*(pirate - small_base)")
    assert UPSCALED.for_behaviour("") == UPSCALED and not roles_for_behaviour("")
    assert role_title("large_base") == "large base" and role_title("pirate") == "pirate"
