"""The errors that people see. `str(error)` is a sentence: what is wrong, the limit and value, the way out.

Anything raised that is not an `EFTError` is a bug and is shown as a traceback.
"""

from collections.abc import Sequence


class EFTError(Exception):
    """The base of every error whose message is meant for the person at the screen."""


class InputError(EFTError):
    """Something typed or sent is of the wrong type or outside its limits."""


class RecipeError(EFTError):
    """The text or the parts of a recipe do not make sense."""


class FamilyError(EFTError):
    """A model family cannot be used: weights missing, damaged or not matching one another."""


class Cancelled(EFTError):
    """Somebody stopped what was being downloaded, loaded or measured."""


class OutOfMemory(EFTError):
    """A device has no room for a model, or for a step of one."""


class NumericalError(EFTError):
    """A model gave numbers that cannot be used. `model` names it; `rows` are the rows of the batch it hit."""

    def __init__(self, model: str, rows: Sequence[int] = ()) -> None:
        self.model = model
        self.rows = tuple(rows)
        super().__init__(
            f"The model {model} gave values that are not numbers (NaN or infinity), so this text ends here. "
            "Damaged weights or half-precision overflow are the usual causes: restore the model's files, "
            "start the app with EFT_DTYPE=fp32, or choose another model."
        )


class Overloaded(EFTError):
    """There is no room for another run now."""
