"""Errors that are shown to the user. `str(error)` says what is wrong, the limit, the value and what to do.

Any other exception is a bug and shows a traceback.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class EFTError(Exception):
    """Base class of every error whose message is shown to the user.

    `code` identifies the error for programs and tests and stays stable when the wording changes. `where` is
    the field of a run that caused it, by its name on the page (prompt, alpha, column-0, ...), or empty.
    """

    code = "error"
    where = ""

    def __init__(self, message: str, *, code: str = "", where: str = "") -> None:
        super().__init__(message)
        self.code = code or self.code
        self.where = where or self.where


def error_text(error: BaseException, most: int | None = 200) -> str:
    """The class and message of any exception on one line, cut to `most` characters; None keeps it whole."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:most]


@contextmanager
def at_field(where: str) -> Iterator[None]:
    """Set `where` on any EFTError raised inside that does not name a field yet."""
    try:
        yield
    except EFTError as refusal:
        refusal.where = refusal.where or where
        raise


class InputError(EFTError):
    """A value from the user has the wrong type or is outside its limits."""

    code = "input"


class RecipeError(EFTError):
    """A recipe cannot be parsed or is invalid."""

    code = "recipe"


class FamilyError(EFTError):
    """A model family cannot be used: weights are missing, damaged or incompatible."""

    code = "family"


class RemoteError(EFTError):
    """The server that runs a model does not answer, or not as it must; the message names both."""

    code = "remote"


class Cancelled(EFTError):
    """A download, load or measurement was cancelled."""

    code = "cancelled"


class OutOfMemory(EFTError):
    """A device does not have enough memory for a model or for a forward pass."""

    code = "out_of_memory"


class NumericalError(EFTError):
    """A model returned NaN or infinity. `model` names it; `rows` are the affected rows of the batch."""

    code = "not_a_number"

    def __init__(self, model: str, rows: Sequence[int] = ()) -> None:
        self.model = model
        self.rows = tuple(rows)
        super().__init__(
            f"The model {model} gave values that are not numbers (NaN or infinity), so this text ends here. "
            "The usual causes are damaged weights and half-precision overflow: restore the model's files, "
            "start the app with EFT_DTYPE=fp32, or choose another model."
        )


class ModelError(EFTError):
    """A model breaks the protocol that the engine requires; the message names it."""

    code = "model"


class Overloaded(EFTError):
    """The server cannot take another run right now."""

    code = "overloaded"
