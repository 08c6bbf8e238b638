"""Turns exceptions into the sequences they end and a message for the owners of those sequences.

Exceptions are caught here and passed on without a traceback, which would keep the failed step's tensors
alive. Knows sequences and errors; does not know what a step is.
"""

import logging
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from eft_demo.engine.sequence import Sequence
from eft_demo.errors import EFTError, NumericalError, OutOfMemory
from eft_demo.models.memory import free_unused, is_out_of_memory, out_of_memory
from eft_demo.models.protocol import NotYet

INTERRUPTED = "The program was interrupted, so this text ends here."
DEAD = "The engine failed and cannot recover, so the server restarts. Please reload in a minute."

T = TypeVar("T")

log = logging.getLogger(__name__)


class EngineDead(Exception):
    """The engine cannot recover for another run. The message is for everyone who waits for it."""


class ModelFailure(Exception):
    """A model raised an exception or returned NaN. `seqs` must end; the message is for their owners."""

    def __init__(
        self, roles: abc.Sequence[str], seqs: abc.Sequence[Sequence], error: Exception, work: str = ""
    ) -> None:
        """`work` says what memory was needed for: it completes `There is not enough memory for MODEL to`."""
        self.seqs = tuple(seqs)
        self.error = error
        names = " or ".join(roles)
        if isinstance(error, EFTError):
            fuller = work and isinstance(error, OutOfMemory)
            super().__init__(str(out_of_memory(names, work) if fuller else error))
            return
        log.error("the model %s failed", names, exc_info=error)
        if is_out_of_memory(error):
            reason, rest = "", str(out_of_memory(names, work or "take this step"))
        else:
            reason, rest = f" ({type(error).__name__})", "Please try again."
        super().__init__(f"The model {names} failed, so this text ends here{reason}. {rest}")


@dataclass(frozen=True, slots=True)
class StepFailure:
    """A step that failed, without its traceback."""

    message: str
    seqs: tuple[Sequence, ...] = ()  # the affected ones; empty: possibly any in the step
    exact: bool = False  # exactly these sequences are affected, and a retry would fail again
    lost: bool = False  # this process can no longer use the device
    ends_all: bool = False  # retrying is pointless
    full: bool = False  # memory ended
    late: bool = False  # nothing failed: a model elsewhere has not answered yet, and will be asked again


def attempt(step: Callable[[], T]) -> T | StepFailure:
    """Return what `step` returns, or a StepFailure if it raises.

    EngineDead passes through, as does every BaseException that is not an Exception.
    """
    try:
        return step()
    except EngineDead:
        raise
    except ModelFailure as error:
        exact = isinstance(error.error, NumericalError)
        failure = StepFailure(
            str(error),
            error.seqs,
            exact,
            _is_lost(error.error),
            full=_lacks_memory(error.error),
            late=isinstance(error.error, NotYet),
        )
    except Exception as error:
        failure = StepFailure(message_for(error), lost=_is_lost(error), full=_lacks_memory(error))
    if failure.full:
        free_unused()  # only here are the failed step's tensors no longer referenced
    return failure


def message_for(error: BaseException) -> str:
    """The message for the owner of a text that `error` ended. Bugs are also logged; Ctrl+C is none."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, EFTError):
        return str(error)
    if is_out_of_memory(error):
        return str(out_of_memory("the engine", "take this step"))
    log.error("a step of the engine failed", exc_info=error)
    kind = type(error).__name__
    return f"Internal error in the engine ({kind}): this text was stopped. Please try again."


def _lacks_memory(error: BaseException) -> bool:
    return isinstance(error, OutOfMemory) or is_out_of_memory(error)


def _is_lost(error: BaseException) -> bool:
    """Whether a GPU failed in a way that makes every later call from this process fail too."""
    return isinstance(error, torch.AcceleratorError)
