"""A column is a recipe: an anchor model plus weighted differences of models.

    log p~ = log p_anchor + sum_k c_k * (log p_plus_k - log p_minus_k) - log Z

Knows roles, weights and the text form (`parse`, `str`); knows no tensors or checkpoints. The weights of all
models in a recipe sum to 1 by construction, so no slider changes the effective temperature.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from eft_demo.errors import InputError, RecipeError
from eft_demo.method.roles import (
    LARGE_BASE,
    LARGE_TUNED,
    SMALL_BASE,
    SMALL_TUNED,
    is_base,
    roles_for_behaviour,
)
from eft_demo.settings import CONTROLS, HIGHEST_WEIGHT, UNDOING, control_range, number_text, show_value

MAX_TERMS = 6  # each term costs up to two more models per token
MAX_WEIGHT = 10.0  # far beyond readable text, far below float32 overflow
MAX_TEXT_CHARS = 500

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
# Role names as shown on the page: "large base" for large_base.
_TITLE = re.compile(r"(?:large|small) (?:base|tuned)(?![a-z0-9_])")
_ROLE_OF_ALPHA = re.compile(r"_[a-z0-9_]*")  # what follows alpha in alpha_pirate
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SPACE = re.compile(r"[ \t\r\n]*")
_GREEK = {"α": "alpha", "β": "beta"}  # as shown on the page
# Characters that editors, keyboards and web pages substitute for ASCII operators (`_plain` handles spaces,
# dashes and full width). One character maps to one, so error positions stay correct.
_LOOKALIKES = str.maketrans({"−": "-", **dict.fromkeys("·×∙⋅∗•", "*"), ",": ".", "٫": "."})


@dataclass(frozen=True, slots=True)
class Term:
    """`scale * weight * (plus - minus)`. The weight is a number or the name of a live control.

    A numeric weight is multiplied by its scale on construction, so equal terms compare equal. Raises
    RecipeError.
    """

    weight: float | str
    plus: str
    minus: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check_role(self.plus)
        _check_role(self.minus)
        scale = _check_weight(self.scale)
        if isinstance(self.weight, str):
            if control_range(self.weight) is None:
                known = " or ".join(CONTROLS)
                message = f"A weight must be a number or {known}; got {show_value(self.weight)}."
                raise RecipeError(message, code="recipe_weight")
            object.__setattr__(self, "scale", scale)
        else:
            object.__setattr__(self, "weight", _check_weight(_check_weight(self.weight) * scale))
            object.__setattr__(self, "scale", 1.0)

    @property
    def sign_and_size(self) -> tuple[str, str]:
        """The term as text: ("-", "0.5*alpha*(assistant - small_base)")."""
        number = self.scale if isinstance(self.weight, str) else self.weight
        factors = [] if abs(number) == 1 else [number_text(abs(number))]
        factors += [self.weight] if isinstance(self.weight, str) else []
        return "-" if number < 0 else "+", "*".join([*factors, f"({self.plus} - {self.minus})"])


@dataclass(frozen=True, slots=True)
class Recipe:
    """An anchor role plus terms. `str(recipe)` is its text form; `parse` reads it back."""

    anchor: str
    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        _check_role(self.anchor)
        if len(self.terms) > MAX_TERMS:
            raise RecipeError(
                f"A recipe may have at most {MAX_TERMS} terms; this one has {len(self.terms)}.",
                code="recipe_terms",
            )

    @property
    def roles(self) -> tuple[str, ...]:
        """Every role once: the anchor, then the others in the order of the terms."""
        roles = [self.anchor]
        for term in self.terms:
            roles += [term.plus, term.minus]
        return tuple(dict.fromkeys(roles))

    @property
    def controls(self) -> tuple[str, ...]:
        """The live controls that this recipe uses, each once."""
        return tuple(dict.fromkeys(term.weight for term in self.terms if isinstance(term.weight, str)))

    def coefficients(self, controls: Mapping[str, float]) -> tuple[float, ...]:
        """One number per term, given the values of the controls. Raises RecipeError if one is missing."""
        missing = [name for name in self.controls if name not in controls]
        if missing:
            raise RecipeError(
                f"The recipe '{self}' needs a value for {missing[0]}, but none was given.",
                code="control_missing",
            )
        return tuple(
            term.scale * (controls[term.weight] if isinstance(term.weight, str) else term.weight)
            for term in self.terms
        )

    def for_behaviour(self, behaviour: str) -> "Recipe":
        """The same recipe with `behaviour` in place of small_tuned; an empty string changes nothing."""
        return self.with_roles(roles_for_behaviour(behaviour))

    def with_roles(self, mapping: Mapping[str, str]) -> "Recipe":
        """The same recipe with roles renamed, such as {"small_tuned": "assistant"}; others are kept."""

        def renamed(role: str) -> str:
            return mapping.get(role, role)

        terms = tuple(
            replace(term, plus=renamed(term.plus), minus=renamed(term.minus)) for term in self.terms
        )
        return Recipe(renamed(self.anchor), terms)

    def __str__(self) -> str:
        parts = [self.anchor]
        for term in self.terms:
            parts += term.sign_and_size
        return " ".join(parts)


def parse(text: str) -> Recipe:
    """Parse a recipe such as `large_base + 0.5*alpha*(assistant - small_base)`.

    Raises a RecipeError that shows the text with a caret under the first invalid character.
    """
    if not isinstance(text, str):
        raise RecipeError(f"A recipe must be text; got {show_value(text)}.", code="recipe_type")
    if len(text) > MAX_TEXT_CHARS:
        message = f"A recipe may have at most {MAX_TEXT_CHARS} characters; got {len(text):,}."
        raise RecipeError(message, code="recipe_too_long")
    return _Parser(text).recipe()


class _Parser:
    """Recursive descent over one line. `at` is the index of the next character; every error points to one."""

    def __init__(self, text: str) -> None:
        self.shown = text
        self.text = "".join(map(_plain, text)).translate(_LOOKALIKES)
        self.at = 0
        self.skip_space()

    def recipe(self) -> Recipe:
        anchor = self.role()
        terms: list[Term] = []
        while self.at < len(self.text):
            start = self.at
            sign = -1.0 if self.expect("+-", "+, - or the end") == "-" else 1.0
            if len(terms) == MAX_TERMS:
                self.fail(f"at most {MAX_TERMS} terms", start)
            terms.append(self.term(sign))
        return Recipe(anchor, tuple(terms))

    def term(self, scale: float) -> Term:
        control: str | None = None
        while self.peek() != "(":
            start = self.at
            if (number := self.match(_NUMBER)) is not None:
                scale *= float(number)
                if not abs(scale) <= MAX_WEIGHT:
                    self.fail(f"a weight of at most {MAX_WEIGHT:g}", start)
            elif control_range(name := self.control()) is not None and control is None:
                control = name
            else:
                self.fail(
                    f"a number, {' or '.join(CONTROLS)} (once), or ( as in (assistant - small_base)", start
                )
            self.expect("*", "*")
        self.expect("(", "(")
        plus = self.role()
        self.expect("-", "-")
        minus = self.role()
        self.expect(")", ")")
        return Term(scale, plus, minus) if control is None else Term(control, plus, minus, scale)

    def role(self) -> str:
        start = self.at
        title = self.match(_TITLE)
        name = self.match(_NAME) if title is None else title.replace(" ", "_")
        if name is None or _is_control(name):
            self.fail("the name of a model, such as large_base", start)
        return name

    def control(self) -> str | None:
        """Match a name; α and β are read as alpha and beta, α_pirate as alpha_pirate."""
        start = self.at
        if (greek := _GREEK.get(self.peek())) is None:
            return self.match(_NAME)
        self.at += 1
        if self.peek() == "_":
            self.match(_ROLE_OF_ALPHA)
            return greek + self.text[start + 1 : self.at].rstrip()
        self.skip_space()
        return greek

    def match(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        self.skip_space()
        return found.group()

    def expect(self, characters: str, wanted: str) -> str:
        here = self.peek()
        if not here or here not in characters:
            self.fail(wanted, self.at)
        self.at += 1
        self.skip_space()
        return here

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def skip_space(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def fail(self, wanted: str, at: int) -> NoReturn:
        raise RecipeError(_point_at(self.shown, at, wanted), code="recipe_syntax")


def _plain(sign: str) -> str:
    """Replace any dash by -, any space or invisible character by a space, and full width by ASCII."""
    kind = unicodedata.category(sign)
    if kind in ("Pd", "Cf", "Zs"):
        return "-" if kind == "Pd" else " "
    if unicodedata.decomposition(sign).startswith(("<super>", "<sub>")):  # 0.5² is not 0.52
        return sign
    twin = unicodedata.normalize("NFKC", sign)
    return twin if len(twin) == 1 else sign


def _point_at(text: str, at: int, wanted: str) -> str:
    """The error message, then the text on its own line with a caret under character `at` (0-based)."""
    line = "".join(c if c.isprintable() else " " for c in text)
    found = f"'{line[at]}'" if at < len(line) else "the end"
    sentence = f"The recipe cannot be read at character {at + 1}: expected {wanted}, found {found}."
    return f"{sentence}\n{line}\n{' ' * at}^"


def _is_control(name: str) -> bool:
    return name in CONTROLS or name.startswith("alpha_")


def _check_role(role: object) -> None:
    if not isinstance(role, str) or not _NAME.fullmatch(role) or _is_control(role):
        raise RecipeError(
            "A role must be a name of at most 40 lower-case letters, digits and _, and not the name of a "
            f"control; got {show_value(role)}.",
            code="recipe_role",
        )


def _check_weight(weight: object) -> float:
    is_number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not is_number or not abs(weight) <= MAX_WEIGHT:  # type: ignore[arg-type]
        limits = f"from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}"
        raise RecipeError(
            f"A weight must be a number {limits}; got {show_value(weight)}.", code="recipe_weight"
        )
    return float(weight)  # type: ignore[arg-type]


def lone_model(recipe: Recipe) -> str:
    """The only model that a recipe needs; empty if it needs several."""
    if not recipe.terms:
        return recipe.anchor
    (first, *more) = recipe.terms
    whole = not more and first.weight == 1 and first.minus == recipe.anchor
    return first.plus if whole else ""


def refuse_undoing(recipe: Recipe) -> None:
    """Raise InputError if any values of the live controls make the recipe undo what tuning did."""
    undone = undone_model(recipe, HIGHEST_WEIGHT)
    if undone:
        raise InputError(f"The recipe '{recipe}' subtracts the model {undone}. {UNDOING}", code="undoing")


def undone_model(recipe: Recipe, highest: float) -> str | None:
    """The first tuned model whose total weight can be negative, so that its tuning is undone, or None.

    Its weight is summed over the anchor and all terms, for any values of the live controls from 0 to
    `highest`. A total weight of 0 or more is fine, as for a model that one term adds and another subtracts.
    """
    for role in recipe.roles:
        if is_base(role):
            continue
        by_control = {"": float(role == recipe.anchor)}
        for term in recipe.terms:
            control, number = (
                (term.weight, term.scale) if isinstance(term.weight, str) else ("", float(term.weight))
            )
            sign = (role == term.plus) - (role == term.minus)
            by_control[control] = by_control.get(control, 0.0) + sign * number
        least = by_control.pop("") + sum(min(0.0, weight * highest) for weight in by_control.values())
        if least < -1e-9:
            return role
    return None


BASE = Recipe(LARGE_BASE)
TUNED = Recipe(SMALL_TUNED)
UPSCALED = Recipe(LARGE_BASE, (Term("alpha", SMALL_TUNED, SMALL_BASE),))
# The paper's beta: amplifies what scale adds, not what tuning adds.
AMPLIFIED = Recipe(SMALL_TUNED, (Term("beta", LARGE_BASE, SMALL_BASE),))
DOWNSCALED = Recipe(SMALL_BASE, (Term("alpha", LARGE_TUNED, LARGE_BASE),))
REFERENCE = Recipe(LARGE_TUNED)
# Alpha and beta together: at (0, 0) it is the small base, at (1, 0) the small tuned, at (0, 1) the large base
# and at (1, 1) the up-scaled.
PAD = Recipe(SMALL_BASE, (Term("alpha", SMALL_TUNED, SMALL_BASE), Term("beta", LARGE_BASE, SMALL_BASE)))


def blend(behaviours: Sequence[str]) -> Recipe:
    """Several behaviours on the large base, each with its own slider, such as `alpha_pirate` for `pirate`."""
    return Recipe(LARGE_BASE, tuple(Term(f"alpha_{role}", role, SMALL_BASE) for role in behaviours))
