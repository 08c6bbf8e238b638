"""The errors that people see. `str(error)` is a sentence: what is wrong, the limit and value, the way out.

Anything raised that is not an `EFTError` is a bug and is shown as a traceback.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class EFTError(Exception):
    """The base of every error whose message is meant for the person at the screen.

    `code` names what went wrong for programs and tests: it stays while the words improve. `where` is the
    field of a run that it belongs to, as the page calls it (prompt, alpha, column-0, ...); empty for none.
    """

    code = "error"
    where = ""

    def __init__(self, message: str, *, code: str = "", where: str = "") -> None:
        super().__init__(message)
        self.code = code or self.code
        self.where = where or self.where


@contextmanager
def in_place(where: str) -> Iterator[None]:
    """Let every EFTError raised inside belong to the field `where`, unless it names one itself."""
    try:
        yield
    except EFTError as refusal:
        refusal.where = refusal.where or where
        raise


class InputError(EFTError):
    """Something typed or sent is of the wrong type or outside its limits."""

    code = "input"


class RecipeError(EFTError):
    """The text or the parts of a recipe do not make sense."""

    code = "recipe"


class FamilyError(EFTError):
    """A model family cannot be used: weights missing, damaged or not matching one another."""

    code = "family"


class Cancelled(EFTError):
    """Somebody stopped what was being downloaded, loaded or measured."""

    code = "cancelled"


class OutOfMemory(EFTError):
    """A device has no room for a model, or for a step of one."""

    code = "out_of_memory"


class NumericalError(EFTError):
    """A model gave numbers that cannot be used. `model` names it; `rows` are the rows of the batch it hit."""

    code = "not_a_number"

    def __init__(self, model: str, rows: Sequence[int] = ()) -> None:
        self.model = model
        self.rows = tuple(rows)
        super().__init__(
            f"The model {model} gave values that are not numbers (NaN or infinity), so this text ends here. "
            "Damaged weights or half-precision overflow are the usual causes: restore the model's files, "
            "start the app with EFT_DTYPE=fp32, or choose another model."
        )


class ModelError(EFTError):
    """A model does not keep to what the engine asks of every model; the message names it."""

    code = "model"


class Overloaded(EFTError):
    """There is no room for another run now."""

    code = "overloaded"
