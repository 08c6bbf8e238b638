"""What an exception means to those whose texts it hits: which sequences, and a sentence with the reason.

Exceptions end here. What goes on from here holds no traceback, for that would hold on to the tensors of the
step that broke. Knows sequences and errors; does not know what a step is.
"""

import logging
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from eft_demo.engine.sequence import Sequence
from eft_demo.errors import EFTError, NumericalError
from eft_demo.models.memory import free_unused, is_out_of_memory, out_of_memory

DEAD = "The engine failed and only a restart helps, so the server restarts. Please reload in a minute."

T = TypeVar("T")

log = logging.getLogger(__name__)


class EngineDead(Exception):
    """The engine cannot be made ready for another run. The message is a sentence for whoever waits for it."""


class ModelFailure(Exception):
    """A model raised or gave NaN. `seqs` cannot go on with it; the message is for their owners."""

    def __init__(self, roles: abc.Sequence[str], seqs: abc.Sequence[Sequence], error: Exception) -> None:
        self.seqs = tuple(seqs)
        self.error = error
        names = " or ".join(roles)
        if isinstance(error, EFTError):
            super().__init__(str(error))
            return
        log.error("the model %s failed", names, exc_info=error)
        if is_out_of_memory(error):
            reason, rest = "", str(out_of_memory(names, "take this step"))
        else:
            reason, rest = f" ({type(error).__name__})", "Please try again."
        super().__init__(f"The model {names} failed, so this text ends here{reason}. {rest}")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A step that failed, without its traceback."""

    sentence: str
    seqs: tuple[Sequence, ...] = ()  # that it hit; empty: any that took part
    exact: bool = False  # it hit these sequences and would do so again
    lost: bool = False  # the device is gone for this process
    ends_all: bool = False  # there is no point in trying again


def attempt(step: Callable[[], T]) -> T | Trouble:
    """What `step` returns, or what went wrong. Raises EngineDead, and what is no Exception, as they are."""
    try:
        return step()
    except EngineDead:
        raise
    except ModelFailure as failure:
        exact = isinstance(failure.error, NumericalError)
        trouble = Trouble(str(failure), failure.seqs, exact, _is_lost(failure.error))
        full = is_out_of_memory(failure.error)
    except Exception as error:
        trouble, full = Trouble(sentence_of(error), lost=_is_lost(error)), is_out_of_memory(error)
    if full:
        free_unused()  # only here nothing holds on any more to what the step had made
    return trouble


def sentence_of(error: BaseException) -> str:
    """The sentence for whoever's text `error` ends; what is a bug goes to the log too."""
    if isinstance(error, EFTError):
        return str(error)
    if is_out_of_memory(error):
        return str(out_of_memory("the engine", "take this step"))
    log.error("a step of the engine failed", exc_info=error)
    kind = type(error).__name__
    return f"The engine met an unexpected error ({kind}), so this text ends here. Please try again."


def _is_lost(error: BaseException) -> bool:
    """Whether a GPU has failed such that every further call of this process to it will fail too."""
    return isinstance(error, torch.AcceleratorError)
